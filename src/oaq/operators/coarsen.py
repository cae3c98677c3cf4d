"""Coarsen: each channel's integers thinned out to a few levels, whose step and place follow the image itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt, prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.ranges import ChannelRanges, IntRange
from oaq.numerics.requantize import Semantics
from oaq.operators.checks import frozen
from oaq.operators.operator import Arrays, Case, Op, Ranges, Rules, Specs, Work, pointwise_work
from oaq.operators.tensor import Shape, TensorSpec

MOST_POSITIONS: Final = 1 << 24
"""Positions of an image, so that (positions * 255)**2 / 4, which no variance exceeds, has 62 bits."""
MOST_BITS: Final = 7
MOST_FACTOR: Final = 4000
UNIT: Final = 1000
"""``factors`` count in thousandths."""


@dataclass(frozen=True, eq=False)
class Coarsen(Op):
    """At most 2**bits[c] levels in channel c of each image; input and output share one affine map.

    With L = 2**bits[c], s = factors[c] and M = limits[c], over the N positions of a channel, A = sum x, B = sum x**2,
    V = N * B - A**2 and r = isqrt(4 * V * s**2), in which a standard deviation is sqrt(V) / N:

        m = clamp((r + 1000 * N) div (2000 * N), 1, M);  e = (2 * A + N) div (2 * N) - L / 2 * m
        y = e + m * clamp((x - e) div m, 0, L - 1) + m div 2

    A rectified channel (what a ReLU wrote) keeps its zero. Over d = x - zx of the positions where that is positive, and
    one position of 0 more, which N counts:

        m = clamp(max((r + 1000 * N) div (2000 * N), ceil((2 * s * A + r) / (2 * s * N * (L - 1)))), 1, M)
        y = zx + m * clamp((x - zx + m div 2) div m, 0, L - 1)

    The second term makes the levels reach a standard deviation beyond the mean, whatever the factor is. ``div`` is the
    floor of a quotient; there are no ties. After 2012.11230; docs/math/daq.md says what is changed and why.

    Attributes:
        bits: (C,) uint8, 1 to 7.
        factors: (C,) int32, 1 to 4000: thousandths of a standard deviation that a step is.
        limits: (C,) uint8, 1 to 255 div (2**bits[c] - 1): the largest step.
        rectified: (C,) uint8, 1 where a channel is rectified, else 0.
    """

    bits: NDArray[np.uint8]
    factors: NDArray[np.int32]
    limits: NDArray[np.uint8]
    rectified: NDArray[np.uint8]

    def __post_init__(self) -> None:
        for name, dtype in (("bits", np.uint8), ("factors", np.int32), ("limits", np.uint8), ("rectified", np.uint8)):
            object.__setattr__(self, name, frozen(f"Coarsen {name}", getattr(self, name), dtype, 1))
        if len({len(self.bits), len(self.factors), len(self.limits), len(self.rectified)}) != 1:
            raise ProgramError(
                f"Coarsen: bits, factors, limits and rectified are one per channel, not {len(self.bits)}, "
                f"{len(self.factors)}, {len(self.limits)} and {len(self.rectified)}"
            )
        if not 1 <= int(self.bits.min()) <= int(self.bits.max()) <= MOST_BITS:
            raise ProgramError(f"Coarsen: 1 to {MOST_BITS} bits, not {self.bits.min()} to {self.bits.max()}")
        if not 1 <= int(self.factors.min()) <= int(self.factors.max()) <= MOST_FACTOR:
            raise ProgramError(
                f"Coarsen: factors are 1 to {MOST_FACTOR}, not {self.factors.min()}..{self.factors.max()}"
            )
        most = largest_step(self.bits)
        if int(self.limits.min()) < 1 or bool((self.limits > most).any()):
            raise ProgramError(f"Coarsen: steps are 1 to 255 div (2**bits - 1), not {self.limits.tolist()[:8]}")
        if int(self.rectified.max()) > 1:
            raise ProgramError(f"Coarsen: rectified is 0 or 1, not {self.rectified.max()}")


def largest_step(bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(C,) the step with which the levels of a channel span 255 at most."""
    return 255 // ((1 << bits.astype(np.int64)) - 1)


def shape(op: Coarsen, inputs: Sequence[Shape]) -> Shape:
    """The input's shape."""
    x = inputs[0]
    if x[-1] != len(op.bits):
        raise ProgramError(f"Coarsen: bits of {len(op.bits)} channels for those of {x}")
    if prod(x[:-1]) > MOST_POSITIONS:
        raise ProgramError(f"Coarsen: {prod(x[:-1])} positions of {x}; sums of at most 2**24 are exact")
    return x


