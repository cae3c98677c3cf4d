"""Write the hand-ordered loops that ``benchmarks.micro`` holds the matrix rows against: what a core's ports allow.

    python limits.py limits_x86.S limits.inc

Each loop does the arithmetic of one matrix row on the same operands, loads included, and nothing else: no segments, no
spill, no epilogue. It runs over ``steps`` steps again and again without clearing its sums. The instructions of a row of
x are its products and the additions that follow them; what differs is how many rows are under way at once and where the
additions of the earliest go among the products of the latest. Registers of all loops:

    rdi  packed weights, moving     rsi  bytes between rows of x     rdx  packed weights     rcx, rbp  steps, steps left
    r8   turns left                 r9   where sums go               r12  x     r10, r11, rax, rbx  x at rows 0, 3, 6, 9
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

BASES = ("%r10", "%r11", "%rax", "%rbx")
SAVED = ("%rbx", "%rbp", "%r12")
Place = Literal["alternating", "inside", "after"]


@dataclass(frozen=True)
class Loop:
    """One order of the instructions of one row.

    Attributes:
        row: of the kernel table, without "gemm_u8s8_".
        rows: of x.
        under_way: rows whose products are not added yet when the next row's begin, and that next one.
        place: of the additions of the earliest row under way among the products of the latest.
        unroll: steps per turn of the loop.
    """

    row: str
    rows: int
    under_way: int = 1
    place: Place = "alternating"
    unroll: int = 1

    @property
    def wide(self) -> bool:
        """Registers of 64 bytes."""
        return self.row.startswith(("avx512bw", "vnni"))

    @property
    def bytes(self) -> int:
        """Bytes of one register."""
        return 64 if self.wide else 32

    def reg(self, index: int) -> str:
        """The name of register ``index``."""
        return f"%{'z' if self.wide else 'y'}mm{index}"

    def acc(self, row: int, vector: int) -> str:
        """The accumulators come first."""
        return self.reg(2 * row + vector)

    def free(self, index: int) -> str:
        """What the accumulators leave: two for weights, then temporaries."""
        return self.reg(2 * self.rows + index)

    @property
    def s16_ones(self) -> str:
        """The last register, where a row needs s16 ones."""
        return self.reg(31 if self.wide else 15)

    @property
    def name(self) -> str:
        """Says everything."""
        order = self.place if self.under_way == 1 else f"{self.under_way} rows under way, additions {self.place}"
        return f"{self.rows} x 2 registers, {order}, {self.unroll} step{'s' if self.unroll > 1 else ''} a turn"


def address(row: int, k: int) -> str:
    """X at ``row``, ``k`` bytes ahead."""
    return f"{k or ''}({BASES[row // 3]}{('', ',%rsi', ',%rsi,2')[row % 3]})"


def pairs(loop: Loop, row: int, temporaries: tuple[str, str], x: str) -> tuple[list[list[str]], list[str]]:
    """Vpmaddubsw; vpaddw."""
    quad, into = temporaries[0], temporaries[::-1]
    products = [[f"vpmaddubsw {loop.free(v)}, {quad}, {into[v]}"] for v in (0, 1)]
    products[0].insert(0, f"vpbroadcastd {x}, {quad}")
    return products, [f"vpaddw {into[v]}, {loop.acc(row, v)}, {loop.acc(row, v)}" for v in (0, 1)]


def quads(loop: Loop, row: int, temporaries: tuple[str, str], x: str) -> tuple[list[list[str]], list[str]]:
    """Vpmaddubsw, vpmaddwd by ones; vpaddd."""
    products, additions = pairs(loop, row, temporaries, x)
    for v, into in enumerate(temporaries[::-1]):
        products[v].append(f"vpmaddwd {loop.s16_ones}, {into}, {into}")
    return products, [addition.replace("vpaddw", "vpaddd") for addition in additions]


def dots(loop: Loop, row: int, temporaries: tuple[str, str], x: str) -> tuple[list[list[str]], list[str]]:
    """Vpdpbusd, which adds by itself; on ymm registers as AVX-VNNI encodes it."""
    quad, encoding = temporaries[0], "" if loop.wide else "{vex} "
    products = [[f"{encoding}vpdpbusd {loop.free(v)}, {quad}, {loop.acc(row, v)}"] for v in (0, 1)]
    products[0].insert(0, f"vpbroadcastd {x}, {quad}")
    return products, []


OPERATIONS: dict[str, Callable[[Loop, int, tuple[str, str], str], tuple[list[list[str]], list[str]]]] = {
    "acc16": pairs,
    "acc32": quads,
    "vnni": dots,
    "avxvnni": dots,
}


def step(loop: Loop, index: int) -> Iterator[str]:
    """Step ``index`` of a turn."""
    move = "vmovdqu8" if loop.wide else "vmovdqu"
    for v in (0, 1):
        yield f"{move} {(2 * index + v) * loop.bytes}(%rdi), {loop.free(v)}"
    delayed: list[list[str]] = []
    for row in range(loop.rows):
        slot = row % loop.under_way
        temporaries = loop.free(2 + 2 * slot), loop.free(3 + 2 * slot)
        operation = OPERATIONS[loop.row.rpartition("_")[2]]
        (first, second), additions = operation(loop, row, temporaries, address(row, 4 * index))
        if loop.under_way == 1 and loop.place == "alternating":
            yield from (*first, *additions[:1], *second, *additions[1:])
            continue
        delayed.append(additions)
        earlier = delayed.pop(0) if len(delayed) == loop.under_way else []
        yield from (*first, *earlier, *second) if loop.place == "inside" else (*first, *second, *earlier)
    for additions in delayed:
        yield from additions


def exact_step(loop: Loop, index: int) -> Iterator[str]:
    """Widened operands: vpmaddwd, vpaddd; two registers of s32 lanes per register of outputs; rows together."""
    for row in range(loop.rows):
        yield f"vpbroadcastd {address(row, 4 * index)}, %xmm{8 + row}"
        yield f"vpmovzxbw %xmm{8 + row}, %ymm{8 + row}"
    for part in range(4):
        yield f"vpmovsxbw {index * 64 + part * 16}(%rdi), %ymm15"
        products = [f"vpmaddwd %ymm{8 + row}, %ymm15, %ymm{13 + row}" for row in range(loop.rows)]
        additions = [f"vpaddd %ymm{13 + row}, %ymm{4 * row + part}, %ymm{4 * row + part}" for row in range(loop.rows)]
        if loop.place == "alternating":
            yield from (instruction for pair in zip(products, additions, strict=True) for instruction in pair)
        else:
            yield from (*products, *additions)


LOOPS = (
    Loop("avx2_acc16", 6),
    Loop("avx2_acc16", 6, 1, "after"),
    Loop("avx2_acc16", 5),
    Loop("avx2_acc16", 5, 2, "after", 2),
    Loop("avx2_acc16", 4, 3, "after", 2),
    Loop("avx2_acc16", 4, 3, "inside", 2),
    Loop("avx2_acc32", 5),
    Loop("avx2_acc32", 5, 1, "after"),
    Loop("avx2_acc32", 4, 2, "inside"),
    Loop("avx2_exact", 2),
    Loop("avx2_exact", 2, 1, "after", 2),
    Loop("avx512bw_acc16", 12),
    Loop("avx512bw_acc16", 12, 1, "after"),
    Loop("avx512bw_acc16", 12, 2, "inside"),
    Loop("avx512bw_acc16", 12, 3, "inside"),
    Loop("avx512bw_acc16", 10, 3, "inside"),
    Loop("avx512bw_acc16", 8, 4, "inside"),
    Loop("avx512bw_acc16", 8, 6, "inside"),
    Loop("avx512bw_acc32", 12),
    Loop("avx512bw_acc32", 12, 1, "after"),
    Loop("avx512bw_acc32", 12, 2, "inside"),
    Loop("avxvnni", 6),
    Loop("avxvnni", 6, 1, "alternating", 2),
    Loop("avxvnni", 5, 2, "after"),
    Loop("vnni", 12),
    Loop("vnni", 12, 2, "after"),
    Loop("vnni", 12, 1, "alternating", 2),
    Loop("vnni", 8, 4, "after", 2),
)


def function(loop: Loop, name: str) -> Iterator[str]:
    """(x, stride, packed, steps, turns, sums): sums leave as they lie in the accumulators."""
    exact = loop.row.endswith("exact")
    accumulators, bases = loop.rows * (4 if exact else 2), BASES[: -(-loop.rows // 3)]
    yield f".p2align 6\n.hidden {name}\n.globl {name}\n.type {name}, @function\n{name}:"
    yield from (f"pushq {register}" for register in SAVED)
    for index in range(accumulators):
        yield f"vpxor{'d' if loop.wide else ''} {loop.reg(index)}, {loop.reg(index)}, {loop.reg(index)}"
    if loop.row.endswith("acc32"):
        yield f"vpbroadcastw oaq_limit_ones(%rip), {loop.s16_ones}"
    yield "movq %rdi, %r12\n1:\nmovq %rdx, %rdi\nmovq %r12, %r10\nleaq (%rsi,%rsi,2), %rbp"
    yield from (f"leaq ({before},%rbp), {base}" for before, base in pairwise(bases))
    yield "movq %rcx, %rbp\n.p2align 6\n2:"
    for index in range(loop.unroll):
        yield from exact_step(loop, index) if exact else step(loop, index)
    yield f"addq ${2 * loop.bytes * loop.unroll}, %rdi"
    yield from (f"addq ${4 * loop.unroll}, {base}" for base in bases)
    yield f"subq ${loop.unroll}, %rbp\njnz 2b\ndecq %r8\njnz 1b"
    for index in range(accumulators):
        yield f"vmovdqu{'8' if loop.wide else ''} {loop.reg(index)}, {index * loop.bytes}(%r9)"
    yield "vzeroupper"
    yield from (f"popq {register}" for register in reversed(SAVED))
    yield f"ret\n.size {name}, .-{name}"


def main() -> None:
    """Write the two files named on the command line."""
    lines, entries = ["# Written by native/micro/limits.py; not to be edited.", ".text"], []
    for index, loop in enumerate(LOOPS):
        lines += function(loop, f"oaq_limit_{index}")
        entries.append(f'LIMIT({index}, "gemm_u8s8_{loop.row}", "{loop.name}", {loop.rows}, {2 * loop.bytes // 4})\n')
    lines += [".section .rodata", "oaq_limit_ones: .short 1", '.section .note.GNU-stack,"",@progbits']
    Path(sys.argv[1]).write_text("\n".join(lines) + "\n")
    Path(sys.argv[2]).write_text("".join(entries))


if __name__ == "__main__":
    main()
