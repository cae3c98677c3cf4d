"""Spill schedules: where a run ends and the narrow lanes are added into s32.

A schedule cuts the steps of every tile of outputs into contiguous segments whose lanes are proved to fit. The greedy
longest run is optimal: if every operand range contains 0, any part of a run that fits fits too, so ending a run early
never helps a later one (docs/math/overflow.md, section 6).

Steps that do not fit by themselves are split (``overflow.runs``); weights wider than int8 are scheduled in passes
(``overflow.wide``). Steps that hold nothing may be left out (``overflow.skipped``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.accumulator import Accumulator
from oaq.numerics.cells import TileShape, place_in_lane
from oaq.numerics.ranges import IntRange
from oaq.overflow.bounds import weight_bound
from oaq.overflow.runs import RunLayout, issue_weight, lay_out
from oaq.overflow.skipped import begins_after_gap, gaps_inside, holds, without_zeros
from oaq.overflow.tiled import Tiled, shape_of, tile
from oaq.overflow.wide import byte_parts, interleaved, restarts, trimmed

Ints = NDArray[np.integer]
Weights = NDArray[np.signedinteger[Any]]
"""int8, or int16 where one weight leaves int8."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """A proved spill schedule of one layer on one register model.

    The law: for every tile, output and k, the packed weights of the segments that cover k sum to the program's weight.

    Attributes:
        accumulator: the register model it is proved for.
        tile_n: outputs per tile. Tiles cut the outputs of one group, groups one after the other; the last tile of each
            group is padded with zero weights.
        steps: inner steps that cover K (zero-padded at the end). A tile may leave out some that hold only zeros.
        segments: (R, 3) int32 rows (tile, start, count): steps [start, start + count) of that tile are summed in the
            narrow register, then spilled. Ordered by tile; within a tile, in execution order.
        packed: (S, tile_n, step) int8, S = sum of counts: the weights in execution order.
        bounds: (R, 2) int64: least and most any lane of any output of the tile can hold at the spill (at any moment,
            for a saturating or exact register). Lanes of padding hold 0.
        group_bound: least and most of any single instruction's group.
        splits: how many (tile, step) had to be issued more than once, as split or as wide.
        operand: (shift, least, most) of the kernel's operand form if it is not raw u8: it multiplies u8 - shift, which
            lies in [least, most] (``overflow.forms``).
    """

    accumulator: Accumulator
    tile_n: int
    steps: int
    segments: NDArray[np.int32]
    packed: NDArray[np.int8]
    bounds: NDArray[np.int64]
    group_bound: IntRange
    splits: int
    operand: tuple[int, int, int] | None = None

    @property
    def shift(self) -> int:
        """What is subtracted from a u8 before it is multiplied."""
        return self.operand[0] if self.operand is not None else 0

    @property
    def tiles(self) -> int:
        """How many tiles of outputs."""
        return int(self.segments[-1, 0]) + 1

    @property
    def spills(self) -> int:
        """How often a tile's lanes are added into s32, over all tiles, for one output position."""
        return len(self.segments)

    @property
    def skipped(self) -> int:
        """Steps left out because all weights of their tile are zero there, over all tiles."""
        return self.tiles * self.steps - len(np.unique(_executed(self)))

    @property
    def average_run(self) -> float:
        """Steps per spill, those left out not counted; for reports, not for proofs."""
        return (self.tiles * self.steps - self.skipped) / self.spills

    def shape(self, outputs: int, groups: int) -> TileShape:
        """How it cuts N ``outputs`` in ``groups`` that tiles do not span, and K with its padding."""
        step = self.accumulator.step
        return TileShape(outputs, self.steps * step, step, self.tile_n, groups)

    @property
    def bound(self) -> IntRange:
        """Least and most over all segments."""
        return IntRange(int(self.bounds[:, 0].min()), int(self.bounds[:, 1].max()))


