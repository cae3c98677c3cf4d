"""Slice: one contiguous span of every axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.ranges import ChannelRanges
from oaq.numerics.requantize import Semantics
from oaq.operators.operator import Arrays, Case, Op, Ranges, Rules, Specs, pointwise_work
from oaq.operators.tensor import Shape, TensorSpec


@dataclass(frozen=True)
class Slice(Op):
    """x[begin[0]:end[0], begin[1]:end[1], ...], one pair per axis, 0 <= begin < end <= size; one affine map."""

    begin: tuple[int, ...]
    end: tuple[int, ...]


def shape(op: Slice, inputs: Sequence[Shape]) -> Shape:
    """Length of the span along every axis."""
    x = inputs[0]
    fits = len(op.begin) == len(op.end) == len(x)
    if not fits or any(not 0 <= b < e <= size for b, e, size in zip(op.begin, op.end, x, strict=True)):
        raise ProgramError(f"Slice: [{op.begin}, {op.end}) does not lie inside {x}")
    return tuple(e - b for b, e in zip(op.begin, op.end, strict=True))


def law(op: Slice, inputs: Arrays, _specs: Specs, _y: TensorSpec) -> NDArray[np.int64]:
    """(batch, spans...)."""
    spans = (slice(None), *(slice(b, e) for b, e in zip(op.begin, op.end, strict=True)))
    return inputs[0][spans].astype(np.int64)


def image(op: Slice, inputs: Ranges, _specs: Specs, _y: TensorSpec, _where: str) -> ChannelRanges:
    """The ranges of the channels that stay."""
    x = inputs[0]
    return ChannelRanges(x.lo[op.begin[-1] : op.end[-1]], x.hi[op.begin[-1] : op.end[-1]])


def cases(_semantics: Semantics) -> tuple[Case, ...]:
    """Channels, rows, and a span of tokens."""
    return (
        Case(Slice((0,), (1,)), ((1,),)),
        Case(Slice((0, 1, 2), (2, 3, 5)), ((3, 4, 6),)),
        Case(Slice((2, 0), (5, 3)), ((6, 3),)),
        Case(Slice((1, 0, 2, 0), (2, 3, 4, 1)), ((2, 3, 4, 2),)),
    )


RULES = Rules(
    Slice,
    arity=1,
    shape=shape,
    law=law,
    image=image,
    family="slice",
    work=lambda _op, _x, y: pointwise_work(y),
    cases=cases,
    same_affine=True,
    no_native=lambda _op, inputs: (
        f"it cuts {inputs[0]} along {len(inputs[0])} axes; native rows cut four at most" if len(inputs[0]) > 4 else ""
    ),
)
