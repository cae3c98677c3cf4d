"""ChannelLookup: a function of one integer for each channel, as tables."""

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
class ChannelLookup(Op):
    """y[..., c] = tables[c, x[..., c]]: any function of one u8 tensor, channel by channel.

    Attributes:
        tables: (C, 256) uint8.
    """

    tables: NDArray[np.uint8]

    def __post_init__(self) -> None:
        object.__setattr__(self, "tables", frozen("ChannelLookup tables", self.tables, np.uint8, 2))
        if self.tables.shape[1] != 256:
            raise ProgramError(f"ChannelLookup: tables have 256 entries each, not {self.tables.shape}")


def shape(op: ChannelLookup, inputs: Sequence[Shape]) -> Shape:
    """The input's shape."""
    if inputs[0][-1] != len(op.tables):
        raise ProgramError(f"ChannelLookup: {len(op.tables)} tables for the channels of {inputs[0]}")
    return inputs[0]


def law(op: ChannelLookup, inputs: Arrays, _specs: Specs, _y: TensorSpec) -> NDArray[np.int64]:
    """(batch, ..., C) one entry of its channel's table per integer."""
    return op.tables[np.arange(len(op.tables)), inputs[0]].astype(np.int64)


def image(op: ChannelLookup, inputs: Ranges, _specs: Specs, _y: TensorSpec, _where: str) -> ChannelRanges:
    """The extremes of the entries that each channel reaches of its own table."""
    images = [table[channel.lo : channel.hi + 1] for table, channel in zip(op.tables, inputs[0], strict=True)]
    return ChannelRanges(
        np.array([int(entries.min()) for entries in images]), np.array([int(entries.max()) for entries in images])
    )


def check(op: ChannelLookup, inputs: Specs, y: TensorSpec) -> None:
    """Require that every entry the input can reach lies in the output's effective range.

    Raises:
        ProgramError: one does not.
    """
    x = inputs[0]
    entries = op.tables[:, x.range.lo : x.range.hi + 1]
    if int(entries.min()) < y.range.lo or int(entries.max()) > y.range.hi:
        raise ProgramError(f"the tables map {x.range} to integers {entries.min()}..{entries.max()}, outside {y.range}")


def cases(_semantics: Semantics) -> tuple[Case, ...]:
    """Rising, falling and wild tables; one channel, an image, tokens."""
    entries = np.arange(256)
    rows = (entries, 255 - entries, entries * 37 % 256, entries // 2, entries * 0 + 9, entries * entries % 256)
    tables = np.array(rows, np.uint8)
    return (
        Case(ChannelLookup(tables[1:2]), ((1,),)),
        Case(ChannelLookup(tables[:5]), ((3, 4, 5),)),
        Case(ChannelLookup(tables[3:]), ((6, 3),)),
        Case(ChannelLookup(tables), ((6,),)),
    )


RULES = Rules(
    ChannelLookup,
    arity=1,
    shape=shape,
    law=law,
    image=image,
    family="channel_lookup",
    work=lambda _op, _x, y: pointwise_work(y) | {"tables": float(y[-1])},
    cases=cases,
    check=check,
)