@dataclass(frozen=True)
class RunCount:
    """The size of a schedule without its weights; what a cost model needs.

    Attributes:
        tiles: tiles of outputs.
        steps: steps of one tile, each counted once.
        segments: spills over all tiles.
        issues: steps executed over all tiles, each counted as often as it is issued.
        skipped: steps of zeros that no tile executes, over all tiles.
        gaps: how often a tile goes on behind such steps.
    """

    tiles: int
    steps: int
    segments: int
    issues: int
    skipped: int = 0
    gaps: int = 0

    @property
    def distinct(self) -> int:
        """Steps executed over all tiles, each counted once."""
        return self.tiles * self.steps - self.skipped

    @property
    def reissued(self) -> int:
        """Issues beyond the first of each step: split or wide."""
        return self.issues - self.distinct

    @property
    def average_run(self) -> float:
        """Steps per spill."""
        return self.distinct / self.segments


@dataclass(frozen=True, eq=False)
class Cut:
    """Where the runs of a layer end on one register model.

    Attributes:
        count: the size of the schedule.
        schedule: makes it: lays the weights out in execution order and bounds every run.
    """

    count: RunCount
    schedule: Callable[[], Schedule]


def schedule(
    weight: Weights,
    x_lo: Ints,
    x_hi: Ints,
    accumulator: Accumulator,
    tile_n: int,
    *,
    groups: int = 1,
    gap: int | None = None,
    where: str = "layer",
) -> Schedule:
    """The fewest spills that are proved for every input.

    Args:
        weight: (N, K) int8, or int16 in [-255, 255], in packed K order; padding of K at the end is added here.
        x_lo: (K,) or (R, K), R dividing N (output n reads row ``n // (N / R)``): operand ranges as loaded.
        x_hi: likewise.
        accumulator: the register model.
        tile_n: outputs that share a tile, hence their spills.
        groups: groups of outputs that tiles must not span (1 for depthwise, whose tiles span channels).
        gap: steps of zeros, one after another, that end a run so as to be left out; at the ends of runs fewer are left
            out, too. None: every step is executed. Of weights wider than int8 no step of the first pass is left out.
        where: the node's name, for errors.

    Raises:
        AccumulatorOverflow: a single product leaves a lane; names output, lane, step and the bits it needs.
    """
    return cut(weight, x_lo, x_hi, accumulator, tile_n, groups=groups, gap=gap, where=where).schedule()


def cut(
    weight: Weights,
    x_lo: Ints,
    x_hi: Ints,
    accumulator: Accumulator,
    tile_n: int,
    *,
    groups: int = 1,
    gap: int | None = None,
    held: NDArray[np.bool_] | None = None,
    where: str = "layer",
) -> Cut:
    """As much of ``schedule`` as says how long it is; same arguments, same errors.

    For a planner that asks several registers before it takes one. ``held``, (N, K), names weights whose steps are
    executed even where they are zero, of weights that fit int8.
    """
    low, high = np.atleast_2d(np.asarray(x_lo)), np.atleast_2d(np.asarray(x_hi))
    parts = byte_parts(np.asarray(weight))
    shape = shape_of(parts[0], low, high, accumulator.step, (tile_n, groups))
    if len(parts) > 1:
        merged = _passes(parts, low, high, accumulator, (shape, where))
        return Cut(RunCount(merged.tiles, merged.steps, merged.spills, len(merged.packed)), lambda: merged)
    one_by_one = accumulator.group == accumulator.lanes == 1
    if gap is None and accumulator.is_exact and accumulator.max_run is None and one_by_one:
        count = RunCount(shape.tiles, shape.steps, shape.tiles, shape.tiles * shape.steps)
        return Cut(count, partial(_one_run_per_tile, parts[0], low, high, accumulator, shape))
    tiled = tile(parts[0], low, high, shape)
    kept = None if held is None else shape.lay(held)
    layout = _laid_out(tiled, accumulator, where, gap, kept)
    issues, executed = int(layout.issues.sum()), int(np.count_nonzero(layout.issues))
    segments = int(layout.starts.sum()) + issues - executed
    skipped = layout.issues.size - executed
    count = RunCount(tiled.tiles, tiled.steps, segments, issues, skipped, gaps_inside(layout.issues) if skipped else 0)
    return Cut(count, partial(_pack, tiled, layout, accumulator))


