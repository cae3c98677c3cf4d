"""Lookup: any function of one integer, as a table."""

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
from oaq.operators.tensor import Shape, TensorSpec


@dataclass(frozen=True, eq=False)
class Lookup(Op):
    """y = table[x]: any function of one u8 tensor.

    Attributes:
        table: (256,) uint8.
    """

    table: NDArray[np.uint8]

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", frozen("Lookup table", self.table, np.uint8, 1))
        if self.table.shape != (256,):
            raise ProgramError(f"Lookup: the table has 256 entries, not {self.table.shape}")


def shape(_op: Lookup, inputs: Sequence[Shape]) -> Shape:
    """The input's shape."""
    return inputs[0]


def law(op: Lookup, inputs: Arrays, _specs: Specs, _y: TensorSpec) -> NDArray[np.int64]:
    """(batch, ...) one table entry per integer."""
    return op.table[inputs[0]].astype(np.int64)


def image(op: Lookup, inputs: Ranges, _specs: Specs, _y: TensorSpec, _where: str) -> ChannelRanges:
    """The extremes of the entries a channel reaches: a table need not be monotone."""
    images = [op.table[channel.lo : channel.hi + 1] for channel in inputs[0]]
    return ChannelRanges(
        np.array([int(entries.min()) for entries in images]), np.array([int(entries.max()) for entries in images])
    )


def check(op: Lookup, inputs: Specs, y: TensorSpec) -> None:
    """Require that every entry the input can reach lies in the output's effective range.

    Raises:
        ProgramError: one does not.
    """
    x = inputs[0]
    entries = op.table[x.range.lo : x.range.hi + 1]
    if int(entries.min()) < y.range.lo or int(entries.max()) > y.range.hi:
        raise ProgramError(f"the table maps {x.range} to integers {entries.min()}..{entries.max()}, outside {y.range}")


def cases(_semantics: Semantics) -> tuple[Case, ...]:
    """A falling table and one that is not monotone."""
    entries = np.arange(256)
    tables = ((255 - entries).astype(np.uint8), (entries * 37 % 256).astype(np.uint8))
    return (Case(Lookup(tables[0]), ((1,),)), Case(Lookup(tables[1]), ((3, 4, 5),)), Case(Lookup(tables[1]), ((6, 3),)))


RULES = Rules(
    Lookup,
    arity=1,
    shape=shape,
    law=law,
    image=image,
    family="lookup",
    work=lambda _op, _x, y: pointwise_work(y),
    cases=cases,
    check=check,
)
