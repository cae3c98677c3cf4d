"""AdaRound: up or down, learned (Nagel et al., 2004.10568), here against the covariance of the operands.

Every weight may be rounded to either neighbour. A gate between 0 and 1 stands for each decision, the squared error of
the sums is minimised by Adam while a regulariser pushes gates to their ends, and what a cell is over budget is charged.
The paper minimises the error over batches of data; a layer's sums are linear in its weights, so the covariance holds
all that batches would say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from oaq.choose.bound import Bound
from oaq.choose.covariance import Covariance, Reals, sum_errors
from oaq.choose.piecewise import best_steps
from oaq.numerics.codebook import centre_of, toward_zero
from oaq.ptq.device_cells import on_device

ITERATIONS: Final = 400
RATE: Final = 3e-2
STRETCH: Final = (-0.1, 1.1)
"""A gate is a sigmoid stretched to these ends and cut at 0 and 1, so that it can arrive."""
WARM_UP: Final = 0.2
"""Part of the iterations without the regulariser."""
SHARPNESS: Final = (20.0, 2.0)
"""The regulariser's exponent, from first to last."""
WEIGHT: Final = 1.0
"""Weight of the regulariser beside the error, which is in parts of what rounding to nearest has."""


def learned_rounding(rows: Reals, scale: Reals, bound: Bound, moments: Covariance) -> NDArray[np.int8]:
    """(N, K) weights at scales at which rounding to nearest keeps ``bound``; no output is worse than with that.

    Arguments as ``feedback.error_feedback``.
    """
    best = bound.nearest(rows, scale)
    least = sum_errors(best * scale[:, None] - rows, moments)
    steps = rows / scale[:, None]
    neighbours = _neighbours(steps, bound)
    weight = _within(_learn(steps, best, (scale, neighbours), bound, moments), steps, neighbours, bound)
    error = sum_errors(weight * scale[:, None] - rows, moments)
    better = (error < least) & bound.holds(weight)
    best[better] = weight[better]
    return best


