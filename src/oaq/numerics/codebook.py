"""The codebook of piecewise weights: fine steps about zero, coarse ones in the tails, all multiples of a single scale.

    C(b, r) = { 0, +-1, .. +-L }  and  { +-(L + r j), j = 1 .. L + 1 }        L = 2**(b - 1) - 1

for b bits and a tail step r. It has 2**(b + 1) - 1 integers, so a weight is stored in b + 1 bits; r = 1 is the uniform
grid of b + 1 bits. Its largest integer is L + r (L + 1): inside int8 for every b of 2..6 and r of ``tail_steps``.

Source of the idea: Fang et al., 2002.00104 (piecewise linear quantization), whose tails have a scale and an offset of
their own; here both are multiples of the scale of the centre, so that a layer has ordinary sums.

An integer of the codebook has an *index*: its place, counted from zero, negative for negative ones: -(2**b - 1) to
2**b - 1. The index -2**b, which b + 1 bits could hold too, means nothing: zero has a single code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.formats import S8_WEIGHT

FEWEST_BITS: Final = 2
MOST_BITS: Final = 6
"""At 7 bits even r = 1 has integers beyond int8."""
MOST_STEP: Final = 4
Integers = NDArray[np.integer[Any]]
Steps = NDArray[np.int64]


@dataclass(frozen=True)
class Codebook:
    """Integers that the weights of some output may be.

    Attributes:
        bits: b, 2..6.
        step: r, of ``tail_steps(bits)``.

    Raises:
        ValueError: either is another.

    >>> Codebook(2, 3).integers()
    [-7, -4, -1, 0, 1, 4, 7]
    """

    bits: int
    step: int

    def __post_init__(self) -> None:
        if type(self.bits) is not int or type(self.step) is not int or self.step not in tail_steps(self.bits):
            raise ValueError(f"no codebook of {self.bits!r} bits has the tail step {self.step!r}")

    @property
    def centre(self) -> int:
        """L: up to it every integer is one of the codebook."""
        return centre_of(self.bits)

    @property
    def most(self) -> int:
        """The largest integer."""
        return self.centre + self.step * (self.centre + 1)

    def integers(self) -> list[int]:
        """All of them, ascending."""
        above = [*range(1, self.centre + 1), *range(self.centre + self.step, self.most + 1, self.step)]
        return [*(-value for value in reversed(above)), 0, *above]


def centre_of(bits: int) -> int:
    """L of b bits: 1, 3, 7, 15, 31 for 2..6."""
    return (1 << (bits - 1)) - 1


def tail_steps(bits: int) -> tuple[int, ...]:
    """Tail steps whose integers int8 holds, at most ``MOST_STEP``; none for bits that are not served.

    >>> [tail_steps(bits) for bits in (4, 6, 7)]
    [(1, 2, 3, 4), (1, 2, 3), ()]
    """
    if not FEWEST_BITS <= bits <= MOST_BITS:
        return ()
    centre = centre_of(bits)
    return tuple(step for step in range(1, MOST_STEP + 1) if centre + step * (centre + 1) <= S8_WEIGHT.hi)


def toward_zero(weight: Steps, bits: int, step: Steps) -> Steps:
    """The codebook's integer of greatest magnitude that is not beyond ``weight``, of the same sign.

    Args:
        weight: integers.
        bits: of the codebook.
        step: tail steps, of a shape that broadcasts with ``weight``.
    """
    centre, magnitude = centre_of(bits), np.abs(weight)
    places = np.minimum((magnitude - centre) // step, centre + 1)
    return np.sign(weight) * np.where(magnitude > centre, centre + step * places, magnitude)


def indices(weight: Integers, bits: int, step: Steps) -> Steps:
    """(N, K) indices of (N, K) integers of the codebooks whose (N,) tail steps these are.

    Raises:
        ValueError: an integer is not of its output's codebook.
    """
    wide, centre, by_output = weight.astype(np.int64), centre_of(bits), step[:, None]
    if not _belongs(wide, bits, by_output).all():
        raise ValueError(f"a weight is not of its output's codebook of {bits} bits")
    magnitude = np.abs(wide)
    return np.sign(wide) * np.where(magnitude > centre, centre + (magnitude - centre) // by_output, magnitude)


def integers_at(index: Steps, bits: int, step: Steps) -> NDArray[np.int8]:
    """The inverse of ``indices``; indices lie in [-(2**bits - 1), 2**bits - 1]."""
    centre, magnitude = centre_of(bits), np.abs(index)
    weight = np.where(magnitude > centre, centre + (magnitude - centre) * step[:, None], magnitude)
    return (np.sign(index) * weight).astype(np.int8)


def least_steps(weight: Integers, bits: int) -> Steps:
    """(N,) least tail step whose codebook holds every one of (N, K) integers; 0 where none does."""
    return least_of(steps_that_hold(weight, bits))


def steps_that_hold(weight: Integers, bits: int) -> NDArray[np.bool_]:
    """(N, R): whether every one of (N, K) integers is of the codebook of each of the R ``tail_steps``."""
    wide = weight.astype(np.int64)
    holds = [_belongs(wide, bits, np.int64(step)).all(axis=1) for step in tail_steps(bits)]
    return np.stack(holds, axis=1)


def least_of(holds: NDArray[np.bool_]) -> Steps:
    """(N,) least of the R tail steps, which are 1, 2, ..., that hold; 0 where none does."""
    return np.where(holds.any(axis=1), holds.argmax(axis=1) + 1, 0)


def _belongs(weight: Steps, bits: int, step: Steps | np.int64) -> NDArray[np.bool_]:
    centre = centre_of(bits)
    beyond = np.abs(weight) - centre
    return (beyond <= 0) | ((beyond % step == 0) & (beyond <= step * (centre + 1)))
