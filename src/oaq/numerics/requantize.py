"""From an exact s32 sum to a u8: the two declared semantics.

``float32_half_even``: y = clamp(round_half_even(float32(acc) * multiplier) + zero_point): one conversion, one
float32 multiplication, one rounding, never fused. Equal on every IEEE machine; what ONNX Runtime's QLinearConv does.

``fixed_point``: y = clamp(((acc * multiplier + 2**(shift - 1)) >> shift) + zero_point) in 64-bit integers. Kernels of
microcontrollers round twice: with ``then`` bits, what is shifted is divided by 2**then besides, halves away from 0.

All are monotone in acc (multipliers are positive): that lets ``overflow`` propagate ranges through their ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.ranges import ChannelRanges, IntRange
from oaq.numerics.rounding import halved_away, round_half_even, rounding_shift

Semantics = Literal["float32_half_even", "fixed_point"]
MOST_THEN = 31
"""Bits that a second rounding takes off at most."""
SEMANTICS: tuple[Semantics, ...] = ("float32_half_even", "fixed_point")


@dataclass(frozen=True, eq=False)
class Requantize:
    """How each output's sum becomes an integer of the output's scale.

    Attributes:
        multiplier: (N,) float32, or (N,) int32 in [1, 2**31) when ``shift`` is given. Positive, finite.
        shift: None for ``float32_half_even``; (N,) int32 in [1, 62] for ``fixed_point``.
        then: None, or (N,) int32 in [0, 31] beside ``shift``: bits of a second rounding.
    """

    multiplier: NDArray[np.float32] | NDArray[np.int32]
    shift: NDArray[np.int32] | None = None
    then: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        dtype = np.float32 if self.shift is None else np.int32
        multiplier = _frozen_copy(self.multiplier, dtype, "multiplier")
        if not np.all(np.isfinite(multiplier)) or np.any(multiplier <= 0):
            raise ValueError("requantize multipliers are positive and finite")
        object.__setattr__(self, "multiplier", multiplier)
        if self.shift is not None:
            shift = _frozen_copy(self.shift, np.int32, "shift")
            if shift.shape != multiplier.shape or np.any((shift < 1) | (shift > 62)):
                raise ValueError("fixed-point shifts are 1 to 62, one per multiplier")
            object.__setattr__(self, "shift", shift)
        if self.then is not None:
            then = _frozen_copy(self.then, np.int32, "then")
            if self.shift is None or then.shape != multiplier.shape or np.any((then < 0) | (then > MOST_THEN)):
                raise ValueError(f"second roundings are of 0 to {MOST_THEN} bits, one per fixed-point multiplier")
            object.__setattr__(self, "then", then)

    @property
    def semantics(self) -> Semantics:
        """Which of the two formulas applies."""
        return "float32_half_even" if self.shift is None else "fixed_point"

    def __len__(self) -> int:
        return len(self.multiplier)

    @classmethod
    def from_scales(cls, ratio: NDArray[np.float32], semantics: Semantics) -> Requantize:
        """The multipliers for real ratios ``s_x * s_w / s_y`` (shape (N,), float32, as computed by the caller).

        Fixed point keeps 31 significant bits: ``ratio ~= multiplier * 2**-shift``, multiplier in [2**30, 2**31).

        Raises:
            ValueError: a ratio is not in [2**-31, 2**29], where fixed point has no shift for it.
        """
        ratio = np.atleast_1d(np.asarray(ratio, np.float32))
        if semantics == "float32_half_even":
            return cls(ratio)
        pairs = [_fixed_point(float(r)) for r in ratio]
        return cls(np.array([m for m, _ in pairs], np.int32), np.array([s for _, s in pairs], np.int32))

    def single(self, index: int) -> Requantize:
        """The ``index``-th multiplier alone, so that it applies to every channel."""
        shift = None if self.shift is None else self.shift[index : index + 1]
        then = None if self.then is None else self.then[index : index + 1]
        return Requantize(self.multiplier[index : index + 1], shift, then)

    def image(self, sums: ChannelRanges, zero_point: int, clamp: IntRange) -> ChannelRanges:
        """The image of sums under ``apply``: exact at both ends, monotone between."""
        return ChannelRanges(self.apply(sums.lo, zero_point, clamp), self.apply(sums.hi, zero_point, clamp))

    def apply(self, acc: NDArray[np.integer], zero_point: int, clamp: IntRange) -> NDArray[np.int64]:
        """Requantize sums whose last axis is the N outputs.

        Args:
            acc: (..., N) exact sums inside s32.
            zero_point: of the output.
            clamp: effective range of the output.

        Returns:
            (..., N) int64 inside ``clamp``.
        """
        if self.shift is None:
            with np.errstate(over="ignore"):  # infinity is clamped like any large value
                scaled = round_half_even(acc.astype(np.float32) * self.multiplier)
            low, high = np.float32(clamp.lo - zero_point), np.float32(clamp.hi - zero_point)
            return np.clip(scaled, low, high).astype(np.int64) + zero_point
        product = acc.astype(np.int64) * self.multiplier.astype(np.int64)
        steps = rounding_shift(product, self.shift.astype(np.int64))
        if self.then is not None:
            steps = halved_away(steps, self.then.astype(np.int64))
        return np.clip(steps + zero_point, clamp.lo, clamp.hi)


def _fixed_point(ratio: float) -> tuple[int, int]:
    if not 2.0**-31 <= ratio <= 2.0**29:
        raise ValueError(f"fixed point represents ratios in [2**-31, 2**29]; {ratio!r} is outside")
    fraction, exponent = math.frexp(ratio)
    return int(fraction * (1 << 31)), 31 - exponent  # whole: a float32 has 24 bits


def _frozen_copy(array: NDArray[np.generic], dtype: type[np.generic], name: str) -> NDArray[Any]:
    original = np.asarray(array)
    if original.ndim != 1 or original.dtype != dtype:
        raise TypeError(f"{name} is (N,) {np.dtype(dtype).name}, not {original.dtype} of shape {original.shape}")
    copy = original.copy()
    copy.flags.writeable = False
    return copy
