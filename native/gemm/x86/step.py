"""How each x86 matrix row sums: the instructions of one step on one row of x, and how sums leave narrow registers.

Registers per output, four products of a step:

=====  ==========================================================================================
acc16  2 x s16: pair sums, vpmaddubsw **saturates**, proved to fit; vpaddw **wraps**, runs proved to fit
       at a spill 1 x s32: vpmaddwd by ones, **exact**
acc32  pair sums in s16, vpmaddubsw **saturates**, proved to fit; 1 x s32: vpmaddwd by ones, vpaddd **exact**
acc32x4  pairs of up to four quads added in s16, vpaddw **wraps**, proved to fit; then as acc32 (runs.py)
acc32x2  pairs of two quads added in s16, vpaddw **wraps**, proved to fit; then as acc32
exact  2 x s32: operands widened to s16, vpmaddwd, vpaddd **exact**; vphaddd joins them
vnni   1 x s32: vpdpbusd **exact**
=====  ==========================================================================================

32-bit sums are **exact** because totals are proved in s32.
"""

from __future__ import annotations

from collections.abc import Iterator

from gemm.x86.tile import Arithmetic, Tile, row_address

UNDER_WAY = 3
"""Rows of a zmm step whose products wait at once to be added."""


def load_bytes(tile: Tile) -> Iterator[str]:
    """A step's weights as they lie, into the first free registers."""
    for v in range(tile.vectors):
        yield f"vmovdqu{'8' if tile.bytes == 64 else ''} {v * tile.bytes}(%rsi), {tile.free(v)}"


def pair_sums(tile: Tile, row: int, x: str, first: bool) -> Iterator[str]:
    """Vpmaddubsw + vpaddw: two s16 lanes per output."""
    if tile.bytes == 64 and not first:
        yield from pair_sums_wide(tile, row, x)
        return
    yield f"vpbroadcastd {x}, {tile.free(2)}"
    for v in range(tile.vectors):
        into = tile.product(row, v, first)
        yield f"vpmaddubsw {tile.free(v)}, {tile.free(2)}, {into}"
        if not first:
            yield f"vpaddw {into}, {tile.acc(row, v)}, {tile.acc(row, v)}"


def pair_sums_wide(tile: Tile, row: int, x: str) -> Iterator[str]:
    """``pair_sums`` with registers for three rows under way: a row is added around the products of the next but one."""
    earlier = wide_additions(tile, row - UNDER_WAY + 1) if row >= UNDER_WAY - 1 else []
    quad = tile.free(2 + 2 * (row % UNDER_WAY))
    yield f"vpbroadcastd {x}, {quad}"
    yield from earlier[:1]
    yield from (f"vpmaddubsw {tile.free(v)}, {quad}, {into}" for v, into in enumerate(wide_products(tile, row)))
    yield from earlier[1:]
    if row == tile.rows - 1:
        for pending in range(max(0, row - UNDER_WAY + 2), tile.rows):
            yield from wide_additions(tile, pending)


def wide_products(tile: Tile, row: int) -> list[str]:
    """Where the products of a row wait; the last replaces the operand."""
    quad, product = (tile.free(2 + 2 * (row % UNDER_WAY) + index) for index in (0, 1))
    return [product, quad] if tile.vectors == 2 else [quad]


def wide_additions(tile: Tile, row: int) -> list[str]:
    """Additions of the waiting products of a row."""
    products = wide_products(tile, row)
    return [f"vpaddw {from_}, {tile.acc(row, v)}, {tile.acc(row, v)}" for v, from_ in enumerate(products)]


def quad_sums(tile: Tile, row: int, x: str, first: bool) -> Iterator[str]:
    """Vpmaddubsw + vpmaddwd by ones + vpaddd: each pair leaves 16 bits at once."""
    yield f"vpbroadcastd {x}, {tile.free(2)}"
    for v in range(tile.vectors):
        into = tile.product(row, v, first)
        yield f"vpmaddubsw {tile.free(v)}, {tile.free(2)}, {into}"
        yield f"vpmaddwd {tile.free(4)}, {into}, {into}"
        yield f"vpaddd {into}, {tile.acc(row, v)}, {tile.acc(row, v)}"


