"""Lookup tables as a relation: the convex hull of a table's graph over a range, exactly."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oaq.robust.staircase import Ints, Points

Corner = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Table:
    """y[k] = values[classes[k], x[k] - low], integers centred on both sides; any functions.

    Attributes:
        values: (tables, n) int64.
        classes: (K,) the table of each element.
        low: least x.
    """

    values: Ints
    classes: Ints
    low: int
    _hulls: dict[tuple[int, int, int], tuple[list[Corner], list[Corner]]] = field(default_factory=dict)

    def points(self, lo: Ints, hi: Ints) -> Points:
        """Corners of the hull over each range; ``lo`` and ``hi`` are (B, K)."""
        tables = np.broadcast_to(self.classes, lo.shape)
        keys, at = np.unique(np.stack([tables.ravel(), lo.ravel(), hi.ravel()], 1), axis=0, return_inverse=True)
        hulls = [self._hull(int(table), int(first), int(last)) for table, first, last in keys]
        longest = max(len(chain) for hull in hulls for chain in hull)
        above, below = (_padded([hull[side] for hull in hulls], longest, at.ravel(), lo.shape) for side in (0, 1))
        return Points(above, below, np.zeros(lo.shape))

    def image(self, lo: Ints, hi: Ints) -> tuple[Ints, Ints]:
        """Least and greatest value over each range."""
        points = self.points(lo, hi)
        return points.below[1].min(axis=0).astype(np.int64), points.above[1].max(axis=0).astype(np.int64)

    def largest(self, acc: Ints) -> Ints:
        """The value at each x of (B, K)."""
        return self.values[self.classes, acc - self.low]

    least = largest

    def threshold_near(self, acc: Ints, element: Ints, lo: Ints, hi: Ints) -> Ints:
        """Where to cut (lo, hi]: at ``acc``, or after it where that is ``lo``."""
        del element
        return np.clip(acc, np.minimum(lo + 1, hi), hi)

    def _hull(self, table: int, lo: int, hi: int) -> tuple[list[Corner], list[Corner]]:
        key = (table, lo, hi)
        if key not in self._hulls:
            graph = [(x, int(self.values[table, x - self.low])) for x in range(lo, hi + 1)]
            self._hulls[key] = (_chain(graph, 1), _chain(graph, -1))
        return self._hulls[key]


def _chain(graph: list[Corner], side: int) -> list[Corner]:
    """The upper (1) or lower (-1) hull of points in order of x."""
    hull: list[Corner] = []
    for x, y in graph:
        while len(hull) > 1:
            (x0, y0), (x1, y1) = hull[-2:]
            if side * ((y1 - y0) * (x - x1) - (y - y1) * (x1 - x0)) > 0:
                break
            hull.pop()
        hull.append((x, y))
    return hull


def _padded(chains: list[list[Corner]], longest: int, at: Ints, shape: tuple[int, ...]) -> tuple[NDArray, NDArray]:
    full = np.array([chain + [chain[-1]] * (longest - len(chain)) for chain in chains], np.float64)
    gathered = full[at].reshape(*shape, longest, 2)
    moved = np.moveaxis(gathered, -2, 0)
    return np.ascontiguousarray(moved[..., 0]), np.ascontiguousarray(moved[..., 1])
