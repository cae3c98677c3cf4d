"""How sums leave their registers: widened, requantized to bytes in three ways, or as s32 in the order of channels.

Widening s16 lanes to s32 is **exact** (vpmaddwd by ones and zeros, vpsrad). The ways to u8 are those of
requantize/ways.h; packing **saturates** twice, which changes nothing that the clamp keeps.
"""

from __future__ import annotations

from collections.abc import Iterator

from depthwise.x86.line import EVEN, HIGHEST, LOWEST, ZERO_POINT, Line


def widened(line: Line, output: int) -> Iterator[str]:
    """An output's s16 sums as s32: even ones times one and their neighbours times zero; odd ones shifted."""
    for j in range(0, 4, 2):
        half = line.narrow(output, j // 2)
        yield f"vpmaddwd {line.reg(EVEN)}, {half}, {line.sum(output, j)}"
        yield f"vpsrad $16, {half}, {line.sum(output, j + 1)}"


def products_of_floats(line: Line) -> Iterator[str]:
    """Sums that are floats already times their multipliers, which serve all outputs at once."""
    for j in range(4):
        scale = line.reg(ZERO_POINT)
        yield line.move(f"{j * line.bytes}(%r13)", scale)
        for output in range(line.outputs):
            yield f"vfmadd213ps {(4 + j) * line.bytes}(%r13), {scale}, {line.sum(output, j)}"


def requantized(line: Line, output: int, as_floats: bool) -> Iterator[str]:
    """As u8 to y; ``as_floats``: zero point and lowest value are 0, where packing saturates anyway.

    Multipliers are below 1, so the product fits s32; packing saturates twice and changes nothing the clamp keeps.
    """
    sums = [line.sum(output, j) for j in range(4)]
    for j, register in enumerate(sums):
        if not as_floats:
            yield f"vcvtdq2ps {register}, {register}"
            yield f"vmulps {j * line.bytes}(%r13), {register}, {register}"
        yield f"vcvtps2dq {register}, {register}"
    for first in (0, 2):
        yield f"vpackssdw {sums[first + 1]}, {sums[first]}, {sums[first]}"
        if not as_floats:
            yield f"vpaddsw {line.reg(ZERO_POINT)}, {sums[first]}, {sums[first]}"
    yield f"vpackuswb {sums[2]}, {sums[0]}, {sums[0]}"
    if not as_floats:
        yield f"vpmaxub {line.reg(LOWEST)}, {sums[0]}, {sums[0]}"
    yield f"vpminub {line.reg(HIGHEST)}, {sums[0]}, {sums[0]}"
    if line.arithmetic.is_narrow:
        yield f"vpshufb oaq_depthwise_order(%rip), {sums[0]}, {sums[0]}"
    yield line.move(sums[0], f"(%rdx{',%r14' if output else ''})")


def in_words(line: Line, output: int, *, moved: bool) -> Iterator[str]:
    """As u8 to y in 16 bits: a saturated sum with its bias times a multiplier of 2^-15, rounded half up.

    ``moved``: zero point and lowest value are not 0, where packing saturates anyway.
    """
    if line.arithmetic.is_narrow:
        halves = [line.narrow(output, half) for half in range(2)]
        for half, words in enumerate(halves):
            yield f"vpaddsw {(2 + half) * line.bytes}(%r13), {words}, {words}"
    else:
        halves = [line.sum(output, j) for j in (0, 2)]
        for half, words in enumerate(halves):
            yield f"vpackssdw {line.sum(output, 2 * half + 1)}, {words}, {words}"
    for half, words in enumerate(halves):
        yield f"vpmulhrsw {half * line.bytes}(%r13), {words}, {words}"
        if moved:
            yield f"vpaddsw {line.reg(ZERO_POINT)}, {words}, {words}"
    yield f"vpackuswb {halves[1]}, {halves[0]}, {halves[0]}"
    if moved:
        yield f"vpmaxub {line.reg(LOWEST)}, {halves[0]}, {halves[0]}"
    yield f"vpminub {line.reg(HIGHEST)}, {halves[0]}, {halves[0]}"
    yield line.move(halves[0], f"(%rdx{',%r14' if output else ''})")


def as_sums(line: Line, output: int) -> Iterator[str]:
    """The s32 sums in the order of channels: each 128-bit part holds four neighbours, once even and odd ones meet."""
    if line.arithmetic.is_narrow:
        for j in range(0, 4, 2):
            even, odd, free = line.sum(output, j), line.sum(output, j + 1), line.reg(0)
            yield f"vpunpckldq {odd}, {even}, {free}"
            yield f"vpunpckhdq {odd}, {even}, {odd}"
            yield f"vmovdqa{'64' if line.bytes == 64 else ''} {free}, {even}"
    for j in range(4):
        register = line.sum(output, j)
        quarter = f"%xmm{register[4:]}"
        for part in range(line.bytes // 16):
            to = f"{output * line.bytes * 4 + (16 * part + 4 * j) * 4}(%r15)"
            if part == 0:
                yield f"vmovdqu {quarter}, {to}"
            elif line.bytes == 64:
                yield f"vextracti32x4 ${part}, {register}, {to}"
            else:
                yield f"vextracti128 $1, {register}, {to}"
