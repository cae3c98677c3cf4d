"""The formulas of ``rounding`` on whole arrays: int64, each step with the reason why it cannot leave 64 bits.

A number is m * 2**e, as there. What these bounds do not cover is computed by ``rounding`` in Python integers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oaq.checker import rounding

Ints = NDArray[np.int64]
Dyadics = tuple[Ints, Ints]
"""(m, e), of one shape or one that broadcasts: the numbers m * 2**e."""
Shifts = Ints | None
FAR = 1 << 62
"""Results are kept within this: clamps to u8 see no difference."""
SUM = 1 << 31
"""What a sum's magnitude is at most for a product with a 31-bit multiplier and a rounding term to stay in int64."""
_POWERS = np.int64(1) << np.arange(63)


def dyadics(values: NDArray[np.float32]) -> Dyadics:
    """Positive finite float32, exactly: m < 2**24."""
    bits = np.ascontiguousarray(values).view(np.uint32).astype(np.int64)
    exponent = bits >> 23
    return (bits & (2**23 - 1)) | np.where(exponent > 0, 2**23, 0), np.maximum(exponent, 1) - 150


def to_float32(m: Ints, e: Ints) -> Dyadics:
    """The nearest numbers of 24 significant bits, ties to even; |m| <= 2**62.

    A magnitude below 2**63 has at most 39 bits too many, so half a unit adds at most 2**38 to at most 2**62.
    """
    size = np.abs(m)
    excess = np.maximum(np.searchsorted(_POWERS, size, side="right") - 24, 0)
    return np.sign(m) * _halved(size, excess), e + excess


def to_integer(m: Ints, e: Ints) -> Ints:
    """The nearest integers, ties to even; |m| <= 2**24. What is beyond 2**32 becomes some number beyond 2**32.

    Shifts to the left stop at 32: m is then 0 or at least 2**32 in magnitude, and at most 2**56. Shifts to the right
    stop at 40: from 26 on, all of |m| / 2**26 <= 1/4 is 0.
    """
    return _halved(m * (np.int64(1) << np.clip(e, 0, 32)), np.clip(-e, 0, 40))


def _halved(m: Ints, times: Ints) -> Ints:
    """M / 2**times to the nearest integer, ties to even: half a unit is added, less the last bit of half if m is even.

    ``>>`` is the floor, for negative m too. |m| + 2**(times - 1) has to stay below 2**63.
    """
    half = (np.int64(1) << times) >> 1
    return np.where(times > 0, (m + half - 1 + ((m >> times) & 1)) >> times, m)


def requantize(
    total: Ints, multiplier: NDArray[np.float32] | NDArray[np.int32], shift: Shifts, then: Shifts = None
) -> Ints:
    """``rounding.requantize`` of each sum; |total| < 2**62. What is beyond 2**32 becomes some number beyond 2**32.

    Args:
        total: of any shape.
        multiplier: one that broadcasts to it.
        shift: likewise; None means float32_half_even.
        then: likewise, bits of a second rounding, halves away from 0; None means that there is none.
    """
    if shift is None:
        m, e = to_float32(total, np.zeros_like(total))
        factor, exponent = dyadics(np.asarray(multiplier, np.float32))
        # Two magnitudes of at most 2**24 make one of at most 2**48.
        return to_integer(*to_float32(m * factor, e + exponent))
    factor = multiplier.astype(np.int64)
    # |total| <= 2**31 and factor < 2**31 make less than 2**62; half of 2**shift adds at most 2**61.
    clipped = np.clip(total, -SUM, SUM)
    result = (clipped * factor + ((np.int64(1) << shift) >> 1)) >> shift
    for at in map(tuple, np.argwhere(clipped != total)):
        unclipped_factor, places = (int(np.broadcast_to(array, total.shape)[at]) for array in (factor, shift))
        result[at] = min(max(rounding.requantize(int(total[at]), unclipped_factor, places), -FAR), FAR)
    if then is None:
        return result
    # Adding half, and one less below 0, before the floor: |result| <= 2**62 leaves room for 2**30.
    return (result + ((np.int64(1) << then) >> 1) - ((result < 0) & (then > 0))) >> then


def add(a: Ints, b: Ints, multiplier: NDArray[np.float32] | NDArray[np.int32], shift: int | None) -> Ints:
    """``rounding.add`` of each pair; |a|, |b| <= 255. What is beyond 2**32 becomes some number beyond 2**32.

    Args:
        a: integers, zero points taken off.
        b: likewise, of the same shape.
        multiplier: (2,), of a and of b.
        shift: of both; None means float32_half_even.
    """
    if shift is not None:
        factor = multiplier.astype(np.int64)
        # Each product is below 2**39; half of 2**shift adds at most 2**61.
        return (a * factor[0] + b * factor[1] + ((np.int64(1) << shift) >> 1)) >> shift
    factor, exponent = dyadics(np.asarray(multiplier, np.float32))
    # 2**8 times 2**24, then rounded to at most 2**24.
    (m_a, e_a), (m_b, e_b) = (to_float32(x * factor[at], np.full_like(x, exponent[at])) for at, x in enumerate((a, b)))
    e_a, e_b = np.where(m_a == 0, e_b, e_a), np.where(m_b == 0, e_a, e_b)
    least = np.minimum(e_a, e_b)
    left_a, left_b = (np.minimum(e - least, 36) for e in (e_a, e_b))
    # At most 2**24 * 2**36 each, 2**61 together.
    result = to_integer(*to_float32(m_a * (np.int64(1) << left_a) + m_b * (np.int64(1) << left_b), least))
    for at in map(tuple, np.argwhere(np.maximum(e_a, e_b) - least > 36)):
        wide = rounding.add(int(a[at]), int(b[at]), (float(multiplier[0]), float(multiplier[1])), None)
        result[at] = min(max(wide, -FAR), FAR)
    return result
