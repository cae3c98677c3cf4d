"""What is maximised over a set: weights on two accumulators under the corners of a case, or one accumulator alone.

A *case* says that the network errs: value ``up`` is at least value ``down`` plus ``theta``. In accumulators that is a
union of quadrants, one per value q: acc_up >= A[q] and acc_down <= B[q]. For weights (lam, rest) >= 0 on the
two, D = max (lam * acc_up - rest * acc_down) + max_q (rest * B[q] - lam * A[q]) is not negative if the case can happen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from oaq.robust.dual import EXACT, Multipliers, Relaxed, Value, evaluate, gradient, start
from oaq.robust.network import Lookups, Sums
from oaq.robust.staircase import Ints, Reals

MEMORY = 0.08
"""Weight of the latest maxima in their average."""


@dataclass(frozen=True, eq=False)
class Objectives:
    """A batch of objectives.

    Attributes:
        up: the layer of the accumulator that is weighed up; -1 for none.
        down: of the one weighed down.
        up_element, down_element: (B,).
        floor: (B, Q) corners A; unused ones repeat others.
        ceiling: (B, Q) corners B.
        free: (B,): whether the two weights may differ from ``share``.
        share: (B,) in [0, 1]: weight on ``up``; ``down`` has the rest. With ``tied``, each has 1.
        tied: one weight for both accumulators (a difference of sums), or one accumulator alone.
    """

    up: int
    down: int
    up_element: Ints
    down_element: Ints
    floor: Reals
    ceiling: Reals
    free: NDArray[np.bool_]
    share: Reals
    tied: bool = False

    @property
    def rows(self) -> int:
        """B."""
        return len(self.share)

    def take(self, choice: Ints) -> Objectives:
        """The chosen rows alone."""
        parts = ("up_element", "down_element", "floor", "ceiling", "free", "share")
        return replace(self, **{name: getattr(self, name)[choice] for name in parts})

    def weights(self, scale: float = 1.0) -> tuple[Reals, Reals]:
        """Weights on ``up`` and on ``down``, times ``scale`` and rounded if that is not 1."""
        if self.tied:
            unit = np.full(self.rows, scale)
            return unit, unit
        up_weight = self.share * scale if scale == 1.0 else np.rint(self.share * scale)
        return up_weight, scale - up_weight

    def support(self, up_weight: Reals, down_weight: Reals) -> tuple[Reals, Ints]:
        """Max over the corners of rest * B - lam * A, and which corner."""
        worth = down_weight[:, None] * self.ceiling - up_weight[:, None] * self.floor
        best = worth.argmax(axis=1)
        return worth[np.arange(self.rows), best], best

    def tops(self, relaxed: Relaxed, up_weight: Reals, down_weight: Reals) -> Multipliers:
        """The objective's weights by layer."""
        at, result = np.arange(self.rows), {}
        for layer, element, weight in (
            (self.up, self.up_element, up_weight),
            (self.down, self.down_element, -down_weight),
        ):
            if layer >= 0:
                size = relaxed.network.sizes[relaxed.network.layers[layer].output]
                top = result.setdefault(layer, np.zeros((self.rows, size)))
                top[at, element] += weight
        return result


@dataclass(frozen=True, eq=False)
class Bounded:
    """Objectives with the best multipliers so far.

    Attributes:
        objectives: with their shares.
        multipliers: by layer.
        bound: (B,) D in float64.
        corner: (B, inputs) where that bound is reached.
        mean: what the inner maxima were on average while multipliers moved: the inputs (key -1), and per layer the
            accumulators and values side by side, (B, 2, K). Near the optimum this solves the relaxation.
    """

    objectives: Objectives
    multipliers: Multipliers
    bound: Reals
    corner: Reals
    mean: Multipliers

    def take(self, choice: Ints) -> Bounded:
        """The chosen rows alone."""
        mus = {at: mu[choice] for at, mu in self.multipliers.items()}
        mean = {at: part[choice] for at, part in self.mean.items()}
        return Bounded(self.objectives.take(choice), mus, self.bound[choice], self.corner[choice], mean)


