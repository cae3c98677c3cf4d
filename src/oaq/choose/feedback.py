"""AXE: rounding with error feedback inside accumulator budgets (Colbert et al., 2409.17092; GPTQ, 2210.17323).

Weights of an output are rounded one after another. Each takes the nearest integer that the budget of its cell still
allows, and the weights that are still to come are moved so that they make up for its error as well as the covariance of
the operands lets them. Before that, cells that are over budget are brought to it by the projection onto the l1 ball: a
soft threshold. Every integer is checked against its budget as it is chosen, so the result keeps the bound by
construction.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.choose.bound import Bound, coarsened
from oaq.choose.covariance import Covariance, Reals, group_rows, sum_errors
from oaq.choose.piecewise import best_steps, to_codebook
from oaq.numerics.codebook import toward_zero

TRIALS: Final = 5
"""Scales tried for every output."""
SMALL: Final = 64
"""Triangles of at most so many rows are inverted as a whole."""
BLOCK: Final = 32
"""Operands whose errors are passed on together."""
TOGETHER: Final = 1 << 24
"""Weights rounded together."""
IN_CACHE: Final = 1 << 16
"""Weights whose budgets are projected together: a dozen arrays of them fit into a cache."""
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Feedback:
    """Where the error of each weight should go.

    Attributes:
        order: (G, K) operands by their variance, the largest first.
        factor: (G, K, K) upper Cholesky factor of the inverse covariance, in that order.
    """

    order: Integers
    factor: Covariance


def feedback_of(moments: Covariance) -> Feedback:
    """How errors spread with (G, K, K) covariances: the costly part of ``error_feedback``, the same for every scale.

    With C the ordered covariance and J the reversal, J C J = M M^T; R = J M J is upper and C = R R^T, so the upper
    factor of the inverse is the inverse of R: no inverse of C is formed. Computed in the type of ``moments``.

    Raises:
        numpy.linalg.LinAlgError: no amount of damping makes a covariance positive definite: it is not finite.
    """
    order = np.argsort(-np.einsum("gkk->gk", moments), axis=1, kind="stable")
    factor = np.empty_like(moments)
    for group, places in enumerate(order):
        backwards = places[::-1]
        lower = _cholesky(moments[group][np.ix_(backwards, backwards)])
        factor[group] = _lower_inverse(lower)[::-1, ::-1]
    return Feedback(order, factor)


def _cholesky(matrix: Covariance) -> Covariance:
    """Lower factor; a matrix that rounding left indefinite is damped, as little as does."""
    eye = np.eye(len(matrix))
    variance = float(np.einsum("kk->k", matrix).mean(dtype=np.float64))
    for damping in () if not np.isfinite(variance) else (0.0, 0.0, *(10.0**power for power in range(-6, 2))):
        with suppress(np.linalg.LinAlgError):
            return np.linalg.cholesky(matrix if damping == 0.0 else matrix + damping * variance * eye)
        matrix = matrix.astype(np.float64)
    raise np.linalg.LinAlgError("the covariance of a layer's operands is not positive definite, however it is damped")


def _lower_inverse(lower: Covariance) -> Covariance:
    """Inverse of a lower triangular matrix, by halves: two inverses and two products."""
    size = len(lower)
    if size <= SMALL:
        return np.tril(np.linalg.inv(lower))
    half = size // 2
    result = np.zeros_like(lower)
    result[:half, :half] = first = _lower_inverse(lower[:half, :half])
    result[half:, half:] = last = _lower_inverse(lower[half:, half:])
    result[half:, :half] = -(last @ (lower[half:, :half] @ first))
    return result


def error_feedback(
    rows: Reals,
    scale: Reals,
    bound: Bound,
    moments: Covariance,
    *,
    feedback: Feedback | None = None,
    trials: int = TRIALS,
) -> tuple[NDArray[np.int8], Reals]:
    """Round a layer; no output is worse than with ``coarsened``, and every one keeps ``bound``.

    Args:
        rows: (N, K) weights in packed K order.
        scale: (N,) finest scale.
        bound: to keep.
        moments: (G, K, K) covariance of the operands.
        feedback: ``feedback_of(moments)``, where it is there already.
        trials: scales tried for every output, from the finest to the one that needs no budget.

    Returns:
        (N, K) weights and the (N,) scale they have.
    """
    best, coarse = coarsened(rows, scale, bound)
    best_scale = coarse.copy()
    least = sum_errors(best * best_scale[:, None] - rows, moments)
    spread, feedback = np.log(coarse / scale), feedback or feedback_of(moments)
    shares = np.linspace(1.0, 0.0, trials if spread.max() > 0 else 1)
    loaded = np.flatnonzero(_whole_groups(np.asarray(spread > 0), len(moments)))
    for outputs, tried in ((np.arange(len(rows)), shares[:1]), *_batches(loaded, shares[1:], rows.shape[1])):
        groups = np.unique(outputs // (len(rows) // len(moments)))
        places = np.repeat(outputs.reshape(len(groups), 1, -1), len(tried), axis=1)  # (groups, trials, outputs)
        candidate = scale[places] * np.exp(spread[places] * tried[:, None])
        flat, limits = places.reshape(-1), bound.of_outputs(places.reshape(-1))
        part = Feedback(feedback.order[groups], feedback.factor[groups])
        weight, error = _fed_back(rows[flat] / candidate.reshape(-1, 1), limits, part)
        error *= candidate.reshape(-1) ** 2
        holds = limits.holds(weight)
        for trial in np.moveaxis(np.arange(len(flat)).reshape(places.shape), 1, 0).reshape(len(tried), -1):
            better = trial[(error[trial] < least[flat[trial]]) & holds[trial]]
            chosen = flat[better]
            best[chosen], best_scale[chosen], least[chosen] = weight[better], candidate.flat[better], error[better]
    return best, best_scale


def _batches(outputs: NDArray[np.intp], shares: Reals, terms: int) -> list[tuple[NDArray[np.intp], Reals]]:
    """Trials that are rounded together, as many as memory allows: a row costs the same time for one and for several."""
    if not len(outputs):
        return []
    count = max(1, TOGETHER // (len(outputs) * terms))
    return [(outputs, shares[first : first + count]) for first in range(0, len(shares), count)]


def _whole_groups(outputs: NDArray[np.bool_], groups: int) -> NDArray[np.bool_]:
    """(N,): where every group has as many outputs, some of one group, or all of those groups that have any."""
    if groups == 1:
        return outputs
    grouped = outputs.reshape(groups, -1)
    return np.broadcast_to(np.any(grouped, axis=1, keepdims=True), grouped.shape).reshape(-1)


def feedback_gain(moments: Covariance, feedback: Feedback | None = None) -> float:
    """Mean squared error of the sums after error feedback, in parts of that after rounding to nearest, to be expected.

    Every weight is off by a random part of a step either way. To nearest, that counts with the variance of its operand;
    with feedback, with its variance conditioned on later operands. Accumulator budgets are ignored.
    """
    factor = np.einsum("gkk->gk", (feedback or feedback_of(moments)).factor).astype(np.float64)
    return float((1.0 / factor**2).sum() / np.einsum("gkk->gk", moments).sum(dtype=np.float64))


def fed_back_at(
    rows: Reals, scale: Reals, bound: Bound, moments: Covariance, *, feedback: Feedback | None = None
) -> NDArray[np.int8]:
    """(N, K) weights at these scales, within ``bound``: with error feedback, or to nearest where that is better.

    Arguments as ``error_feedback``.
    """
    weight, plain = (
        _fed_back(rows / scale[:, None], bound, feedback or feedback_of(moments))[0],
        bound.nearest(rows, scale),
    )
    errors = [sum_errors(integers * scale[:, None] - rows, moments) for integers in (weight, plain)]
    better = bound.holds(plain) & ((errors[1] < errors[0]) | ~bound.holds(weight))
    weight[better] = plain[better]
    return weight


def soft_threshold(steps: Reals, bound: Bound) -> Reals:
    """(N, K) what to take from the magnitude of each weight so that each sign of each cell keeps its budget.

    Euclidean projection of (N, K) ``steps`` (weights in steps of their scale) onto the budgets; zero where they hold.
    Where the budgets of the signs are coupled, the projection is onto their sum, which bounds the l1 norm of the cell:
    (same_sign + other_sign) * (P + N) <= up + down. What that leaves to do is done as integers are chosen.
    """
    result, rows = np.empty_like(steps), max(1, IN_CACHE // steps.shape[1])
    for start in range(0, len(steps), rows):
        part = slice(start, start + rows)
        result[part] = _soft_threshold(steps[part], bound.of_outputs(part))
    return result


def _soft_threshold(steps: Reals, bound: Bound) -> Reals:
    """As ``soft_threshold``, of rows that caches hold."""
    gathered = bound.cells.gather(steps)
    if bound.other_sign:
        norm = (bound.up + bound.down)[:, None] / (bound.same_sign + bound.other_sign)
        theta = np.repeat(ball_threshold(np.abs(gathered), norm)[:, :, None], gathered.shape[2], axis=2)
        return bound.cells.scatter(theta)
    above, below = (
        ball_threshold(np.maximum(part, 0.0), budget[:, None].astype(np.float64))[:, :, None]
        for part, budget in ((gathered, bound.up), (-gathered, bound.down))
    )
    return bound.cells.scatter(np.where(gathered > 0, above, np.where(gathered < 0, below, 0.0)))


def ball_threshold(part: Reals, budget: Reals) -> Reals:
    """(N, Q) threshold of each (N, Q, width) cell of magnitudes whose sum may be (N, 1) ``budget``."""
    threshold, limit = np.zeros(part.shape[:2]), np.broadcast_to(budget, part.shape[:2])
    over = part.sum(axis=2) > limit
    ordered = -np.sort(-part[over], axis=1)
    excess = np.cumsum(ordered, axis=1) - limit[over][:, None]
    count = np.arange(1, part.shape[2] + 1)
    active = np.maximum((ordered * count > excess).sum(axis=1), 1)
    threshold[over] = np.maximum(np.take_along_axis(excess, active[:, None] - 1, axis=1)[:, 0] / active, 0.0)
    return threshold


def _fed_back(steps: Reals, bound: Bound, feedback: Feedback) -> tuple[NDArray[np.int8], Reals]:
    """Integers for (N, K) weights in steps of their scale, and the error of their sums.

    Errors reach the weights of their own block at once, those of later blocks together, by one product of matrices.
    With U the factor, weights less integers are r U for the (K,) errors r that are passed on, so the squared error of
    the sums is that of r alone.

    Returns:
        (N, K) integers; (N,) mean squared error of the sums, in squared steps.
    """
    order, factor = feedback.order, feedback.factor
    groups, terms = order.shape

    def by_operand(values: NDArray[Any]) -> NDArray[Any]:
        """(N, K) to (G, K, N / G), operands in order: those of all outputs lie side by side."""
        ordered = np.take_along_axis(group_rows(values, groups), order[:, None, :], axis=2)
        return np.ascontiguousarray(ordered.swapaxes(1, 2))

    moved, theta = by_operand(steps.astype(factor.dtype)), by_operand(soft_threshold(steps, bound))
    remaining = _Remaining(bound, groups, steps)
    result, errors = np.zeros(moved.shape, np.int8), np.zeros_like(moved)
    for start in range(0, terms, BLOCK):
        end = min(start + BLOCK, terms)
        for k in range(start, end):
            operand, threshold = moved[:, k], theta[:, k]
            shrunk = operand - np.minimum(np.maximum(operand, -threshold), threshold)
            integers = remaining.take(shrunk, order[:, k])
            result[:, k] = integers
            errors[:, k] = error = (operand - integers) / factor[:, None, k, k]
            moved[:, k + 1 : end] -= factor[:, k, k + 1 : end, None] * error[:, None, :]
        moved[:, end:] -= factor[:, start:end, end:].swapaxes(1, 2) @ errors[:, start:end]
    squares = np.einsum("gkn,gkn->gn", errors, errors, dtype=np.float64).reshape(-1)
    back = np.argsort(order, axis=1)
    in_place = np.take_along_axis(result, back[:, :, None], axis=1).swapaxes(1, 2)
    return np.ascontiguousarray(in_place).reshape(steps.shape), squares


class _Remaining:
    """What budgets still allow."""

    def __init__(self, bound: Bound, groups: int, steps: Reals) -> None:
        """``steps``: (N, K) weights in steps of their scale, which decide on the codebook of each output."""
        self._bits = bound.code_bits
        self._tail = None if self._bits is None else best_steps(steps, self._bits).reshape(groups, -1)
        self._same_sign, self._other_sign = bound.same_sign, bound.other_sign
        self._clip, self._cell = bound.clip, bound.cells.cell_of
        self._up, self._down = (
            np.repeat(budget.reshape(groups, 1, -1), len(bound.cells.members), axis=1)
            for budget in (bound.up, bound.down)
        )

    def take(self, weight: Reals, operand: Integers) -> Integers:
        """(G, n) integers as near to ``weight`` as allowed, for operand ``operand[g]`` of each group.

        An integer of a codebook that there is no room for makes way for the next one toward zero, which every budget
        allows that allows what lies between.
        """
        ideal = self._nearest(weight).astype(np.int64)
        at = np.arange(len(operand)), self._cell[operand]
        up, down = self._up[at], self._down[at]
        integers = np.minimum(np.maximum(ideal, -self._room(down, up)), self._room(up, down))
        if self._bits is not None and self._tail is not None:
            integers = toward_zero(integers, self._bits, self._tail)
        positive = np.maximum(integers, 0)
        negative = positive - integers
        up -= self._load(positive, negative)
        down -= self._load(negative, positive)
        self._up[at], self._down[at] = up, down
        return integers

    def _nearest(self, weight: Reals) -> NDArray[Any]:
        if self._bits is None or self._tail is None:
            return np.rint(weight)
        return to_codebook(weight, self._bits, self._tail)

    def _load(self, magnitude: Integers, opposite: Integers) -> Integers:
        """What weights of the sign of a budget, and those of the opposite one, take of it."""
        if self._other_sign:
            return self._same_sign * magnitude + self._other_sign * opposite
        return magnitude if self._same_sign == 1 else self._same_sign * magnitude

    def _room(self, budget: Integers, opposite: Integers) -> Integers:
        """Largest magnitude of a weight, from what is left of its own sign's budget and of the other's."""
        room = budget if self._same_sign == 1 else budget // self._same_sign if self._same_sign else self._clip
        room = np.minimum(room, self._clip)
        return np.minimum(room, opposite // self._other_sign) if self._other_sign else room
