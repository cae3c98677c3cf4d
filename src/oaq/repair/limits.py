"""What weights of one output must keep so that none of its registers is ever left: linear budgets on magnitudes.

A register sums the products of its *members*. With operands as loaded in [lo, hi], widened to hold 0, a weight of
magnitude m asks its register for at most cost * m at either end:

    positive weight: hi at the high end, -lo at the low end        negative weight: the other way round

so a register is never left if, at both ends, the costs of its members add up to no more than the register holds. Taking
from a magnitude never breaks a budget that held. Several orders of the products are several families of registers, and
all of them are kept at once. Exact integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.doctor.registers import RegisterModel
from oaq.doctor.sums import OrderedLayer, laid_out, reach
from oaq.numerics.cells import Cells, meeting, renumbered
from oaq.numerics.formats import S32
from oaq.operators import TensorSpec

Ints = NDArray[np.int64]
WHOLE_SUM_MARGIN: Final = 1.001
"""Rounding weights and biases again moves a sum a little."""
ENDS = (1, -1)
"""Sign of the weights that ask the high end for ``up``: the high end itself, and the low end mirrored."""


@dataclass(frozen=True, eq=False)
class Limits:
    """Budgets of every output of a layer.

    Attributes:
        families: registers of one kind each, by k of (row, column, channel); none if nothing narrow is summed.
        up: (K,) what one step of magnitude asks of the end that weight and operand drive together: max(hi, 0).
        down: (K,) of the other end: max(-lo, 0).
        high: most that may be asked of the high end; ``low``: of the low end.
        least, most: of any weight.
    """

    families: tuple[Cells, ...]
    up: Ints
    down: Ints
    high: int
    low: int
    least: int
    most: int

    @property
    def is_idle(self) -> bool:
        """No register is narrow: nothing here depends on weights."""
        return not self.families

    def budget(self, end: int) -> int:
        """Most that may be asked of one of ``ENDS``, >= 0."""
        return self.high if end > 0 else self.low

    def costs(self, weight: NDArray[np.number], end: int) -> Ints:
        """(N, K) what one step of each weight's magnitude asks of an end; a weight of 0 counts as positive."""
        return np.where(weight * end >= 0, self.up, self.down)

    def loads(self, weight: Ints, family: Cells, end: int) -> Ints:
        """(N, Q) what (N, K) weights ask of an end of every register."""
        load = self.costs(weight, end) * np.abs(weight)
        return family.gather(load).sum(axis=2)

    def holds(self, weight: Ints) -> NDArray[np.bool_]:
        """(N,) every register of the output holds what it can be asked for, and every weight is one that may be."""
        holds = np.all((weight >= self.least) & (weight <= self.most), axis=1)
        for family in self.families:
            for end in ENDS:
                holds &= np.all(self.loads(weight, family, end) <= self.budget(end), axis=1)
        return holds

    def needed(self, steps: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N,) by what (N, K) real weights must be divided for their registers to hold them; at least 1."""
        ratio = np.ones(len(steps))
        for family in self.families:
            for end in ENDS:
                load = family.gather(self.costs(steps, end) * np.abs(steps)).sum(axis=2)
                ratio = np.maximum(ratio, load.max(axis=1, initial=0.0) / max(self.budget(end), 1))
        return ratio


def limits_of(op: ops.Products, spec: TensorSpec, model: RegisterModel, *, unsigned: bool = False) -> Limits:
    """The budgets of a layer that reads ``spec`` on ``model``, in every order the model knows.

    Args:
        op: the layer.
        spec: the tensor it reads.
        model: the registers.
        unsigned: its file stores the weights as u8.
    """
    layers = laid_out(op, spec, model, unsigned=unsigned)
    weight, terms = op.rows, op.terms
    first = layers[0]
    up, down = np.zeros(terms, np.int64), np.zeros(terms, np.int64)
    real = first.place >= 0
    up[first.place[real]] = np.maximum(first.hi[real], 0)
    down[first.place[real]] = np.maximum(-first.lo[real], 0)
    narrow = () if first.accumulator.is_exact else layers
    least, most = int(weight.min(initial=0)), int(weight.max(initial=0))
    register = first.accumulator.range
    return Limits(_families(narrow, terms), up, down, register.hi, -register.lo, least, most)


def coarsening(total: tuple[Ints, Ints]) -> NDArray[np.float64]:
    """(N,) by what a scale must grow at least so that whole sums, biases included, fit 32 bits; 1 where they do.

    Args:
        total: (N,) least and (N,) most of the 32-bit register at the scale there is.
    """
    low, high = (end.astype(np.float64) for end in total)
    excess = np.maximum(low / S32.lo, high / S32.hi)
    return np.where((total[0] < S32.lo) | (total[1] > S32.hi), excess * WHOLE_SUM_MARGIN, 1.0)


def _families(layers: Sequence[OrderedLayer], terms: int) -> tuple[Cells, ...]:
    families: dict[bytes, Cells] = {}
    for layer in layers:
        for bounds in reach(layer).registers:
            family = renumbered(bounds.cells, layer.place, terms)
            families.setdefault(meeting(family), family)
    return tuple(families.values())