@dataclass(frozen=True, eq=False)
class _Neighbours:
    """The integers that weights lie between, in steps of their scale.

    Attributes:
        below: (N, K) the lower one of each.
        gap: (N, K) from it to the upper one: 1, or r in the tails of a codebook.
        most: (N, 1) greatest magnitude there is.
        tail: (N, 1) r, and the ``bits`` of the codebooks; None without.
    """

    below: Reals
    gap: Reals
    most: NDArray[np.int64]
    tail: NDArray[np.int64] | None = None
    bits: int = 0

    def toward_zero(self, weight: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N, K) distances of integers from the next one toward zero."""
        if self.tail is None:
            return np.ones_like(weight)
        return np.where(np.abs(weight) > centre_of(self.bits), self.tail, 1)


def _neighbours(steps: Reals, bound: Bound) -> _Neighbours:
    """The integers about (N, K) weights in steps of their scale."""
    if bound.code_bits is None:
        below = np.clip(np.floor(steps), -bound.clip, bound.clip)
        return _Neighbours(below, np.ones_like(below), np.full((len(steps), 1), bound.clip, np.int64))
    bits = bound.code_bits
    tail, centre = best_steps(steps, bits)[:, None], centre_of(bits)
    inner = toward_zero(np.floor(np.abs(steps)).astype(np.int64), bits, tail)
    gap = np.where(inner >= centre, tail, 1)
    below = np.where(steps < 0, -(inner + gap), inner)
    return _Neighbours(below.astype(np.float64), gap.astype(np.float64), centre + tail * (centre + 1), tail, bits)


def _learn(
    steps: Reals,
    nearest: NDArray[np.int8],
    grid: tuple[Reals, _Neighbours],
    bound: Bound,
    moments: Covariance,
) -> NDArray[np.int8]:
    """(N, K) integers, each a neighbour of its weight (in steps); budgets are kept only nearly.

    ``grid``: (N,) scales, and the neighbours.
    """
    groups, (scale, neighbours) = len(moments), grid
    floor = neighbours.below
    gap = None if neighbours.tail is None else torch.tensor(neighbours.gap, dtype=torch.float32)
    part = torch.tensor(np.clip((steps - floor) / neighbours.gap, 0.01, 0.99), dtype=torch.float32)
    lo, hi = STRETCH
    gate = torch.logit((part - lo) / (hi - lo)).requires_grad_()
    power = sum_errors((nearest - steps) * scale[:, None], moments).sum()
    relative = torch.tensor(moments / max(float(np.einsum("gkk->gk", moments).mean()), 1e-30), dtype=torch.float32)
    unit = max(power / max(float(np.einsum("gkk->gk", moments).mean()), 1e-30), 1e-30)
    target, below, size = (torch.tensor(array, dtype=torch.float32) for array in (steps, floor, scale[:, None]))
    charge = _Charge(bound)
    adam = torch.optim.Adam([gate], lr=RATE)
    for iteration in range(ITERATIONS):
        opened = torch.clamp(torch.sigmoid(gate) * (hi - lo) + lo, 0.0, 1.0)
        moved = opened if gap is None else opened * gap
        error = ((below + moved - target) * size).reshape(groups, -1, steps.shape[1])
        loss = (torch.bmm(error, relative) * error).sum() / unit + charge(below + moved)
        elapsed = iteration / ITERATIONS
        if elapsed >= WARM_UP:
            sharp = SHARPNESS[1] + (SHARPNESS[0] - SHARPNESS[1]) * (1 - (elapsed - WARM_UP) / (1 - WARM_UP))
            loss = loss + WEIGHT * (1 - (2 * opened - 1).abs() ** sharp).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    decided = floor + (torch.sigmoid(gate.detach()) > 0.5).numpy() * neighbours.gap
    return np.clip(decided, -neighbours.most, neighbours.most).astype(np.int8)


class _Charge:
    """What sums of cells are over budget, in parts of it, squared."""

    def __init__(self, bound: Bound) -> None:
        self._cells = on_device(bound.cells, "cpu")
        self._same_sign, self._other_sign = bound.same_sign, bound.other_sign
        self._budgets = [
            (sign, torch.tensor(budget[:, None], dtype=torch.float32))
            for sign, budget in ((1.0, bound.up), (-1.0, bound.down))
        ]

    def __call__(self, weight: torch.Tensor) -> torch.Tensor:
        """Charge for (N, K) weights in steps."""
        gathered = self._cells.gather(weight)
        total = weight.new_zeros(())
        for sign, budget in self._budgets:
            load = self._same_sign * torch.relu(gathered * sign).sum(dim=2)
            if self._other_sign:
                load = load + self._other_sign * torch.relu(-gathered * sign).sum(dim=2)
            excess = torch.relu(load - budget) / budget.clamp_min(1.0)
            total = total + excess.square().sum() * len(self._cells.members)
        return total


def _within(weight: NDArray[np.int8], steps: Reals, neighbours: _Neighbours, bound: Bound) -> NDArray[np.int8]:
    """Where a cell is over budget, weights rounded away from zero go back to the next integer, the farthest first.

    What is still over afterwards is left to the caller, who keeps the nearest rounding there.
    """
    result = weight.astype(np.int64)
    away = np.sign(result) * (result - steps)  # how much of the magnitude is rounding
    gap = neighbours.toward_zero(result)
    for output in np.flatnonzero(~bound.holds(weight)):
        for cell in bound.cells.members:
            members = cell[cell >= 0]
            for sign, budget in ((1, bound.up[output]), (-1, bound.down[output])):
                signs = np.sign(result[output, members]) * sign
                counts = np.where(signs > 0, bound.same_sign, np.where(signs < 0, bound.other_sign, 0))
                excess = int((counts * np.abs(result[output, members])).sum() - budget)
                per_step = counts * gap[output, members]  # load of what goes back
                useful = (per_step > 0) & (away[output, members] > 0)
                order = np.argsort(-away[output, members[useful]], kind="stable")
                count = int(np.searchsorted(np.cumsum(per_step[useful][order]), excess)) + 1 if excess > 0 else 0
                first = members[useful][order][:count]
                result[output, first] -= np.sign(result[output, first]) * gap[output, first]
                if neighbours.tail is not None:
                    away[output, first] = 0.0  # a second time would end between two integers of the codebook
    return result.astype(np.int8)
