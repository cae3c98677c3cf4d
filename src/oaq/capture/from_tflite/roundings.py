"""How LiteRT's integer kernels scale an integer: one function for each of their roundings, on arrays of any shape.

Found by experiment with ai-edge-litert 2.3.0 on x86, all three of its sets of kernels, over every int8 and uint8 and
thousands of scales (``benchmarks.differential_tflite`` repeats it); ``docs/decisions`` has the table.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.rounding import halved_away

Ints = NDArray[np.int64]
MOST_SHIFT: Final = 15
"""Most that an integer of 16 bits is shifted by."""
BYTE: Final = 8
"""Bits behind the point of the multipliers by which XNNPACK converts 8-bit integers."""


def quantized_multiplier(real: float) -> tuple[int, int]:
    """(q, e): q * 2**(e - 31) with q in [2**30, 2**31), as TFLite's QuantizeMultiplier; 0 and its largest beyond."""
    fraction, exponent = math.frexp(real)
    q = math.floor(fraction * (1 << 31) + 0.5)
    if q == 1 << 31:
        q, exponent = 1 << 30, exponent + 1
    if exponent < -31:
        return 0, 0
    return (q, exponent) if exponent <= 30 else ((1 << 31) - 1, 30)


def rounded_twice(x: Ints, real: float) -> Ints:
    """Built-in kernels: to a multiple of 2**-right steps, halves upward, and that to an integer, halves away from 0.

    Args:
        x: |x| < 2**30.
        real: positive.
    """
    first, right = _first_rounding(x, real)
    return halved_away(first, right)


def rounded_up_twice(x: Ints, real: float) -> Ints:
    """Built-in QUANTIZE: likewise, but halves upward both times."""
    first, right = _first_rounding(x, real)
    return first if right == 0 else (first + (1 << (right - 1))) >> right


def rounded_by_byte(x: Ints, ratio: np.floating | float) -> Ints:
    """XNNPACK's conversions: a multiplier of 8 bits behind the point, halves upward. It may be negative."""
    multiplier = int(np.rint(np.float32(1 << BYTE) * np.float32(ratio)))
    return (x * multiplier + (1 << (BYTE - 1))) >> BYTE


def hard_swish(x: Ints, x_scale: float, y_scale: float) -> Ints:
    """HARD_SWISH in 16-bit fixed point, in steps of the output: x * relu6(x + 3) / 6 of integers less zero points.

    Both multipliers keep 15 bits. The factor relu6 is brought to [-1, 1) with saturation, then to [0, 1); a product of
    two 15-bit fractions drops what is behind 15 bits towards 0, and the last shift rounds halves away from 0.

    Raises:
        ValueError: scales are so far apart that a shift would leave 16 bits, where LiteRT computes something else.
    """
    fine = float(np.float32(np.float32(1.0 / 128.0) * np.float32(x_scale)))
    by_y, y_exponent = quantized_multiplier(fine / float(np.float32(y_scale)))
    by_three, exponent = quantized_multiplier(fine / float(np.float32(3.0) / np.float32(32768.0)))
    if min(exponent, y_exponent) < -MOST_SHIFT:
        raise ValueError(f"scales {x_scale} and {y_scale} are too far apart for 16 bits")
    wide = x << 7
    scaled = _doubled_high(wide, _to_short(by_y))
    relu = wide
    if exponent > 1:
        relu = _short(relu << (exponent - 1))
    relu = _doubled_high(relu, _to_short(by_three))
    relu = _short(relu << 1) if exponent > 0 else halved_away(relu, -exponent)
    product = ((relu + (1 << 15)) >> 1) * scaled
    dropped = np.where(product < 0, -((-product) >> 15), product >> 15)
    return halved_away(dropped, -y_exponent) if y_exponent < 0 else dropped


def _first_rounding(x: Ints, real: float) -> tuple[Ints, int]:
    q, exponent = quantized_multiplier(real)
    return ((x << max(exponent, 0)) * q + (1 << 30)) >> 31, max(-exponent, 0)


def _doubled_high(a: Ints, b: int) -> Ints:
    """A * b / 2**15 to the nearest integer, halves upward."""
    return (a * b + (1 << 14)) >> 15


def _to_short(q: int) -> int:
    """The 16-bit multiplier nearest to one of 32 bits."""
    return min((q + (1 << 15)) >> 16, (1 << 15) - 1)


def _short(x: Ints) -> Ints:
    return np.clip(x, -(1 << 15), (1 << 15) - 1)
