"""What the integers of a layer must keep, and the plain way to keep it: a coarser scale for outputs that do not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.choose.piecewise import nearest_codes
from oaq.choose.target import cell_sums
from oaq.numerics.cells import Cells

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]
NEAR: Final = 1.08
"""Excess from which on scales grow by small steps."""
COARSER: Final = 1.01
"""Factor by which a scale grows while its output does not fit."""


@dataclass(frozen=True, eq=False)
class Bound:
    """Limits of a layer's integer weights.

    Attributes:
        clip: weights lie in [-clip, clip].
        cells: which operands share a register.
        up: (N,) most that a cell of an output may hold: ``same_sign`` times the sum of its positive weights and
            ``other_sign`` times that of its negative ones, negated.
        down: (N,) the same with signs exchanged.
        same_sign: 1 for raw operands; see ``choose.lanes``.
        other_sign: 0 for raw operands: signs have a budget each.
        code_bits: weights are integers of a codebook of so many bits (``numerics.codebook``); None: any of the clip.
    """

    clip: int
    cells: Cells
    up: Integers
    down: Integers
    same_sign: int = 1
    other_sign: int = 0
    code_bits: int | None = None

    def of_outputs(self, outputs: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Bound:
        """Limits of some of the outputs."""
        return replace(self, up=self.up[outputs], down=self.down[outputs])

    def nearest(self, rows: Reals, scale: Reals) -> NDArray[np.int8]:
        """(N, K) nearest integers that weights may be at (N,) scales, whatever the cells hold then."""
        if self.code_bits is None:
            return clipped(rows, scale, self.clip)
        return nearest_codes(rows / scale[:, None], self.code_bits)

    def loads(self, weight: NDArray[np.integer]) -> tuple[Integers, Integers]:
        """(N,) most that a cell of each output holds of (N, K) integers, and the same with signs exchanged."""
        positive, negative = cell_sums(weight, self.cells)
        up, down = (
            self.same_sign * positive + self.other_sign * negative,
            self.same_sign * negative + self.other_sign * positive,
        )
        return up.max(axis=1), down.max(axis=1)

    def holds(self, weight: NDArray[np.integer]) -> NDArray[np.bool_]:
        """(N,): the exact test, on (N, K) integers."""
        up, down = self.loads(weight)
        fits = (up <= self.up) & (down <= self.down)
        return fits & (np.abs(weight.astype(np.int64)).max(axis=1) <= self.clip)

    def excess(self, weight: NDArray[np.integer]) -> Reals:
        """(N,) what the fullest cell holds in parts of what it may hold; a budget of nothing counts as a half."""
        up, down = self.loads(weight)
        return np.maximum(up / np.maximum(self.up, 0.5), down / np.maximum(self.down, 0.5))


def clipped(rows: Reals, scale: Reals, clip: int) -> NDArray[np.int8]:
    """round_half_even(rows / scale), clipped to [-clip, clip]."""
    return np.clip(np.rint(rows / scale[:, None]), -clip, clip).astype(np.int8)


def coarsened(rows: Reals, scale: Reals, bound: Bound) -> tuple[NDArray[np.int8], Reals]:
    """Round to nearest; outputs that do not keep ``bound`` get a coarser scale until they do.

    Args:
        rows: (N, K) in packed K order.
        scale: (N,) to start from.
        bound: to keep.

    Returns:
        (N, K) weights and the (N,) scale they have.
    """
    scale = scale.copy()
    weight = bound.nearest(rows, scale)
    open_outputs = np.flatnonzero(~bound.holds(weight))
    while len(open_outputs):
        limits = bound.of_outputs(open_outputs)
        scale[open_outputs] *= growth(limits.excess(weight[open_outputs]))
        weight[open_outputs] = bound.nearest(rows[open_outputs], scale[open_outputs])
        open_outputs = open_outputs[~limits.holds(weight[open_outputs])]
    return weight, scale


def growth(excess: Reals) -> Reals:
    """(N,) by what scales grow next: half the way, in logarithms, to near where loads would fit; then ``COARSER``.

    Loads fall about as scales grow, a little faster where weights round to zero, so the end is approached in small
    steps: a scale that is coarser than it need be costs precision.
    """
    return np.maximum(np.sqrt(excess / NEAR), COARSER)
