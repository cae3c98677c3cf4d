"""Spill schedules: where a run ends and the narrow lanes are added into s32.

A schedule cuts the steps of every tile of outputs into contiguous segments whose lanes are proved to fit. The greedy
longest run is optimal: if every operand range contains 0, any part of a run that fits fits too, so ending a run early
never helps a later one (docs/math/overflow.md, section 6).

A step that does not fit by itself is *split*: issued twice (once per product that shares a lane), with complementary
weights for the outputs that need it, so that every issue puts one product into a lane. Weights wider than int8 are
scheduled in passes (``overflow.wide``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from oaq.errors import AccumulatorOverflow
from oaq.numerics.accumulator import Accumulator
from oaq.numerics.ranges import IntRange
from oaq.overflow.bounds import StepBounds, exact_dtype, group_is_bounded, place_in_lane, step_bounds
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
        steps: inner steps that cover K (zero-padded at the end).
        segments: (R, 3) int32 rows (tile, start, count): steps [start, start + count) of that tile are summed in the
            narrow register, then spilled. Ordered by tile; within a tile, in execution order.
        packed: (S, tile_n, step) int8, S = sum of counts: the weights in execution order.
        bounds: (R, 2) int64: least and most any lane of any output of the tile can hold at the spill (at any moment,
            for a saturating or exact register). Lanes of padding hold 0.
        group_bound: least and most of any single instruction's group.
        splits: how many (tile, step) had to be issued more than once, as split or as wide.
    """

    accumulator: Accumulator
    tile_n: int
    steps: int
    segments: NDArray[np.int32]
    packed: NDArray[np.int8]
    bounds: NDArray[np.int64]
    group_bound: IntRange
    splits: int

    @property
    def tiles(self) -> int:
        """How many tiles of outputs."""
        return int(self.segments[-1, 0]) + 1

    @property
    def spills(self) -> int:
        """How often a tile's lanes are added into s32, over all tiles, for one output position."""
        return len(self.segments)

    @property
    def average_run(self) -> float:
        """Steps per spill; for reports, not for proofs."""
        return self.tiles * self.steps / self.spills

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
    """

    tiles: int
    steps: int
    segments: int
    issues: int


def schedule(
    weight: Weights,
    x_lo: Ints,
    x_hi: Ints,
    accumulator: Accumulator,
    tile_n: int,
    *,
    groups: int = 1,
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
        where: the node's name, for errors.

    Raises:
        AccumulatorOverflow: a single product leaves a lane; names output, lane, step and the bits it needs.
    """
    passes = []
    for index, part in enumerate(byte_parts(np.asarray(weight))):
        tiled = _tile(part, x_lo, x_hi, accumulator, (tile_n, groups))
        found = _pack(tiled, _layout(tiled, accumulator, where, later=index > 0), accumulator)
        if index:
            segments, kept, rows = trimmed(found.segments, found.packed)
            found = replace(found, segments=segments, packed=found.packed[rows], bounds=found.bounds[kept])
        passes.append(found)
    return passes[0] if len(passes) == 1 else _merge(passes)


def split_rows(found: Schedule) -> NDArray[np.intp]:
    """Which rows of ``packed`` belong to steps that are issued more than once."""
    step = _executed(found)
    return np.nonzero(np.bincount(step)[step] > 1)[0]


def _executed(found: Schedule) -> NDArray[np.intp]:
    """(S,): which step of which tile each row of ``packed`` belongs to, as tile * steps + step."""
    tile, start, count = found.segments.astype(np.intp).T
    within = np.arange(len(found.packed)) - (np.cumsum(count) - count).repeat(count)
    return tile.repeat(count) * found.steps + start.repeat(count) + within


def count_runs(
    weight: Weights, x_lo: Ints, x_hi: Ints, accumulator: Accumulator, tile_n: int, *, groups: int = 1
) -> RunCount:
    """How many segments and steps ``schedule`` would need; same arguments, same errors, no packing."""
    narrow = byte_parts(np.asarray(weight))
    if len(narrow) > 1:
        found = schedule(weight, x_lo, x_hi, accumulator, tile_n, groups=groups)
        return RunCount(found.tiles, found.steps, found.spills, len(found.packed))
    tiled = _tile(narrow[0], x_lo, x_hi, accumulator, (tile_n, groups))
    layout = _layout(tiled, accumulator, "layer")
    extra = int(layout.issues.sum() - layout.issues.size)
    return RunCount(tiled.tiles, tiled.steps, int(layout.starts.sum()) + extra, int(layout.issues.sum()))