def _laid_out(
    tiled: Tiled, accumulator: Accumulator, where: str, gap: int | None, held: NDArray[np.bool_] | None
) -> RunLayout:
    """Where runs start, and which steps are executed; ``held`` is tiled as the weights are."""
    occupied = None if gap is None else holds(tiled.weight if held is None else (tiled.weight != 0) | held)
    if gap is None or occupied is None or occupied.all():
        return lay_out(tiled, accumulator, where)
    return without_zeros(lay_out(tiled, accumulator, where, restart=begins_after_gap(occupied, gap)), occupied)


def split_rows(proved: Schedule) -> NDArray[np.intp]:
    """Which rows of ``packed`` belong to steps that are issued more than once."""
    step = _executed(proved)
    return np.nonzero(np.bincount(step)[step] > 1)[0]


def _executed(proved: Schedule) -> NDArray[np.intp]:
    """(S,): which step of which tile each row of ``packed`` belongs to, as tile * steps + step."""
    tile, start, count = proved.segments.astype(np.intp).T
    within = np.arange(len(proved.packed)) - (np.cumsum(count) - count).repeat(count)
    return tile.repeat(count) * proved.steps + start.repeat(count) + within


def count_runs(
    weight: Weights,
    x_lo: Ints,
    x_hi: Ints,
    accumulator: Accumulator,
    tile_n: int,
    *,
    groups: int = 1,
    gap: int | None = None,
    held: NDArray[np.bool_] | None = None,
) -> RunCount:
    """How many segments and steps ``schedule`` would need; same arguments, same errors, no packing.

    ``held``: see ``cut``.
    """
    return cut(weight, x_lo, x_hi, accumulator, tile_n, groups=groups, gap=gap, held=held).count


def _passes(
    parts: list[NDArray[np.int8]], x_lo: Ints, x_hi: Ints, accumulator: Accumulator, tiling: tuple[TileShape, str]
) -> Schedule:
    """The schedule of weights wider than a byte: that of each part, one after the other."""
    shape, where = tiling
    passes = []
    for index, part in enumerate(parts):
        tiled = tile(part, x_lo, x_hi, shape)
        proved = _pack(
            tiled, lay_out(tiled, accumulator, where, restart=restarts(tiled.weight) if index else None), accumulator
        )
        if index:
            segments, run_rows, rows = trimmed(proved.segments, proved.packed)
            proved = replace(proved, segments=segments, packed=proved.packed[rows], bounds=proved.bounds[run_rows])
        passes.append(proved)
    return _merge(passes)


def _merge(passes: list[Schedule]) -> Schedule:
    """All passes as one schedule: a tile executes one after the other."""
    by_segment, by_row = interleaved([part.segments for part in passes])
    segments = np.concatenate([part.segments for part in passes])[by_segment]
    packed = np.concatenate([part.packed for part in passes])[by_row]
    bounds = np.concatenate([part.bounds for part in passes])[by_segment]
    for array in (segments, packed, bounds):
        array.flags.writeable = False
    group = reduce(IntRange.hull, (part.group_bound for part in passes))
    merged = replace(passes[0], segments=segments, packed=packed, bounds=bounds, group_bound=group)
    return replace(merged, splits=int((np.bincount(_executed(merged)) > 1).sum()))


def _one_run_per_tile(
    weight: NDArray[np.int8], x_lo: Ints, x_hi: Ints, accumulator: Accumulator, shape: TileShape
) -> Schedule:
    """One run per tile on an exact register that takes products one by one: its partial sums are the layer's own."""
    segments = np.zeros((shape.tiles, 3), np.int32)
    segments[:, 0], segments[:, 2] = np.arange(shape.tiles), shape.steps
    sums = weight_bound(weight, x_lo, x_hi, partial=True)
    ends = np.stack([shape.by_tile(sums.lo).min(axis=1), shape.by_tile(sums.hi).max(axis=1)], axis=1)
    packed = np.asarray(shape.lay(weight), np.int8).reshape(-1, shape.tile_n, shape.step)
    group = _largest_products(weight, x_lo, x_hi)
    group = group.hull(IntRange(0, 0)) if shape.is_padded else group
    for array in (segments, packed, ends):
        array.flags.writeable = False
    return Schedule(accumulator, shape.tile_n, shape.steps, segments, packed, ends, group, 0)