def two_quad_sums(tile: Tile, row: int, x: str, first: bool) -> Iterator[str]:
    """Two quads, each by vpmaddubsw, together by vpaddw; vpmaddwd by ones and vpaddd once for both.

    Weights are operands in memory: registers hold sums, two operands, two products and the ones.
    """
    del first
    yield f"vpbroadcastd {x}, {tile.free(0)}"
    yield f"vpbroadcastd {row_address(row, 4)}, {tile.free(1)}"
    for v in range(tile.vectors):
        near, far = tile.free(2), tile.free(3)
        yield f"vpmaddubsw {v * tile.bytes or ''}(%rsi), {tile.free(0)}, {near}"
        yield f"vpmaddubsw {(2 + v) * tile.bytes}(%rsi), {tile.free(1)}, {far}"
        yield f"vpaddw {far}, {near}, {near}"
        yield f"vpmaddwd {tile.free(4)}, {near}, {near}"
        yield f"vpaddd {near}, {tile.acc(row, v)}, {tile.acc(row, v)}"


def load_nothing(tile: Tile) -> Iterator[str]:
    """Weights are read where they are used."""
    del tile
    yield from ()


def dot_sums(tile: Tile, row: int, x: str, first: bool) -> Iterator[str]:
    """Vpdpbusd; on ymm registers in the encoding of AVX-VNNI, which CPUs without AVX-512 have."""
    del first
    yield f"vpbroadcastd {x}, {tile.free(2)}"
    for v in range(tile.vectors):
        encoding = "{vex} " if tile.bytes == 32 else ""
        yield f"{encoding}vpdpbusd {tile.free(v)}, {tile.free(2)}, {tile.acc(row, v)}"


def widen_x(tile: Tile) -> Iterator[str]:
    """The quads of all rows as s16, each in its own free register; weights are widened where they are used."""
    for row in range(tile.rows):
        index = tile.arithmetic.rows * 4 + row
        yield f"vpbroadcastd {row_address(row, 0)}, %xmm{index}"
        yield f"vpmovzxbw %xmm{index}, {tile.reg(index)}"


def widened_sums(tile: Tile, row: int, x: str, first: bool) -> Iterator[str]:
    """Vpmaddwd of widened operands: two s32 lanes per output, two registers per vector of outputs; all rows at once."""
    del x
    if row:
        return
    weight, product = tile.reg(14), tile.reg(15)
    for part in range(tile.vectors * 2):
        yield f"vpmovsxbw {part * 16}(%rsi), {weight}"
        for row_of_x in range(tile.rows):
            into = tile.acc(row_of_x, part) if first else product
            yield f"vpmaddwd {tile.reg(tile.arithmetic.rows * 4 + row_of_x)}, {weight}, {into}"
            if not first:
                yield f"vpaddd {into}, {tile.acc(row_of_x, part)}, {tile.acc(row_of_x, part)}"


def spill_pairs(tile: Tile, row: int, vector: int) -> Iterator[str]:
    """The two s16 lanes of each output added as s32, exactly."""
    acc = tile.acc(row, vector)
    yield f"vpmaddwd {tile.free(0)}, {acc}, {acc}"


def spill_lanes(tile: Tile, row: int, vector: int) -> Iterator[str]:
    """The two s32 lanes of each output added; vphaddd interleaves 128-bit halves, vpermq undoes it."""
    low, high = tile.acc(row, 2 * vector), tile.acc(row, 2 * vector + 1)
    yield f"vphaddd {high}, {low}, {low}"
    yield f"vpermq $0xd8, {low}, {low}"


ROWS = (
    Arithmetic("avx2_acc16", "ymm", 1, load_bytes, pair_sums, spill_pairs, s16_ones="spill"),
    Arithmetic("avx2_acc32", "ymm", 1, load_bytes, quad_sums, None, s16_ones="step"),
    Arithmetic("avx2_acc32x4", "ymm", 1, None, None, None, vectors=1, most_run=4),
    Arithmetic("avx2_exact", "ymm", 2, widen_x, widened_sums, spill_lanes),
    Arithmetic("avx512bw_acc16", "zmm", 1, load_bytes, pair_sums, spill_pairs, s16_ones="spill"),
    Arithmetic("avx512bw_acc32", "zmm", 1, load_bytes, quad_sums, None, s16_ones="step"),
    Arithmetic("avx2_acc32x2", "ymm", 1, load_nothing, two_quad_sums, None, s16_ones="step", quads=2),
    Arithmetic("avx512bw_acc32x2", "zmm", 1, load_nothing, two_quad_sums, None, s16_ones="step", quads=2),
    Arithmetic("vnni", "zmm", 1, load_bytes, dot_sums, None),
    Arithmetic("avxvnni", "ymm", 1, load_bytes, dot_sums, None),
)
