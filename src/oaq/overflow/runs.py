"""Where runs end: each goes on while every lane of every output of its tile is proved to fit.

A step that does not fit by itself is *split*: issued twice (once per product that shares a lane), with complementary
weights for the outputs that need it, so that every issue puts one product into a lane.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.errors import AccumulatorOverflow
from oaq.numerics.accumulator import Accumulator
from oaq.numerics.ranges import IntRange
from oaq.overflow.bounds import StepBounds, group_is_bounded, place_in_lane, step_bounds
from oaq.overflow.tiled import Tiled
from oaq.overflow.wide import restarts

Ints = NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Layout:
    """Which steps start a run (T, Q), how often each is issued (T, Q), which outputs are split (T, Q, tile_n)."""

    starts: NDArray[np.bool_]
    issues: NDArray[np.intp]
    split: NDArray[np.bool_]


def lay_out(tiled: Tiled, accumulator: Accumulator, where: str, *, later: bool = False) -> Layout:
    """Where runs start; a ``later`` pass also starts one wherever its weights begin again."""
    tiles, steps, outputs, _ = tiled.weight.shape
    starts = restarts(tiled.weight) if later else np.zeros((tiles, steps), np.bool_)
    starts[:, 0] = True
    issues = np.ones((tiles, steps), np.intp)
    if accumulator.is_exact and accumulator.max_run is None:
        return Layout(starts, issues, np.zeros((tiles, steps, outputs), np.bool_))
    alone = tiled.bounds(accumulator)
    split = _leaves(alone, accumulator).reshape(tiles, steps, outputs)
    issues[split.any(axis=2)] = int(place_in_lane(accumulator).max()) + 1
    first, last = _stacked(alone, tiles), None
    if split.any():
        first, last = _split_bounds(tiled, split, first, accumulator, where)
    if accumulator.max_run == 1:
        starts[:] = True
    else:
        _greedy(starts, first, last, accumulator)
    return Layout(starts, issues, split)


def _leaves(bounds: StepBounds, accumulator: Accumulator) -> NDArray[np.bool_]:
    """(X, O): the step cannot be summed as it is."""
    register = accumulator.range
    leaves = np.zeros(bounds.lane_lo.shape[1:], np.bool_)
    if accumulator.overflow != "exact":
        leaves |= _outside(bounds.lane_lo, bounds.lane_hi, register)
    if group_is_bounded(accumulator):
        leaves |= _outside(bounds.group_lo, bounds.group_hi, register)
    return leaves


def _outside(lo: Ints, hi: Ints, register: IntRange) -> NDArray[np.bool_]:
    """(X, O): some lane or group of the first axis leaves the register."""
    if int(lo.min()) >= register.lo and int(hi.max()) <= register.hi:
        return np.zeros(lo.shape[1:], np.bool_)
    return np.any((lo < register.lo) | (hi > register.hi), axis=0)


def _stacked(bounds: StepBounds, tiles: int) -> Ints:
    """(Q, T, 2 * lanes * tile_n): per step and tile, the most of every lane, then minus the least."""
    lanes, count, outputs = bounds.lane_hi.shape
    ends = np.empty((count // tiles, tiles, 2, lanes, outputs), bounds.lane_hi.dtype)
    for place, lane in enumerate((bounds.lane_hi, bounds.lane_lo)):
        ends[:, :, place] = lane.reshape(lanes, tiles, -1, outputs).transpose(2, 1, 0, 3)
    np.negative(ends[:, :, 1], out=ends[:, :, 1])
    return ends.reshape(count // tiles, tiles, -1)


def _split_bounds(
    tiled: Tiled, split: NDArray[np.bool_], first: Ints, accumulator: Accumulator, where: str
) -> tuple[Ints, _Last]:
    """Replace what split steps add by what their first issue adds; return that and what their last issue adds."""
    tile, step = np.nonzero(split.any(axis=2))
    place = place_in_lane(accumulator)
    last = np.zeros((len(tile), first.shape[2]), first.dtype)
    for issue in range(int(place.max()) + 1):
        weight = issue_weight(tiled.weight[tile, step], split[tile, step], place, issue)
        bounds = step_bounds(weight, *tiled.operands(tile, step), accumulator, step)
        if _leaves(bounds, accumulator).any():
            _refuse(bounds, accumulator, where, (tiled.shape.first_outputs()[tile], step))
        last = _stacked(bounds, 1)[:, 0]
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


def issue_weight(
    weight: NDArray[np.int8], split: NDArray[np.bool_], place: NDArray[np.intp], issue: int
) -> NDArray[np.int8]:
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
    # The first by row, then output, then lane.
    row, output, lane = (int(index[0]) for index in np.nonzero(np.moveaxis(wrong, 0, 2)))
    reach = IntRange(int(low[lane, row, output]), int(high[lane, row, output]))
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