def bound_at(
    relaxed: Relaxed, objectives: Objectives, multipliers: Multipliers, scale: float = 1.0
) -> tuple[Value, Reals, Ints]:
    """The value at some multipliers, D, and the corner of each case at which it is reached."""
    up_weight, down_weight = objectives.weights(scale)
    value = evaluate(relaxed, objectives.tops(relaxed, up_weight, down_weight), multipliers, objectives.rows)
    support, corner = objectives.support(up_weight, down_weight)
    return value, value.bound + support, corner


def first_bound(relaxed: Relaxed, objectives: Objectives) -> Bounded:
    """The bound at the first multipliers."""
    up_weight, down_weight = objectives.weights()
    first_multipliers = start(relaxed, objectives.tops(relaxed, up_weight, down_weight), objectives.rows)
    value, bound, _ = bound_at(relaxed, objectives, first_multipliers)
    return Bounded(objectives, first_multipliers, bound, value.corner, _maxima(relaxed, value))


def _maxima(relaxed: Relaxed, value: Value) -> Multipliers:
    """Where the inner maxima lie: see ``Bounded.mean``."""
    result: Multipliers = {-1: value.corner}
    for at, acc in value.accumulators.items():
        layer = relaxed.network.layers[at]
        y = value.values[layer.output]
        if isinstance(layer, Sums | Lookups) and y is not None:
            result[at] = np.stack([acc, y], axis=1)
    return result


def _averaged(mean: Multipliers, latest: Multipliers, weight: float) -> Multipliers:
    return {at: part + weight * (latest[at] - part) for at, part in mean.items()}


@dataclass
class _Adam:
    """Moments of one parameter; the steps that Adam takes, in parts of ``size``."""

    size: Reals
    mean: Reals
    square: Reals
    count: int = 0

    def step(self, slope: Reals, rate: float) -> Reals:
        slope = slope * self.size  # the gradient in relative coordinates
        self.count += 1
        self.mean = 0.8 * self.mean + 0.2 * slope
        self.square = 0.95 * self.square + 0.05 * slope * slope
        mean = self.mean / (1 - 0.8**self.count)
        square = self.square / (1 - 0.95**self.count)
        return rate * self.size * mean / (np.sqrt(square) + 1e-12)


def improve(relaxed: Relaxed, bounded: Bounded, iterations: int, rates: tuple[float, float] = (0.15, 0.005)) -> Bounded:
    """Adam on the multipliers and shares; returns the best of every row. Stops when every bound is negative.

    Args:
        relaxed: the set.
        bounded: where to begin.
        iterations: at most.
        rates: first and last step, relative to a typical multiplier of each element.
    """
    best = bounded
    objectives, mus = bounded.objectives, dict(bounded.multipliers)
    adams = {at: _Adam(_typical(mu), np.zeros_like(mu), np.zeros_like(mu)) for at, mu in mus.items()}
    unit = np.ones(objectives.rows)
    share_adam = _Adam(unit, np.zeros(objectives.rows), np.zeros(objectives.rows))
    rows = np.arange(objectives.rows)
    mean: Multipliers = {}
    for iteration in range(iterations + 1):
        value, bound, corner = bound_at(relaxed, objectives, mus)
        latest = _maxima(relaxed, value)
        mean = _averaged(mean, latest, max(1.0 / (iteration + 1), MEMORY)) if iteration else latest
        best = _better(best, Bounded(objectives, mus, bound, value.corner, {}))
        if iteration == iterations or (best.bound < 0).all():
            break
        rate = rates[0] * (rates[1] / rates[0]) ** (iteration / max(iterations - 1, 1))
        slopes = gradient(relaxed, value)
        if objectives.free.any():
            slope = _share_slope(relaxed, objectives, value) - (objectives.floor + objectives.ceiling)[rows, corner]
            share = np.clip(objectives.share - share_adam.step(slope, rate), 0.0, 1.0)
            objectives = replace(objectives, share=np.where(objectives.free, share, objectives.share))
        mus = {at: mu - adams[at].step(slopes[at], rate) if at in slopes else mu for at, mu in mus.items()}
    return replace(best, mean=mean)


