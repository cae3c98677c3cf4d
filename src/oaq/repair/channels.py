"""Which change an unsafe output gets: rounded again inside its budgets, or on a coarser scale of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.repair.limits import Limits
from oaq.repair.metric import Metric
from oaq.repair.rounding import rounded

Ints = NDArray[np.int64]
Reals = NDArray[np.float64]
SCALES: Final = 33
"""Scales tried for every output, evenly in their logarithm, from its own to one at which nothing is in excess."""
FINALISTS: Final = 3
"""Scales that are tried in full: the best by the part of the error that no other weight can make up for."""
MARGIN: Final = 1.02
"""Beyond the scale at which real weights fit, so that rounded ones do."""
AT_ONCE: Final = 1 << 20
"""Weights worked on at once: bounds memory, changes no result."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """New weights of some outputs.

    Attributes:
        weight: (U, K) integers that keep the budgets.
        factor: (U,) by which the scale grows; 1 where weights were only rounded again.
        error: (U,) squared error of the sums, in old steps, by the metric given.
    """

    weight: Ints
    factor: Reals
    error: Reals


def fitted(weight: Ints, limits: Limits, metric: Metric, *, rescales: bool) -> Fitted:
    """The nearest weights that keep ``limits``; of two scales that are as near, the finer.

    Args:
        weight: (U, K) integers of the outputs to change.
        limits: to keep.
        metric: one row per output.
        rescales: an output may have a coarser scale; otherwise it keeps its own.
    """
    rows = max(1, AT_ONCE // weight.shape[1])
    parts = []
    for first in range(0, len(weight), rows):
        part = slice(first, first + rows)
        parts.append(_fitted(weight[part].astype(np.float64), limits, metric.rows(part), rescales))
    return Fitted(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("weight", "factor", "error")))


def _fitted(real_weight: Reals, limits: Limits, metric: Metric, rescales: bool) -> Fitted:
    count = SCALES if rescales else 1
    spread = np.log(limits.needed(real_weight) * MARGIN)
    factors = np.exp(np.linspace(0.0, 1.0, count)[:, None] * spread)
    finalists = np.zeros((1, len(real_weight)), np.intp)
    if count > FINALISTS:
        still = metric.independent()
        trial_errors = np.stack(
            [still.errors(_trial(real_weight, trial_factor, limits, still)[1]) for trial_factor in factors]
        )
        finalists = np.sort(np.argsort(trial_errors, axis=0, kind="stable")[:FINALISTS], axis=0)
    best = Fitted(np.zeros(real_weight.shape, np.int64), np.ones(len(real_weight)), np.full(len(real_weight), np.inf))
    for candidate in finalists:
        factor = factors[candidate, np.arange(len(real_weight))]
        weight, error = _trial(real_weight, factor, limits, metric)
        cost = np.where(limits.holds(weight), metric.errors(error), np.inf)
        better = cost < best.error
        best.weight[better], best.factor[better], best.error[better] = weight[better], factor[better], cost[better]
    return best


def _trial(real_weight: Reals, factor: Reals, limits: Limits, metric: Metric) -> tuple[Ints, Reals]:
    weight = rounded(real_weight / factor[:, None], limits, metric)
    return weight, weight * factor[:, None] - real_weight
