"""What a requantizer is: its thresholds. A monotone function of at most 256 values, held exactly.

y >= q if and only if acc >= T[q], with T[q] the least accumulator that yields q or more. That is exact for both
requantize laws, ties included: no idealised rounding, no epsilon. Derivation: ``docs/math/robustness.md``, section 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize

Ints = NDArray[np.int64]
Reals = NDArray[np.floating[Any]]
FAR = 1 << 45
"""Magnitude of a threshold that no accumulator reaches; beyond any sum here, exact in float64."""
REACH = 1 << 31
"""Thresholds are searched within this magnitude: sums lie in s32."""


@dataclass(frozen=True, eq=False)
class Points:
    """Corners of a relation between accumulators and values, inside one range per element.

    For v * y - mu * acc, the greatest value over the relation is at most the greatest over ``above`` (v >= 0) or
    ``below`` (v < 0) plus abs(mu) * slack.

    Attributes:
        above: (accumulators, values), each (P, B, K): where y is as large as it can be.
        below: likewise, where y is as small as it can be.
        slack: (B, K): how far thresholds between the corners lie below the line through them; 0 if there are none.
    """

    above: tuple[Reals, Reals]
    below: tuple[Reals, Reals]
    slack: Reals


@dataclass(frozen=True, eq=False)
class Staircase:
    """Thresholds per class of elements, and each element's class. Values are centred: integer less zero point.

    Attributes:
        possible_from: (C, Q + 1): least accumulator at which value ``low + i`` or more is possible; the first is -FAR,
            the last FAR.
        certain_from: likewise, where ``low + i`` or more is certain. Equal to ``possible_from`` but for Add in float32,
            whose sum is rounded.
        low: least value.
        classes: (K,) row of each element.
    """

    possible_from: Ints
    certain_from: Ints
    low: int
    classes: Ints

    @cached_property
    def _above(self) -> Ints:
        return _attained(self.possible_from)

    @cached_property
    def _below(self) -> Ints:
        return _attained_before(self.certain_from)

    @cached_property
    def _slack(self) -> Ints:
        return np.maximum(_sag(self.possible_from), _sag(self.certain_from))

    @property
    def high(self) -> int:
        """Greatest value."""
        return self.low + self.possible_from.shape[1] - 2

    def largest(self, acc: Ints) -> Ints:
        """Greatest value possible at each accumulator: (B, K) to (B, K)."""
        return self._count(self.possible_from, acc) + self.low

    def least(self, acc: Ints) -> Ints:
        """Least value possible at each accumulator: (B, K) to (B, K)."""
        return self._count(self.certain_from, acc) + self.low

    def _count(self, thresholds: Ints, acc: Ints) -> Ints:
        """Number of thresholds at or below, less one: a binary search in each element's row."""
        low, high = np.zeros(acc.shape, np.int64), np.full(acc.shape, thresholds.shape[1] - 1)
        for _ in range(int(thresholds.shape[1]).bit_length()):
            middle = (low + high) >> 1
            is_reached = thresholds[self.classes, middle] <= acc
            low, high = np.where(is_reached, middle, low), np.where(is_reached, high, middle)
        return low

    def points(self, lo: Ints, hi: Ints) -> Points:
        """Corners over the accumulators ``lo`` to ``hi``, each (B, K)."""
        row = self.classes
        first, last = self._count(self.possible_from, lo), self._count(self.possible_from, hi)
        inner = first < last
        after = np.minimum(first + 1, last)
        above_acc = [
            lo,
            np.where(inner, self.possible_from[row, after], lo),
            np.where(inner, self.possible_from[row, last], lo),
            hi,
        ]
        above = [first, np.where(inner, self._above[row, after], first), np.where(inner, last, first), last]
        slack = np.where(last - first > 2, self._slack[row], 0)
        if self.certain_from is not self.possible_from:
            first, last = self._count(self.certain_from, lo), self._count(self.certain_from, hi)
            inner = first < last
            after = np.minimum(first + 1, last)
        below_acc = [
            lo,
            np.where(inner, self.certain_from[row, after] - 1, lo),
            np.where(inner, self.certain_from[row, last] - 1, lo),
        ]
        below = [first, first, np.where(inner, self._below[row, last], first), last]
        return Points(
            (np.stack(above_acc).astype(np.float64), np.stack(above).astype(np.float64) + self.low),
            (np.stack([*below_acc, hi]).astype(np.float64), np.stack(below).astype(np.float64) + self.low),
            np.where(last - first > 2, self._slack[row], slack).astype(np.float64),
        )

    def threshold_near(self, acc: Ints, element: Ints, lo: Ints, hi: Ints) -> Ints:
        """For each element the threshold in (lo, hi] nearest to ``acc``; ``lo`` where there is none. All (B,)."""
        rows = self.possible_from[self.classes[element]]
        inside = (rows > lo[:, None]) & (rows <= hi[:, None])
        distance = np.where(inside, np.abs(rows - acc[:, None]), np.iinfo(np.int64).max)
        best = distance.argmin(axis=1)
        at = np.arange(len(acc))
        return np.where(inside[at, best], rows[at, best], lo)


