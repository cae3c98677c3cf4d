"""Which integers each multiplication of a layer can meet, as loaded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.ranges import ChannelRanges
from oaq.program import ops
from oaq.program.int_program import TensorSpec
from oaq.program.shapes import window_count


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


def operands_as_loaded(op: ops.Conv2d | ops.Linear, x: ChannelRanges, spec: TensorSpec) -> Operands:
    """The operand ranges of a layer that reads ``spec``, whose channels lie in ``x``.

    A tap of the window that reads padding at some output position can also be the zero point; a tap that reads only
    padding is the zero point always.
    """
    if isinstance(op, ops.Linear):
        return _frozen(x.lo[None], x.hi[None])
    zero = spec.affine.zero_point
    pads, sees = window_reach(op, (spec.shape[0], spec.shape[1]))
    ends = []
    for end, merge in ((x.lo, np.minimum), (x.hi, np.maximum)):
        channels = end.reshape(op.groups, 1, -1)
        taps = np.where(pads.reshape(1, -1, 1), merge(channels, zero), channels)
        taps = np.where(sees.reshape(1, -1, 1), taps, zero)
        ends.append(taps.reshape(op.groups, -1))
    return _frozen(*ends)


def window_reach(op: ops.Conv2d, size: tuple[int, int]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Per tap (KH, KW): does it read padding at some output position, does it read the image at some position."""
    counts = window_count(size, op.kernel, op.stride, op.padding, op.dilation)
    outside, inside = [], []
    for axis, before in ((0, op.padding[0]), (1, op.padding[2])):
        tap = np.arange(op.kernel[axis])[:, None] * op.dilation[axis]
        position = np.arange(counts[axis])[None] * op.stride[axis] + tap - before
        out = (position < 0) | (position >= size[axis])
        outside.append(out.any(axis=1))
        inside.append((~out).any(axis=1))
    return outside[0][:, None] | outside[1][None], inside[0][:, None] & inside[1][None]


def _frozen(lo: NDArray[np.int64], hi: NDArray[np.int64]) -> Operands:
    lo, hi = (np.ascontiguousarray(end, np.int64) for end in (lo, hi))
    lo.flags.writeable = hi.flags.writeable = False
    return Operands(lo, hi)
