"""What codebooks did to the weights of a layer: figures that reports hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.codebook import MOST_STEP, centre_of


@dataclass(frozen=True)
class CodebookFacts:
    """Piecewise weights of a layer.

    Attributes:
        name: of the layer.
        bits: b of its codebooks; a weight takes b + 1 bits of a file.
        outputs: how many outputs have the tail step 1, 2, 3, 4.
        tail: part of the weights that lie in the tails, 0..1.
        sqnr_db: power of the float weights over that of what rounding took from them, in decibels; None where that was
            not noted, infinity where nothing was lost. Roundings that look at data give up some of it: they make sums
            precise, not weights.
        nearest_db: of weights rounded to nearest, each output at the scale and tail step of least squared error.
        uniform_db: of uniform weights of b + 1 bits, rounded to nearest, each output at the clip of least error.
    """

    name: str
    bits: int
    outputs: tuple[int, ...]
    tail: float
    sqnr_db: float | None = None
    nearest_db: float | None = None
    uniform_db: float | None = None


def integer_facts(name: str, weight: NDArray[np.int8], bits: int, step: NDArray[np.int64]) -> CodebookFacts:
    """What (N, K) integers and their (N,) tail steps say by themselves."""
    counts = np.bincount(step, minlength=MOST_STEP + 1)[1:]
    in_tails = np.count_nonzero(np.abs(weight.astype(np.int16)) > centre_of(bits))
    return CodebookFacts(name, bits, tuple(int(count) for count in counts), in_tails / weight.size)
