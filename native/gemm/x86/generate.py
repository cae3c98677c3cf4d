"""Write the inner loops of the x86 matrix rows: one template per arithmetic, for every register shape.

    cd native && python -m gemm.x86.generate gemm_x86.S gemm_checks.inc

Each function computes ``rows x (vectors * outputs per vector)`` outputs of one tile, run by run of pieces, for as many
groups of rows as ``GemmCall`` in gemm.h asks for, and requantizes them where they are, in registers. Compilers move
accumulators of such loops to memory (GCC 12 loses a third); here every register has a name, and every compiler
assembles the same bytes. Registers of all functions:

    rdi  the call          r8   bytes from one row of x to the next
    rsi  packed weights    r9, r10, r11, rax   x at rows 0, 3, 6, 9, moving along k
    rdx  pieces            rbx  steps left in this piece
    rcx  runs left                         rbp  bytes to weights that are wanted soon; 0: none are fetched

Every tile's weights are on their way to the second cache while the first group of rows of the tile before is summed, a
line or two in every step; with ymm registers by a loop of its own, for it takes 5 % longer.

At a spill rax is where sums go and rbx the bias; when results leave, r9, r10, r11, rax are y at rows 0, 3, 6, 9, r8 the
bytes between rows, rdx the multipliers, rcx what is still to be added and rsi what floats need added.

What the loops reach on a Zen 4 core, L1-resident, is in docs/performance.md. Orders of instructions matter there: with
zmm registers, a row is added around the multiplications of the next but one (204 GMAC/s every time; after its own: 194
or 212 from run to run; alternating: 171), with ymm registers multiplications and additions alternate (188).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from gemm.x86 import runs
from gemm.x86.leave import added_sums, finish
from gemm.x86.step import ROWS
from gemm.x86.tile import (
    ADD,
    BASES,
    BIAS,
    CALL,
    CALL_REGISTERS,
    COUNT,
    GO_ON,
    NEXT,
    NUMBERS,
    PACKED,
    PIECE,
    PIECE_AFTER,
    PIECE_BYTES,
    PIECE_SKIPPED,
    PIECE_STEPS,
    PIECES,
    STRIDE,
    SUMS,
    TABLE,
    Arithmetic,
    Tile,
    X,
    Y,
    row_address,
)
from gemm.x86.walk import walk_on
from rows import offset_checks, value_checks


def one_step(tile: Tile, *, first: bool = False, fetches: bool = False) -> Iterator[str]:
    """The instructions of one step. Doing two per turn of the loop was no faster, and slower for short runs.

    The first step of a run begins the sums instead of adding to them, unless they are s32 sums that go on from what
    was there before: runs are short, so that counts.
    """
    load, step = tile.arithmetic.load, tile.arithmetic.step
    assert load is not None and step is not None
    yield from load(tile)
    for row in range(tile.rows):
        yield from step(tile, row, row_address(row, 0), first)
    if fetches:
        yield from (f"prefetcht1 {line or ''}(%rsi,%rbp)" for line in range(0, tile_bytes(tile), 64))
    yield from advance(tile)
    yield "decq %rbx"


def tile_bytes(tile: Tile) -> int:
    """Bytes of one step of packed weights: of the whole tile, whatever part of it this shape computes."""
    return tile.arithmetic.vectors * tile.bytes * tile.arithmetic.quads


def advance(tile: Tile) -> Iterator[str]:
    """Move the pointers on by one step."""
    yield f"addq ${tile_bytes(tile)}, %rsi"
    for base in BASES[: -(-tile.rows // 3)]:
        yield f"addq ${4 * tile.arithmetic.quads}, {base}"


def earlier_sums(tile: Tile) -> Iterator[str]:
    """Accumulators that hold s32 sums go on from the bias, or from what the run before left in memory."""
    suffix, copy = ("32", "vmovdqa32") if tile.bytes == 64 else ("", "vmovdqa")
    yield f"movq {BIAS}(%rdi), %rbx"
    yield f"cmpq {COUNT}(%rdi), %rcx"
    yield "jne 3f"
    for v in range(tile.vectors):
        yield f"vmovdqu{suffix} {v * tile.bytes}(%rbx), {tile.acc(0, v)}"
        yield from (f"{copy} {tile.acc(0, v)}, {tile.acc(row, v)}" for row in range(1, tile.rows))
    yield "jmp 4f"
    yield "3:"
    yield f"movq {SUMS}(%rdi), %rbx"
    for row in range(tile.rows):
        for v in range(tile.vectors):
            yield f"vmovdqu{suffix} {(row * 2 + v) * tile.bytes}(%rbx), {tile.acc(row, v)}"
    yield "4:"


def start_run(tile: Tile) -> Iterator[str]:
    """Begin its sums, with the first step of its first piece where sums are narrow."""
    if tile.arithmetic.spill is None:
        yield from earlier_sums(tile)
    yield from start_piece(tile)
    if tile.arithmetic.spill is not None:
        yield from one_step(tile, first=True, fetches=True)
        yield "jz 3f"


def start_piece(tile: Tile) -> Iterator[str]:
    """Point at its first operands and weights."""
    yield f"movslq {PIECE_SKIPPED}(%rdx), %r9"
    yield "addq %r9, %rsi"
    yield "movslq (%rdx), %r9"
    yield f"addq {X}(%rdi), %r9"
    if tile.rows > 3:
        yield "leaq (%r8,%r8,2), %rbx"
        for before, base in pairwise(BASES[: -(-tile.rows // 3)]):
            yield f"leaq ({before},%rbx), {base}"
    yield f"movslq {PIECE_STEPS}(%rdx), %rbx"


def broadcast_ones(tile: Tile) -> Iterator[str]:
    """s16 ones in every lane, where a step needs them."""
    if tile.arithmetic.s16_ones == "step":
        yield f"vpbroadcastw oaq_ones(%rip), {tile.free(4)}"


def spill(tile: Tile, addend: str, row_bytes: int) -> Iterator[str]:
    """To memory, in s32."""
    yield from added_sums(tile, addend, row_bytes)
    suffix = "32" if tile.bytes == 64 else ""
    for row in range(tile.rows):
        for v in range(tile.vectors):
            yield f"vmovdqu{suffix} {tile.sums(row, v)}, {(row * 2 + v) * tile.bytes}(%rax)"


def two_loops(tile: Tile) -> bool:
    """The loop that fetches weights is another one: with ymm registers every instruction of a step counts.

    With zmm registers fetching costs nothing, and 16-bit sums are 2 % faster so: later groups ask for what is there.
    """
    return tile.bytes == 32


def other_loop(tile: Tile, label: str = "10f") -> Iterator[str]:
    """Go there while weights are fetched."""
    if two_loops(tile):
        yield "testq %rbp, %rbp"
        yield f"jnz {label}"


def fetching_loop(tile: Tile) -> Iterator[str]:
    """Repeat the steps while they also fetch the weights that come next."""
    if two_loops(tile):
        yield ".p2align 5"
        yield "10:"
        yield from one_step(tile, fetches=True)
        yield "jnz 10b"
        yield "jmp 3b"


def function(tile: Tile) -> Iterator[str]:
    """The whole function: for each group of rows and run begin, sum piece by piece, spill or finish."""
    row_bytes = 2 * tile.bytes
    body = [
        *(f"pushq {register}" for register in CALL_REGISTERS),
        f"movq {NEXT}(%rdi), %rbp",
        "0:",
        f"movq {PACKED}(%rdi), %rsi",
        f"movq {PIECES}(%rdi), %rdx",
        f"movq {COUNT}(%rdi), %rcx",
        f"movq {STRIDE}(%rdi), %r8",
        *broadcast_ones(tile),
        "1:",
        *start_run(tile),
        *other_loop(tile),
        ".p2align 5",
        "2:",
        *one_step(tile, fetches=not two_loops(tile)),
        "jnz 2b",
        "3:",
        f"movq {SUMS}(%rdi), %rax",
        "cmpq $1, %rcx",
        "jne 5f",
        f"cmpq $0, {Y}(%rdi)",
        "je 5f",
        f"movq {BIAS}(%rdi), %rcx",  # the last run
        f"cmpl ${ADD}, {PIECE_AFTER}(%rdx)",
        "je 6f",
        *finish(tile, "%rcx", 0),
        "jmp 8f",
        "6:",
        *finish(tile, "%rax", row_bytes),
        "jmp 8f",
        "5:",
        f"cmpl ${GO_ON}, {PIECE_AFTER}(%rdx)",
        "jb 6f",
        "je 12f",
        f"movq {BIAS}(%rdi), %rbx",
        *spill(tile, "%rbx", 0),
        "jmp 7f",
        "6:",
        *spill(tile, "%rax", row_bytes),
        "7:",
        f"addq ${PIECE_BYTES}, %rdx",
        "decq %rcx",
        "jnz 1b",
        "8:",
        *walk_on(tile),
        *fetching_loop(tile),
        ".p2align 4",
        "12:",
        f"addq ${PIECE_BYTES}, %rdx",
        "decq %rcx",
        *start_piece(tile),
        *other_loop(tile, "10b"),
        "jmp 2b",
    ]
    yield from body


def defined(tile: Tile) -> Iterator[str]:
    """The function of a register shape, with its name."""
    name, body = symbol(tile), runs.function if tile.arithmetic.most_run else function
    yield f".p2align 4\n.hidden {name}\n.globl {name}\n.type {name}, @function\n{name}:"
    yield "\n".join(body(tile))
    yield f".size {name}, .-{name}"


def symbol(tile: Tile) -> str:
    """Name of the function of one register shape."""
    return f"oaq_gemm_{tile.arithmetic.functions}_{tile.rows}x{tile.vectors}"


def tiles_of(arithmetic: Arithmetic) -> list[Tile]:
    """Every register shape of a row, [vectors - 1][rows - 1]."""
    counts = range(1, arithmetic.vectors + 1), range(1, arithmetic.rows + 1)
    return [Tile(arithmetic, rows, vectors) for vectors in counts[0] for rows in counts[1]]


def table(arithmetic: Arithmetic) -> Iterator[str]:
    """The row's functions, [vectors - 1][rows - 1]; the symbol carries how many: gemm.h."""
    shapes = [symbol(tile) for tile in tiles_of(arithmetic)]
    name = f"oaq_gemm_{arithmetic.functions}_shapes_{arithmetic.rows}x{arithmetic.vectors}"
    yield f".p2align 3\n.hidden {name}\n.globl {name}\n.type {name}, @object\n.size {name}, {8 * len(shapes)}\n{name}:"
    yield from (f".quad {shape}" for shape in shapes)


