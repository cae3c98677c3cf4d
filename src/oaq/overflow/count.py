"""Overflows seen on data, under the register model that will run: evidence, for the tier ``observed``.

Exact integers throughout: a lane's true sum is compared with what its register can hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.accumulator import Accumulator
from oaq.numerics.cells import lane_of
from oaq.numerics.ranges import IntRange
from oaq.overflow.bounds import exact_dtype, group_is_bounded
from oaq.overflow.spill import Schedule

Ints = NDArray[np.integer]
AT_ONCE = 1 << 22
"""Products held at once: bounds memory, changes no count."""


@dataclass(frozen=True)
class Count:
    """What a schedule's registers met on some operands.

    Attributes:
        groups: instructions whose own sum left the register.
        lanes: spilled lanes whose true sum had left the register: at the spill if it wraps, at any moment if it
            saturates.
        spilled: lanes spilled altogether.
        lane_range: least and most true sum any lane held at a spill (at any moment, unless it wraps).
    """

    groups: int
    lanes: int
    spilled: int
    lane_range: IntRange

    @property
    def overflows(self) -> int:
        """Zero iff every sum was exact."""
        return self.groups + self.lanes


def count_overflows(schedule: Schedule, operands: Ints, outputs: int, *, tiles_span_groups: bool = False) -> Count:
    """Count what leaves its register.

    Args:
        schedule: proved or not for these operands.
        operands: (groups, M, K padded) integers as loaded, in packed K order; M samples (positions of all images).
        outputs: N.
        tiles_span_groups: True for depthwise: tiles cut the N groups, each output reads its own group's operands.

    Raises:
        ProgramError: the operands do not fit the schedule.
    """
    accumulator, step = schedule.accumulator, schedule.accumulator.step
    groups, samples, terms = operands.shape
    if terms != schedule.steps * step or outputs % groups or (tiles_span_groups and groups != outputs):
        raise ProgramError(f"operands {operands.shape} do not fit {schedule.steps} steps of {accumulator.name}")
    operands = operands.astype(exact_dtype(schedule.packed, operands, operands, terms))
    ends = (int(operands.min(initial=0)), int(operands.max(initial=0)))
    shape = schedule.shape(outputs, 1 if tiles_span_groups else groups)
    total, position = _Total(), 0
    for tile, start, count in schedule.segments.tolist():
        own_outputs = shape.outputs_of(tile)
        used = len(own_outputs)
        weight = schedule.packed[position : position + count, :used].astype(operands.dtype)
        weight = np.ascontiguousarray(weight.transpose(1, 0, 2)).reshape(used, count * step)
        position += count
        if tiles_span_groups:
            rows = slice(own_outputs.start, own_outputs.stop)
        else:
            group = own_outputs.start // shape.outputs_per_group
            rows = slice(group, group + 1)
        x = operands[rows, :, start * step : (start + count) * step]
        lane = lane_of(accumulator, np.arange(start * step, (start + count) * step))
        if accumulator.overflow == "wraps" and _groups_fit(weight, ends, accumulator):
            for n in range(accumulator.lanes):
                in_lane = lane == n
                lane_sums = np.einsum(
                    "omk,ok->mo" if tiles_span_groups else "zmk,ok->mo", x[..., in_lane], weight[:, in_lane]
                )
                total.add(lane_sums, lane_sums, accumulator)
            continue
        at_once = max(1, AT_ONCE // weight.size)
        for first in range(0, samples, at_once):
            _count_moments(np.moveaxis(x[:, first : first + at_once], 0, 1), weight, lane, (accumulator, total))
    return Count(total.groups, total.lanes, total.spilled, IntRange(total.least, total.most))


@dataclass
class _Total:
    groups: int = 0
    lanes: int = 0
    spilled: int = 0
    least: int = 0
    most: int = 0

    def add(self, low: Ints, high: Ints, accumulator: Accumulator) -> None:
        """Lanes whose true sums went as low as ``low`` and as high as ``high``."""
        self.spilled += low.size
        self.least, self.most = min(self.least, int(low.min(initial=0))), max(self.most, int(high.max(initial=0)))
        if accumulator.overflow != "exact":
            self.lanes += int(((low < accumulator.range.lo) | (high > accumulator.range.hi)).sum())


def _groups_fit(weight: Ints, ends: tuple[int, int], accumulator: Accumulator) -> bool:
    """No instruction's sum can leave the register while operands stay within ``ends``."""
    if not group_is_bounded(accumulator):
        return True
    pairs = weight.reshape(-1, accumulator.group)
    low = np.minimum(pairs * ends[0], pairs * ends[1]).sum(axis=1)
    high = np.maximum(pairs * ends[0], pairs * ends[1]).sum(axis=1)
    return accumulator.range.lo <= int(low.min()) and int(high.max()) <= accumulator.range.hi


def _count_moments(x: Ints, weight: Ints, lane: Ints, state: tuple[Accumulator, _Total]) -> None:
    """Count group by group: x (M, 1 or O, k), weight (O, k)."""
    accumulator, total = state
    register, group = accumulator.range, accumulator.group
    products = x * weight
    sums = sum(products[..., j::group] for j in range(1, group)) + products[..., ::group]
    if group_is_bounded(accumulator):
        total.groups += int(((sums < register.lo) | (sums > register.hi)).sum())
    for n in range(accumulator.lanes):
        lane_groups = sums[..., lane[::group] == n]
        if accumulator.overflow == "wraps":
            lane_sums = lane_groups.sum(axis=2)
            total.add(lane_sums, lane_sums, accumulator)
        else:
            running = lane_groups.cumsum(axis=2)
            total.add(running.min(axis=2, initial=0), running.max(axis=2, initial=0), accumulator)
