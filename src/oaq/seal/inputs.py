"""Fixed pseudo-random inputs, for signatures.

The integers are SplitMix64 in counter form (Steele, Lea, Flood 2014): the same on every machine and under
every version of NumPy, so a model's signature can be recomputed anywhere.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.ranges import IntRange
from oaq.program.int_program import IntProgram

Inputs = tuple[NDArray[np.uint8], ...]
"""One array (batch, ...) per program input."""

GOLDEN: Final = 0x9E3779B97F4A7C15
FIRST_MIX: Final = 0xBF58476D1CE4E5B9
SECOND_MIX: Final = 0x94D049BB133111EB


def splitmix64(start: int, count: int) -> NDArray[np.uint64]:
    """Outputs ``start``, ``start + 1``, ... of SplitMix64 seeded with 0; all arithmetic modulo 2**64.

    >>> [hex(int(word)) for word in splitmix64(0, 2)]
    ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']
    """
    state = (np.arange(start + 1, start + count + 1, dtype=np.uint64)) * np.uint64(GOLDEN)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(FIRST_MIX)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(SECOND_MIX)
    return state ^ (state >> np.uint64(31))


def fixed_random(shape: tuple[int, ...], reach: IntRange, start: int = 0) -> NDArray[np.uint8]:
    """Integers in ``reach``: lo + (top 32 bits of word i) * (hi - lo + 1) >> 32, in C order from word ``start``."""
    words = splitmix64(start, int(np.prod(shape))) >> np.uint64(32)
    return (
        (np.uint64(reach.lo) + ((words * np.uint64(reach.steps + 1)) >> np.uint64(32))).astype(np.uint8).reshape(shape)
    )


def signature_inputs(program: IntProgram, samples: int = 2) -> Inputs:
    """``samples`` fixed pseudo-random samples; one stream of words runs through the inputs in order."""
    arrays, start = [], 0
    for name in program.inputs:
        spec = program.tensors[name]
        arrays.append(fixed_random((samples, *spec.shape), spec.range, start))
        start += arrays[-1].size
    return tuple(arrays)
