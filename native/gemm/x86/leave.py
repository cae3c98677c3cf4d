"""How a tile's sums leave its registers as bytes: requantized, packed, stored.

s32 sums become u8 in one of the ways of requantize/ways.h: through float32, one rounding each; as the bits of floats,
by one fused instruction; in 16 bits, by vpmulhrsw, moved by a zero point or not. Packing **saturates** twice, which
changes nothing that the clamp keeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from gemm.x86.tile import (
    ADDEND,
    BASES,
    FLOATS,
    GENERAL,
    HI,
    IN_MOVED_WORDS,
    IN_WORDS,
    LO,
    SCALE,
    WAY,
    WORDS,
    Y_STRIDE,
    ZERO,
    Tile,
    Y,
    row_address,
)


def added_sums(tile: Tile, addend: str, row_bytes: int) -> Iterator[str]:
    """Spill every accumulator and add what was summed before: rows of ``row_bytes`` at ``addend``."""
    if tile.arithmetic.spill is None:
        return
    if tile.arithmetic.s16_ones == "spill":
        yield f"vpbroadcastw oaq_ones(%rip), {tile.free(0)}"
    for row in range(tile.rows):
        for v in range(tile.vectors):
            sums = tile.sums(row, v)
            yield from tile.arithmetic.spill(tile, row, v)
            yield f"vpaddd {row * row_bytes + v * tile.bytes}({addend}), {sums}, {sums}"


def finish(tile: Tile, addend: str, row_bytes: int) -> Iterator[str]:
    """Requantize in registers and store u8: float32(sums) * scale rounded half to even, zero point, clamp.

    Multipliers are below 1, so the product fits s32; packing saturates twice and changes nothing the clamp keeps. Where
    sums are the bits of floats already (requantize/as_floats.h), one instruction leaves the same product; where 16 bits
    do (requantize/in_words.h), one for two registers is all there is.
    """
    yield from added_sums(tile, addend, row_bytes)
    yield f"movq {SCALE}(%rdi), %rdx"
    yield f"movq {Y_STRIDE}(%rdi), %r8"
    yield f"movq {Y}(%rdi), %r9"
    if tile.rows > 3:
        yield "leaq (%r8,%r8,2), %rbx"
        for before, base in pairwise(BASES[: -(-tile.rows // 3)]):
            yield f"leaq ({before},%rbx), {base}"
    zero, low, high, order = (tile.free(index) for index in range(4))
    move = f"vmovdqu{'32' if tile.bytes == 64 else ''}"
    yield f"{move} oaq_order{tile.bytes}(%rip), {order}"
    yield f"vpbroadcastb {HI}(%rdi), {high}"
    yield f"cmpl ${FLOATS}, {WAY}(%rdi)"
    yield "jb 31f"
    yield "ja 32f"
    yield f"movq {ADDEND}(%rdi), %rsi"
    for v in range(tile.vectors):
        yield f"vmovups {v * tile.bytes}(%rdx), {tile.free(v)}"
    yield from results(tile, FLOATS)
    yield "jmp 33f"
    yield "32:"
    yield f"movq {WORDS}(%rdi), %rsi"
    yield f"{move} (%rsi), {tile.free(0)}"
    yield f"cmpl ${IN_WORDS}, {WAY}(%rdi)"
    yield "jne 34f"
    yield from results(tile, IN_WORDS)
    yield "jmp 33f"
    yield "34:"
    yield f"vpbroadcastb {LO}(%rdi), {low}"
    yield from results(tile, IN_MOVED_WORDS)
    yield "jmp 33f"
    yield "31:"
    yield f"vpbroadcastw {ZERO}(%rdi), {zero}"
    yield f"vpbroadcastb {LO}(%rdi), {low}"
    yield from results(tile, GENERAL)
    yield "33:"


def results(tile: Tile, way: int) -> Iterator[str]:
    """All bytes of the tile. As bits of floats and in words that do not move, packing saturates at the lowest, 0."""
    places = [(row, v) for row in range(tile.rows) for v in range(tile.vectors)]
    for first in range(0, len(places), 4):
        four = places[first : first + 4]
        for row, v in four:
            yield from product(tile, row, v, way)
        yield from packed(tile, [tile.sums(row, v) for row, v in four], way)
        yield from stored(tile, four)


def product(tile: Tile, row: int, v: int, way: int) -> Iterator[str]:
    """Sums times their multipliers, as s32; words are multiplied once they are packed."""
    sums = tile.sums(row, v)
    if way in (IN_WORDS, IN_MOVED_WORDS):
        return
    if way == FLOATS:
        yield f"vfmadd213ps {v * tile.bytes}(%rsi), {tile.free(v)}, {sums}"
    else:
        yield f"vcvtdq2ps {sums}, {sums}"
        yield f"vmulps {v * tile.bytes}(%rdx), {sums}, {sums}"
    yield f"vcvtps2dq {sums}, {sums}"


def packed(tile: Tile, sums: list[str], way: int) -> Iterator[str]:
    """Up to four registers of s32 as bytes in the first, one quarter each: packing works within 128-bit lanes."""
    zero, low, high, order = (tile.free(index) for index in range(4))
    into = sums[0]
    for first in range(0, len(sums), 2):
        lower, upper = sums[first], sums[min(first + 1, len(sums) - 1)]
        yield f"vpackssdw {upper}, {lower}, {lower}"
        if way in (IN_WORDS, IN_MOVED_WORDS):
            yield f"vpmulhrsw {tile.free(0)}, {lower}, {lower}"
        if way == IN_MOVED_WORDS:
            yield f"vpaddsw {tile.bytes}(%rsi), {lower}, {lower}"
        if way == GENERAL:
            yield f"vpaddsw {zero}, {lower}, {lower}"
    yield f"vpackuswb {sums[2] if len(sums) > 2 else into}, {into}, {into}"
    if way in (GENERAL, IN_MOVED_WORDS):
        yield f"vpmaxub {low}, {into}, {into}"
    yield f"vpminub {high}, {into}, {into}"
    yield f"vpermd {into}, {order}, {into}"


def stored(tile: Tile, places: list[tuple[int, int]]) -> Iterator[str]:
    """The quarters of the first place's register to their rows, two of one row at once."""
    index, move = tile.sums(*places[0])[4:], "vmovdqu8" if tile.bytes == 64 else "vmovdqu"
    zmm, half, quarter = (f"%{kind}mm{index}" for kind in "zyx")
    for i in range(0, len(places), tile.vectors):
        to = row_address(places[i][0], 0)
        match (tile.bytes, tile.vectors, i):
            case (64, 2, 0):
                yield f"{move} {half}, {to}"
            case (64, 2, _):
                yield f"vextracti64x4 $1, {zmm}, {to}"
            case (64, 1, 0):
                yield f"{move} {quarter}, {to}"
            case (64, 1, _):
                yield f"vextracti32x4 ${i}, {zmm}, {to}"
            case (_, 2, 0):
                yield f"{move} {quarter}, {to}"
            case (_, 2, _):
                yield f"vextracti128 $1, {half}, {to}"
            case _:
                if i == 2:
                    yield f"vextracti128 $1, {half}, {quarter}"
                yield f"{'vmovhps' if i % 2 else 'vmovq'} {quarter}, {to}"