def _largest_products(weight: NDArray[np.int8], x_lo: Ints, x_hi: Ints) -> IntRange:
    """Least and most of any single product: at a corner of the extremes of its operand and of the weights it meets."""
    by_row = weight.reshape(len(x_lo), -1, weight.shape[1])
    ends = [extremes.astype(np.int64) for extremes in (by_row.min(axis=1), by_row.max(axis=1))]
    corners = [w * x for w in ends for x in (x_lo.astype(np.int64), x_hi.astype(np.int64))]
    return IntRange(min(int(corner.min()) for corner in corners), max(int(corner.max()) for corner in corners))


def _pack(tiled: Tiled, layout: RunLayout, accumulator: Accumulator) -> Schedule:
    tiles, steps, outputs, _ = tiled.weight.shape
    tile_index, at = (index.repeat(layout.issues.reshape(-1)) for index in np.divmod(np.arange(tiles * steps), steps))
    first_of = np.cumsum(layout.issues.reshape(-1)) - layout.issues.reshape(-1)
    issue = np.arange(len(tile_index)) - first_of.repeat(layout.issues.reshape(-1))
    starts = np.nonzero((issue > 0) | layout.starts[tile_index, at])[0]
    counts = np.diff(starts, append=len(tile_index))
    segments = np.stack([tile_index[starts], at[starts], counts], axis=1).astype(np.int32)
    rows = tile_index * steps + at
    packed = tiled.weight.reshape(-1, *tiled.weight.shape[2:])[rows]
    reissued = np.nonzero(layout.issues[tile_index, at] > 1)[0]
    place = place_in_lane(accumulator)
    for number in range(int(place.max()) + 1):
        issue_rows = reissued[issue[reissued] == number]
        packed[issue_rows] = issue_weight(
            packed[issue_rows], layout.split[tile_index[issue_rows], at[issue_rows]], place, number
        )
    ends, group = _bounds(layout, rows, starts)
    for array in (segments, packed, ends):
        array.flags.writeable = False
    splits = int((layout.issues > 1).sum())
    return Schedule(accumulator, outputs, steps, segments, packed, ends, group, splits)


def _bounds(layout: RunLayout, rows: NDArray[np.intp], starts: NDArray[np.intp]) -> tuple[NDArray[np.int64], IntRange]:
    """Least and most of any lane of each run, and of any group.

    Args:
        layout: of the layer.
        rows: (S,) which of the T * Q steps is executed.
        starts: (R,) first executed step of each run.
    """
    alone, by_issue = layout.alone, layout.by_issue
    split = np.nonzero(layout.issues.reshape(-1)[rows] > 1)[0]
    issued_once = layout.issues.reshape(-1) == 1
    ends, groups = [], []
    for least, end in ((True, "lo"), (False, "hi")):
        lanes, of_groups = (getattr(alone, f"{part}_{end}") for part in ("lane", "group"))
        if by_issue or len(rows) != lanes.shape[1]:
            lanes, of_groups = lanes[:, rows], of_groups[:, issued_once]
        if by_issue:
            for number, bounds in enumerate(by_issue):
                lanes[:, split[number :: len(by_issue)]] = getattr(bounds, f"lane_{end}")
        sums = np.add.reduceat(lanes, starts, axis=1, dtype=lanes.dtype)
        ends.append(sums.min(axis=(0, 2)) if least else sums.max(axis=(0, 2)))
        group_ends = [
            array for array in (of_groups, *(getattr(bounds, f"group_{end}") for bounds in by_issue)) if array.size
        ]
        groups.append(
            min(int(array.min()) for array in group_ends) if least else max(int(array.max()) for array in group_ends)
        )
    return np.stack(ends, axis=1).astype(np.int64), IntRange(*groups)
