"""A bit-true model of the registers a kernel sums in: groups, lanes, wrap, saturate, spill, all as arguments.

It computes what the hardware would, overflow included, so that a bound can be checked from both sides: no overflow
where none is proved, an overflow where a witness says so. It knows nothing of bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.accumulator import Accumulator, Overflow
from oaq.numerics.cells import TileShape, lane_of
from oaq.numerics.formats import S32
from oaq.numerics.ranges import IntRange

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Simulation:
    """What the registers held in the end, and how often one was left on the way. All (M, N) int64.

    Attributes:
        sums: the s32 total as the hardware has it.
        exact: the sum with no register at all.
        group_overflows: instructions whose group sum left the register.
        lane_overflows: additions whose result the register could not hold; a wrapping lane may come back by another.
        wrong_lanes: spilled lanes whose register differed from the sum it should hold.
        total_overflows: spills after which the s32 total had been left.
    """

    sums: Ints
    exact: Ints
    group_overflows: Ints
    lane_overflows: Ints
    wrong_lanes: Ints
    total_overflows: Ints

    @property
    def is_exact(self) -> bool:
        """True iff every total is the exact sum."""
        return bool(np.array_equal(self.sums, self.exact))


def simulate(
    accumulator: Accumulator,
    operands: NDArray[np.integer],
    segments: NDArray[np.integer],
    packed: NDArray[np.integer],
    outputs: int,
    *,
    tiles_span_groups: bool = False,
) -> Simulation:
    """Execute a spill schedule.

    Args:
        accumulator: the register model.
        operands: (groups, M, K padded) integers as loaded, see ``packed_operands``.
        segments: (R, 3) rows (tile, start, count): steps [start, start + count) of that tile are summed in the narrow
            register, then spilled.
        packed: (sum of counts, tile_n, step) weights in execution order.
        outputs: N.
        tiles_span_groups: False: tiles cut the outputs of one group, groups one after the other, the last tile of each
            zero-padded. True (depthwise): tiles cut the N groups, each output reads its own group's operands.

    Raises:
        ProgramError: the arrays do not fit each other or the register model.
    """
    segments = np.asarray(segments, np.int64)
    _check(accumulator, operands, segments, packed)
    groups, samples, _ = operands.shape
    shape = TileShape(outputs, operands.shape[2], accumulator.step, packed.shape[1], 1 if tiles_span_groups else groups)
    results = [np.zeros((samples, outputs), np.int64) for _ in range(6)]
    position = 0
    for tile, start, count in segments.tolist():
        tile_outputs = shape.outputs_of(tile)
        columns = slice(tile_outputs.start, tile_outputs.stop)
        group_operands = (
            operands[columns] if tiles_span_groups else operands[columns.start // shape.outputs_per_group][None]
        )
        _segment(
            accumulator,
            np.moveaxis(group_operands, 0, 1).astype(np.int64),
            packed[position : position + count, : len(tile_outputs)].astype(np.int64),
            start,
            [result[:, columns] for result in results],
        )
        position += count
    return Simulation(*results)


def fit(value: Ints, register: IntRange, overflow: Overflow) -> Ints:
    """What a register holds after ``value`` is written to it: the value, wrapped, or saturated."""
    if overflow == "exact":
        return value
    if overflow == "saturates":
        return np.clip(value, register.lo, register.hi)
    return (value - register.lo) % (register.steps + 1) + register.lo


def _segment(accumulator: Accumulator, x: Ints, weights: Ints, start: int, results: list[Ints]) -> None:
    """Sum one segment and spill it; ``results`` are the (M, used) views of Simulation's fields, added to in place."""
    sums, exact, group_overflows, lane_overflows, wrong_lanes, total_overflows = results
    register, step, group = accumulator.range, accumulator.step, accumulator.group
    lanes = np.zeros((*sums.shape, accumulator.lanes), np.int64)
    should = np.zeros_like(lanes)
    for index, weight in enumerate(weights):
        for k in range((start + index) * step, (start + index + 1) * step, group):
            w = weight[:, k % step : k % step + group]
            products = (x[:, :, k : k + group] * w).sum(axis=-1)
            exact += products
            group_sums = fit(products, register, accumulator.group_overflow)
            group_overflows += _outside(products, register, accumulator.group_overflow)
            lane = lane_of(accumulator, k)
            should[:, :, lane] += products
            total = lanes[:, :, lane] + group_sums
            lane_overflows += _outside(total, register, accumulator.overflow)
            lanes[:, :, lane] = fit(total, register, accumulator.overflow)
    wrong_lanes += (lanes != should).sum(axis=-1)
    spilled = sums + lanes.sum(axis=-1)
    total_overflows += _outside(spilled, S32, "wraps")
    sums[...] = fit(spilled, S32, "wraps")


def _outside(value: Ints, register: IntRange, overflow: Overflow) -> Ints:
    if overflow == "exact":
        return np.zeros_like(value)
    return ((value < register.lo) | (value > register.hi)).astype(np.int64)


def _check(
    accumulator: Accumulator, operands: NDArray[np.integer], segments: Ints, packed: NDArray[np.integer]
) -> None:
    if operands.ndim != 3 or packed.ndim != 3 or segments.ndim != 2 or segments.shape[1] != 3:
        raise ProgramError(
            f"simulate: operands (groups, M, K), segments (R, 3), packed (S, tile_n, step) expected, got "
            f"{operands.shape}, {segments.shape}, {packed.shape}"
        )
    if packed.shape[2] != accumulator.step or operands.shape[2] % accumulator.step:
        raise ProgramError(
            f"simulate: {accumulator.name} takes steps of {accumulator.step}, packed has {packed.shape[2]}, "
            f"K is {operands.shape[2]}"
        )
    counts = segments[:, 2]
    if int(counts.sum()) != packed.shape[0]:
        raise ProgramError(f"simulate: segments count {int(counts.sum())} steps, packed holds {packed.shape[0]}")
    steps = operands.shape[2] // accumulator.step
    if segments.size and (int(segments.min()) < 0 or int((segments[:, 1] + counts).max()) > steps):
        raise ProgramError(f"simulate: a segment leaves the {steps} steps of K")
    if accumulator.max_run is not None and counts.size and int(counts.max()) > accumulator.max_run:
        raise ProgramError(f"simulate: {accumulator.name} runs {accumulator.max_run} steps, not {int(counts.max())}")
