"""Which integers each multiplication of a layer can meet, as loaded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.ranges import ChannelRanges
from oaq.operators import Products, TensorSpec
from oaq.operators.windows import window_reach


@dataclass(frozen=True, eq=False)
class Operands:
    """Ranges of a layer's operands as kernels load them: raw integers, the zero point at padded positions.

    Attributes:
        lo: (R, K) int64 in packed K order, K not padded; R is the layer's groups (1, or N for depthwise). Output n
            multiplies row ``n // (N / R)``.
        hi: likewise.
    """

    lo: NDArray[np.int64]
    hi: NDArray[np.int64]

    def contain_zero(self) -> bool:
        """True iff partial and final bounds agree, so that greedy schedules are optimal."""
        return bool(np.all(self.lo <= 0) and np.all(self.hi >= 0))


def operands_as_loaded(op: Products, x: ChannelRanges, spec: TensorSpec) -> Operands:
    """The operand ranges of a layer that reads ``spec``, whose channels lie in ``x``.

    A tap of the window that reads padding at some output position can also be the zero point; a tap that reads only
    padding is the zero point always.
    """
    if op.window is None:
        return _frozen(x.lo.reshape(op.channel_groups, -1), x.hi.reshape(op.channel_groups, -1))
    zero = spec.affine.zero_point
    pads, reads_image = window_reach(op.window, spec.shape[:-1])
    ends = []
    for end, merge in ((x.lo, np.minimum), (x.hi, np.maximum)):
        channels = end.reshape(op.channel_groups, 1, -1)
        taps = np.where(pads.reshape(1, -1, 1), merge(channels, zero), channels)
        taps = np.where(reads_image.reshape(1, -1, 1), taps, zero)
        ends.append(taps.reshape(op.channel_groups, -1))
    return _frozen(*ends)


def _frozen(lo: NDArray[np.int64], hi: NDArray[np.int64]) -> Operands:
    lo, hi = (np.ascontiguousarray(end, np.int64) for end in (lo, hi))
    lo.flags.writeable = hi.flags.writeable = False
    return Operands(lo, hi)
