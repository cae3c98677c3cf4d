"""What the weights of a lane make it hold: the budgets of a register for operands of any form.

A kernel multiplies x - s, where x in [0, steps] is in memory and s is the row's shift. With positive weights of sum P
in a lane and negative ones of sum -N, its sum is at most P * (steps - s) + N * s and at least
-(P * s + N * (steps - s)). A run ends where the next step may leave the lane, so not only the whole sum has to stay in
[-limit, limit] but what is summed before it: operands count as [-s, max(steps - s, 0)], and a lane holds every sum iff

    same_sign * P + other_sign * N <= limit        same_sign * N + other_sign * P <= limit

with same_sign = max(steps - s, 0) and other_sign = s.

For raw u8 (s = 0) that is P <= limit // steps and N <= limit // steps: two budgets that have nothing to do with each
other. For s8 (s = 128) they are coupled: with 255 steps nearly the l1 norm of the lane counts. With 128 steps or fewer
each sign keeps limit // 128, and fewer steps make no more room: zero in memory is the operand -128.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from oaq.kernels.table import KernelRow
from oaq.numerics.accumulator import EXACT_S32, Accumulator
from oaq.numerics.cells import lane_of, signed_sums

Reals = NDArray[np.float64]
Rows = NDArray[np.floating] | NDArray[np.integer]


@dataclass(frozen=True)
class Load:
    """How weights load the lanes of a register, and how much it holds.

    Attributes:
        accumulator: the register.
        same_sign: counts the weights of the sign whose end is bounded.
        other_sign: counts those of the other sign; 0 for raw u8 operands.
        limit: most that the load of a lane may be; one more at the lower end is not used.
    """

    accumulator: Accumulator
    same_sign: int
    other_sign: int
    limit: int

    def greatest(self, signs: tuple[Rows, Rows]) -> Reals:
        """(N,) load of the fullest lane of each output.

        Args:
            signs: (N, lanes) sums of the positive weights of each lane, and of the negative ones negated.
        """
        up, down = signs
        if not self.other_sign:
            return np.maximum(self.same_sign * up.max(axis=1), self.same_sign * down.max(axis=1))
        loads = self.same_sign * up + self.other_sign * down, self.same_sign * down + self.other_sign * up
        return np.maximum(loads[0].max(axis=1), loads[1].max(axis=1))

    def of_weights(self, rows: Rows) -> Reals:
        """(N,) load of the fullest lane over all of K, of (N, K) weights in packed K order."""
        return self.greatest(lane_signs(rows, self.accumulator))


def load_of(row: KernelRow, steps: int) -> Load:
    """The load of the lanes of ``row`` by operands that lie in [0, ``steps``] in memory; ``steps`` >= 1."""
    register = row.accumulator or EXACT_S32
    if row.shift == 0:
        return Load(register, 1, 0, register.range.hi // steps)
    return Load(register, max(steps - row.shift, 0), row.shift, register.range.hi)


def lane_signs(rows: Rows, accumulator: Accumulator) -> tuple[Rows, Rows]:
    """(N, lanes) sums over all of K of the positive weights of each lane, and of the negative ones negated.

    Args:
        rows: (N, K) in packed K order.
        accumulator: whose lanes; see ``numerics.cells.lane_of``.
    """
    if np.issubdtype(rows.dtype, np.integer):
        lane = lane_of(accumulator, np.arange(rows.shape[1])) if accumulator.lanes > 1 else np.zeros(rows.shape[1], int)
        return signed_sums(cast(NDArray[np.integer], rows), lane, accumulator.lanes)
    lanes = accumulator.lanes
    group = accumulator.group if lanes > 1 else 1
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % (group * lanes))))
    cells = padded.reshape(len(rows), -1, lanes, group)
    return np.maximum(cells, 0).sum(axis=(1, 3)), np.maximum(-cells, 0).sum(axis=(1, 3))
