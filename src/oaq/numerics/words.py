"""Requantization in 16 bits: when one instruction computes what ``float32_half_even`` says, exactly.

vpmulhrsw of a sum t and a multiplier m, both s16, is (t * m + 2**14) >> 15: t times m * 2**-15, rounded half up. Where
a layer's multiplier is such a number and its outputs start from zero (zero point and lowest value 0), that is the same
integer as clamp(round_half_even(float32(t) * multiplier)):

* results below 2**8 are exact in float32 before they are rounded, for then t * m < 2**23; larger ones are clamped;
* a result halfway between two integers needs t * m to be an odd multiple of 2**14. Such sums are few, and a multiplier
  is a *word* only if each of them below the clamp has an even integer above it, where half up and half even agree;
* negative results leave 0 either way.

A sum that leaves s16 is saturated: below to a result of 0, which is right; above to the result of 2**15 - 1, which has
to be the highest value of the clamp, unless the sum can never go there. ``native/requantize/in_words.h`` decides by the
same rules what the kernels do; no plan and no proof depends on it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.formats import U8

SHIFT: Final = 15
MOST: Final = (1 << SHIFT) - 1
"""Largest sum, and largest word."""
Words = NDArray[np.int64]


@lru_cache(maxsize=256)
def words(hi: int) -> Words:
    """Every word for outputs in [0, hi], ascending.

    Args:
        hi: of the clamp, 0..255.
    """
    all_of_them = np.arange(1, MOST + 1, dtype=np.int64)
    result = all_of_them[_are_words(all_of_them, hi)]
    result.flags.writeable = False
    return result


def words_of(multiplier: NDArray[np.float32], hi: int) -> Words:
    """(N,) the word that each multiplier is, for outputs in [0, hi]; 0 where it is none."""
    product = multiplier.astype(np.float64) * (1 << SHIFT)
    candidate = np.clip(product, 1, MOST).astype(np.int64)
    return np.where((candidate == product) & _are_words(candidate, hi), candidate, 0)


def _are_words(multiplier: Words, hi: int) -> NDArray[np.bool_]:
    """Halfway results are times * odd / 2, of sums times * halfway, for times = 1, 3, 5 and so on.

    Those with times * odd = 1 modulo 4 have an odd integer above them. The first is that of times = 1, or of times = 3
    if there is such a sum; it has to lie beyond the clamp.
    """
    even = multiplier & -multiplier  # the largest power of two that divides it
    odd, halfway = multiplier // even, (1 << (SHIFT - 1)) // even
    first_wrong = np.where(odd % 4 == 1, odd, np.where(3 * halfway <= MOST, 3 * odd, 2 * U8.hi + 1))
    return first_wrong >= 2 * hi


def least_saturating(hi: int) -> int:
    """The least multiplier, in parts of 2**15, at which sums that are saturated above leave ``hi``."""
    return -(-((hi << SHIFT) - (1 << (SHIFT - 1))) // MOST)


def allows_words(multiplier: NDArray[np.float32], hi: int, most: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(N,): outputs in [0, hi] of sums up to ``most`` may be requantized in 16 bits."""
    word = words_of(multiplier, hi)
    return (word > 0) & ((word >= least_saturating(hi)) | (most <= MOST))
