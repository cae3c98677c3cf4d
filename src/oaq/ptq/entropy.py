"""Calibration by entropy: the range whose levels say most of how a tensor's values are distributed.

For a range, P is the histogram with what lies outside added to the outermost bins inside, and Q the histogram inside,
the mass of each level spread evenly over those of its bins that hold anything. The divergence KL(P || Q) grows with
what is cut off and with how coarse levels are (the method of TensorRT's calibrator, for any number of levels, on both
sides of zero). Exact zeros, which every range represents, are left out: the bin that holds 0 counts like its
neighbours; a ReLU's half of zeros would otherwise be a spike that only narrow ranges show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.capture.graph import TensorParams
from oaq.ptq.observe import Histogram, Reals

CANDIDATES: Final = 96
"""Ranges tried."""
NARROWEST: Final = 1 / 16
"""Part of the observed range below which none is tried."""
EMPTY: Final = 1e-9
"""Share of all values that a level without any is taken to hold."""


def candidate_parts(bins: int, steps: int) -> tuple[float, ...]:
    """Parts of the observed range to try: down to a bin for each level, where levels cost nothing any more."""
    least = max(NARROWEST, min((steps + 1) / bins, 1.0))
    return tuple(np.linspace(1.0, least, CANDIDATES)) if least < 1.0 else (1.0,)


def divergences(histogram: Histogram, candidates: Sequence[TensorParams]) -> Reals:
    """KL(P || Q) of each candidate, in nats.

    Args:
        histogram: of a tensor; its counts matter, not its weights.
        candidates: of one number of steps each.
    """
    count = _without_zeros(histogram)
    total = float(count.sum())
    if total == 0.0:  # every value is zero: any range holds them
        return np.zeros(len(candidates))
    edges = np.stack([_edges(histogram, params) for params in candidates])  # (candidates, levels + 1)
    first, last = edges[:, 0], edges[:, -1]
    mass, filled = _sums(count, edges), _sums((count > 0).astype(np.float64), edges)
    below, above = _before(count, first), total - _before(count, last)
    at_first, at_last = np.minimum(first, len(count) - 1), np.maximum(last - 1, 0)
    lone = [(count[at] == 0) & (out > 0) for at, out in ((at_first, below), (at_last, above))]
    outer = [_outermost(edges, side) for side in (0, 1)]
    rows = np.arange(len(candidates))
    pushed = mass.copy()
    for at, out, empty in zip(outer, (below, above), lone, strict=True):
        filled[rows, at] += empty
        pushed[rows, at] += out
    level = np.maximum(mass, EMPTY * total) / np.maximum(filled, 1.0)
    spread = _before(_entropy(count), last) - _before(_entropy(count), first)
    for at, out in ((at_first, below), (at_last, above)):
        spread += _entropy(count[at] + out) - _entropy(count[at])
    inside = np.maximum(mass.sum(axis=1), EMPTY * total)
    return (spread - (pushed * np.log(level)).sum(axis=1)) / total - np.log(total) + np.log(inside)


def _without_zeros(histogram: Histogram) -> Reals:
    """Counts, of which the bin that holds 0 has no more than its neighbours' mean."""
    count = histogram.count.astype(np.float64)
    zero = min(int(-histogram.lo / (histogram.hi - histogram.lo) * len(count)), len(count) - 1)
    neighbours = [count[at] for at in (zero - 1, zero + 1) if 0 <= at < len(count)]
    count[zero] = min(count[zero], float(np.mean(neighbours))) if neighbours else count[zero]
    return count


def _edges(histogram: Histogram, params: TensorParams) -> NDArray[np.int64]:
    """(levels + 1,) bins at which levels begin: a bin is of the level that its centre is rounded to."""
    bins, width = len(histogram.count), (histogram.hi - histogram.lo) / len(histogram.count)
    levels = np.arange(params.range.lo, params.range.hi + 2) - params.affine.zero_point - 0.5
    edges = np.ceil((levels * params.affine.scale - histogram.lo) / width - 0.5)
    return np.clip(edges, 0, bins).astype(np.int64)


def _outermost(edges: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    """(candidates,) first or last level that has a bin."""
    occupied = np.diff(edges, axis=1) > 0
    return occupied.argmax(axis=1) if side == 0 else edges.shape[1] - 2 - occupied[:, ::-1].argmax(axis=1)


def _before(values: Reals, edges: NDArray[np.int64]) -> Reals:
    """Sums of all values before each edge."""
    return np.concatenate([[0.0], np.cumsum(values)])[edges]


def _sums(values: Reals, edges: NDArray[np.int64]) -> Reals:
    """Sums between edges."""
    return np.diff(_before(values, edges), axis=1)


def _entropy(values: Reals) -> Reals:
    """X log x, 0 at 0."""
    return values * np.log(np.where(values > 0, values, 1.0))
