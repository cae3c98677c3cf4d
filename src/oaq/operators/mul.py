"""Mul: products of two tensors, the second perhaps one value per channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.ranges import ChannelRanges
from oaq.numerics.requantize import Requantize, Semantics
from oaq.operators.checks import check_count
from oaq.operators.operator import ALWAYS, Arrays, Case, Op, Ranges, Rules, Specs, pointwise_work
from oaq.operators.tensor import Shape, TensorSpec


@dataclass(frozen=True, eq=False)
class Mul(Op):
    """acc = (a - za) * (b - zb); y = requantize(acc, zy); one multiplier.

    ``b`` may be one value per channel: (C,) or (1, ..., 1, C) beside (..., C).
    """

    requantize: Requantize

    def __post_init__(self) -> None:
        check_count("Mul", self.requantize, 1)


def shape(_op: Mul, inputs: Sequence[Shape]) -> Shape:
    """The shape of ``a``."""
    a, b = inputs
    if a == b or b in ((a[-1],), ((1,) * (len(a) - 1) + a[-1:])):
        return a
    raise ProgramError(f"Mul: {b} neither equals nor broadcasts over the channels of {a}")


def law(op: Mul, inputs: Arrays, specs: Specs, y: TensorSpec) -> NDArray[np.int64]:
    """(batch, ...) the products, requantized."""
    a, b = (x.astype(np.int64) - spec.affine.zero_point for x, spec in zip(inputs, specs, strict=True))
    if a.shape != b.shape:
        b = b.reshape(len(b), *(1,) * (a.ndim - 2), b.shape[-1])
    return op.requantize.apply(a * b, y.affine.zero_point, y.range)


def image(op: Mul, inputs: Ranges, specs: Specs, y: TensorSpec, _where: str) -> ChannelRanges:
    """The extremes of the four corners: a product is monotone in neither factor, but linear in each."""
    a, b = (x.less(spec.affine.zero_point) for x, spec in zip(inputs, specs, strict=True))
    corners = np.stack([p * q for p in (a.lo, a.hi) for q in (b.lo, b.hi)])
    sums = ChannelRanges(corners.min(axis=0), corners.max(axis=0))
    return op.requantize.image(sums, y.affine.zero_point, y.range)


def cases(semantics: Semantics) -> tuple[Case, ...]:
    """Equal shapes, and one value per channel."""
    op = Mul(Requantize.from_scales(np.array([0.007], np.float32), semantics))
    shapes = (((1,), (1,)), ((3, 4, 5), (3, 4, 5)), ((3, 4, 5), (5,)), ((3, 4, 5), (1, 1, 5)), ((6, 3), (1, 3)))
    return tuple(Case(op, pair) for pair in shapes)


RULES = Rules(
    Mul,
    arity=2,
    shape=shape,
    law=law,
    image=image,
    family="mul",
    work=lambda _op, _x, y: pointwise_work(y),
    cases=cases,
    float_defined=ALWAYS,
    ratios=lambda _op, scales, y, _shapes: scales[:1] * scales[1:] / y,
)