def checks() -> str:
    """C++ that does not compile where gemm.h, ways.h or rows.inc is not what these loops take them to be."""
    return offset_checks("GemmCall", CALL) + offset_checks("Piece", PIECE) + value_checks(NUMBERS)


def main() -> None:
    """Write the two files named on the command line."""
    for arithmetic in ROWS:
        parts, row = arithmetic.vectors, TABLE[arithmetic.functions]
        outputs = parts * Tile(arithmetic, 1, 1).bytes // 4
        if (int(row["n"]), int(row["parts"])) != (outputs, parts):
            raise SystemExit(f"rows.inc: {row['name']}: tiles of its loops are {outputs} outputs in {parts} parts")
    lines = ["# Written by native/gemm/generate.py; not to be edited.", ".text"]
    for arithmetic in ROWS:
        for tile in tiles_of(arithmetic):
            lines += defined(tile)
    lines += [".section .rodata", ".p2align 6"]
    for lanes in (4, 2):  # quarter i of the result is dword i of every 128-bit lane
        order = (lane * 4 + quarter for quarter in range(4) for lane in range(lanes))
        lines.append(f"oaq_order{16 * lanes}: .long {', '.join(map(str, order))}")
    lines += ["oaq_ones: .short 1", '.section .data.rel.ro,"aw"']
    for arithmetic in ROWS:
        lines += table(arithmetic)
    lines.append('.section .note.GNU-stack,"",@progbits')
    Path(sys.argv[1]).write_text("\n".join(lines) + "\n")
    Path(sys.argv[2]).write_text(checks())


if __name__ == "__main__":
    main()
