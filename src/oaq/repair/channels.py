"""Which change unsafe outputs get: rounded again inside their budgets, or that on a coarser scale.

A scale is an output's own, or one for the whole layer where its file has no other.
"""

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
SHARED_SCALES: Final = 17
"""Scales tried for a whole layer; every one is tried in full."""
FINALISTS: Final = 3
"""Scales that are tried in full: the best by the part of the error that no other weight can make up for."""
SEVEN_BITS: Final = 127 / 64
"""The factor of ``reduce_range``; its plain rounding is always tried, so that nothing here is worse than that."""
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


def fitted(weight: Ints, limits: Limits, metric: Metric, *, rescales: bool, coarser: Reals | None = None) -> Fitted:
    """The nearest weights that keep ``limits``; of two scales that are as near, the finer.

    Args:
        weight: (U, K) integers of the outputs to change.
        limits: to keep.
        metric: one row per output.
        rescales: an output may have a coarser scale; otherwise it keeps its own.
        coarser: (U,) by what scales must grow at least, if ``rescales``; None is 1.
    """
    least = np.ones(len(weight)) if coarser is None else coarser
    rows = max(1, AT_ONCE // weight.shape[1])
    parts = []
    for first in range(0, len(weight), rows):
        part = slice(first, first + rows)
        real_weight = weight[part].astype(np.float64)
        parts.append(_fitted(real_weight, limits, metric.rows(part), least[part] if rescales else None))
    return Fitted(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("weight", "factor", "error")))


def fitted_together(weight: Ints, limits: Limits, metric: Metric, coarser: float) -> Fitted:
    """``fitted``, where all outputs of a layer have one scale and keep having one.

    Args:
        weight: (N, K) integers of all outputs.
        limits: to keep.
        metric: one row per output.
        coarser: by what the scale must grow at least.
    """
    real_weight = weight.astype(np.float64)
    needed = float(limits.needed(real_weight).max(initial=1.0)) * MARGIN
    rows = max(1, AT_ONCE // weight.shape[1])
    parts = [slice(first, first + rows) for first in range(0, len(weight), rows)]

    def trial(factor: float) -> tuple[float, Ints, Reals]:
        trials = [_one_scale(real_weight[part], factor, limits, metric.rows(part)) for part in parts]
        new = np.concatenate([part_weight for part_weight, _ in trials])
        error = np.concatenate([part_error for _, part_error in trials])
        return float(error.sum()), new, error

    candidates = _factors(coarser, needed, SHARED_SCALES)
    best = min(candidates, key=lambda factor: (trial(factor)[0], factor))
    _, new, error = trial(best)
    return Fitted(new, np.full(len(weight), best), error)


def _one_scale(real_weight: Reals, factor: float, limits: Limits, metric: Metric) -> tuple[Ints, Reals]:
    new, error = _trial(real_weight, np.full(len(real_weight), factor), limits, metric)
    cost = np.where(limits.holds(new), metric.errors(error), np.inf)
    if factor == SEVEN_BITS:
        plain, plain_cost = _seven_bits(real_weight, limits, metric)
        better = plain_cost < cost
        new[better], cost[better] = plain[better], plain_cost[better]
    return new, cost


def _seven_bits(real_weight: Reals, limits: Limits, metric: Metric) -> tuple[Ints, Reals]:
    """Weights of seven bits, each rounded by itself, and their errors; infinite where a register is left."""
    new = np.rint(real_weight / SEVEN_BITS).astype(np.int64)
    return new, np.where(limits.holds(new), metric.errors(new * SEVEN_BITS - real_weight), np.inf)


def _factors(least: float, needed: float, count: int) -> list[float]:
    """Evenly in their logarithm, and that of seven bits."""
    span = np.log(max(needed, least) / least)
    factors = [float(least * np.exp(part * span)) for part in np.linspace(0.0, 1.0, count)]
    return sorted({*factors, max(least, SEVEN_BITS)})


def _fitted(real_weight: Reals, limits: Limits, metric: Metric, least: Reals | None) -> Fitted:
    count = 1 if least is None else SCALES
    least = np.ones(len(real_weight)) if least is None else least
    needed = np.maximum(limits.needed(real_weight) * MARGIN, least)
    factors = least * np.exp(np.linspace(0.0, 1.0, count)[:, None] * np.log(needed / least))
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
    if count > FINALISTS:
        weight, cost = _seven_bits(real_weight, limits, metric)
        better = (cost < best.error) & (least <= SEVEN_BITS)
        best.weight[better], best.factor[better], best.error[better] = weight[better], SEVEN_BITS, cost[better]
    return best


def _trial(real_weight: Reals, factor: Reals, limits: Limits, metric: Metric) -> tuple[Ints, Reals]:
    weight = rounded(real_weight / factor[:, None], limits, metric)
    return weight, weight * factor[:, None] - real_weight
