"""Reshape: the same integers in the same memory order under another shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lcm, prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.ranges import ChannelRanges
from oaq.numerics.requantize import Semantics
from oaq.operators.operator import Arrays, Case, Op, Ranges, Rules, Specs
from oaq.operators.tensor import LARGEST_RANK, Shape, TensorSpec

STRETCH: Final = 1 << 16
"""Integers whose channels are looked at together."""


@dataclass(frozen=True)
class Reshape(Op):
    """All integers in unchanged memory order, channels last, under another shape; one affine map."""

    shape: tuple[int, ...]


def shape(op: Reshape, inputs: Sequence[Shape]) -> Shape:
    """The value's own shape."""
    x = inputs[0]
    if len(op.shape) > LARGEST_RANK or min(op.shape, default=0) < 1 or prod(op.shape) != prod(x):
        raise ProgramError(f"Reshape: {x} does not fill {op.shape}")
    return op.shape


def law(op: Reshape, inputs: Arrays, _specs: Specs, _y: TensorSpec) -> NDArray[np.int64]:
    """(batch, ...) to (batch, shape...)."""
    return inputs[0].reshape(len(inputs[0]), *op.shape).astype(np.int64)


def image(_op: Reshape, inputs: Ranges, specs: Specs, y: TensorSpec, _where: str) -> ChannelRanges:
    """Each output channel holds what the input channels it takes integers from hold.

    Which those are repeats after as many integers as both numbers of channels divide; of these a stretch at a time is
    looked at, so that memory stays in proportion to channels, whatever the size of the tensor.
    """
    x, channels = inputs[0], y.channels
    lo, hi = np.full(channels, 255, np.int64), np.zeros(channels, np.int64)
    rows, stretch = lcm(specs[0].channels, channels) // channels, max(STRETCH // channels, 1)
    for first in range(0, rows, stretch):
        row = np.arange(first, min(first + stretch, rows), dtype=np.int64)[:, None]
        source = (row * channels + np.arange(channels)) % specs[0].channels
        np.minimum(lo, x.lo[source].min(axis=0), out=lo)
        np.maximum(hi, x.hi[source].max(axis=0), out=hi)
    return ChannelRanges(lo, hi)


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
