"""Where precision is given up: the integer range of each tensor and the fill of each layer, least error under a budget.

Error is the sum of what rounding every tensor and every weight does at the outputs (``sensitivity``). A layer's
cost depends on its fill only; its error on the fill and on the steps of the tensor it reads. So, for a price per unit
of cost, each tensor with its readers is decided alone, and the price is found by bisection: the Lagrangian of a
multiple-choice knapsack, optimal for the cost it ends at. It ends below the budget wherever one layer's next step
is a large one (a first spill in a layer of many positions); what is left then goes to single changes that fit, the one
that helps most first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from oaq.capture.graph import TensorParams
from oaq.ptq.clip import ClipMethod, choose_clip
from oaq.ptq.curves import FILLS, Layer
from oaq.ptq.observe import Histogram, Reals

STEPS: Final = tuple(sorted({round(255 * 2.0 ** (-step / 4)) for step in range(17)}, reverse=True))
"""Candidates for q_hi: 255 down to 16, four per bit."""
FILL_CANDIDATES: Final = (*(float(2.0 ** (step / 4)) for step in range(-8, 33)), float("inf"))
BISECTIONS: Final = 50
ROUNDING: Final = 1e-9
"""Part of an error below which a difference may be one of summation order."""
Pick = tuple[int, tuple[int, ...]]
"""Index of steps, and of each reader's fill."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """One tensor (with those that share its integers) and the layers that read it.

    Attributes:
        root: the tensor's name.
        params: by index of those ``STEPS`` that the rows of the target take.
        error: (S,) of rounding the tensor.
        layers: readers.
        layer_error: per reader, (S, Z) by steps and fill.
        layer_cost: per reader, (Z,), not decreasing.
    """

    root: str
    params: tuple[TensorParams, ...]
    error: Reals
    layers: tuple[Layer, ...]
    layer_error: tuple[Reals, ...]
    layer_cost: tuple[Reals, ...]

    def choose(self, price: float) -> Pick:
        """Indices of steps and of each reader's fill that cost least, error + price * cost."""
        total = self.error.copy()
        fills = []
        for error, cost in zip(self.layer_error, self.layer_cost, strict=True):
            objective = error + price * cost
            fills.append(objective.argmin(axis=1))
            total += objective.min(axis=1)
        steps = int(total.argmin())
        return steps, tuple(int(fill[steps]) for fill in fills)

    def cost(self, pick: Pick) -> float:
        """Predicted, of all readers."""
        return sum(float(cost[fill]) for cost, fill in zip(self.layer_cost, pick[1], strict=True))

    def total_error(self, pick: Pick) -> float:
        """Error of the tensor and all readers."""
        steps, fills = pick
        readers = sum(float(error[steps, fill]) for error, fill in zip(self.layer_error, fills, strict=True))
        return float(self.error[steps]) + readers

    def improve(self, pick: Pick, allowed: float) -> tuple[float, Pick]:
        """The change of steps and of one reader's fill that takes most off the error for at most ``allowed`` cost.

        Returns:
            what it takes off, 0 if nothing does, and what is chosen then. What rounding alone could take off is
            nothing: sums of the same errors differ with their order, and a search that follows them does not end.
        """
        error_now, fills = self.total_error(pick), pick[1]
        best, best_pick = ROUNDING * error_now, pick
        for index, (reader_error, cost) in enumerate(zip(self.layer_error, self.layer_cost, strict=True)):
            remaining_error = self.error + sum(
                error[:, fill]
                for reader, (error, fill) in enumerate(zip(self.layer_error, fills, strict=True))
                if reader != index
            )
            error = np.where(cost - cost[fills[index]] <= allowed, reader_error, np.inf) + remaining_error[:, None]
            steps, fill = np.unravel_index(int(error.argmin()), error.shape)
            if error_now - float(error[steps, fill]) > best:
                best = error_now - float(error[steps, fill])
                best_pick = int(steps), (*fills[:index], int(fill), *fills[index + 1 :])
        return best if best_pick is not pick else 0.0, best_pick


@dataclass(frozen=True, eq=False)
class Choice:
    """What the search decided.

    Attributes:
        params: by root tensor.
        fills: by node name.
        error: predicted noise at the outputs in parts of their power.
        cost: predicted.
    """

    params: Mapping[str, TensorParams]
    fills: Mapping[str, float]
    error: float
    cost: float