@dataclass(frozen=True, eq=False)
class _Tiled:
    """Weights (T, Q, tile_n, step) int8 and ranges (1 or T, Q, 1 or tile_n, step) in ``dtype``."""

    weight: NDArray[np.int8]
    x_lo: Ints
    x_hi: Ints
    dtype: DTypeLike
    first_output: NDArray[np.intp]

    @property
    def tiles(self) -> int:
        return self.weight.shape[0]

    @property
    def steps(self) -> int:
        return self.weight.shape[1]

    def bounds(self, accumulator: Accumulator) -> StepBounds:
        """Of every (tile, step), flattened to X = T * Q."""
        tiles, steps, outputs, step = self.weight.shape
        flat = (tiles * steps, -1, step)
        low, high = (np.broadcast_to(x, (tiles, steps, *x.shape[2:])).reshape(flat) for x in (self.x_lo, self.x_hi))
        weight = self.weight.reshape(tiles * steps, outputs, step).astype(self.dtype)
        return step_bounds(weight, low, high, accumulator, np.tile(np.arange(steps), tiles))


@dataclass(frozen=True, eq=False)
class _Layout:
    """Which steps start a run (T, Q), how often each is issued (T, Q), which outputs are split (T, Q, tile_n)."""

    starts: NDArray[np.bool_]
    issues: NDArray[np.intp]
    split: NDArray[np.bool_]


def _merge(passes: list[Schedule]) -> Schedule:
    """All passes as one schedule: a tile executes one after the other."""
    by_segment, by_row = interleaved([found.segments for found in passes])
    segments = np.concatenate([found.segments for found in passes])[by_segment]
    packed = np.concatenate([found.packed for found in passes])[by_row]
    bounds = np.concatenate([found.bounds for found in passes])[by_segment]
    for array in (segments, packed, bounds):
        array.flags.writeable = False
    group = reduce(IntRange.hull, (found.group_bound for found in passes))
    whole = replace(passes[0], segments=segments, packed=packed, bounds=bounds, group_bound=group)
    return replace(whole, splits=int((np.bincount(_executed(whole)) > 1).sum()))


