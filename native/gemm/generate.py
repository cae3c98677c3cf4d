"""Write the inner loops of the x86 matrix rows: one template per arithmetic, for every register shape.

    python generate.py gemm_x86.S

Each function computes ``rows x (vectors * outputs per vector)`` s32 sums of one tile, segment by segment, as
``GemmCall`` in gemm.h describes. Compilers move accumulators of such loops to memory (GCC 12 loses a third); here every
register has a name, and every compiler assembles the same bytes. Registers of all functions:

    rdi  the call          r8   bytes from one row of x to the next
    rsi  packed weights    r9, r10, r11, rax   x at rows 0, 3, 6, 9, moving along k
    rdx  segments          rbx  steps left in this segment; at a spill rax is where sums go
    rcx  segments left
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

X, STRIDE, PACKED, SEGMENTS, COUNT, SUMS, BIAS = range(0, 56, 8)
BASES = ("%r9", "%r10", "%r11", "%rax")


@dataclass(frozen=True)
class Arithmetic:
    """How one step of a row is summed.

    Attributes:
        name: of the table row, without "gemm_u8s8_".
        register: "ymm" or "zmm".
        rows: most rows of x a tile may have; registers decide.
        step: instructions of one step on row ``r``, given its address; uses temporaries only.
        load: loads the weights of one step.
        accumulators: per row and vector of outputs.
        spill: turns the accumulators of one (row, vector) into s32 sums in one register, which it names.
    """

    name: str
    register: str
    rows: int
    accumulators: int
    load: Callable[[Tile, int], Iterator[str]]
    step: Callable[[Tile, int, str], Iterator[str]]
    spill: Callable[[Tile, int, int], Iterator[str]]
    constants: str = ""


@dataclass(frozen=True)
class Tile:
    """One register shape: rows of x by vectors of outputs."""

    how: Arithmetic
    rows: int
    vectors: int

    @property
    def bytes(self) -> int:
        """Of one register."""
        return 32 if self.how.register == "ymm" else 64

    def reg(self, index: int) -> str:
        """By number."""
        return f"%{self.how.register}{index}"

    def acc(self, row: int, index: int) -> str:
        """The accumulators come first."""
        return self.reg(row * self.vectors * self.how.accumulators + index)

    def free(self, index: int) -> str:
        """What the accumulators of the tallest tile leave."""
        return self.reg(self.how.rows * 2 * self.how.accumulators + index)


def load_bytes(tile: Tile, at: int) -> Iterator[str]:
    """A step's weights as they lie, into the first free registers."""
    for v in range(tile.vectors):
        yield f"vmovdqu{'8' if tile.bytes == 64 else ''} {at + v * tile.bytes}(%rsi), {tile.free(v)}"


def pair_sums(tile: Tile, row: int, x: str) -> Iterator[str]:
    """Vpmaddubsw + vpaddw: two s16 lanes per output."""
    yield f"vpbroadcastd {x}, {tile.free(2)}"
    for v in range(tile.vectors):
        into = tile.free(3) if v + 1 < tile.vectors else tile.free(2)
        yield f"vpmaddubsw {tile.free(v)}, {tile.free(2)}, {into}"
        yield f"vpaddw {into}, {tile.acc(row, v)}, {tile.acc(row, v)}"


def quad_sums(tile: Tile, row: int, x: str) -> Iterator[str]:
    """Vpmaddubsw + vpmaddwd by ones + vpaddd: each pair leaves 16 bits at once."""
    yield f"vpbroadcastd {x}, {tile.free(2)}"
    for v in range(tile.vectors):
        into = tile.free(3) if v + 1 < tile.vectors else tile.free(2)
        yield f"vpmaddubsw {tile.free(v)}, {tile.free(2)}, {into}"
        yield f"vpmaddwd {tile.free(4)}, {into}, {into}"
        yield f"vpaddd {into}, {tile.acc(row, v)}, {tile.acc(row, v)}"


def dot_sums(tile: Tile, row: int, x: str) -> Iterator[str]:
    """Vpdpbusd."""
    yield f"vpbroadcastd {x}, {tile.free(2)}"
    for v in range(tile.vectors):
        yield f"vpdpbusd {tile.free(v)}, {tile.free(2)}, {tile.acc(row, v)}"


