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
from oaq.numerics.cells import place_in_lane
from oaq.numerics.ranges import IntRange
from oaq.overflow.bounds import BLOCK, StepBounds, group_is_bounded, step_bounds
from oaq.overflow.tiled import Tiled

Ints = NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class RunLayout:
    """Where runs start, and what executed steps add.

    Attributes:
        starts: (T, Q) which steps start a run.
        issues: (T, Q) how often each is issued; 0 for a step that is left out (``overflow.skipped``).
        split: (T, Q, tile_n) which outputs are split.
        alone: what every step (T * Q of them) adds if it is issued once.
        by_issue: for each issue, what the steps that are split add by it; in their order.
    """

    starts: NDArray[np.bool_]
    issues: NDArray[np.intp]
    split: NDArray[np.bool_]
    alone: StepBounds
    by_issue: tuple[StepBounds, ...]


def lay_out(
    tiled: Tiled, accumulator: Accumulator, where: str, *, restart: NDArray[np.bool_] | None = None
) -> RunLayout:
    """Where runs start: at every step of ``restart`` (T, Q), and wherever a run would not fit."""
    tiles, steps, outputs, _ = tiled.weight.shape
    starts = np.zeros((tiles, steps), np.bool_) if restart is None else restart.copy()
    starts[:, 0] = True
    issues = np.ones((tiles, steps), np.intp)
    alone = tiled.bounds(accumulator)
    if accumulator.is_exact and accumulator.max_run is None:
        return RunLayout(starts, issues, np.zeros((tiles, steps, outputs), np.bool_), alone, ())
    split = _leaves(alone, accumulator).reshape(tiles, steps, outputs)
    by_issue = _split(tiled, split, accumulator, where) if split.any() else ()
    issues[split.any(axis=2)] = max(1, len(by_issue))
    layout = RunLayout(starts, issues, split, alone, by_issue)
    if accumulator.max_run == 1:
        starts[:] = True
    else:
        _greedy(layout, accumulator)
    return layout


def _leaves(bounds: StepBounds, accumulator: Accumulator) -> NDArray[np.bool_]:
    """(X, O): the step cannot be summed as it is."""
    register = accumulator.range
    leaves = np.zeros(bounds.lane_lo.shape[1:], np.bool_)
    if accumulator.lanes_must_fit:
        leaves |= _outside(bounds.lane_lo, bounds.lane_hi, register)
    if group_is_bounded(accumulator):
        leaves |= _outside(bounds.group_lo, bounds.group_hi, register)
    return leaves


def _outside(lo: Ints, hi: Ints, register: IntRange) -> NDArray[np.bool_]:
    """(X, O): some lane or group of the first axis leaves the register."""
    if int(lo.min()) >= register.lo and int(hi.max()) <= register.hi:
        return np.zeros(lo.shape[1:], np.bool_)
    return np.any((lo < register.lo) | (hi > register.hi), axis=0)


def _split(tiled: Tiled, split: NDArray[np.bool_], accumulator: Accumulator, where: str) -> tuple[StepBounds, ...]:
    """What each issue of each split step adds.

    Raises:
        AccumulatorOverflow: a single product leaves its register.
    """
    tile, step = np.nonzero(split.any(axis=2))
    place, bounds_by_issue = place_in_lane(accumulator), []
    for issue in range(int(place.max()) + 1):
        weight = issue_weight(tiled.weight[tile, step], split[tile, step], place, issue)
        bounds = step_bounds(weight, *tiled.operands(tile, step), accumulator, step)
        if _leaves(bounds, accumulator).any():
            _refuse(bounds, accumulator, where, (tiled.shape.first_outputs()[tile], step))
        bounds_by_issue.append(bounds)
    return tuple(bounds_by_issue)


def issue_weight(
    weight: NDArray[np.int8], split: NDArray[np.bool_], place: NDArray[np.intp], issue: int
) -> NDArray[np.int8]:
    """(X, O, step) weights of one issue: split outputs keep the operands of that place, others all in issue 0."""
    issued = np.where(split[:, :, None], place == issue, issue == 0)
    return np.where(issued, weight, np.int8(0))


def _greedy(layout: RunLayout, accumulator: Accumulator) -> None:
    """Mark where runs start: each goes on while every lane of every output of its tile fits."""
    tiles, steps = layout.starts.shape
    register, alone = accumulator.range, layout.alone
    widest = int(np.iinfo(alone.lane_hi.dtype).max)  # exact_dtype keeps every sum below half of it
    ends = [min(register.hi, widest), min(-register.lo, widest)]
    limit = np.repeat(np.array(ends, alone.lane_hi.dtype), alone.lane_hi[:, 0].size)
    run = np.zeros((tiles, len(limit)), alone.lane_hi.dtype)
    extended, length = np.empty_like(run), np.zeros(tiles, np.intp)
    order = np.cumsum(layout.issues.reshape(-1) > 1).reshape(tiles, steps) - 1
    first, last = (_columns(layout.by_issue[at], 1, slice(None))[:, 0] if layout.by_issue else None for at in (0, -1))
    chunk = max(1, BLOCK // run.size)
    added = (
        column for begin in range(0, steps, chunk) for column in _columns(alone, tiles, slice(begin, begin + chunk))
    )
    for q, adds in enumerate(added):
        reissued = np.nonzero(layout.issues[:, q] > 1)[0] if layout.by_issue else ()
        starts = layout.starts[:, q]
        if first is not None and len(reissued):
            adds[reissued] = first[order[reissued, q]]
        np.add(run, adds, out=extended)
        if accumulator.lanes_must_fit:
            starts |= np.logical_or.reduce(extended > limit, axis=1)
        if accumulator.max_run is not None:
            starts |= length >= accumulator.max_run
            length = np.where(starts, 1, length + 1)
        np.copyto(extended, adds, where=starts[:, None])
        run, extended = extended, run
        if last is not None and len(reissued):
            run[reissued] = last[order[reissued, q]]
            length[reissued] = 1


def _columns(bounds: StepBounds, tiles: int, steps: slice) -> Ints:
    """(Q', T, 2 * lanes * tile_n) of X = T * Q steps: the most of every lane, then minus the least."""
    lanes, _, outputs = bounds.lane_hi.shape
    hi, lo = (ends.reshape(lanes, tiles, -1, outputs)[:, :, steps] for ends in (bounds.lane_hi, bounds.lane_lo))
    columns = np.empty((hi.shape[2], tiles, 2, lanes, outputs), hi.dtype)
    columns[:, :, 0] = hi.transpose(2, 1, 0, 3)
    np.negative(lo.transpose(2, 1, 0, 3), out=columns[:, :, 1])
    return columns.reshape(len(columns), tiles, -1)


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
