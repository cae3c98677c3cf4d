"""Overflows seen on data, under the register model that will run: evidence, for the tier ``observed``.

Exact integers throughout: a lane's true sum is compared with what its register can hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
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
        reached: least and most true sum any lane held at a spill (at any moment, unless it wraps).
    """

    groups: int
    lanes: int
    spilled: int
    reached: IntRange

    @property
    def overflows(self) -> int:
        """Zero iff every sum was exact."""
        return self.groups + self.lanes


def count_overflows(found: Schedule, operands: Ints, outputs: int, *, tiles_span_groups: bool = False) -> Count:
    """Count what leaves its register.

    Args:
        found: the schedule, proved or not for these operands.
        operands: (groups, M, K padded) integers as loaded, in packed K order; M samples (positions of all images).
        outputs: N.
        tiles_span_groups: True for depthwise: tiles cut the N groups, each output reads its own group's operands.

    Raises:
        ProgramError: the operands do not fit the schedule.
    """
    accumulator, tile_n = found.accumulator, found.tile_n
    groups, samples, terms = operands.shape
    if terms != found.steps * accumulator.step or outputs % groups or (tiles_span_groups and groups != outputs):
        raise ProgramError(f"operands {operands.shape} do not fit {found.steps} steps of {accumulator.name}")
    dtype = exact_dtype(found.packed, operands, operands, terms)
    per_group = outputs if tiles_span_groups else outputs // groups
    tiles_per_group = -(-per_group // tile_n)
    register, total, position = accumulator.range, _Total(), 0
    for tile, start, count in found.segments.tolist():
        group, within = divmod(tile, tiles_per_group)
        used = min(tile_n, per_group - within * tile_n)
        steps = slice(start * accumulator.step, (start + count) * accumulator.step)
        weight = found.packed[position : position + count, :used].astype(dtype)
        position += count
        if tiles_span_groups:
            x = np.moveaxis(operands[within * tile_n : within * tile_n + used, :, steps], 0, 1)
        else:
            x = operands[group, :, None, steps]
        grouped = (count, accumulator.step // accumulator.group, accumulator.group)
        weight = weight.transpose(1, 0, 2).reshape(1, used, *grouped)
        for first in range(0, samples, max(1, AT_ONCE // weight.size)):
            part = x[first : first + max(1, AT_ONCE // weight.size)].astype(dtype)
            sums = (part.reshape(len(part), -1, *grouped) * weight).sum(axis=-1, dtype=dtype)
            if group_is_bounded(accumulator):
                total.groups += int(((sums < register.lo) | (sums > register.hi)).sum())
            _count_lanes(found, sums.reshape(len(part), used, -1), start, total)
    return Count(total.groups, total.lanes, total.spilled, IntRange(total.least, total.most))


@dataclass
class _Total:
    groups: int = 0
    lanes: int = 0
    spilled: int = 0
    least: int = 0
    most: int = 0


def _count_lanes(found: Schedule, sums: Ints, start: int, total: _Total) -> None:
    """``sums``: (M, used, groups of the segment in order)."""
    accumulator = found.accumulator
    first = start * accumulator.step // accumulator.group
    lane_of = (first + np.arange(sums.shape[2])) % accumulator.lanes
    for lane in range(accumulator.lanes):
        own = sums[:, :, lane_of == lane]
        if not own.shape[2]:
            continue
        if accumulator.overflow == "wraps":
            low = high = own.sum(axis=2)
        else:
            running = own.cumsum(axis=2)
            low, high = running.min(axis=2), running.max(axis=2)
        total.spilled += low.size
        total.least, total.most = min(total.least, int(low.min())), max(total.most, int(high.max()))
        if accumulator.overflow != "exact":
            total.lanes += int(((low < accumulator.range.lo) | (high > accumulator.range.hi)).sum())
