"""Requantization in 16 bits: when one instruction computes what ``float32_half_even`` says, exactly.

vpmulhrsw of a sum t and a multiplier m, both s16, is (t * m + 2**14) >> 15: t times m * 2**-15, rounded half up. Where
a layer's multiplier is such a number, that is the same integer as round_half_even(float32(t) * multiplier), as far as
the clamp keeps it:

* results below 2**8 are exact in float32 before they are rounded, for then t * m < 2**23; larger ones are clamped;
* a result halfway between two integers needs t * m to be an odd multiple of 2**14. Such sums are few, and a multiplier
  is a *word* only if each of them inside the clamp has an even integer above it, where half up and half even agree.

A sum that leaves s16 is saturated: the result of 2**15 - 1 has to be the highest value of the clamp and that of -2**15
the lowest, unless the sum can never go there. ``native/requantize/in_words.h`` decides by the same rules what the
kernels do; no plan and no proof depends on it.

Results here are those before the zero point is added: ``bounds`` is the clamp of the output less its zero point, inside
[-255, 255]. Where it starts from 0, negative results leave 0 whatever they are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.formats import U8
from oaq.numerics.ranges import IntRange

SHIFT: Final = 15
MOST: Final = (1 << SHIFT) - 1
"""Largest sum, and largest word."""
Words = NDArray[np.int64]


@lru_cache(maxsize=256)
def words(bounds: IntRange) -> Words:
    """Every word for such results, ascending."""
    all_of_them = np.arange(1, MOST + 1, dtype=np.int64)
    result = all_of_them[_are_words(all_of_them, bounds)]
    result.flags.writeable = False
    return result


def words_of(multiplier: NDArray[np.float32], bounds: IntRange) -> Words:
    """(N,) the word that each multiplier is, for such results; 0 where it is none."""
    product = multiplier.astype(np.float64) * (1 << SHIFT)
    candidate = np.clip(product, 1, MOST).astype(np.int64)
    return np.where((candidate == product) & _are_words(candidate, bounds), candidate, 0)


def _are_words(multiplier: Words, bounds: IntRange) -> NDArray[np.bool_]:
    """Halfway results are times * odd / 2, of sums times * halfway, for times = 1, 3, 5 and so on, and their negatives.

    Those with times * odd = 1 modulo 4 have an odd integer above them; of their negatives those with 3. The first is
    that of times = 1, or of times = 3 if there is such a sum; it has to lie beyond the clamp.
    """
    even = multiplier & -multiplier  # the largest power of two that divides it
    odd, halfway = multiplier // even, (1 << (SHIFT - 1)) // even
    third = np.where(3 * halfway <= MOST, 3 * odd, 2 * U8.hi + 1)
    first_above, first_below = np.where(odd % 4 == 1, odd, third), np.where(odd % 4 == 3, odd, third)
    return (first_above >= 2 * bounds.hi) & (first_below >= -2 * bounds.lo)


def least_saturating(bounds: IntRange) -> int:
    """The least multiplier, in parts of 2**15, at which sums that are saturated leave the ends of such results."""
    return max(_least_above(bounds), -bounds.lo)


def _least_above(bounds: IntRange) -> int:
    """The least at which those saturated above leave the highest; below, -2**15 times a multiplier is the result."""
    return -(-((bounds.hi << SHIFT) - (1 << (SHIFT - 1))) // MOST)


def allows_words(
    multiplier: NDArray[np.float32], bounds: IntRange, least: NDArray[np.integer], most: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """(N,): such results of sums in [least, most] may be requantized in 16 bits."""
    word = words_of(multiplier, bounds)
    above = (word >= _least_above(bounds)) | (most <= MOST)
    below = (word >= -bounds.lo) | (least >= -MOST - 1)
    return (word > 0) & above & below
