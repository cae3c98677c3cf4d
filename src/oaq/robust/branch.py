"""Where to split: the element whose relaxation is worth most at the corner that reaches the bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oaq.robust.dual import Relaxed
from oaq.robust.network import Lookups, Sums
from oaq.robust.objective import Bounded, bound_at
from oaq.robust.staircase import Ints, Reals

INPUT = -1
"""Operation number of a split of an input element."""
CORNERS = -2
"""Operation number of a split of a case's corners, by the value that each stands for."""


@dataclass(frozen=True)
class Split:
    """acc <= threshold - 1 on one side, acc >= threshold on the other."""

    layer: int
    element: int
    threshold: int


def choose(relaxed: Relaxed, bounded: Bounded) -> list[Split]:
    """One split per row: where no relation has a gap, of the corners (the threshold is the caller's), else of an input.

    The element taken is that where the averaged maxima (``Bounded.mean``) are farthest from any true run, times v.
    """
    value, _, _ = bound_at(relaxed, bounded.objectives, bounded.multipliers)
    rows = len(bounded.bound)
    best = np.full(rows, 1e-9)
    splits: list[Split | None] = [None] * rows
    at_row = np.arange(rows)
    for at, mean in bounded.mean.items():
        layer, ends = relaxed.network.layers[at], relaxed.ranges.accumulators[at]
        v = None if at < 0 else value.slopes[layer.output]
        if not isinstance(layer, Sums | Lookups) or ends is None or v is None:
            continue
        lo, hi = (np.broadcast_to(end, v.shape) for end in ends)
        acc = np.clip(np.rint(mean[:, 0]).astype(np.int64), lo, hi)
        true = np.where(v >= 0, layer.steps.largest(acc), layer.steps.least(acc))
        gap = np.where(lo < hi, v * (mean[:, 1] - true), -1.0)
        element = gap.argmax(axis=1)
        better = np.flatnonzero(gap[at_row, element] > best)
        picked = element[better]
        low, high, nearest = (part[better, picked] for part in (lo, hi, acc))
        thresholds = _threshold(layer, nearest, picked, low, high)
        for row, place, threshold in zip(better, picked, thresholds, strict=True):
            splits[row] = Split(at, int(place), int(threshold))
            best[row] = gap[row, place]
    for row in range(rows):
        if splits[row] is None:
            several = len(np.unique(bounded.objectives.floor[row])) > 1
            corners = Split(CORNERS, 0, 0)
            splits[row] = corners if several else _input_split(relaxed, value.slopes[0], row)
    return [cut for cut in splits if cut is not None]


def _threshold(layer: Sums | Lookups, acc: Ints, element: Ints, lo: Ints, hi: Ints) -> Ints:
    """The lower clamp where it is undecided, else the threshold nearest to ``acc``, else the middle."""
    nearest = layer.steps.threshold_near(acc, element, lo, hi)
    if isinstance(layer, Sums):
        clamp = layer.steps.possible_from[layer.steps.classes[element], 1]
        nearest = np.where((clamp > lo) & (clamp <= hi), clamp, nearest)
    return np.where((nearest > lo) & (nearest <= hi), nearest, (lo + hi + 1) >> 1)


def _input_split(relaxed: Relaxed, slopes: Reals | None, row: int) -> Split:
    """The input whose range moves the bound most, cut in the middle."""
    lo, hi = (end[row if len(end) > 1 else 0] for end in relaxed.ranges.tensors[0])
    weight = np.abs(slopes[row]) if slopes is not None else np.zeros(len(lo))
    element = int(((hi - lo) * (weight + 1e-6 * (1.0 + weight.max()))).argmax())
    return Split(INPUT, element, int(lo[element] + hi[element] + 1) >> 1)
