"""Add: two tensors brought to one scale and added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.ranges import ChannelRanges
from oaq.numerics.requantize import Requantize, Semantics
from oaq.numerics.rounding import round_half_even, rounding_shift
from oaq.operators.checks import check_count, check_same_shapes
from oaq.operators.operator import ALWAYS, Arrays, Case, Op, Ranges, Rules, Specs, pointwise_work, ratio_per_input
from oaq.operators.tensor import Shape, TensorSpec

LARGEST_ADDEND = 2.0**119
"""Most that a float32 multiplier of Add can be, so that neither product nor their sum is infinite."""


@dataclass(frozen=True, eq=False)
class Add(Op):
    """y = a + b, each brought to the output's scale; ``requantize`` holds the two multipliers (a, b).

    float32_half_even: round_half_even(f32(f32(a - za) * m_a) + f32(f32(b - zb) * m_b)) + zy, three float32 roundings.
    fixed_point: ((a - za) * m_a + (b - zb) * m_b + 2**(s - 1)) >> s, + zy; both shifts equal.
    """

    requantize: Requantize

    def __post_init__(self) -> None:
        check_count("Add", self.requantize, 2)
        _check_finite_sum(self.requantize)
        shift = self.requantize.shift
        if self.requantize.then is not None:
            raise ProgramError("Add: rounds its sum once")
        if shift is not None and shift[0] != shift[1]:
            raise ProgramError(f"Add: the two shifts are one number, not {int(shift[0])} and {int(shift[1])}")


def _check_finite_sum(requantize: Requantize) -> None:
    """255 * 2**119 twice stays below the largest float32; further out, infinity less infinity would be no number."""
    largest = float(requantize.multiplier.max())
    if requantize.shift is None and largest > LARGEST_ADDEND:
        raise ProgramError(
            f"Add: a multiplier of {largest:.6g} is beyond {LARGEST_ADDEND:.6g}: two such products have no float32 "
            "sum. The scales of its tensors are damaged"
        )


def shape(_op: Add, inputs: Sequence[Shape]) -> Shape:
    """The one shape of both inputs."""
    check_same_shapes("Add", tuple(inputs))
    return inputs[0]


def add(requantize: Requantize, a: NDArray[np.int64], b: NDArray[np.int64], y: TensorSpec) -> NDArray[np.int64]:
    """The formula of ``Add`` for a - za and b - zb, clamped to the output's effective range; monotone in both."""
    factor, shift, zero = requantize.multiplier, requantize.shift, y.affine.zero_point
    if shift is None:
        total = round_half_even(a.astype(np.float32) * factor[0] + b.astype(np.float32) * factor[1])
        low, high = np.float32(y.range.lo - zero), np.float32(y.range.hi - zero)
        return np.clip(total, low, high).astype(np.int64) + zero
    total = a * np.int64(factor[0]) + b * np.int64(factor[1])
    return np.clip(rounding_shift(total, int(shift[0])) + zero, y.range.lo, y.range.hi)


def law(op: Add, inputs: Arrays, specs: Specs, y: TensorSpec) -> NDArray[np.int64]:
    """(batch, ...) the sum at the output's scale."""
    a, b = (x.astype(np.int64) - spec.affine.zero_point for x, spec in zip(inputs, specs, strict=True))
    return add(op.requantize, a, b, y)


def image(op: Add, inputs: Ranges, specs: Specs, y: TensorSpec, _where: str) -> ChannelRanges:
    """Least from both least, most from both most."""
    a, b = (x.less(spec.affine.zero_point) for x, spec in zip(inputs, specs, strict=True))
    return ChannelRanges(add(op.requantize, a.lo, b.lo, y), add(op.requantize, a.hi, b.hi, y))


def one_shift(requantize: Requantize) -> Requantize:
    """The multipliers with the smaller fixed-point shift for both, as ``Add`` takes them."""
    if requantize.shift is None:
        return requantize
    shift = int(requantize.shift.min())
    shifted = [
        max(round(int(m) / 2 ** (int(s) - shift)), 1)
        for m, s in zip(requantize.multiplier, requantize.shift, strict=True)
    ]
    return Requantize(np.array(shifted, np.int32), np.full(len(requantize), shift, np.int32))


def cases(semantics: Semantics) -> tuple[Case, ...]:
    """Images, tokens and vectors."""
    op = Add(one_shift(Requantize.from_scales(np.array([0.5, 0.75], np.float32), semantics)))
    return tuple(Case(op, (x, x)) for x in ((1,), (5, 3), (3, 4, 5), (2, 3, 2, 3)))


RULES = Rules(
    Add,
    arity=2,
    shape=shape,
    law=law,
    image=image,
    family="add",
    work=lambda _op, _x, y: pointwise_work(y),
    cases=cases,
    float_defined=ALWAYS,
    ratios=ratio_per_input,
    fit=one_shift,
)
