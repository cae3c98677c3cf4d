"""Narrower ranges of accumulators, by the same bound with one accumulator as the objective.

Intervals forget that two accumulators read the same inputs; a few multipliers remember it. Only ends that can change
what a relation says are tried: those of elements that are undecided over their interval.
"""

from __future__ import annotations

from time import monotonic

import numpy as np

from oaq.robust.certificate import RangeClaim
from oaq.robust.dual import relax
from oaq.robust.network import Network, Sums
from oaq.robust.objective import Bounded, Objectives, exact, first_bound, improve
from oaq.robust.ranges import Limits, Range, intervals
from oaq.robust.staircase import Ints

ITERATIONS = 8
MOST_ROWS = 512
"""Ends narrowed per layer, those of widest range first."""
BATCH_ELEMENTS = 1 << 22
"""Elements of all tensors, times rows, worked on at once."""


def narrowed(
    network: Network, box: Range, needed: frozenset[int], top: int, deadline: float
) -> tuple[Limits, list[RangeClaim]]:
    """Limits that intervals alone do not give, and what proves them.

    Args:
        network: what is run.
        box: one row.
        needed: layers that count.
        top: the layer whose accumulators the property compares; its ranges and those of first layers stay intervals.
        deadline: ``time.monotonic`` at which to stop.
    """
    limits: dict[int, Range] = {}
    claims: list[RangeClaim] = []
    for at in sorted(needed):
        layer = network.layers[at]
        below = network.needed(layer.inputs) & needed
        hidden = [low for low in below if isinstance(network.layers[low], Sums)]
        if not isinstance(layer, Sums) or at == top or not hidden or monotonic() > deadline:
            continue
        claim = _narrow_layer(network, box, limits, (at, below | {at}), deadline)
        if claim is not None:
            claims.append(claim)
    return limits, claims


def _narrow_layer(
    network: Network, box: Range, limits: dict[int, Range], place: tuple[int, frozenset[int]], deadline: float
) -> RangeClaim | None:
    at, below = place
    layer = network.layers[at]
    assert isinstance(layer, Sums)
    ranges = intervals(network, box, limits, below)
    ends = ranges.accumulators[at]
    assert ends is not None
    lo, hi = ends[0].copy(), ends[1].copy()
    undecided = np.flatnonzero(layer.steps.largest(hi)[0] > layer.steps.least(lo)[0])
    undecided = undecided[np.argsort(lo[0, undecided] - hi[0, undecided], kind="stable")][: MOST_ROWS // 2]
    if not len(undecided):
        return None
    relaxed = relax(network, ranges, below)
    batch = max(2, BATCH_ELEMENTS // sum(network.sizes[network.layers[low].output] for low in below))
    parts: list[RangeClaim] = []
    element = np.repeat(undecided, 2)
    upper = np.tile([True, False], len(undecided))
    for begin in range(0, len(element), batch):
        if monotonic() > deadline:
            break
        rows = slice(begin, begin + batch)
        bounded = first_bound(relaxed, _ends(at, element[rows], upper[rows]))
        bounded = improve(relaxed, bounded, ITERATIONS, (0.1, 0.02))
        parts += _better_ends(relaxed, bounded, (at, element[rows], upper[rows]), (lo, hi))
    if not parts:
        return None
    limits[at] = (lo, hi)
    return _joined(parts)


def _ends(at: int, element: Ints, upper: np.ndarray) -> Objectives:
    rows = len(element)
    zeros = np.zeros((rows, 1))
    return Objectives(at, at, element, element, zeros, zeros, np.zeros(rows, bool), upper.astype(np.float64))


def _better_ends(relaxed, bounded: Bounded, place, ends) -> list[RangeClaim]:  # noqa: ANN001
    """Claims of the rows whose exact bound is inside the interval; writes their ends."""
    (at, element, upper), (lo, hi) = place, ends
    proof = exact(relaxed, bounded)
    scale = 1 << proof.bits
    improvements = []
    for row in np.flatnonzero(np.isfinite(proof.bound)):
        bound = int(proof.bound[row]) // scale  # rounds down: an upper end may, being an integer
        index = element[row]
        if upper[row] and bound < hi[0, index]:
            hi[0, index] = bound
            improvements.append((row, bound))
        elif not upper[row] and -bound > lo[0, index]:
            lo[0, index] = -bound
            improvements.append((row, -bound))
    if not improvements:
        return []
    rows = np.array([row for row, _ in improvements])
    mus = {layer: mu[rows].astype(np.int64) for layer, mu in proof.multipliers.items()}
    values = np.array([end for _, end in improvements], np.int64)
    return [RangeClaim(at, element[rows].astype(np.int32), upper[rows], values, mus)]


def _joined(parts: list[RangeClaim]) -> RangeClaim:
    first = parts[0]
    mus = {layer: np.concatenate([part.multipliers[layer] for part in parts]) for layer in first.multipliers}
    element, upper, end = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("element", "upper", "end")
    )
    return RangeClaim(first.layer, element, upper, end, mus)
