"""Reshape: the same integers in the same memory order under another shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.ranges import ChannelRanges
from oaq.numerics.requantize import Semantics
from oaq.operators.operator import Arrays, Case, Op, Ranges, Rules, Specs
from oaq.operators.tensor import LARGEST_RANK, Shape, TensorSpec


@dataclass(frozen=True)
class Reshape(Op):
    """All integers in unchanged memory order, channels last, under another shape; one affine map."""

    shape: tuple[int, ...]


def shape(op: Reshape, inputs: Sequence[Shape]) -> Shape:
    """The value's own shape."""
    x = inputs[0]
    if prod(op.shape) != prod(x) or min(op.shape, default=0) < 1 or len(op.shape) > LARGEST_RANK:
        raise ProgramError(f"Reshape: {x} does not fill {op.shape}")
    return op.shape


def law(op: Reshape, inputs: Arrays, _specs: Specs, _y: TensorSpec) -> NDArray[np.int64]:
    """(batch, ...) to (batch, shape...)."""
    return inputs[0].reshape(len(inputs[0]), *op.shape).astype(np.int64)


def image(_op: Reshape, inputs: Ranges, specs: Specs, y: TensorSpec, _where: str) -> ChannelRanges:
    """Each output channel holds what the input channels it takes integers from hold."""
    x = inputs[0]
    lo, hi = (np.broadcast_to(end, specs[0].shape).reshape(-1, y.channels) for end in (x.lo, x.hi))
    return ChannelRanges(lo.min(axis=0), hi.max(axis=0))


def cases(_semantics: Semantics) -> tuple[Case, ...]:
    """Flattened, and between ranks."""
    return (
        Case(Reshape((1,)), ((1, 1, 1),)),
        Case(Reshape((24,)), ((2, 3, 4),)),
        Case(Reshape((3, 2, 4)), ((2, 3, 4),)),
        Case(Reshape((6, 4)), ((2, 3, 4),)),
    )


RULES = Rules(
    Reshape,
    arity=1,
    shape=shape,
    law=law,
    image=image,
    family="copy",
    work=lambda _op, _x, _y: {},  # done by sharing memory
    cases=cases,
    same_affine=True,
)