def _tile(weight: NDArray[np.int8], x_lo: Ints, x_hi: Ints, accumulator: Accumulator, shape: tuple[int, int]) -> _Tiled:
    low, high = np.atleast_2d(np.asarray(x_lo)), np.atleast_2d(np.asarray(x_hi))
    tile_n, groups = shape
    outputs, terms = weight.shape
    rows = low.shape[0]
    if low.shape != high.shape or low.shape[1] != terms or outputs % rows or outputs % groups:
        raise ValueError(f"weights {weight.shape} in {groups} groups do not fit ranges {low.shape}, {high.shape}")
    dtype = exact_dtype(weight, low, high, terms)
    if rows == 1:
        x = [_pad_steps(ends.astype(dtype), accumulator.step)[:, :, None] for ends in (low, high)]
    else:
        per_output = [np.repeat(ends.astype(dtype), outputs // rows, axis=0) for ends in (low, high)]
        x = [_pad_tiles(_pad_steps(ends, accumulator.step), tile_n, groups) for ends in per_output]
    tiles = _pad_tiles(_pad_steps(weight, accumulator.step), tile_n, groups)
    per_group = outputs // groups
    first = (np.arange(groups)[:, None] * per_group + np.arange(0, per_group, tile_n)).reshape(-1)
    return _Tiled(np.ascontiguousarray(tiles, np.int8), x[0], x[1], dtype, first)


def _pad_steps(values: Ints, step: int) -> Ints:
    """(N, K) to (N, Q, step), zeros at the end."""
    return np.pad(values, ((0, 0), (0, -values.shape[1] % step))).reshape(values.shape[0], -1, step)


def _pad_tiles(values: Ints, tile_n: int, groups: int) -> Ints:
    """(N, Q, step) to (T, Q, tile_n, step), zeros for missing outputs."""
    grouped = values.reshape(groups, -1, *values.shape[1:])
    padded = np.pad(grouped, ((0, 0), (0, -grouped.shape[1] % tile_n), (0, 0), (0, 0)))
    return padded.reshape(-1, tile_n, *values.shape[1:]).transpose(0, 2, 1, 3)


def _layout(tiled: _Tiled, accumulator: Accumulator, where: str, *, later: bool = False) -> _Layout:
    """Where runs start; a ``later`` pass also starts one wherever its weights begin again."""
    tiles, steps, outputs, _ = tiled.weight.shape
    starts = restarts(tiled.weight) if later else np.zeros((tiles, steps), np.bool_)
    starts[:, 0] = True
    issues = np.ones((tiles, steps), np.intp)
    if accumulator.is_exact and accumulator.max_run is None:
        return _Layout(starts, issues, np.zeros((tiles, steps, outputs), np.bool_))
    alone = tiled.bounds(accumulator)
    split = _leaves(alone, accumulator).reshape(tiles, steps, outputs)
    issues[split.any(axis=2)] = int(place_in_lane(accumulator).max()) + 1
    first, last = _stacked(alone, tiled.weight.shape), None
    if split.any():
        first, last = _split_bounds(tiled, split, first, accumulator, where)
    if accumulator.max_run == 1:
        starts[:] = True
    else:
        _greedy(starts, first, last, accumulator)
    return _Layout(starts, issues, split)


def _leaves(bounds: StepBounds, accumulator: Accumulator) -> NDArray[np.bool_]:
    """(X, O): the step cannot be summed as it is."""
    register = accumulator.range
    leaves = np.zeros(bounds.lane_lo.shape[:2], np.bool_)
    if accumulator.overflow != "exact":
        leaves |= _outside(bounds.lane_lo, bounds.lane_hi, register)
    if group_is_bounded(accumulator):
        leaves |= _outside(bounds.group_lo, bounds.group_hi, register)
    return leaves


def _outside(lo: Ints, hi: Ints, register: IntRange) -> NDArray[np.bool_]:
    """(X, O): some lane or group of the last axis leaves the register."""
    found = np.zeros(lo.shape[:2], np.bool_)
    if int(lo.min()) < register.lo or int(hi.max()) > register.hi:
        for one in range(lo.shape[2]):
            found |= (lo[..., one] < register.lo) | (hi[..., one] > register.hi)
    return found


def _stacked(bounds: StepBounds, shape: tuple[int, ...]) -> Ints:
    """(Q, T, 2 * tile_n * lanes): per step and tile, the most of every lane, then minus the least."""
    tiles, steps = shape[:2]
    ends = np.concatenate([bounds.lane_hi.reshape(tiles, steps, -1), -bounds.lane_lo.reshape(tiles, steps, -1)], axis=2)
    return np.ascontiguousarray(ends.transpose(1, 0, 2))


def _split_bounds(
    tiled: _Tiled, split: NDArray[np.bool_], first: Ints, accumulator: Accumulator, where: str
) -> tuple[Ints, _Last]:
    """Replace what split steps add by what their first issue adds; return that and what their last issue adds."""
    tile, step = np.nonzero(split.any(axis=2))
    place = place_in_lane(accumulator)
    last = np.zeros((len(tile), first.shape[2]), first.dtype)
    for issue in range(int(place.max()) + 1):
        weight = _issue(tiled.weight[tile, step], split[tile, step], place, issue)
        x_lo, x_hi = (x[tile % x.shape[0], step] for x in (tiled.x_lo, tiled.x_hi))
        bounds = step_bounds(weight.astype(tiled.dtype), x_lo, x_hi, accumulator, step)
        if _leaves(bounds, accumulator).any():
            _refuse(bounds, accumulator, where, (tiled.first_output[tile], step))
        last = _stacked(bounds, (1, len(tile)))[:, 0]
        if issue == 0:
            first[step, tile] = last
    order = np.full(split.shape[:2], -1, np.intp)
    order[tile, step] = np.arange(len(tile))
    return first, _Last(order, last)


@dataclass(frozen=True, eq=False)
class _Last:
    """What the last issue of each split step adds: ``values[order[tile, step]]``; order is -1 where none is split."""

    order: NDArray[np.intp]
    values: Ints


def _issue(weight: NDArray[np.int8], split: NDArray[np.bool_], place: NDArray[np.intp], issue: int) -> NDArray[np.int8]:
    """(X, O, step) weights of one issue: split outputs keep the operands of that place, others all in issue 0."""
    kept = np.where(split[:, :, None], place == issue, issue == 0)
    return np.where(kept, weight, np.int8(0))


def _greedy(starts: NDArray[np.bool_], first: Ints, last: _Last | None, accumulator: Accumulator) -> None:
    """Mark where runs start: each goes on while every lane of every output of its tile fits."""
    steps, tiles, columns = first.shape
    register = accumulator.range
    bounded = accumulator.overflow != "exact"
    widest = int(np.iinfo(first.dtype).max)  # exact_dtype keeps every sum below half of it
    limit = np.repeat(np.array([min(register.hi, widest), min(-register.lo, widest)], first.dtype), columns // 2)
    run, length = first[0].copy(), np.ones(tiles, np.intp)
    most = accumulator.max_run if accumulator.max_run is not None else steps
    for q in range(steps):
        if q:
            grown = run + first[q]
            fits = (grown <= limit).all(axis=1) if bounded else np.ones(tiles, np.bool_)
            fits &= (length < most) & ~starts[:, q]
            starts[:, q] = ~fits
            run = np.where(fits[:, None], grown, first[q])
            length = np.where(fits, length + 1, 1)
        if last is not None:
            again = np.nonzero(last.order[:, q] >= 0)[0]
            run[again] = last.values[last.order[again, q]]
            length[again] = 1


def _pack(tiled: _Tiled, layout: _Layout, accumulator: Accumulator) -> Schedule:
    tiles, steps, outputs, _ = tiled.weight.shape
    tile, at = (index.repeat(layout.issues.reshape(-1)) for index in np.divmod(np.arange(tiles * steps), steps))
    first_of = np.cumsum(layout.issues.reshape(-1)) - layout.issues.reshape(-1)
    issue = np.arange(len(tile)) - first_of.repeat(layout.issues.reshape(-1))
    begins = np.nonzero((issue > 0) | layout.starts[tile, at])[0]
    counts = np.diff(begins, append=len(tile))
    segments = np.stack([tile[begins], at[begins], counts], axis=1).astype(np.int32)
    packed = tiled.weight[tile, at]
    again = np.nonzero(layout.issues[tile, at] > 1)[0]
    place = place_in_lane(accumulator)
    for number in range(int(place.max()) + 1):
        here = again[issue[again] == number]
        packed[here] = _issue(packed[here], layout.split[tile[here], at[here]], place, number)
    x_lo, x_hi = (x[tile % x.shape[0], at] for x in (tiled.x_lo, tiled.x_hi))
    bounds = step_bounds(packed.astype(tiled.dtype), x_lo, x_hi, accumulator, at)
    low, high = (np.add.reduceat(lanes, begins) for lanes in (bounds.lane_lo, bounds.lane_hi))
    ends = np.stack([low.min(axis=(1, 2)), high.max(axis=(1, 2))], axis=1).astype(np.int64)
    group = IntRange(int(bounds.group_lo.min()), int(bounds.group_hi.max()))
    for array in (segments, packed, ends):
        array.flags.writeable = False
    splits = int((layout.issues > 1).sum())
    return Schedule(accumulator, outputs, steps, segments, packed, ends, group, splits)


def _refuse(
    bounds: StepBounds, accumulator: Accumulator, where: str, at: tuple[NDArray[np.intp], NDArray[np.intp]]
) -> None:
    """Raise for the first single product that leaves its register."""
    register = accumulator.range
    wrong = (bounds.lane_lo < register.lo) | (bounds.lane_hi > register.hi)
    low, high = bounds.lane_lo, bounds.lane_hi
    if not wrong.any():
        wrong = (bounds.group_lo < register.lo) | (bounds.group_hi > register.hi)
        low, high = bounds.group_lo, bounds.group_hi
    row, output, lane = (int(index[0]) for index in np.nonzero(wrong))
    reach = IntRange(int(low[row, output, lane]), int(high[row, output, lane]))
    quad = int(at[1][row])
    raise AccumulatorOverflow(
        overflow_message(f"{where}, output {int(at[0][row]) + output}", accumulator, lane, (quad, quad), reach)
        + "\nOne product alone is too large, so no spill helps: narrow the clips (oaq quantize --budget ...) or sum "
        "in a wider register."
    )


def overflow_message(where: str, accumulator: Accumulator, lane: int, steps: tuple[int, int], reach: IntRange) -> str:
    """The first sentence of every refusal: what, where, which numbers."""
    unit = {1: "steps", 2: "tap pairs", 4: "quads"}.get(accumulator.step, f"steps of {accumulator.step}")
    return (
        f"{where}: the {accumulator.bits}-bit lane {lane} needs {reach.signed_bits} bits in {unit} "
        f"{steps[0]}..{steps[1]}: its sum can reach [{reach.lo}, {reach.hi}]."
    )