def _share_slope(relaxed: Relaxed, objectives: Objectives, value: Value) -> Reals:
    """d/dshare of share * acc_up - (1 - share) * acc_down: the sum of the two accumulators at the inner maxima."""
    values = list(value.values)
    values[0] = value.corner
    total = np.zeros(objectives.rows)
    at = np.arange(objectives.rows)
    sides = {(objectives.up, id(objectives.up_element)): objectives.up_element}
    sides[(objectives.down, id(objectives.down_element))] = objectives.down_element
    sums: dict[int, Reals] = {}
    for (layer_at, _), element in sides.items():
        if layer_at not in sums:
            layer = relaxed.network.layers[layer_at]
            acc = layer.bias[None, :]  # type: ignore[union-attr]
            for tensor, linear in zip(layer.inputs, layer.maps, strict=True):  # type: ignore[union-attr]
                acc = acc + linear.forward(_midpoints(values[tensor], relaxed, tensor))
            sums[layer_at] = np.broadcast_to(acc, (objectives.rows, acc.shape[1]))
        total += sums[layer_at][at, element]
    return total


def _midpoints(values: NDArray | None, relaxed: Relaxed, tensor: int) -> Reals:
    if values is not None:
        return values
    lo, hi = relaxed.ranges.tensors[tensor]
    return (lo + hi) * 0.5


def _typical(mu: Reals) -> Reals:
    """A step size per coordinate: its own magnitude, at least a tenth of the row's mean."""
    magnitude = np.abs(mu)
    return np.maximum(magnitude, 0.1 * magnitude.mean(axis=1, keepdims=True) + 1e-9)


def _better(old: Bounded, new: Bounded) -> Bounded:
    improved = new.bound < old.bound
    if improved.all():
        return new
    if not improved.any():
        return old
    pick = improved[:, None]
    mus = {at: np.where(pick, new.multipliers[at], mu) for at, mu in old.multipliers.items()}
    share = np.where(improved, new.objectives.share, old.objectives.share)
    return Bounded(
        replace(old.objectives, share=share),
        mus,
        np.where(improved, new.bound, old.bound),
        np.where(pick, new.corner, old.corner),
        {},
    )


@dataclass(frozen=True, eq=False)
class Proved:
    """Integer multipliers and the exact bound they give.

    Attributes:
        bound: (B,) D times 2**bits, an exact integer; +inf where a row was too large for float64 to be exact.
        lam, rest: (B,) integer weights.
        multipliers: integers by layer.
        bits: the scale.
    """

    bound: Reals
    up_weight: Reals
    down_weight: Reals
    multipliers: Multipliers
    bits: int


def exact(relaxed: Relaxed, bounded: Bounded, bits: int = 20) -> Proved:
    """D again with multipliers rounded to integers of 2**-bits, every sum exact.

    float64 adds integers exactly while the sum of magnitudes stays below 2**53; rows beyond get the bound +inf.
    """
    scale = 2.0**bits
    mus = {at: np.rint(mu * scale) for at, mu in bounded.multipliers.items()}
    value, bound, _ = bound_at(relaxed, bounded.objectives, mus, scale)
    up_weight, down_weight = bounded.objectives.weights(scale)
    largest = value.size + up_weight * np.abs(bounded.objectives.floor).max(axis=1)
    largest = largest + down_weight * np.abs(bounded.objectives.ceiling).max(axis=1)
    for at, mu in mus.items():
        layer = relaxed.network.layers[at]
        for linear in getattr(layer, "maps", ()):
            largest = np.maximum(largest, linear.spread(np.abs(mu)).max(axis=1))
    return Proved(np.where(largest < EXACT, bound, np.inf), up_weight, down_weight, mus, bits)
