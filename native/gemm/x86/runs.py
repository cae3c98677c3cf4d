"""Loops whose runs are short: up to four steps share 16 bits in registers that no run leaves memory for.

A row of 16-bit sums keeps them where s32 sums would be, so every run ends by adding all of them to s32 sums in memory:
a dozen loads and stores, which take as long as two steps. Here the s32 sums stay in registers, and a run's 16-bit sums
live for one row of x at a time: the weights of all its steps are loaded, each row's products are summed in 16 bits, and
leave them at once. Registers of 8 outputs allow 8 rows:

    ymm0..7  s32 sums, a row each     ymm8..11  weights of up to four steps     ymm12  s16 ones     ymm13..15  products

Pieces are runs, the longest first, so that there is one loop for each length and one branch that is not foreseen
between two of them; s32 sums do not depend on the order. Of one row and 8 outputs, ``n`` steps take ``n + 1``
multiplications, of which a core does two in a cycle.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from gemm.x86.leave import finish
from gemm.x86.tile import (
    BASES,
    BIAS,
    CALL_REGISTERS,
    COUNT,
    NEXT,
    PACKED,
    PIECE_BYTES,
    PIECE_STEPS,
    PIECES,
    STRIDE,
    SUMS,
    Tile,
    X,
    Y,
    row_address,
)
from gemm.x86.walk import walk_on

LINE = 64
"""Bytes of a cache line."""


def run_loop(tile: Tile, steps: int) -> Iterator[str]:
    """Every run of so many steps; those that are shorter follow. Pointers move on from run to run.

    Label 4N is where runs of N steps may begin, 2N the loop over them.
    """
    yield f"4{steps}:"
    if steps > 1:
        yield f"cmpl ${steps}, {PIECE_STEPS}(%rdx)"
        yield f"jne 4{steps - 1}f"
    yield ".p2align 5"
    yield f"2{steps}:"
    yield from run_sums(tile, steps)
    yield f"addq ${PIECE_BYTES}, %rdx"
    yield f"addq ${steps * tile.bytes}, %rsi"
    yield "decq %rcx"
    if steps == 1:
        yield f"jnz 2{steps}b"
        return
    yield "jz 5f"
    yield f"cmpl ${steps}, {PIECE_STEPS}(%rdx)"
    yield f"je 2{steps}b"


def run_sums(tile: Tile, steps: int) -> Iterator[str]:
    """One run: every row's pairs, summed in 16 bits over its steps, then added to its s32 sums."""
    weights, s16_ones, into = [tile.free(step) for step in range(steps)], tile.free(4), tile.free(5)
    yield "movslq (%rdx), %r9"
    yield "addq %rax, %r9"
    for before, base in pairwise(BASES[: -(-tile.rows // 3)]):
        yield f"leaq ({before},%rbx), {base}"
    yield from (f"vmovdqu {step * tile.bytes or ''}(%rsi), {weights[step]}" for step in range(steps))
    yield from (f"prefetcht1 {line or ''}(%rsi,%rbp)" for line in range(0, steps * tile.bytes, LINE))
    for row in range(tile.rows):
        for step in range(steps):
            product = tile.free(6 + step % 2) if step else into
            yield f"vpbroadcastd {row_address(row, 4 * step)}, {product}"
            yield f"vpmaddubsw {weights[step]}, {product}, {product}"
            if step:
                yield f"vpaddw {product}, {into}, {into}"
        yield f"vpmaddwd {s16_ones}, {into}, {into}"
        yield f"vpaddd {into}, {tile.acc(row, 0)}, {tile.acc(row, 0)}"


def function(tile: Tile) -> Iterator[str]:
    """The whole function: for each group of rows begin with the bias, sum run by run, finish or store s32 sums."""
    sums = [tile.acc(row, 0) for row in range(tile.rows)]
    yield from (f"pushq {register}" for register in CALL_REGISTERS)
    yield f"movq {NEXT}(%rdi), %rbp"
    yield "0:"
    yield f"movq {PACKED}(%rdi), %rsi"
    yield f"movq {PIECES}(%rdi), %rdx"
    yield f"movq {COUNT}(%rdi), %rcx"
    yield f"movq {STRIDE}(%rdi), %r8"
    yield "leaq (%r8,%r8,2), %rbx"
    yield f"movq {BIAS}(%rdi), %rax"
    yield f"vmovdqu (%rax), {sums[0]}"
    yield from (f"vmovdqa {sums[0]}, {into}" for into in sums[1:])
    yield f"vpbroadcastw oaq_ones(%rip), {tile.free(4)}"
    yield f"movq {X}(%rdi), %rax"
    for steps in range(tile.arithmetic.most_run, 0, -1):
        yield from run_loop(tile, steps)
    yield "5:"
    yield f"cmpq $0, {Y}(%rdi)"
    yield "je 6f"
    yield from finish(tile, "%rcx", 0)
    yield "jmp 8f"
    yield "6:"
    yield f"movq {SUMS}(%rdi), %rax"
    yield from (f"vmovdqu {register}, {row * tile.bytes}(%rax)" for row, register in enumerate(sums))
    yield "8:"
    yield from walk_on(tile)
