"""Multipliers near a layer's own that 16 bits can requantize, each with the weight scale that makes it.

A multiplier is float32(float32(s_x * s_w) / s_y), and s_w is free. It is useful if it is a *word* (``numerics.words``)
and float32 arithmetic makes it of some s_w: about one word in three is made by none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.multipliers import weight_scales
from oaq.numerics.ranges import IntRange
from oaq.numerics.words import SHIFT, Words, words

Reals = NDArray[np.floating[Any]]
UPWARDS: Final = tuple(range(24))
"""Order of places that never makes a multiplier smaller: the least word at or above it is place 0."""
NEAREST: Final = (-1, 0, -2, 1, -3, 2, -4, 3)
"""Order of places on both sides."""
SLACK: Final = 1e-6
"""Part of itself by which a multiplier computed in float64 may miss the one of float32 arithmetic, generously."""


@dataclass(frozen=True, eq=False)
class WordScales:
    """Words near (N,) multipliers, and the weight scales that make them.

    Attributes:
        multiplier: (N,) float32 words in parts of one; 0 where none was found.
        scale: (N,) float32 weight scales that make them; 0 where none was found.
        exists: (N,) whether one was found.
    """

    multiplier: NDArray[np.float32]
    scale: NDArray[np.float32]
    exists: NDArray[np.bool_]


def search_words(
    target: Reals,
    bounds: IntRange,
    scales: tuple[float, float],
    places: Sequence[int] = UPWARDS,
    *,
    finest: Reals | float = 0.0,
    reach: tuple[Reals | float, Reals | float] = (0.0, np.inf),
) -> WordScales:
    """The first word of ``places`` that some weight scale makes, for each target.

    Args:
        target: (N,) multipliers in parts of one; infinite asks for none.
        bounds: what the output's clamp keeps of results before the zero point is added.
        scales: of the layer's input and of its output.
        places: words tried, in this order, counted from the least one that is not below the target.
        finest: (N,) weight scales may not be finer.
        reach: (N,) least and greatest multiplier that is acceptable.
    """
    usable = words(bounds)
    first = _places(usable, target)
    multiplier, scale = (np.zeros(len(first), np.float32) for _ in range(2))
    exists = np.zeros(len(first), np.bool_)
    is_open = np.isfinite(target)
    for place in places:
        if not np.any(is_open & ~exists):
            break
        at = first + place
        word = (usable[np.clip(at, 0, len(usable) - 1)] / (1 << SHIFT)).astype(np.float32)
        candidate, is_made = weight_scales(word, *scales, least=finest)
        fits = is_open & ~exists & is_made & (at >= 0) & (at < len(usable)) & (word >= reach[0]) & (word <= reach[1])
        multiplier[fits], scale[fits] = word[fits], candidate[fits]
        exists |= fits
    return WordScales(multiplier, scale, exists)


def least_words(target: Reals, bounds: IntRange) -> NDArray[np.float64]:
    """(N,) the least word at or above each multiplier, whether a scale makes it or not; the largest beyond all.

    Args:
        target: (N,) multipliers in parts of one.
        bounds: what the output's clamp keeps of results before the zero point is added.
    """
    usable = words(bounds)
    return usable[np.minimum(_places(usable, target), len(usable) - 1)] / (1 << SHIFT)


def _places(usable: Words, target: Reals) -> NDArray[np.intp]:
    return np.searchsorted(usable, target * (1 << SHIFT) * (1 - SLACK))