def make_candidates(
    root: str,
    histogram: Histogram,
    readers: Sequence[Layer],
    costs: Mapping[str, Reals],
    calibration: ClipMethod,
    *,
    gains: Mapping[str, float] | None = None,
) -> Candidates:
    """Tabulate errors and costs of one tensor and its readers.

    Args:
        root: the tensor's name.
        histogram: of its values, weighing what their errors cost.
        readers: layers that read it.
        costs: by node name, (Z,) over ``FILL_CANDIDATES``.
        calibration: how ranges are chosen.
        gains: by node name, the part of the error of rounding to nearest that is left; all of it where nothing is said.
    """
    most = min((layer.most_steps for layer in readers), default=STEPS[0])
    allowed = [steps for steps in STEPS if steps <= most]
    clips = [choose_clip(histogram, steps, calibration) for steps in allowed]
    errors = tuple(
        np.stack([layer.errors_at(FILL_CANDIDATES, steps) for steps in allowed])
        * (gains or {}).get(layer.node.name, 1.0)
        for layer in readers
    )
    return Candidates(
        root,
        tuple(clip.params for clip in clips),
        np.array([clip.error for clip in clips]),
        tuple(readers),
        errors,
        tuple(costs[layer.node.name] for layer in readers),
    )


def cost_curve(layer: Layer) -> Reals:
    """(Z,) cost over ``FILL_CANDIDATES``: counted at ``FILLS``, interpolated between, never decreasing."""
    unlimited = layer.cost(float("inf"))
    counted: list[float] = []
    for fill in FILLS:
        counted.append(min(layer.cost(fill), unlimited) if not counted or counted[-1] < unlimited else unlimited)
    monotone = np.maximum.accumulate(counted)
    interpolated = np.interp(np.log2(FILL_CANDIDATES[:-1]), np.log2(FILLS), monotone)
    return np.append(interpolated, max(unlimited, monotone[-1]))


def search(candidates: Sequence[Candidates], budget: float) -> Choice:
    """The least predicted error whose predicted cost is at most ``budget`` (in the units of the cost curves).

    The least cost possible if even that is above the budget.
    """
    free = _at(candidates, 0.0)
    if free.cost <= budget:
        return free
    low, high = 0.0, 1.0
    least = _at(candidates, float(2.0**60))
    if least.cost > budget:
        return least
    scale = max(free.error, 1e-12) / max(free.cost, 1e-12)
    while _at(candidates, high * scale).cost > budget:
        low, high = high, high * 4
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if _at(candidates, middle * scale).cost > budget:
            low = middle
        else:
            high = middle
    picks = [candidate.choose(high * scale) for candidate in candidates]
    _use_up(candidates, picks, budget)
    return _choice(candidates, picks)


def _use_up(candidates: Sequence[Candidates], picks: list[Pick], budget: float) -> None:
    """Change one tensor's steps and one reader's fill at a time, the most helpful first, while the budget allows."""
    remaining = budget - _choice(candidates, picks).cost
    best = [candidate.improve(pick, remaining) for candidate, pick in zip(candidates, picks, strict=True)]
    while best:
        index = max(range(len(best)), key=lambda position: best[position][0])
        gain, pick = best[index]
        if gain <= 0:
            return
        remaining -= candidates[index].cost(pick) - candidates[index].cost(picks[index])
        picks[index] = pick
        best = [candidate.improve(pick, remaining) for candidate, pick in zip(candidates, picks, strict=True)]


def widest(candidates: Sequence[Candidates]) -> Choice:
    """Every tensor as many steps as the target takes, every weight up to 127, whatever it costs."""
    params = {candidate.root: candidate.params[0] for candidate in candidates}
    fills = {layer.node.name: FILL_CANDIDATES[-1] for candidate in candidates for layer in candidate.layers}
    error = sum(
        float(candidate.error[0]) + sum(float(e[0, -1]) for e in candidate.layer_error) for candidate in candidates
    )
    return Choice(
        params, fills, error, sum(float(cost[-1]) for candidate in candidates for cost in candidate.layer_cost)
    )


def _at(candidates: Sequence[Candidates], price: float) -> Choice:
    return _choice(candidates, [candidate.choose(price) for candidate in candidates])


def _choice(candidates: Sequence[Candidates], picks: Sequence[Pick]) -> Choice:
    params: dict[str, TensorParams] = {}
    fills: dict[str, float] = {}
    error = cost = 0.0
    for candidate, (steps, reader_fills) in zip(candidates, picks, strict=True):
        params[candidate.root] = candidate.params[steps]
        error += candidate.total_error((steps, reader_fills))
        cost += candidate.cost((steps, reader_fills))
        fills |= {
            layer.node.name: FILL_CANDIDATES[fill] for layer, fill in zip(candidate.layers, reader_fills, strict=True)
        }
    return Choice(params, fills, error, cost)
