"""GlobalAvgPool: the mean over every axis but the channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.ranges import ChannelRanges
from oaq.numerics.requantize import Requantize, Semantics
from oaq.operators.avg_pool import check_sum
from oaq.operators.checks import check_count
from oaq.operators.operator import ALWAYS, Arrays, Case, Op, Ranges, Rules, Specs, Work, pointwise_work
from oaq.operators.tensor import Shape, TensorSpec


@dataclass(frozen=True, eq=False)
class GlobalAvgPool(Op):
    """(H, W, C) to (1, 1, C): acc = sum over H, W of (x - zx); y = requantize(acc); multiplier s_x / s_y / (H * W).

    Likewise (L, C) to (1, C) and (D, H, W, C) to (1, 1, 1, C).
    """

    requantize: Requantize

    def __post_init__(self) -> None:
        check_count("GlobalAvgPool", self.requantize, 1)


def shape(_op: GlobalAvgPool, inputs: Sequence[Shape]) -> Shape:
    """(..., C) to (1, ..., 1, C)."""
    x = inputs[0]
    if len(x) < 2:
        raise ProgramError(f"GlobalAvgPool: needs a (H, W, C) input, or another axis before the channels, got {x}")
    return (1,) * (len(x) - 1) + x[-1:]


def law(op: GlobalAvgPool, inputs: Arrays, specs: Specs, y: TensorSpec) -> NDArray[np.int64]:
    """(batch, 1, ..., 1, C): the sum, requantized; the multiplier holds the division."""
    x = inputs[0].astype(np.int64) - specs[0].affine.zero_point
    sums = x.sum(axis=tuple(range(1, x.ndim - 1)), keepdims=True)
    return op.requantize.apply(sums, y.affine.zero_point, y.range)


def image(op: GlobalAvgPool, inputs: Ranges, specs: Specs, y: TensorSpec, where: str) -> ChannelRanges:
    """The image of the sum over all positions."""
    count, x = prod(specs[0].shape[:-1]), inputs[0].less(specs[0].affine.zero_point)
    check_sum(count, where)
    return op.requantize.image(ChannelRanges(count * x.lo, count * x.hi), y.affine.zero_point, y.range)


def work(_op: GlobalAvgPool, x: Sequence[Shape], y: Shape) -> Work:
    """Every value of the input is read once."""
    return pointwise_work(y) | {"reads": float(prod(x[0])), "places": float(prod(x[0][:-1]))}


def cases(semantics: Semantics) -> tuple[Case, ...]:
    """Images and lines."""
    return tuple(
        Case(GlobalAvgPool(Requantize.from_scales(np.array([1 / prod(x[:-1])], np.float32), semantics)), (x,))
        for x in ((1, 1, 1), (3, 4, 5), (7, 3))
    )


RULES = Rules(
    GlobalAvgPool,
    arity=1,
    shape=shape,
    law=law,
    image=image,
    family="global_avg_pool",
    work=work,
    cases=cases,
    float_defined=ALWAYS,
    ratios=lambda _op, scales, y, shapes: scales / y / scales.dtype.type(prod(shapes[0][:-1])),
)
