"""Gather: entries of one axis, picked by index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.ranges import ChannelRanges
from oaq.numerics.requantize import Semantics
from oaq.operators.checks import frozen
from oaq.operators.operator import Arrays, Case, Op, Ranges, Rules, Specs, pointwise_work
from oaq.operators.tensor import LARGEST_RANK, Shape, TensorSpec


@dataclass(frozen=True, eq=False)
class Gather(Op):
    """y[..., i, ...] = x[..., index[i], ...] along one axis; one affine map.

    Attributes:
        axis: 0 for the channels, from 1 on for the axes of positions in their order: as where channels stand first.
        index: (results,) int32 in [0, size of the axis), in any order, any of them any number of times.
    """

    axis: int
    index: NDArray[np.int32]

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", frozen("Gather index", self.index, np.int32, 1))
        if not 0 <= self.axis < LARGEST_RANK or not self.index.size or int(self.index.min()) < 0:
            raise ProgramError(
                f"Gather: {self.index.size} entries of axis {self.axis}, from {self.index.min(initial=0)}"
            )


def place_of(op: Gather, rank: int) -> int:
    """The axis among those of a tensor whose channels are last."""
    return rank - 1 if op.axis == 0 else op.axis - 1


def shape(op: Gather, inputs: Sequence[Shape]) -> Shape:
    """As many along the axis as there are indices."""
    x = inputs[0]
    if op.axis >= len(x):
        raise ProgramError(f"Gather: axis {op.axis} of {x}, which has {len(x)}")
    place = place_of(op, len(x))
    if int(op.index.max()) >= x[place]:
        raise ProgramError(f"Gather: entry {int(op.index.max())} of {x[place]} on axis {op.axis} of {x}")
    return (*x[:place], len(op.index), *x[place + 1 :])


def law(op: Gather, inputs: Arrays, _specs: Specs, _y: TensorSpec) -> NDArray[np.int64]:
    """(batch, ...) with entries of the axis in the order of the index."""
    return inputs[0].take(op.index, axis=1 + place_of(op, inputs[0].ndim - 1)).astype(np.int64)


def image(op: Gather, inputs: Ranges, _specs: Specs, _y: TensorSpec, _where: str) -> ChannelRanges:
    """The ranges of the channels that are picked; all of them where positions are."""
    x = inputs[0]
    return ChannelRanges(x.lo[op.index], x.hi[op.index]) if op.axis == 0 else x


def cases(_semantics: Semantics) -> tuple[Case, ...]:
    """Channels, rows, columns, tokens and planes: repeated, reversed, left out."""

    def picked(axis: int, *entries: int) -> Gather:
        return Gather(axis, np.array(entries, np.int32))

    return (
        Case(picked(0, 0), ((1,),)),
        Case(picked(1, 2, 0, 0, 1, 2, 2), ((3, 4, 5),)),
        Case(picked(2, 3, 1), ((3, 4, 5),)),
        Case(picked(0, 4, 4, 0), ((3, 4, 5),)),
        Case(picked(1, 5, 0, 3), ((6, 3),)),
        Case(picked(3, 2, 1, 0, 1), ((2, 3, 3, 2),)),
    )


RULES = Rules(
    Gather,
    arity=1,
    shape=shape,
    law=law,
    image=image,
    family="gather",
    work=lambda _op, _x, y: pointwise_work(y),
    cases=cases,
    same_affine=True,
)
