"""How much errors of an output's weights matter to its sums.

With errors e[k], in steps, the squared error of a sum is taken to be

    sum_k variance[k] * e[k]**2  +  (sum_k common[k] * e[k])**2

that is: operands move together along one direction, ``common``, and each of its own accord besides. With data it is the
best such approximation of what they do; without, operands are taken to be as alike as they are different, which is what
ReLUs and neighbouring pixels make of them. Where an output has a bias, what its weights' errors do to the mean is taken
back there, and only deviations from the mean count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.operators import TensorSpec

Reals = NDArray[np.float64]
DAMPING: Final = 0.01
"""Share of the mean variance added to every operand's, so that operands that never moved still cost something."""
TURNS: Final = 30
"""Power iterations: the direction matters, its last digits do not."""


@dataclass(frozen=True, eq=False)
class Metric:
    """Second moments of the operands of a layer, zero point taken off.

    Attributes:
        variance: (G, K) of each operand by itself, in the order (row, column, channel); G is the number of groups,
            output n reads row ``n // (N / G)``; or one row per output.
        common: (G, K) how far operands move along the direction they share.
        mean: (G, K) of the operands, for the bias; None if it is not known.
    """

    variance: Reals
    common: Reals
    mean: Reals | None = None

    def for_outputs(self, outputs: NDArray[np.intp], count: int) -> Metric:
        """Metric of some of ``count`` outputs, one row each."""
        return self.rows(outputs // (count // len(self.variance)))

    def rows(self, index: slice | NDArray[np.intp]) -> Metric:
        """Some rows."""
        return Metric(self.variance[index], self.common[index], None if self.mean is None else self.mean[index])

    def independent(self) -> Metric:
        """Without what operands do together."""
        return Metric(self.variance, np.zeros_like(self.common), self.mean)

    def errors(self, error: Reals) -> Reals:
        """(N,) squared error of the sums for (N, K) errors of the weights; one row per output."""
        return (self.variance * error**2).sum(axis=1) + (self.common * error).sum(axis=1) ** 2


def assumed(spec: TensorSpec, terms: int) -> Metric:
    """What the file alone tells: operands move by half of what their range is wide, half of that together."""
    half = np.full((1, terms), max(spec.range.steps, 1) / 2)
    return Metric(half**2, half)


def measured(x: NDArray[np.integer], zero_point: int, *, centred: bool) -> Metric:
    """What data show.

    Args:
        x: (G, P, K) operands at P output positions, as the program's integers.
        zero_point: of them.
        centred: the mean is taken off, because a bias takes its part back.
    """
    values = x.astype(np.float64) - zero_point
    mean = values.mean(axis=1)
    if centred:
        values -= mean[:, None]
    values /= np.sqrt(values.shape[1])
    variance = (values**2).sum(axis=1)
    common = np.sqrt(variance)
    for _ in range(TURNS):
        turned = np.einsum("gpk,gp->gk", values, np.einsum("gpk,gk->gp", values, common))
        common = turned / np.maximum(np.sqrt((turned**2).sum(axis=1, keepdims=True)), 2.0**-100)
    projection = (np.einsum("gpk,gk->gp", values, common) ** 2).sum(axis=1, keepdims=True)
    common = common * np.sqrt(projection)
    floor = np.maximum(DAMPING * variance.mean(axis=1, keepdims=True), 2.0**-20)
    return Metric(np.maximum(variance - common**2, 0.0) + floor, common, mean)