def widen_x(tile: Tile, at: int) -> Iterator[str]:
    """The quads of all rows as s16, each in its own free register; weights are widened where they are used."""
    for row in range(tile.rows):
        index = tile.how.rows * 4 + row
        yield f"vpbroadcastd {row_address(row, 4 * at // tile_bytes(tile))}, %xmm{index}"
        yield f"vpmovzxbw %xmm{index}, {tile.reg(index)}"


def widened_sums(tile: Tile, row: int, x: str) -> Iterator[str]:
    """Vpmaddwd of widened operands: two s32 lanes per output, two registers per vector of outputs; all rows at once."""
    del x
    if row:
        return
    weight, product = tile.reg(14), tile.reg(15)
    for part in range(tile.vectors * 2):
        yield f"vpmovsxbw WEIGHTS+{part * 16}(%rsi), {weight}"
        for each in range(tile.rows):
            yield f"vpmaddwd {tile.reg(tile.how.rows * 4 + each)}, {weight}, {product}"
            yield f"vpaddd {product}, {tile.acc(each, part)}, {tile.acc(each, part)}"


def spill_pairs(tile: Tile, row: int, vector: int) -> Iterator[str]:
    """The two s16 lanes of each output added as s32, exactly."""
    yield f"vpmaddwd {tile.free(4) if tile.bytes == 64 else tile.free(0)}, {tile.acc(row, vector)}, {tile.free(2)}"


def spill_none(tile: Tile, row: int, vector: int) -> Iterator[str]:
    """Already s32 sums."""
    yield f"vmovdqa{'64' if tile.bytes == 64 else ''} {tile.acc(row, vector)}, {tile.free(2)}"


def spill_lanes(tile: Tile, row: int, vector: int) -> Iterator[str]:
    """The two s32 lanes of each output added; vphaddd interleaves 128-bit halves, vpermq undoes it."""
    low, high = tile.acc(row, 2 * vector), tile.acc(row, 2 * vector + 1)
    yield f"vphaddd {high}, {low}, {tile.reg(14)}"
    yield f"vpermq $0xd8, {tile.reg(14)}, {tile.reg(14)}"


ROWS = (
    Arithmetic("avx2_acc16", "ymm", 6, 1, load_bytes, pair_sums, spill_pairs),
    Arithmetic("avx2_acc32", "ymm", 5, 1, load_bytes, quad_sums, spill_none, constants="always"),
    Arithmetic("avx2_exact", "ymm", 2, 2, widen_x, widened_sums, spill_lanes),
    Arithmetic("avx512bw_acc16", "zmm", 12, 1, load_bytes, pair_sums, spill_pairs, constants="always"),
    Arithmetic("avx512bw_acc32", "zmm", 12, 1, load_bytes, quad_sums, spill_none, constants="always"),
    Arithmetic("vnni", "zmm", 12, 1, load_bytes, dot_sums, spill_none),
)


def row_address(row: int, k: int) -> str:
    """X at ``row``, ``k`` bytes ahead: three rows share a base register."""
    inside = ("", ",%r8", ",%r8,2")[row % 3]
    return f"{k or ''}({BASES[row // 3]}{inside})"


def one_step(tile: Tile, ahead: int) -> Iterator[str]:
    """The instructions of the step ``ahead`` steps from where the pointers are."""
    weights = ahead * tile_bytes(tile)
    yield from tile.how.load(tile, weights)
    for row in range(tile.rows):
        for line in tile.how.step(tile, row, row_address(row, 4 * ahead)):
            yield line.replace("WEIGHTS", str(weights))


def tile_bytes(tile: Tile) -> int:
    """Bytes of one step of packed weights: of the whole tile, whatever part of it this shape computes."""
    return 2 * tile.bytes


