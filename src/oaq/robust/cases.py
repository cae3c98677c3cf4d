"""What has to be impossible: one or more cases for every pair of outputs whose order decides the property."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oaq.robust.network import Network, Sums
from oaq.robust.objective import Objectives
from oaq.robust.ranges import Ranges
from oaq.robust.staircase import FAR, Ints


@dataclass(frozen=True)
class Pair:
    """The violation value[up] >= value[down] + theta, values centred; with ``sums`` of accumulators instead.

    Attributes:
        up, down: (layer, element), of ``Sums`` layers whose relation is exact.
        theta: least excess.
        sums: compare accumulators.
        rival: output element for people: which class wins, or which output differs.
    """

    up: tuple[int, int]
    down: tuple[int, int]
    theta: int
    sums: bool = False
    rival: int = 0


@dataclass(frozen=True, eq=False)
class ViolationCase:
    """Some of the corners of a pair.

    Attributes:
        pair: of which.
        first, last: centred values of ``down`` that the case covers; (0, 0) for sums.
        values: (Q,) value of each corner.
        floor: (Q,) least accumulator of ``up`` at each corner.
        ceiling: (Q,) greatest accumulator of ``down``.
        free: whether both weights are free; otherwise ``share`` stays.
        share: first weight on ``up``.
    """

    pair: Pair
    first: int
    last: int
    values: Ints
    floor: Ints
    ceiling: Ints
    free: bool
    share: float


def against(layer_elements: tuple[int, Ints], label: int, sums: bool = False) -> tuple[Pair, ...]:
    """Pairs of argmax with the first maximum: output j before ``label`` wins a tie, one after it does not.

    Args:
        layer_elements: of the output tensor, from ``network.elements``.
        label: flat index of the output that has to win.
        sums: compare last accumulators, not integers.
    """
    layer, elements = layer_elements
    return tuple(
        Pair((layer, int(element)), (layer, int(elements[label])), int(rival > label), sums, rival)
        for rival, element in enumerate(elements)
        if rival != label
    )


def cases_of(network: Network, ranges: Ranges, pair: Pair) -> tuple[ViolationCase, ...]:
    """Cases that cover the pair over ``ranges``; empty if the ranges alone exclude it."""
    (lo_up, hi_up), (lo_down, hi_down) = (_range(ranges, place) for place in (pair.up, pair.down))
    if pair.sums:
        if hi_up - lo_down < pair.theta:
            return ()
        return (ViolationCase(pair, 0, 0, np.zeros(1, np.int64), np.array([pair.theta]), np.array([0]), False, 1.0),)
    values, floor, ceiling = corners(network, pair)
    feasible = (floor <= hi_up) & (ceiling >= lo_down)
    values, floor, ceiling = (
        values[feasible],
        np.maximum(floor[feasible], lo_up),
        np.minimum(ceiling[feasible], hi_down),
    )
    if not len(values):
        return ()
    loose_up, loose_down = floor == lo_up, ceiling == hi_down
    groups = [
        (loose_up, 0.0),
        (~loose_up & ~loose_down, 0.5),
        (~loose_up & loose_down, 1.0),
    ]
    cases = []
    for picked, share in groups:
        if picked.any():
            parts = (values[picked], floor[picked], ceiling[picked])
            cases.append(ViolationCase(pair, int(parts[0][0]), int(parts[0][-1]), *parts, share == 0.5, share))
    return tuple(cases)


def corners(network: Network, pair: Pair) -> tuple[Ints, Ints, Ints]:
    """Every value of ``down`` with the least accumulator of ``up`` and the greatest of ``down`` that go with it."""
    up, down = network.layers[pair.up[0]], network.layers[pair.down[0]]
    assert isinstance(up, Sums)
    assert isinstance(down, Sums)
    above = up.steps.possible_from[up.steps.classes[pair.up[1]]]
    below = down.steps.possible_from[down.steps.classes[pair.down[1]]]
    values = np.arange(down.steps.low, down.steps.high + 1)
    at = values + pair.theta - up.steps.low
    floor = np.where(at <= 0, -FAR, np.where(at >= len(above) - 1, FAR, above[np.clip(at, 0, len(above) - 1)]))
    return values, floor, below[1:] - 1


def _range(ranges: Ranges, place: tuple[int, int]) -> tuple[int, int]:
    ends = ranges.accumulators[place[0]]
    assert ends is not None
    return int(ends[0][0, place[1]]), int(ends[1][0, place[1]])


def _undominated(floor: Ints, ceiling: Ints) -> Ints:
    """Corners (both ascending) that no other contains: of equal floors the last, of equal ceilings the first."""
    keeps = np.ones(len(floor), bool)
    keeps[:-1] &= floor[:-1] < floor[1:]
    picked = np.flatnonzero(keeps)
    first = np.ones(len(picked), bool)
    first[1:] = ceiling[picked][1:] > ceiling[picked][:-1]
    return picked[first]


def corners_between(case: ViolationCase, first: int, last: int) -> tuple[Ints, Ints]:
    """Floor and ceiling of the case's corners of values first..last, without those that another one contains."""
    inside = (case.values >= first) & (case.values <= last)
    floor, ceiling = case.floor[inside], case.ceiling[inside]
    picked = _undominated(floor, ceiling)
    return floor[picked], ceiling[picked]


def objectives(cases: Sequence[ViolationCase]) -> Objectives:
    """Cases as a batch. All of them compare the same two layers."""
    pruned = [corners_between(case, case.first, case.last) for case in cases]
    longest = max(len(floor) for floor, _ in pruned)
    padded = [
        [np.concatenate([part, np.full(longest - len(part), part[-1])]) for part in corner_lists]
        for corner_lists in pruned
    ]
    floor, ceiling = (np.array(side, np.float64) for side in zip(*padded, strict=True))
    pairs = [case.pair for case in cases]
    return Objectives(
        up=pairs[0].up[0],
        down=pairs[0].down[0],
        up_element=np.array([pair.up[1] for pair in pairs]),
        down_element=np.array([pair.down[1] for pair in pairs]),
        floor=floor,
        ceiling=ceiling,
        free=np.array([case.free for case in cases]),
        share=np.array([case.share for case in cases]),
        tied=pairs[0].sums,
    )
