"""TFLite's scales as multipliers of the two requantize semantics, and its fused activations as ranges.

``float32_half_even`` is what XNNPACK computes, which LiteRT uses by default on x86 and Arm: every sum of convolutions,
fully connected layers and products becomes the very same integer, multipliers (s_x * s_w) / s_y in float32 included.

``fixed_point`` has the multipliers of TFLite's reference kernels (and of microcontrollers'): s_x * s_w / s_y in float64
as 31 bits and a shift. Those kernels round twice where the shift is beyond 31: to a multiple of 2**(31 - shift) steps,
ties upwards, and that to an integer, ties away from zero. Ours rounds once. The first rounding moves a value by at most
half of such a multiple, and two numbers so near have nearest integers at most one apart: results differ by one step at
most, and only where the first rounding lands on a tie of the second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.capture.from_tflite.roundings import quantized_multiplier
from oaq.errors import FormatError
from oaq.numerics.affine import Affine
from oaq.numerics.formats import S32, U8
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize, Semantics
from oaq.operators.add import one_shift

Reals = NDArray[np.floating] | np.floating | float
SMALLEST: Final = np.float32(2.0**-126)
"""Smallest of float32's normal numbers. Times any s32 it rounds to 0, as every smaller number does."""
SUM_BITS: Final = 21
"""Bits of XNNPACK's larger multiplier of an addition."""
LEAST_ADDEND, MOST_ADDEND = np.float32(2.0**-10), np.float32(2.0**8)
"""Ratios of an addend's scale to the result's that XNNPACK takes; the second is not one of them."""
NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)
BOUNDS: Final = {
    NONE: (-math.inf, math.inf),
    RELU: (0.0, math.inf),
    RELU_N1_TO_1: (-1.0, 1.0),
    RELU6: (0.0, 6.0),
}
"""Fused activations, by the schema's numbers, as real bounds."""


def requantize(x: Reals, w: Reals, y: Reals, semantics: Semantics, where: str) -> Requantize:
    """The multipliers of (x * w) / y, as many as the longest of them has.

    Raises:
        FormatError: a ratio is beyond float32.
    """
    if semantics == "float32_half_even":
        with np.errstate(all="ignore"):
            ratio = np.atleast_1d((np.asarray(x, np.float32) * np.asarray(w, np.float32)) / np.asarray(y, np.float32))
        _check(ratio, where)
        return Requantize(np.maximum(ratio, SMALLEST))
    real = np.atleast_1d(np.asarray(x, np.float64) * np.asarray(w, np.float64) / np.asarray(y, np.float64))
    _check(real, where)
    pairs = [_fixed(float(ratio)) for ratio in real]
    return Requantize(np.array([m for m, _ in pairs], np.int32), np.array([s for _, s in pairs], np.int32))


def requantize_twice(x: float, w: Reals, y: float, where: str) -> Requantize:
    """The multipliers of (x * w) / y as built-in kernels of uint8 take them: two roundings, of 31 bits and of a shift.

    The product of scales is a float32, its quotient a float64.

    Raises:
        FormatError: a ratio is beyond float32.
    """
    real = (np.float32(x) * np.atleast_1d(np.asarray(w, np.float32))).astype(np.float64) / float(np.float32(y))
    _check(real, where)
    pairs = [quantized_multiplier(float(ratio)) for ratio in real]
    numbers = [(q, 31 - max(exponent, 0), max(-exponent, 0)) if q else (1, 62, 0) for q, exponent in pairs]
    multiplier, shift, then = (np.array(column, np.int32) for column in zip(*numbers, strict=True))
    return Requantize(multiplier, shift, then)


def requantize_mean(x: float, y: float, counts: NDArray[np.int64], semantics: Semantics, where: str) -> Requantize:
    """The multipliers of (x / y) / count."""
    if semantics == "float32_half_even":
        return requantize(np.float32(x) / np.float32(y), 1.0, counts.astype(np.float32), semantics, where)
    return requantize(x, 1.0, y * counts.astype(np.float64), semantics, where)


def requantize_sum(x: Sequence[float], y: float, semantics: Semantics, where: str) -> Requantize:
    """The multipliers of x[i] / y with one shift for all, as ``ops.Add`` wants them: XNNPACK's, or 31 bits.

    XNNPACK adds in integers: the larger multiplier gets 21 bits, halves go upward. Reference kernels, of
    ``fixed_point``, round three times; these multipliers round their sum once.

    Raises:
        FormatError: a ratio is beyond float32.
    """
    if semantics == "float32_half_even":
        ratios = np.array(x, np.float32) / np.float32(y)
        _check(ratios, where)
        shift = SUM_BITS - int(np.frexp(ratios.max())[1])
        multipliers = np.rint(ratios * np.float32(2.0**shift)).astype(np.int32)
        return Requantize(multipliers, np.full(len(multipliers), shift, np.int32))
    return one_shift(requantize(np.array(x), 1.0, y, "fixed_point", where))


def xnnpack_adds(x: Sequence[float], y: float) -> bool:
    """Whether scales of addends are within the ratios to the output's that XNNPACK takes."""
    ratios = np.array(x, np.float32) / np.float32(y)
    return bool(np.all((ratios >= LEAST_ADDEND) & (ratios < MOST_ADDEND)))


def quotients(count: int) -> Requantize:
    """Multipliers 1 / n for n = 1, ..., ``count`` that divide exactly, halves away from 0, sums of n integers.

    They are the next 31-bit number above 2**shift / n. So what is halfway moves away from 0, and a sum of n integers of
    at most 255 in magnitude errs by at most 255 * 2**-30 < 1 / (2 n), the least distance from a half that is none.
    """
    n = np.arange(1, count + 1, dtype=np.int64)
    shift = np.array([30 + (int(size) - 1).bit_length() for size in n], np.int64)
    multiplier = (np.int64(1) << shift) // n + 1
    return Requantize(multiplier.astype(np.int32), shift.astype(np.int32))


def activation_range(function: int, affine: Affine) -> IntRange | None:
    """What a fused activation leaves of [0, 255]: zero point + round(bound / scale); None if it is none that clamps."""
    if function not in BOUNDS:
        return None
    return clamp_range(BOUNDS[function], affine)


def clamp_range(bounds: tuple[float, float], affine: Affine) -> IntRange:
    """Real bounds around 0 as integers inside [0, 255]."""
    steps = round_away(np.array(bounds, np.float32) / np.float32(affine.scale))
    lo, hi = (int(min(max(step, -256.0), 256.0)) + affine.zero_point for step in steps)
    return IntRange(U8.clamp(lo), U8.clamp(hi))


def round_away(x: NDArray[np.floating]) -> NDArray[np.floating]:
    """To the nearest integer, ties away from zero: C's ``round``, which TFLite uses on reals."""
    return np.copysign(np.floor(np.abs(x) + 0.5), x)


def _fixed(real: float) -> tuple[int, int]:
    """Multiplier in [2**30, 2**31) and shift, as TFLite's QuantizeMultiplier; beyond its shifts, what it does there."""
    fraction, exponent = math.frexp(real)
    multiplier = math.floor(fraction * (1 << 31) + 0.5)
    if multiplier == 1 << 31:
        multiplier, exponent = 1 << 30, exponent + 1
    if exponent < -31:
        return 1, 62  # of any s32 this makes 0, as TFLite's multiplier 0 does
    if exponent > 30:
        return S32.hi, 1
    return multiplier, 31 - exponent


def _check(ratio: NDArray[np.floating], where: str) -> None:
    if not np.all(np.isfinite(ratio)):
        raise FormatError(f"{where}: its scales make a multiplier beyond float32; they are damaged")