def advance(tile: Tile, steps: int) -> Iterator[str]:
    """Move the pointers."""
    yield f"addq ${steps * tile_bytes(tile)}, %rsi"
    for base in BASES[: -(-tile.rows // 3)]:
        yield f"addq ${4 * steps}, {base}"


def start_segment(tile: Tile) -> Iterator[str]:
    """Point at the segment's first operands; clear the accumulators."""
    yield "movslq (%rdx), %r9"
    yield f"addq {X}(%rdi), %r9"
    if tile.rows > 3:
        yield "leaq (%r8,%r8,2), %rbx"
        for before, base in pairwise(BASES[: -(-tile.rows // 3)]):
            yield f"leaq ({before},%rbx), {base}"
    yield "movslq 4(%rdx), %rbx"
    for row in range(tile.rows):
        for index in range(tile.vectors * tile.how.accumulators):
            acc = tile.acc(row, index)
            yield f"vpxor{'d' if tile.bytes == 64 else ''} {acc}, {acc}, {acc}"


def ones(tile: Tile) -> Iterator[str]:
    """s16 ones in every lane, where a spill or a step needs them."""
    if tile.how.constants:
        yield f"vpbroadcastw oaq_ones(%rip), {tile.free(4)}"


def spill(tile: Tile, *, first: bool) -> Iterator[str]:
    """Add the segment's sums to the bias (first segment) or to the sums so far."""
    if tile.how.name == "avx2_acc16":
        yield f"vpbroadcastw oaq_ones(%rip), {tile.free(0)}"
    yield f"movq {SUMS}(%rdi), %rax"
    if first:
        yield f"movq {BIAS}(%rdi), %rbx"
    suffix = "32" if tile.bytes == 64 else ""
    into = tile.reg(14) if tile.how.name == "avx2_exact" else tile.free(2)
    for row in range(tile.rows):
        for v in range(tile.vectors):
            place = (row * 2 + v) * tile.bytes
            yield from tile.how.spill(tile, row, v)
            yield f"vpaddd {f'{v * tile.bytes}(%rbx)' if first else f'{place}(%rax)'}, {into}, {into}"
            yield f"vmovdqu{suffix} {into}, {place}(%rax)"


def function(tile: Tile) -> Iterator[str]:
    """The whole function: for each segment clear, sum, spill."""
    name = symbol(tile)
    yield f".p2align 4\n.hidden {name}\n.globl {name}\n.type {name}, @function\n{name}:"
    body = [
        "pushq %rbx",
        f"movq {PACKED}(%rdi), %rsi",
        f"movq {SEGMENTS}(%rdi), %rdx",
        f"movq {COUNT}(%rdi), %rcx",
        f"movq {STRIDE}(%rdi), %r8",
        *ones(tile),
        "1:",
        *start_segment(tile),
        "subq $2, %rbx",
        "jb 3f",
        ".p2align 5",
        "2:",
        *one_step(tile, 0),
        *one_step(tile, 1),
        *advance(tile, 2),
        "subq $2, %rbx",
        "jae 2b",
        "3:",
        "addq $2, %rbx",
        "jz 4f",
        *one_step(tile, 0),
        *advance(tile, 1),
        "4:",
        f"cmpq {COUNT}(%rdi), %rcx",
        "jne 5f",
        *spill(tile, first=True),
        "jmp 6f",
        "5:",
        *spill(tile, first=False),
        "6:",
        "addq $8, %rdx",
        "decq %rcx",
        "jnz 1b",
        "vzeroupper",
        "popq %rbx",
        "ret",
    ]
    yield "\n".join(body)
    yield f".size {name}, .-{name}"


def symbol(tile: Tile) -> str:
    """Of the function of one register shape."""
    return f"oaq_gemm_{tile.how.name}_{tile.rows}x{tile.vectors}"


def table(how: Arithmetic) -> Iterator[str]:
    """The row's functions: [vectors - 1][rows - 1]."""
    name = f"oaq_gemm_{how.name}"
    shapes = [symbol(Tile(how, rows, vectors)) for vectors in (1, 2) for rows in range(1, how.rows + 1)]
    yield f".p2align 3\n.hidden {name}\n.globl {name}\n.type {name}, @object\n.size {name}, {8 * len(shapes)}\n{name}:"
    yield from (f".quad {each}" for each in shapes)


def main() -> None:
    """Write the file named on the command line."""
    lines = ["# Written by native/gemm/generate.py; not to be edited.", ".text"]
    for how in ROWS:
        for vectors in (1, 2):
            for rows in range(1, how.rows + 1):
                lines += function(Tile(how, rows, vectors))
    lines += [".section .rodata", ".p2align 1", "oaq_ones: .short 1", '.section .data.rel.ro,"aw"']
    for how in ROWS:
        lines += table(how)
    lines.append('.section .note.GNU-stack,"",@progbits')
    Path(sys.argv[1]).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
