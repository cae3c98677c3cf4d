"""Integers near real weights that keep the budgets of their registers.

Registers that ask too much give up magnitude where it matters least: real weights are projected onto the budget (a soft
threshold, as onto the l1 ball, in the metric of what operands do of their own accord), rounded down, and what is left
of the budget goes where it helps most. For registers whose members all cost the same, pairs among them, no integers
that keep the budget are nearer. Then the error along what operands do together is brought towards zero by single steps
of weights that have room.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.cells import Cells
from oaq.repair.limits import ENDS, Limits
from oaq.repair.metric import Metric

Ints = NDArray[np.int64]
Reals = NDArray[np.float64]
ROUNDS: Final = 8
"""Most passes in which the common error is brought towards zero; it is there after two or three."""
SLIVER: Final = 1e-9
"""Taken off before rounding down: what float64 may have added to a real number of steps."""


def rounded(steps: Reals, limits: Limits, metric: Metric) -> Ints:
    """(N, K) integers near ``steps`` that keep ``limits``.

    Args:
        steps: (N, K) real weights in steps of their scale.
        limits: to keep.
        metric: one row per output, or one for all.
    """
    weight = np.clip(np.rint(steps), limits.least, limits.most).astype(np.int64)
    variance = np.broadcast_to(metric.variance, steps.shape)
    for family in limits.families:
        for end in ENDS:
            _shrink(weight, steps, variance, (limits, family, end))
    if np.any(metric.common):
        for _ in range(ROUNDS):
            if not _balance(weight, steps, limits, metric):
                break
    return weight


def _shrink(weight: Ints, steps: Reals, variance: Reals, where: tuple[Limits, Cells, int]) -> None:
    """Bring the registers of one family that ask too much of one end to their budget, in place."""
    limits, family, end = where
    budget = limits.budget(end)
    output, register = np.nonzero(limits.loads(weight, family, end) > budget)
    if not len(output):
        return
    k = family.members[register]
    real = k >= 0
    k = np.where(real, k, 0)
    at = output[:, None], k
    current = np.where(real, weight[at], 0)
    target = np.where(current >= 0, steps[at], -steps[at])
    cost = np.where(current * end >= 0, limits.up[k], limits.down[k])
    magnitude = shrunk(np.abs(current), np.where(real, target, 0.0), np.where(real, cost, 0), variance[at], budget)
    row, column = np.nonzero(real)
    weight[output[row], k[row, column]] = (np.sign(current) * magnitude)[row, column]


def shrunk(current: Ints, target: Reals, cost: Ints, variance: Reals, budget: int) -> Ints:
    """Magnitudes of the members of registers that ask too much.

    Args:
        current: (R, width) magnitudes; the costs of each row add up to more than ``budget``.
        target: (R, width) the real numbers they were rounded from.
        cost: (R, width) of one step of each.
        variance: (R, width) what a squared error of each costs.
        budget: of a register.

    Returns:
        (R, width) integers in [0, ``current``] whose costs add up to at most ``budget``.
    """
    uniform = int(cost.max())
    if np.all((cost == uniform) | (cost == 0)):  # the largest sum of whole steps, not of costs, is the exact budget
        budget, cost = budget // uniform, (cost > 0).astype(np.int64)
    active = cost > 0
    m = np.where(active, np.clip(target, 0.0, current), 0.0)
    weighing = cost / variance
    order = np.argsort(-np.divide(m, weighing, out=np.zeros_like(m), where=active), axis=1, kind="stable")
    excess = np.cumsum(np.take_along_axis(m * cost, order, 1), axis=1) - budget
    slope = np.cumsum(np.take_along_axis(cost * weighing, order, 1), axis=1)
    # theta over the first j members is greatest where all of them, and only they, stay above zero
    theta = np.max(np.divide(excess, slope, out=np.zeros_like(excess), where=slope > 0), axis=1, keepdims=True)
    projected = np.maximum(m - np.maximum(theta, 0.0) * weighing, 0.0)
    floor = np.where(
        active, np.minimum(np.floor(np.maximum(projected - SLIVER, 0.0)).astype(np.int64), current), current
    )
    gain = variance * (2.0 * (target - floor) - 1.0)
    remaining = budget - (floor * cost).sum(axis=1, keepdims=True)
    grows = active & (floor < current) & (gain > 0)
    return floor + _within(
        np.where(grows, gain / np.maximum(cost, 1), -np.inf), np.where(grows, cost, 0), remaining, grows
    )


def _within(merit: Reals, cost: Ints, remaining: Ints, growing: NDArray[np.bool_]) -> Ints:
    """(R, width) 1 for the members that may grow by a step: best first, while ``remaining`` pays for them."""
    order = np.argsort(-merit, axis=1, kind="stable")
    paid = np.cumsum(np.take_along_axis(cost, order, 1), axis=1) <= remaining
    affordable = np.empty_like(paid)
    np.put_along_axis(affordable, order, paid, axis=1)
    return (affordable & growing).astype(np.int64)


def _balance(weight: Ints, steps: Reals, limits: Limits, metric: Metric) -> bool:
    """Move weights by single steps, in place, so that the error falls; says whether any moved.

    All moves of an output go in the direction that brings its common error towards zero, best first: least increase of
    the rest per step of it. How many is found by trying every number.
    """
    error = weight - steps
    common = np.broadcast_to(metric.common, steps.shape)
    variance = np.broadcast_to(metric.variance, steps.shape)
    off = (common * error).sum(axis=1, keepdims=True)
    move = -np.sign(common * off).astype(np.int64)
    price = variance * (1.0 + 2.0 * move * error)
    merit = np.abs(common) / np.maximum(price, 2.0**-100)
    allowed = (move != 0) & (weight + move >= limits.least) & (weight + move <= limits.most)
    allowed &= _room(weight, move, np.where(allowed, merit, 0.0), limits)
    order = np.argsort(np.where(allowed, -merit, np.inf), axis=1, kind="stable")
    spent = np.cumsum(np.take_along_axis(np.where(allowed, price, 0.0), order, 1), axis=1)
    moved = np.cumsum(np.take_along_axis(np.where(allowed, np.abs(common), 0.0), order, 1), axis=1)
    total = spent + (np.abs(off) - moved) ** 2
    best = np.argmin(total, axis=1)
    better = total[np.arange(len(best)), best] < off[:, 0] ** 2 * (1.0 - 1e-9)
    moves = np.zeros_like(allowed)
    np.put_along_axis(moves, order, np.arange(weight.shape[1]) <= best[:, None], axis=1)
    moves &= allowed & better[:, None]
    weight += np.where(moves, move, 0)
    return bool(moves.any())


def _room(weight: Ints, move: Ints, merit: Reals, limits: Limits) -> NDArray[np.bool_]:
    """(N, K) moves that keep every budget even if all of them are made; moves that shrink a magnitude always do."""
    grows = (weight * move > 0) | (weight == 0)
    after = weight + move
    allowed = np.ones(weight.shape, np.bool_)
    for family in limits.families:
        for end in ENDS:
            cost = np.where(grows & (merit > 0), np.where(after * end >= 0, limits.up, limits.down), 0)
            remaining = limits.budget(end) - limits.loads(weight, family, end)
            order = np.argsort(-family.gather(merit), axis=2, kind="stable")
            paid = np.cumsum(np.take_along_axis(family.gather(cost), order, 2), axis=2) <= remaining[:, :, None]
            affordable = np.empty_like(paid)
            np.put_along_axis(affordable, order, paid, axis=2)
            allowed &= family.scatter(affordable)
    return allowed | ~grows
