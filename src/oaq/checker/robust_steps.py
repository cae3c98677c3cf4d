"""From accumulators to integers, for the checker of robustness: every value and the accumulators that can yield it.

Unlike the search, which keeps a few corners and a slack, this lists every value: for value q the accumulators are
[first[q], last[q]], and a linear function over them is greatest at one of the two ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.checker import dyadics
from oaq.checker.program import Node, Tensor
from oaq.checker.robust_maps import Ints

FAR = 1 << 44
"""Beyond every accumulator here."""
SUMS = 1 << 31
LARGE_BUT_EXACT = 1 << 62


@dataclass(frozen=True, eq=False)
class Steps:
    """Values ``low``, ``low + 1``, ... (centred), and where they can occur.

    Attributes:
        low: least value.
        first: (C, Q) least accumulator of each value; first > last where a value is skipped.
        last: (C, Q) greatest.
        owner: (K,) row of each element.
    """

    low: int
    first: Ints
    last: Ints
    owner: Ints

    @property
    def values(self) -> Ints:
        """(Q,)."""
        return self.low + np.arange(self.first.shape[1])

    def image(self, lo: Ints, hi: Ints) -> tuple[Ints, Ints]:
        """Least and greatest value over accumulators lo..hi, each (B, K)."""
        least, most = np.empty_like(lo), np.empty_like(hi)
        for row in range(lo.shape[0]):
            can = self._can(lo[row], hi[row])
            least[row] = can.argmax(axis=1)
            most[row] = can.shape[1] - 1 - can[:, ::-1].argmax(axis=1)
        return least + self.low, most + self.low

    def gain(self, v: Ints, mu: Ints, lo: Ints, hi: Ints) -> Ints:
        """(B, K): the greatest v * y - mu * acc over the accumulators lo..hi and the values they can yield."""
        result = np.empty_like(v)
        for row in range(v.shape[0]):
            can = self._can(lo[row], hi[row])
            begin = np.maximum(self.first[self.owner], lo[row][:, None])
            stop = np.minimum(self.last[self.owner], hi[row][:, None])
            end = np.where((mu[row] > 0)[:, None], begin, stop)
            worth = v[row][:, None] * self.values - mu[row][:, None] * end
            result[row] = np.where(can, worth, -LARGE_BUT_EXACT).max(axis=1)
        return result

    def _can(self, lo: Ints, hi: Ints) -> NDArray[np.bool_]:
        """(K, Q): whether some accumulator of lo..hi can yield each value."""
        begin = np.maximum(self.first[self.owner], lo[:, None])
        return begin <= np.minimum(self.last[self.owner], hi[:, None])


def requantize_steps(node: Node, y: Tensor, owner: Ints, count: int) -> Steps:
    """Steps of a requantizer, by bisection with the checker's own arithmetic.

    Args:
        node: holds the multipliers.
        y: the output: zero point and clamps.
        owner: (K,) multiplier of each element.
        count: number of multipliers.
    """
    factors, shifts = node.multipliers(count)
    bits = node.second_roundings(count)
    columns = [None if numbers is None else numbers[:, None] for numbers in (shifts, bits)]

    def at_least(acc: Ints, goals: Ints) -> NDArray[np.bool_]:
        return dyadics.requantize(acc, factors[:, None], columns[0], columns[1]) >= goals

    return _exact(at_least, count, y, owner)


def _exact(at_least: Callable[[Ints, Ints], NDArray[np.bool_]], count: int, y: Tensor, owner: Ints) -> Steps:
    values = np.arange(y.lo - y.zero, y.hi - y.zero + 1)
    goals = np.broadcast_to(values[1:], (count, len(values) - 1))
    below, enough_at = np.full(goals.shape, -SUMS - 1, np.int64), np.full(goals.shape, SUMS, np.int64)
    while (enough_at - below > 1).any():
        middle = (below + enough_at) // 2
        enough = at_least(np.clip(middle, -SUMS, SUMS - 1), goals)
        is_apart = enough_at - below > 1
        below, enough_at = np.where(is_apart & ~enough, middle, below), np.where(is_apart & enough, middle, enough_at)
    first = np.where(enough_at >= SUMS, FAR, np.where(enough_at <= -SUMS, -FAR, enough_at))
    edge = np.full((count, 1), FAR, np.int64)
    first = np.concatenate([-edge, first], axis=1)
    return Steps(int(values[0]), first, np.concatenate([first[:, 1:] - 1, edge], axis=1), owner)


def shifted_steps(shift: int, y: Tensor, size: int, width: int = 0) -> Steps:
    """Steps of (acc + 2**(shift - 1)) >> shift where acc is known to within ``width``."""
    low, high = y.lo - y.zero, y.hi - y.zero
    edges = [min(max((value << shift) - (1 << (shift - 1)), -FAR), FAR) for value in range(low + 1, high + 1)]
    first = np.array([[-FAR, *(edge - width for edge in edges)]], np.int64)
    last = np.array([[*(edge + (width if width else -1) for edge in edges), FAR]], np.int64)
    return Steps(low, first, last, np.zeros(size, np.int64))


@dataclass(frozen=True, eq=False)
class Entries:
    """Tables: y = values[x - low], centred; ``values`` is (n,), or (n, K) where elements differ in their tables."""

    low: int
    values: Ints

    def image(self, lo: Ints, hi: Ints) -> tuple[Ints, Ints]:
        """Least and greatest value over x in lo..hi."""
        least, most = np.full(lo.shape, 1 << 20), np.full(lo.shape, -(1 << 20))
        for at, value in enumerate(self.values):
            inside = (lo <= self.low + at) & (self.low + at <= hi)
            least, most = (
                np.where(inside, np.minimum(least, value), least),
                np.where(inside, np.maximum(most, value), most),
            )
        return least, most

    def gain(self, v: Ints, mu: Ints, lo: Ints, hi: Ints) -> Ints:
        """(B, K): the greatest v * y - mu * x over x in lo..hi."""
        best = np.full(v.shape, -LARGE_BUT_EXACT, np.int64)
        for at, value in enumerate(self.values):
            x = self.low + at
            worth = np.where((lo <= x) & (x <= hi), v * value - mu * x, -LARGE_BUT_EXACT)
            best = np.maximum(best, worth)
        return best
