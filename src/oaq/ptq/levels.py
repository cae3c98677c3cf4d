"""Steps and places of the levels of each channel, from its moments; the formulas are those of docs/math/daq.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.operators.coarsen import MOST_FACTOR, UNIT
from oaq.ptq.channel_moments import ChannelMoments
from oaq.ptq.daq import Daq, rounded_deviations, step_of
from oaq.ptq.observe import Reals

FARTHEST: Final = 16.0
"""Largest step of a tensor in parts of its smallest: columns of one layer share the scales of its weights."""
FACTORS: Final = tuple(float(2.0 ** (step / 8)) for step in range(-12, 17))
"""Steps that "mse" tries, in parts of the normal density's."""
OFFSETS: Final = (-2, -1, 0, 1, 2)
"""Places that "mse" tries, in steps from that of the mean."""


@dataclass(frozen=True, eq=False)
class Levels:
    """Levels of the channels of one tensor: (u - zero[c]) * step[c], u from 0 to 2**bits[c] - 1.

    Attributes:
        bits: (C,).
        step: (C,) real.
        zero: (C,) the level of 0.0, which need not be one of them.
    """

    bits: NDArray[np.int64]
    step: Reals
    zero: NDArray[np.int64]

    @property
    def top(self) -> NDArray[np.int64]:
        """(C,) the highest level."""
        return (1 << self.bits) - 1


def static_levels(moments: ChannelMoments, daq: Daq, bits: NDArray[np.int64]) -> Levels:
    """Levels from the mean of the images' means and deviations, or as "mse" and "minmax" say.

    Steps are at least 1/16 of the tensor's largest, and so large that a channel far from 0 still has a place among 256
    integers; those of rectified channels reach a deviation beyond the mean.
    """
    top = (1 << bits) - 1
    mean, deviation = moments.mean.mean(axis=0), moments.deviation.mean(axis=0)
    if daq.sigma_bits is not None:
        deviation = rounded_deviations(deviation, daq.table, daq.sigma_bits)
    if daq.table.startswith("minmax"):
        lo, hi = np.where(moments.rectified, 0.0, moments.lo), moments.hi
        if daq.table == "minmax_tensor":
            lo, hi = np.full_like(lo, min(lo.min(), 0.0)), np.full_like(hi, max(hi.max(), 0.0))
        step = (hi - lo) / top
        return _placed(moments, daq, bits, step, np.where(step > 0, -lo / np.where(step > 0, step, 1.0), 0.0))
    step = np.array([step_of(daq.table, int(width)) for width in bits]) * deviation
    if daq.table == "mse":
        step = _least_error(moments, bits, step, mean)
    step = np.where(moments.rectified, np.maximum(step, (mean + deviation) / top), step)
    return _placed(moments, daq, bits, step, None)


def _placed(moments: ChannelMoments, daq: Daq, bits: NDArray[np.int64], step: Reals, zero: Reals | None) -> Levels:
    """Levels with steps that are not too unlike, and the whole level nearest to where 0.0 lies; None: by the mean."""
    top, mean = (1 << bits) - 1, moments.mean.mean(axis=0)
    largest = float(step.max())
    step = np.maximum(step, largest / FARTHEST if largest > 0 else 1.0)
    room = (255 - int(top.max())) // 2  # integers on each side of the middle for windows that do not hold 0
    extent = np.where(moments.rectified, 0.0, np.maximum(np.abs(moments.lo), np.abs(moments.hi)))
    step = np.maximum(step, np.minimum(np.abs(mean), extent) / room)
    middle = np.rint(top / 2 - mean / step).astype(np.int64)
    if zero is not None:
        middle = np.rint(zero).astype(np.int64)
    elif daq.table == "mse":
        errors = np.stack([_error(moments, bits, step, middle + offset) for offset in OFFSETS])
        middle = middle + np.array(OFFSETS)[errors.argmin(axis=0)]
    middle = np.clip(middle, top // 2 - room, top - top // 2 + room)
    return Levels(bits, step, np.where(moments.rectified, 0, middle))


def dynamic_factors(moments: ChannelMoments, daq: Daq, bits: NDArray[np.int64]) -> NDArray[np.int32]:
    """(C,) thousandths of a deviation that a step of ``Coarsen`` is."""
    factor = np.array([step_of(daq.table, int(width)) for width in bits])
    if daq.table == "mse":
        steps = np.stack([factor * part for part in FACTORS])
        errors = np.stack([_normal_error(moments, bits, step) for step in steps])
        factor = np.take_along_axis(steps, errors.argmin(axis=0)[None], axis=0)[0]
    return np.clip(np.rint(UNIT * factor), 1, MOST_FACTOR).astype(np.int32)


def _least_error(moments: ChannelMoments, bits: NDArray[np.int64], step: Reals, mean: Reals) -> Reals:
    """(C,) the step of least error over the histogram, its place free."""
    least = np.maximum(np.abs(mean), 1e-20) / 255  # of a constant channel the deviation is nothing
    candidates, errors = [np.maximum(step * part, least) for part in FACTORS], []
    for steps in candidates:
        middle = np.rint(((1 << bits) - 1) / 2 - mean / steps).astype(np.int64)
        middle = np.where(moments.rectified, 0, middle)
        places = [middle + np.where(moments.rectified, 0, offset) for offset in OFFSETS]
        errors.append(np.min([_error(moments, bits, steps, place) for place in places], axis=0))
    best = np.array(errors).argmin(axis=0)
    return np.take_along_axis(np.array(candidates), best[None], axis=0)[0]


def _error(moments: ChannelMoments, bits: NDArray[np.int64], step: Reals, zero: NDArray[np.int64]) -> Reals:
    """(C,) squared error of values rounded to their levels."""
    x = (moments.edges[:, 1:] + moments.edges[:, :-1]) / 2
    top = ((1 << bits) - 1)[:, None]
    level = np.clip(np.rint(x / step[:, None]) + zero[:, None], 0, top)
    return np.einsum("cb,cb->c", moments.count, ((level - zero[:, None]) * step[:, None] - x) ** 2)


def _normal_error(moments: ChannelMoments, bits: NDArray[np.int64], step: Reals) -> Reals:
    """(C,) squared error, in deviations, of ``Coarsen`` with steps that need not be whole."""
    x, half = (moments.edges[:, 1:] + moments.edges[:, :-1]) / 2, (1 << (bits - 1))[:, None]
    width = step[:, None]
    signed = (np.clip(np.floor(x / width), -half, half - 1) + 0.5) * width
    positive = np.clip(np.rint(x / width), 0, 2 * half - 1) * width
    level = np.where(moments.rectified[:, None], positive, signed)
    return np.einsum("cb,cb->c", moments.count, (level - x) ** 2)


def windows_of(levels: Levels) -> tuple[int, Iterator[tuple[float, float]], int]:
    """One zero point for all channels, the real ends of each one's window in steps, and the largest integer.

    Channel c holds the integers zero point - zero[c] to that + top[c]; each lies in [0, largest].
    """
    zero_point = max(int(levels.zero.max()), 0)
    largest = max(int((zero_point - levels.zero + levels.top).max()), zero_point)
    ends = zip((-levels.zero).tolist(), (levels.top - levels.zero).tolist(), strict=True)
    return zero_point, ((float(lo), float(hi)) for lo, hi in ends), largest
