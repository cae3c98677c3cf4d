"""Concat: tensors side by side on the channel axis, each brought to the output's scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.ranges import ChannelRanges
from oaq.numerics.requantize import Requantize, Semantics
from oaq.operators.operator import ALWAYS, Arrays, Case, Op, Ranges, Rules, Specs, Work, pointwise_work, ratio_per_input
from oaq.operators.tensor import Shape, TensorSpec


@dataclass(frozen=True, eq=False)
class Concat(Op):
    """Inputs side by side on the channel axis, input i requantized by multiplier i: y = requantize_i(x - zx_i, zy)."""

    requantize: Requantize

    def __post_init__(self) -> None:
        if not len(self.requantize):
            raise ProgramError("Concat: joins at least one input")


def shape(_op: Concat, inputs: Sequence[Shape]) -> Shape:
    """Leading axes of every input, channels of all."""
    if len({x[:-1] for x in inputs}) != 1:
        raise ProgramError(f"Concat: the inputs differ outside the channel axis: {list(inputs)}")
    return (*inputs[0][:-1], sum(x[-1] for x in inputs))


def law(op: Concat, inputs: Arrays, specs: Specs, y: TensorSpec) -> NDArray[np.int64]:
    """(batch, ..., channels of all)."""
    parts = [
        op.requantize.single(index).apply(x.astype(np.int64) - spec.affine.zero_point, y.affine.zero_point, y.range)
        for index, (x, spec) in enumerate(zip(inputs, specs, strict=True))
    ]
    return np.concatenate(parts, axis=-1)


def image(op: Concat, inputs: Ranges, specs: Specs, y: TensorSpec, _where: str) -> ChannelRanges:
    """The images of all inputs, one after another."""
    parts = [
        op.requantize.single(index).image(x.less(spec.affine.zero_point), y.affine.zero_point, y.range)
        for index, (x, spec) in enumerate(zip(inputs, specs, strict=True))
    ]
    return ChannelRanges(np.concatenate([part.lo for part in parts]), np.concatenate([part.hi for part in parts]))


def work(_op: Concat, x: Sequence[Shape], y: Shape) -> Work:
    """Every place is visited once per input."""
    counts = pointwise_work(y)
    return counts | {"places": counts["places"] * len(x)}


def cases(semantics: Semantics) -> tuple[Case, ...]:
    """Two and three inputs of different sizes, and one alone."""
    return tuple(
        Case(Concat(Requantize.from_scales(np.linspace(0.5, 1.25, len(shapes), dtype=np.float32), semantics)), shapes)
        for shapes in (((1,),), ((2, 3, 4), (2, 3, 1)), ((4,), (2,), (4,)), ((5, 2), (5, 3)))
    )


RULES = Rules(
    Concat,
    arity=lambda op: len(op.requantize),
    shape=shape,
    law=law,
    image=image,
    family="concat",
    work=work,
    cases=cases,
    float_defined=ALWAYS,
    ratios=ratio_per_input,
)
