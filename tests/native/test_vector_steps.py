"""Rows without sums, each forced: sizes that no vector divides, numbers at their ends; then whatever is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest

from oaq import operators as ops
from oaq.kernels.plan import plan
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize, Semantics
from oaq.program.int_program import IntProgram
from tests.native.machine import ROWS, compare
from tests.single import BOTH, EVERY, rule, single
from tests.strategies import Builder, random_input

CHANNELS = (1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130)


def rows_of(family: str) -> list[str]:
    return [name for name, row in ROWS.items() if row.family == family]


def force(program: IntProgram, row: str, kinds: Sequence[str] = ("random", "ends")) -> None:
    """By one, two and five threads, equal to the reference."""
    planned, rng = plan(program, rows=[row]), np.random.default_rng(1)
    for kind, threads in zip(kinds, (1, 2, 5), strict=False):
        specs = [program.tensors[name] for name in program.inputs]
        compare(planned, tuple(random_input(rng, (2, *spec.shape), spec.range, kind) for spec in specs), threads)


@pytest.mark.parametrize("row", rows_of("mul"))
@pytest.mark.parametrize("semantics", BOTH)
@pytest.mark.parametrize("zeros", [(0, 7), (255, 240), (128, 8)])
@pytest.mark.parametrize("ratio", [2.0**-16, 0.004, 1.0, 300.0, 2.0**29])
def test_every_pair_of_integers_multiplied(
    row: str, semantics: Semantics, zeros: tuple[int, int], ratio: float
) -> None:
    program = single(ops.Mul(rule(semantics, ratio)), [(256, 256, 1)] * 2, zeros, (7, 240))
    left, right = np.meshgrid(EVERY, EVERY, indexing="ij")
    compare(plan(program, rows=[row]), (left[None, ..., None].copy(), right[None, ..., None].copy()))


@pytest.mark.parametrize("row", rows_of("mul"))
@pytest.mark.parametrize("channels", [*CHANNELS, 1023, 1024, 1025])
def test_products_by_channel_of_any_number_of_channels(row: str, channels: int) -> None:
    for positions in (1, 2, 37):
        program = single(ops.Mul(rule("float32_half_even", 0.01)), [(1, positions, channels), (channels,)])
        force(program, row, ("random", "ends", "hi"))


@pytest.mark.parametrize("row", rows_of("mul"))
def test_products_rounded_twice(row: str) -> None:
    twice = Requantize(np.array([2**31 - 1], np.int32), np.array([20], np.int32), np.array([19], np.int32))
    force(single(ops.Mul(twice), [(5, 7, 13)] * 2, (100, 100)), row)


@pytest.mark.parametrize("row", rows_of("lookup"))
@pytest.mark.parametrize("count", [1, 31, 32, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 1000])
def test_every_entry_of_a_table_at_every_place(row: str, count: int) -> None:
    rng = np.random.default_rng(count)
    for table in (EVERY, EVERY[::-1], rng.integers(0, 256, 256), np.where(EVERY % 2, 255, 0), np.full(256, 255)):
        program = single(ops.Lookup(table.astype(np.uint8)), [(count,)])
        x = (np.arange(count)[None] + np.arange(0, 256, max(1, 256 // 64))[:, None]) % 256
        compare(plan(program, rows=[row]), (x.astype(np.uint8),))


@pytest.mark.parametrize("row", rows_of("channel_lookup"))
@pytest.mark.parametrize("channels", [*CHANNELS, 56, 257])
def test_a_table_for_each_of_any_number_of_channels(row: str, channels: int) -> None:
    rng = np.random.default_rng(channels)
    tables = rng.integers(0, 256, (channels, 256)).astype(np.uint8)
    tables[::3] = EVERY[::-1]
    for positions in (1, 2, 63, 64, 65, 191, 300):
        force(single(ops.ChannelLookup(tables), [(1, positions, channels)]), row, ("random", "ends", "hi"))


@pytest.mark.parametrize("row", rows_of("channel_lookup"))
@pytest.mark.parametrize("channels", [1, 7, 16, 40])
def test_every_entry_of_every_channels_table(row: str, channels: int) -> None:
    tables = np.random.default_rng(channels).permuted(np.tile(EVERY, (channels, 1)), axis=1)
    x = (EVERY[:, None] + np.arange(channels)) % 256
    compare(
        plan(single(ops.ChannelLookup(tables), [(16, 16, channels)]), rows=[row]),
        (x.reshape(1, 16, 16, -1).astype(np.uint8),),
    )


@pytest.mark.parametrize("row", rows_of("coarsen"))
@pytest.mark.parametrize("channels", [*CHANNELS, 56, 257])
def test_levels_of_any_number_of_channels(row: str, channels: int) -> None:
    rng = np.random.default_rng(channels)
    bits = rng.integers(1, 8, channels).astype(np.uint8)
    limits = (255 // ((1 << bits.astype(int)) - 1)).astype(np.uint8)
    factors, rectified = rng.integers(1, 4001, channels).astype(np.int32), rng.integers(0, 2, channels).astype(np.uint8)
    for positions in (1, 2, 63, 64, 65, 191, 300):
        op = ops.Coarsen(bits, factors, limits, rectified)
        force(single(op, [(1, positions, channels)]), row, ("random", "ends", "hi"))


@pytest.mark.parametrize("row", rows_of("concat"))
@pytest.mark.parametrize("channels", CHANNELS)
def test_inputs_side_by_side(row: str, channels: int) -> None:
    for semantics, ratios in product(BOTH, ((1.0, 1.0, 1.0), (0.5, 1.0, 3.0))):
        op = ops.Concat(rule(semantics, *ratios))
        force(single(op, [(3, 11, channels), (3, 11, 1), (3, 11, 17)], (3, 3)), row)


@pytest.mark.parametrize("row", rows_of("max_pool"))
@pytest.mark.parametrize("channels", CHANNELS)
def test_maxima_of_any_number_of_channels(row: str, channels: int) -> None:
    for size, stride, dilation in product((1, 2, 3, 5), (1, 2, 3), (1, 2)):
        padding = (size // 2, 0, size // 2, size // 2)
        op = ops.MaxPool((size, size), (stride, stride), padding, (dilation, dilation))
        force(single(op, [(10, 9, channels)]), row)


@pytest.mark.parametrize("row", rows_of("max_pool"))
@pytest.mark.parametrize("stride", [1, 2])
def test_maxima_are_clamped(row: str, stride: int) -> None:
    builder = Builder("clamped")
    x = builder.input((6, 7, 5), Affine(1.0, 9), IntRange(9, 200))
    builder.add(ops.MaxPool((2, 2), (stride, stride), (1, 1, 1, 1)), [x])
    force(builder.finish(), row, ("random", "lo", "hi"))


@pytest.mark.parametrize("row", rows_of("avg_pool"))
@pytest.mark.parametrize("channels", CHANNELS)
def test_means_of_any_number_of_channels(row: str, channels: int) -> None:
    for semantics, size, stride, dilation in product(BOTH, (1, 3), (1, 2), (1, 2)):
        ratios = [1.7 / (count + 1) for count in range(size * size)]
        padding = (size // 2,) * 4
        for counts_padding in (False, True):
            op = ops.AvgPool((size, size), (stride, stride), rule(semantics, *ratios), padding, (dilation, dilation))
            op = ops.AvgPool(**{**vars(op), "count_include_pad": counts_padding})
            force(single(op, [(7, 6, channels)], (255, 0)), row)


@pytest.mark.parametrize("row", rows_of("avg_pool"))
@pytest.mark.parametrize("height", [257, 258, 515])
def test_means_of_more_values_than_16_bits_hold(row: str, height: int) -> None:
    op = ops.AvgPool((height, 1), (1, 1), rule("float32_half_even", *[1 / (count + 1) for count in range(height)]))
    force(single(op, [(height, 2, 33)], (0, 0)), row, ("hi", "random"))


@pytest.mark.parametrize("row", rows_of("global_avg_pool"))
@pytest.mark.parametrize("channels", [*CHANNELS, 1280])
def test_means_of_whole_images(row: str, channels: int) -> None:
    for semantics, size in product(BOTH, ((1, 1), (1, 5), (7, 7), (17, 16), (40, 33))):
        op = ops.GlobalAvgPool(rule(semantics, 1.9 / (size[0] * size[1])))
        force(single(op, [(*size, channels)], (255, 0)), row, ("hi", "random", "lo"))


@pytest.mark.parametrize("row", rows_of("resize"))
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("channels", CHANNELS)
def test_images_of_any_number_of_channels_resized(row: str, mode: str, channels: int) -> None:
    for size in ((1, 1), (3, 50), (14, 10), (7, 5), (8, 4)):
        force(single(ops.Resize(*size, mode), [(7, 5, channels)]), row)  # type: ignore[arg-type]
    force(single(ops.Resize(3, 700, mode), [(1, 300, channels)]), row)  # type: ignore[arg-type]


@pytest.mark.parametrize("row", rows_of("depth_to_space"))
@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("block", [1, 2, 3, 4, 5])
def test_depth_becomes_blocks_of_any_size(row: str, mode: str, block: int) -> None:
    for channels, width in product((1, 2, 3, 5, 16, 17, 33), (1, 2, 7)):
        force(single(ops.DepthToSpace(block, mode), [(3, width, channels * block * block)]), row)  # type: ignore[arg-type]


@pytest.mark.parametrize("row", rows_of("add"))
@pytest.mark.parametrize("semantics", BOTH)
def test_sums_of_any_length(row: str, semantics: Semantics) -> None:
    for count in (1, 31, 32, 33, 63, 64, 65, 130):
        force(single(ops.Add(rule(semantics, 0.7, 0.9)), [(count,)] * 2, (255, 1), (1, 254)), row)


@pytest.mark.parametrize("row", rows_of("slice"))
@pytest.mark.parametrize("channels", CHANNELS)
def test_parts_of_any_number_of_channels(row: str, channels: int) -> None:
    for first in (0, 1):
        force(single(ops.Slice((1, 0, first), (4, 5, first + channels)), [(5, 6, channels + 2)]), row)


@pytest.mark.parametrize("row", rows_of("transpose"))
@pytest.mark.parametrize("inner", [1, 2, 3, 5, 7, 8, 15, 16, 17, 33, 63, 64, 65, 130])
def test_stretches_of_any_length_moved(row: str, inner: int) -> None:
    for outer in (2, 7, 8, 16, 17, 70):
        size = outer * inner
        force(single(ops.Transpose.joining((3, outer, inner), (0, 2, 1), (3, size)), [(3, size)]), row)
        force(single(ops.Transpose.joining((outer, inner), (1, 0), (inner, outer)), [(outer, inner)]), row)
        moved = ops.Transpose.joining((outer, 3, inner), (2, 1, 0), (inner, 3, outer))
        force(single(moved, [(outer, 3, inner)]), row)
