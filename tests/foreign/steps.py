"""Nodes that force a row without sums of products, for machines that this one is not; and requantization of sums.

Sizes lie around the sixteen bytes of a vector there; integers and numbers at their ends come first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice, product
from typing import Final

import numpy as np

from oaq import operators as ops
from oaq.kernels.plan import plan
from oaq.kernels.table import KernelRow
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.program.int_program import IntProgram
from tests.foreign.cases import Forced, Images, forced, random_images
from tests.foreign.rows import RowTable
from tests.requantized import ENDS, MULTIPLIERS, SHIFTS, SUMS, fixed, sums_as_biases
from tests.single import BOTH, EVERY, rule, single
from tests.strategies import Builder

CHANNELS: Final = (1, 3, 15, 16, 17, 33, 49, 65, 130)
RANDOM, HIGH = ("random", "ends"), ("hi", "random")
Drawn = tuple[str, IntProgram, tuple[str, ...]]
"""A name, a program, the kinds of integers that it is run on."""


def step_rows(table: RowTable) -> tuple[str, ...]:
    """Rows without sums that ``step_cases`` has programs for: all but those that are the same code everywhere."""
    return tuple(name for name in table.rows if table.rows[name].family in PROGRAMS)


def step_cases(table: RowTable, row: str, every: int) -> tuple[Forced, ...]:
    """What a row without sums is tried on; where there are threads, every other time by two.

    Args:
        table: of the kind of machine.
        row: forced.
        every: 1 for everything; 4 for every fourth program, on machines that run the same instructions as another.
    """
    family, threads = table.rows[row].family, (1, 2) if table.threads else (1,)
    exhaustive = islice(_exhaustive(family), 0, None, every)
    cases = [forced(name, table.plan_for(program, row), x) for name, program, x in exhaustive]
    for number, (name, program, kinds) in enumerate(islice(PROGRAMS[family](), 0, None, every)):
        planned = table.plan_for(program, row)
        for kind in kinds:
            cases.append(
                forced(f"{name}, {kind}", planned, random_images(program, kind), threads[number % len(threads)])
            )
    assert all(row in {node.row.name for node in case.planned.nodes} for case in cases)
    return tuple(cases)


@cache
def requantized_cases(table: tuple[KernelRow, ...] | str) -> tuple[Forced, ...]:
    """Sums at their ends by every kind of numbers, as a target or given rows requantize them."""
    x = (np.array([[0], [255], [1], [128]], np.uint8),)
    programs = ((name, sums_as_biases(rule, zero, clamp)) for name, rule in _rules() for zero, clamp in ENDS)
    return tuple(forced(name, plan(program, table=table), x) for name, program in programs)


def _rules() -> Iterator[tuple[str, Requantize]]:
    rng = np.random.default_rng(5)
    for then in (None, 0, 1, 7, 31):
        for shifts in (SHIFTS, SHIFTS[4:]):
            numbers: list[tuple[int, ...]] = list(product(SUMS, MULTIPLIERS, shifts))
            rng.shuffle(numbers)
            yield f"fixed point, then {then}, shifts from {shifts[0]}", fixed(numbers, then)
    for count in (1, 15, 17, 33):
        scales = np.resize(np.array([1.0, 2.0**-31, 1e30, 0.5, 1.5, 2.0**-20, 3e38, 1e-38], np.float32), count)
        yield f"{count} floats", Requantize(scales)


def _exhaustive(family: str) -> Iterator[tuple[str, IntProgram, Images]]:
    """Every pair of integers of operators of two, every integer at every channel of tables."""
    left, right = (side[None, ..., None].copy() for side in np.meshgrid(EVERY, EVERY, indexing="ij"))
    if family == "mul":
        for semantics, zeros, ratio in product(BOTH, ((0, 7), (255, 240), (128, 8)), (2.0**-16, 0.004, 1.0, 2.0**29)):
            program = single(ops.Mul(rule(semantics, ratio)), [(256, 256, 1)] * 2, zeros, (7, 240))
            yield f"every pair times {ratio}, {semantics}, zero points {zeros}", program, (left, right)
        twice = Requantize(np.array([2**31 - 1], np.int32), np.array([20], np.int32), np.array([19], np.int32))
        yield "every pair, rounded twice", single(ops.Mul(twice), [(256, 256, 1)] * 2, (100, 100)), (left, right)
    if family == "add":
        for by, zeros in product(_additions(), ((0, 7), (255, 240))):
            program = single(ops.Add(by), [(256, 256, 1)] * 2, zeros, (7, 240))
            yield f"every pair by {by}, zero points {zeros}", program, (left, right)
    if family == "channel_lookup":
        for channels in (1, 7, 16, 40):
            tables = np.random.default_rng(channels).permuted(np.tile(EVERY, (channels, 1)), axis=1)
            x = ((EVERY[:, None] + np.arange(channels)) % 256).astype(np.uint8).reshape(1, 16, 16, -1)
            yield f"every entry of {channels}", single(ops.ChannelLookup(tables), [(16, 16, channels)]), (x,)
    if family == "lookup":
        for table in (EVERY, EVERY[::-1], np.where(EVERY % 2, 255, 0), np.random.default_rng(1).permutation(EVERY)):
            for count in (15, 16, 17, 33, 256, 259):
                x = ((np.arange(count) + 5 * EVERY[:, None]) % 256).astype(np.uint8)
                yield f"every entry at {count}", single(ops.Lookup(table.astype(np.uint8)), [(count,)]), (x[:64],)


def _additions() -> Iterator[Requantize]:
    """Pairs of numbers: alike, far apart, and in fixed point so large that sums leave 32 bits."""
    for ratios in ((0.5, 0.5), (0.7, 0.0009), (3.0, 2.0**-24)):
        yield rule("float32_half_even", *ratios)
    for multipliers, shift in (((2**22, 2**22), 23), ((3, 200), 9), ((1, 1), 1), ((2**30, 2**30 + 1), 31)):
        yield Requantize(np.array(multipliers, np.int32), np.full(2, shift, np.int32))


def _products() -> Iterator[Drawn]:
    for channels, positions in product((*CHANNELS, 1023, 1025), (1, 37)):
        op = ops.Mul(rule("float32_half_even", 0.01))
        yield f"{channels} channels", single(op, [(1, positions, channels), (channels,)]), RANDOM


def _sums() -> Iterator[Drawn]:
    for semantics, count in product(BOTH, (1, 15, 16, 17, 31, 33, 130)):
        yield f"{count}", single(ops.Add(rule(semantics, 0.7, 0.9)), [(count,)] * 2, (255, 1), (1, 254)), RANDOM


def _lookups() -> Iterator[Drawn]:
    for count in (1, 15, 16, 17, 1000):
        yield f"{count}", single(ops.Lookup(EVERY[::-1].copy()), [(count,)]), RANDOM


def _channel_lookups() -> Iterator[Drawn]:
    for channels, positions in product((*CHANNELS, 257), (1, 63, 64, 65, 191)):
        tables = np.random.default_rng(channels).integers(0, 256, (channels, 256)).astype(np.uint8)
        yield f"{channels} at {positions}", single(ops.ChannelLookup(tables), [(1, positions, channels)]), ("random",)


def _levels() -> Iterator[Drawn]:
    for channels, positions in product(CHANNELS, (1, 64, 300)):
        rng = np.random.default_rng(channels)
        bits = rng.integers(1, 8, channels).astype(np.uint8)
        limits = (255 // ((1 << bits.astype(int)) - 1)).astype(np.uint8)
        factors = rng.integers(1, 4001, channels).astype(np.int32)
        op = ops.Coarsen(bits, factors, limits, rng.integers(0, 2, channels).astype(np.uint8))
        yield f"{channels} at {positions}", single(op, [(1, positions, channels)]), ("ends", "hi")


def _concats() -> Iterator[Drawn]:
    for semantics, ratios, channels in product(BOTH, ((1.0, 1.0, 1.0), (0.5, 1.0, 3.0)), CHANNELS):
        shapes = [(3, 11, channels), (3, 11, 1), (3, 11, 17)]
        yield f"{channels} by {ratios}", single(ops.Concat(rule(semantics, *ratios)), shapes, (3, 3)), RANDOM


def _max_pools() -> Iterator[Drawn]:
    for channels, size, stride, dilation in product(CHANNELS, (1, 2, 3, 5), (1, 2), (1, 2)):
        op = ops.MaxPool((size, size), (stride, stride), (size // 2, 0, size // 2, size // 2), (dilation, dilation))
        yield f"{channels} under {size}, stride {stride}", single(op, [(10, 9, channels)]), ("random",)
    builder = Builder("clamped")
    x = builder.input((6, 7, 5), Affine(1.0, 9), IntRange(9, 200))
    builder.add(ops.MaxPool((2, 2), (1, 1), (1, 1, 1, 1)), [x])
    yield "clamped", builder.finish(), ("random", "lo", "hi")


def _means() -> Iterator[Drawn]:
    for semantics, size, stride, counts, channels in product(BOTH, (1, 3), (1, 2), (False, True), CHANNELS):
        by = rule(semantics, *(1.7 / (count + 1) for count in range(size * size)))
        op = ops.AvgPool((size, size), (stride, stride), by, (size // 2,) * 4, count_include_pad=counts)
        yield f"{channels} under {size}, stride {stride}", single(op, [(7, 6, channels)], (255, 0)), ("random",)
    for height in (257, 258, 515):  # more values than 16 bits hold the sum of
        op = ops.AvgPool((height, 1), (1, 1), rule("float32_half_even", *(1 / (i + 1) for i in range(height))))
        yield f"{height} high", single(op, [(height, 2, 33)], (0, 0)), HIGH


def _global_means() -> Iterator[Drawn]:
    for semantics, size, channels in product(BOTH, ((1, 1), (7, 7), (17, 16)), (*CHANNELS, 1280)):
        op = ops.GlobalAvgPool(rule(semantics, 1.9 / (size[0] * size[1])))
        yield f"{channels} of {size}", single(op, [(*size, channels)], (255, 0)), HIGH


def _resizes() -> Iterator[Drawn]:
    modes: tuple[ops.ResizeMode, ...] = ("nearest", "bilinear")
    for mode, channels, size in product(modes, CHANNELS, ((3, 50), (14, 10), (8, 4))):
        yield f"{mode} of {channels} to {size}", single(ops.Resize(*size, mode), [(7, 5, channels)]), RANDOM


def _blocks() -> Iterator[Drawn]:
    for mode, block, channels in product(("DCR", "CRD"), (1, 2, 3, 4), (1, 2, 3, 5, 16, 33)):
        op = ops.DepthToSpace(block, mode)  # type: ignore[arg-type]
        yield f"{mode} of {block}, {channels}", single(op, [(3, 7, channels * block * block)]), ("random",)


def _stretches() -> Iterator[Drawn]:
    for inner, outer in product((1, 2, 3, 7, 15, 16, 17, 33, 65, 130), (2, 8, 16, 17, 70)):
        flat = ops.Transpose.joining((3, outer, inner), (0, 2, 1), (3, outer * inner))
        yield f"{outer} by {inner}", single(flat, [(3, outer * inner)]), ("random",)
        moved = ops.Transpose.joining((outer, 3, inner), (2, 1, 0), (inner, 3, outer))
        yield f"{outer} by 3 by {inner}", single(moved, [(outer, 3, inner)]), ("random",)


def _picks() -> Iterator[Drawn]:
    rng = np.random.default_rng(7)
    for size in (2, 5, 16, 17, 33, 70, 300, 5000):  # of the axis; 5000 bytes are too many to shuffle
        orders = {
            "every other": np.arange(size % 2, size, 2),
            "backwards": np.arange(size)[::-1],
            "one": np.full(3, size - 1),
            "any": rng.integers(0, size, min(size, 40)),
            "far apart": np.arange(size) * 37 % size,
        }
        for name, order in orders.items():
            index = order.astype(np.int32)
            yield f"{name} of {size} channels", single(ops.Gather(0, index), [(3, 5, size)]), ("random",)
            if size <= 300:
                for channels in (1, 3, 15, 16):  # bytes of an entry
                    picked = single(ops.Gather(2, index), [(3, size, channels)])
                    yield f"{name} of {size} columns of {channels}", picked, ("random",)


PROGRAMS: Final[dict[str, Callable[[], Iterator[Drawn]]]] = {
    "add": _sums,
    "avg_pool": _means,
    "channel_lookup": _channel_lookups,
    "coarsen": _levels,
    "concat": _concats,
    "depth_to_space": _blocks,
    "gather": _picks,
    "global_avg_pool": _global_means,
    "lookup": _lookups,
    "max_pool": _max_pools,
    "mul": _products,
    "resize": _resizes,
    "transpose": _stretches,
}
"""What each family with rows on vectors is tried on, by family."""