def law(op: Coarsen, inputs: Arrays, specs: Specs, y: TensorSpec) -> NDArray[np.int64]:
    """(batch, ..., C): statistics of each channel of each image, and its levels."""
    x, zero = inputs[0].astype(np.int64), specs[0].affine.zero_point
    result = np.empty_like(x)
    for image_of, levels in zip(x, result, strict=True):
        for channel in range(len(op.bits)):
            values = image_of[..., channel]
            levels[..., channel] = _levels(op, channel, values, zero)
    return np.clip(result, y.range.lo, y.range.hi)


def _levels(op: Coarsen, channel: int, x: NDArray[np.int64], zero: int) -> NDArray[np.int64]:
    """One channel of one image, before the clamp."""
    above = x[x > zero] - zero if op.rectified[channel] else x
    first, step = place_and_step(op, channel, (above.size, int(above.sum()), int((above**2).sum())), zero)
    top = (1 << int(op.bits[channel])) - 1
    return first + step * np.clip((x - first) // step, 0, top) + step // 2


def place_and_step(op: Coarsen, channel: int, sums: tuple[int, int, int], zero: int) -> tuple[int, int]:
    """Where the first level of a channel begins, and the step to the next.

    Args:
        op: the operator.
        channel: which.
        sums: of the integers, or of a rectified channel's above the zero point: how many, their sum, that of squares.
        zero: zero point of the input.
    """
    top, factor, limit = (1 << int(op.bits[channel])) - 1, int(op.factors[channel]), int(op.limits[channel])
    count, total, squares = sums
    count += int(op.rectified[channel])
    root = isqrt(4 * (count * squares - total**2) * factor**2)
    step = max((root + UNIT * count) // (2 * UNIT * count), 1)
    if op.rectified[channel]:
        step = min(max(step, -(-(2 * factor * total + root) // (2 * factor * count * top))), limit)
        return zero - step // 2, step
    step = min(step, limit)
    return (2 * total + count) // (2 * count) - (top + 1) // 2 * step, step


def image(op: Coarsen, inputs: Ranges, specs: Specs, y: TensorSpec, _where: str) -> ChannelRanges:
    """What an image of any number of positions can be made: half a step beyond both ends at the largest step there is.

    A standard deviation is at most half of what values span (Popoviciu), and mean and deviation together at most 5 / 4
    of it. A channel of one value is kept, unless it is rectified.
    """
    ends = [_ends(op, channel, x, specs[0].affine.zero_point) for channel, x in enumerate(inputs[0])]
    lo, hi = (np.clip(np.array(side, np.int64), y.range.lo, y.range.hi) for side in zip(*ends, strict=True))
    return ChannelRanges(lo, hi)


def _ends(op: Coarsen, channel: int, x: IntRange, zero: int) -> tuple[int, int]:
    top, factor, limit = (1 << int(op.bits[channel])) - 1, int(op.factors[channel]), int(op.limits[channel])
    if not op.rectified[channel]:
        step = min(max((factor * (x.hi - x.lo) + UNIT) // (2 * UNIT), 1), limit)
        return x.lo - (step - 1) // 2, x.hi + step // 2
    low, high = max(x.lo - zero, 0), max(x.hi - zero, 0)
    step = min(max((factor * high + UNIT) // (2 * UNIT), -(-5 * high // (4 * top)), 1), limit)
    least = min(max(low - (step - 1) // 2, 0), top * limit)
    return zero + least, zero + (high + step // 2 if high else 0)


def work(_op: Coarsen, _x: Sequence[Shape], y: Shape) -> Work:
    """Every integer is read twice, once for the statistics, of which each channel's table is made."""
    counts = pointwise_work(y)
    return counts | {"reads": 2 * counts["reads"], "tables": float(y[-1])}


def cases(_semantics: Semantics) -> tuple[Case, ...]:
    """One channel, an image, tokens; from one bit to seven, steps at both ends of what they may be."""

    def case(shape: Shape, bits: Sequence[int], factors: Sequence[int], rectified: Sequence[int]) -> Case:
        widths = np.array(bits, np.uint8)
        limits = largest_step(widths).astype(np.uint8)
        return Case(Coarsen(widths, np.array(factors, np.int32), limits, np.array(rectified, np.uint8)), (shape,))

    return (
        case((1,), (4,), (586,), (0,)),
        case((3, 4, 5), (4, 3, 2, 1, 7), (586, 996, 1596, 4000, 1), (0, 1, 0, 1, 0)),
        case((6, 3), (2, 4, 4), (996, 335, 4000), (1, 1, 0)),
        case((5, 7, 3), (4, 4, 2), (335, 586, 1596), (0, 1, 1)),
        case((6,), (4, 4, 4, 3, 3, 3), (586, 586, 586, 586, 586, 586), (0, 1, 0, 1, 0, 1)),
    )


RULES = Rules(
    Coarsen,
    arity=1,
    shape=shape,
    law=law,
    image=image,
    family="coarsen",
    work=work,
    cases=cases,
    same_affine=True,
)
