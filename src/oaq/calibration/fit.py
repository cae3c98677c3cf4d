"""From counts of work and measured seconds to seconds per unit of work, never negative.

    seconds[i] = sum_j work[i, j] * cost[j],   cost >= 0,   least relative error

Relative, because a model that is right to 10 % for large layers and small ones is worth more than one that is right to
a microsecond. Costs below zero would be an excuse of the fit, not a mechanism of the machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
REWEIGHTINGS: Final = 8
"""Times a point that fits badly has its weight lowered: on a shared machine some timings are simply wrong."""
BAD: Final = 0.1
"""Relative error from which a point counts as such."""
FOLDS: Final = 5


@dataclass(frozen=True)
class Fit:
    """Seconds per unit of work, and how far off they are.

    Attributes:
        cost: by kind of work; kinds that cost nothing are left out.
        error: (points,) predicted / measured - 1, each predicted by a fit that did not see it.
    """

    cost: Mapping[str, float]
    error: Reals

    @property
    def median_error(self) -> float:
        """Half of the points are predicted better than this."""
        return float(np.median(np.abs(self.error)))


def fit(work: Sequence[Mapping[str, float]], seconds: Sequence[float]) -> Fit:
    """Fit one row's costs.

    Args:
        work: of every point, counts by kind.
        seconds: measured, > 0.
    """
    kinds = sorted({kind for point in work for kind, count in point.items() if count})
    counts = np.array([[point.get(kind, 0.0) for kind in kinds] for point in work], np.float64)
    measured = np.asarray(seconds, np.float64)
    fold = np.arange(len(measured)) % min(FOLDS, len(measured))
    error = np.zeros(len(measured))
    for held_out in range(int(fold.max(initial=0)) + 1):
        training = fold != held_out if fold.any() else fold == held_out
        cost = _robust(counts[training], measured[training])
        error[fold == held_out] = counts[fold == held_out] @ cost / measured[fold == held_out] - 1
    cost = _robust(counts, measured)
    return Fit(
        {
            kind: float(seconds_per_unit)
            for kind, seconds_per_unit in zip(kinds, cost, strict=True)
            if seconds_per_unit > 0
        },
        error,
    )


def _robust(counts: Reals, seconds: Reals) -> Reals:
    """Least squares of relative errors, those above ``BAD`` counted by their size instead of its square."""
    relative = counts / seconds[:, None]
    weight = np.ones(len(seconds))
    cost = np.zeros(counts.shape[1])
    for _ in range(REWEIGHTINGS):
        root = np.sqrt(weight)
        cost = nnls(relative * root[:, None], root)
        weight = np.minimum(1.0, BAD / np.maximum(np.abs(relative @ cost - 1), 1e-12))
    return cost


def nnls(a: Reals, b: Reals) -> Reals:
    """The x >= 0 that minimises |a x - b|, by active sets (Lawson and Hanson, Solving Least Squares Problems, 1974).

    Args:
        a: (P, J).
        b: (P,).

    Returns:
        (J,). Columns are scaled to length 1 first, so that units do not matter.
    """
    length = np.linalg.norm(a, axis=0)
    scaled = a / np.where(length > 0, length, 1.0)
    x, free = np.zeros(a.shape[1]), np.zeros(a.shape[1], np.bool_)
    tolerance = 1e-10 * max(float(np.linalg.norm(b)), 1e-300)
    for _ in range(30 * a.shape[1]):
        gradient = np.where(free | (length == 0), -np.inf, scaled.T @ (b - scaled @ x))
        enters = int(gradient.argmax())
        if not gradient[enters] > tolerance:
            break
        free[enters] = True
        while True:
            trial = np.zeros_like(x)
            trial[free] = np.linalg.lstsq(scaled[:, free], b, rcond=None)[0]
            below = free & (trial <= 0)
            if not below.any():
                break
            part = np.min(x[below] / np.maximum(x[below] - trial[below], 1e-300))
            x = x + part * (trial - x)
            free &= x > 1e-15
        x = np.where(free, trial, 0.0)
    return x / np.where(length > 0, length, 1.0)
