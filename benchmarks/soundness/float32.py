"""IEEE float32 arithmetic in integers: a number is mantissa * 2**exponent, and every rounding is written out.

Mantissas are int64 and stay below 2**62, so nothing here overflows or rounds unasked. A result below the least normal
float32 (2**-126) is kept with 24 bits where a float32 keeps fewer. That changes no integer: such a number rounds to 0,
and beside a larger one it is less than an eighth of that one's last bit, so their sum rounds to the larger one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
BITS: Final = 24
"""Significant bits of a float32."""
LARGEST_EXPONENT: Final = 128
"""A float32 is below 2**128; a larger result is infinite."""
GUARD: Final = 30
"""Bits below the last one of the larger summand that a sum keeps. 24 + 30 + 1 bits fit int64."""
BEYOND: Final = np.int64(1 << 40)
"""What a rounded number beyond every clamp is taken for."""


@dataclass(frozen=True, eq=False)
class Dyadic:
    """mantissa * 2**exponent, element by element; |mantissa| <= 2**24."""

    mantissa: Ints
    exponent: Ints

    def is_infinite(self) -> NDArray[np.bool_]:
        """Where a float32 would be infinite."""
        return (self.mantissa != 0) & (self.exponent + _bit_length(np.abs(self.mantissa)) > LARGEST_EXPONENT)


def of_integers(values: Ints) -> Dyadic:
    """float32(values), rounded once; |values| < 2**62."""
    return _to_float32(values, np.zeros_like(values))


def of_float32(values: NDArray[np.float32]) -> Dyadic:
    """Float32 numbers, positive and finite, exactly."""
    fraction, exponent = np.frexp(values.astype(np.float64))  # a float64 holds every float32, subnormal ones as well
    return Dyadic((fraction * (1 << BITS)).astype(np.int64), exponent.astype(np.int64) - BITS)


def product(a: Dyadic, b: Dyadic) -> Dyadic:
    """The product in float32: two mantissas of 24 bits make one of 48, which is rounded once."""
    return _to_float32(a.mantissa * b.mantissa, a.exponent + b.exponent)


def total(a: Dyadic, b: Dyadic) -> Dyadic:
    """The sum in float32.

    Both are widened to exactly 24 bits, then aligned on the larger exponent with ``GUARD`` bits to spare. A summand
    that lies further below is only a sign there: less than 2**-6 of the larger one's last bit, it cannot move it.
    """
    a, b = _widened(a), _widened(b)
    # A zero takes the other's exponent, so that it never is the larger.
    exponent = np.maximum(
        np.where(a.mantissa == 0, b.exponent, a.exponent), np.where(b.mantissa == 0, a.exponent, b.exponent)
    )
    aligned = np.zeros_like(a.mantissa)
    for summand in (a, b):
        distance = exponent - summand.exponent
        shift = np.clip(GUARD - distance, 0, GUARD)
        aligned = aligned + np.where(distance <= GUARD, summand.mantissa << shift, np.sign(summand.mantissa))
    return _to_float32(aligned, exponent - GUARD)


def to_integers(x: Dyadic) -> tuple[Ints, int]:
    """The nearest integers, ties to even, and how many were ties; beyond 2**40 it is ``BEYOND`` with the sign."""
    up = np.clip(x.exponent, 0, 16)
    down = np.clip(-x.exponent, 0, 62)
    # 2**24 >> 62 rounds to 0, as everything smaller does.
    nearest, ties = _half_even(x.mantissa << up, down)
    large = (x.exponent > 16) & (x.mantissa != 0)
    return np.where(large, np.sign(x.mantissa) * BEYOND, nearest), int(ties.sum())


def _to_float32(mantissa: Ints, exponent: Ints) -> Dyadic:
    excess = np.maximum(_bit_length(np.abs(mantissa)) - BITS, 0)
    rounded, _ = _half_even(mantissa, excess)
    return Dyadic(rounded, exponent + excess)


def _half_even(values: Ints, shift: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Quotients by 2**shift to the nearest integer, ties to even, and where there was a tie; shift 0 to 62."""
    floor = values >> shift
    remainder = values - (floor << shift)
    half = (np.int64(1) << shift) >> 1
    ties = (remainder == half) & (shift > 0)
    up = (remainder > half) & (shift > 0) | ties & (floor & 1 == 1)
    return floor + up, ties


def _widened(x: Dyadic) -> Dyadic:
    missing = np.where(x.mantissa == 0, 0, np.maximum(BITS - _bit_length(np.abs(x.mantissa)), 0))
    return Dyadic(x.mantissa << missing, x.exponent - missing)


def _bit_length(magnitude: Ints) -> Ints:
    """Bits of each magnitude below 2**62. A float64 of it may round up to the next power of two: that is taken back."""
    bits = np.frexp(magnitude.astype(np.float64))[1].astype(np.int64)
    return np.where((magnitude >> np.maximum(bits - 1, 0) == 0) & (magnitude > 0), bits - 1, bits)