def thresholds(value: Callable[[Ints], Ints], count: int, clamp: tuple[int, int]) -> Ints:
    """Thresholds of a monotone law by binary search.

    Args:
        value: (C, Q) accumulators to centred values, channel by row.
        count: C.
        clamp: least and greatest centred value.

    Returns:
        (C, Q + 1), with the ends -FAR and FAR; FAR (or -FAR) where no accumulator of s32 reaches (or misses) a value.
    """
    goals = np.arange(clamp[0] + 1, clamp[1] + 1)[None, :]
    low = np.full((count, goals.shape[1]), -REACH - 1, np.int64)
    high = np.full_like(low, REACH)
    for _ in range(REACH.bit_length() + 1):
        middle = (low + high) >> 1
        is_reached = value(middle) >= goals
        low, high = np.where(is_reached, low, middle), np.where(is_reached, middle, high)
    inner = np.where(high >= REACH, FAR, np.where(high <= -REACH, -FAR, high))
    ends = np.full((count, 1), FAR, np.int64)
    return np.concatenate([-ends, inner, ends], axis=1)


def of_requantize(requantize: Requantize, classes: Ints, zero_point: int, clamp: IntRange) -> Staircase:
    """The staircase of a requantizer: one class per multiplier."""

    def value(acc: Ints) -> Ints:
        return requantize.apply(acc.T, zero_point, clamp).T - zero_point

    table = thresholds(value, len(requantize), (clamp.lo - zero_point, clamp.hi - zero_point))
    return Staircase(table, table, clamp.lo - zero_point, np.asarray(classes, np.int64))


def of_shift(shift: int, classes: Ints, clamp: tuple[int, int], width: int = 0) -> Staircase:
    """The staircase of (acc + 2**(shift - 1)) >> shift, whose accumulators may be off by ``width`` either way.

    Args:
        shift: at least 1.
        classes: (K,) zeros.
        clamp: least and greatest centred value.
        width: 0 for an exact law.
    """
    exact = [(goal << shift) - (1 << (shift - 1)) for goal in range(clamp[0] + 1, clamp[1] + 1)]
    tables = [
        np.array([[-FAR, *(min(max(value + move, -FAR), FAR) for value in exact), FAR]], np.int64)
        for move in ((-width, width + 1) if width else (0,))
    ]
    return Staircase(tables[0], tables[-1], clamp[0], np.asarray(classes, np.int64))


def _attained(table: Ints) -> Ints:
    """(C, Q): index of the value at each threshold: beyond the threshold's own where values are skipped."""
    count = table.shape[1] - 1
    at = np.arange(count)[None, :].repeat(table.shape[0], 0)
    for index in range(count - 2, -1, -1):
        is_equal = table[:, index] == table[:, index + 1]
        at[:, index] = np.where(is_equal, at[:, index + 1], index)
    return at


def _attained_before(table: Ints) -> Ints:
    """(C, Q): index of the value one accumulator below each threshold."""
    count = table.shape[1] - 1
    at = np.maximum(np.arange(count) - 1, 0)[None, :].repeat(table.shape[0], 0)
    for index in range(1, count):
        is_equal = table[:, index] == table[:, index - 1]
        at[:, index] = np.where(is_equal, at[:, index - 1], index - 1)
    return at


def _sag(table: Ints) -> Ints:
    """(C,): the most that a threshold can lie below a chord between two others of its row.

    With e[q] = T[q] - s * q for any slope s, a chord lies at most max(e) - min(e) above T. The slope taken is that
    between the outer thresholds; everything is times its denominator, so that it is exact.
    """
    inner = table[:, 1:-1]
    reachable = np.abs(inner) < FAR
    if inner.shape[1] < 3:
        return np.zeros(table.shape[0], np.int64)
    sag = np.zeros(table.shape[0], np.int64)
    for row in range(table.shape[0]):
        at = np.flatnonzero(reachable[row])
        if len(at) < 3:
            continue
        steps = int(at[-1] - at[0])
        rise = int(inner[row, at[-1]] - inner[row, at[0]])
        error = inner[row, at] * steps - rise * at
        sag[row] = -((int(error.min()) - int(error.max())) // steps)
    return sag
