"""DepthToSpace: blocks of channels laid out as pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.ranges import ChannelRanges
from oaq.numerics.requantize import Semantics
from oaq.operators.operator import Arrays, Case, Op, Ranges, Rules, Specs, Work, pointwise_work
from oaq.operators.tensor import Shape, TensorSpec
from oaq.operators.windows import check_rank


@dataclass(frozen=True)
class DepthToSpace(Op):
    """(H, W, b*b*C) to (H*b, W*b, C).

    DCR: channel = (row * b + column) * C + c. CRD: channel = (c * b + row) * b + column.
    """

    block: int
    mode: Literal["DCR", "CRD"] = "CRD"

    def __post_init__(self) -> None:
        if self.block < 1 or self.mode not in ("DCR", "CRD"):
            raise ProgramError(f"DepthToSpace: block {self.block}, mode {self.mode}")


def shape(op: DepthToSpace, inputs: Sequence[Shape]) -> Shape:
    """(H, W, b*b*C) to (H*b, W*b, C)."""
    check_rank("DepthToSpace", inputs[0], 2)
    height, width, channels = inputs[0]
    if channels % op.block**2:
        raise ProgramError(f"DepthToSpace: block {op.block} needs a multiple of {op.block**2} channels, has {channels}")
    return (height * op.block, width * op.block, channels // op.block**2)


def law(op: DepthToSpace, inputs: Arrays, _specs: Specs, _y: TensorSpec) -> NDArray[np.int64]:
    """(batch, H, W, b*b*C) to (batch, H*b, W*b, C)."""
    batch, height, width, channels = inputs[0].shape
    block, depth = op.block, channels // op.block**2
    if op.mode == "DCR":
        parts = inputs[0].reshape(batch, height, width, block, block, depth)
    else:
        parts = np.moveaxis(inputs[0].reshape(batch, height, width, depth, block, block), 3, 5)
    return parts.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height * block, width * block, depth).astype(np.int64)


def image(op: DepthToSpace, inputs: Ranges, _specs: Specs, _y: TensorSpec, _where: str) -> ChannelRanges:
    """Each output channel holds what the b*b channels it is made of hold."""
    x, places = inputs[0], 0 if op.mode == "DCR" else 1
    blocks = (op.block**2, -1) if op.mode == "DCR" else (-1, op.block**2)
    return ChannelRanges(x.lo.reshape(blocks).min(axis=places), x.hi.reshape(blocks).max(axis=places))


def work(op: DepthToSpace, _x: Sequence[Shape], y: Shape) -> Work:
    """CRD gathers every value from far apart."""
    counts = pointwise_work(y)
    return counts | {"blends": counts["values"] if op.mode == "CRD" else 0.0}


def cases(_semantics: Semantics) -> tuple[Case, ...]:
    """Both orders."""
    return (
        Case(DepthToSpace(1), ((1, 1, 1),)),
        Case(DepthToSpace(2, "DCR"), ((3, 2, 8),)),
        Case(DepthToSpace(3, "CRD"), ((2, 3, 18),)),
    )


RULES = Rules(
    DepthToSpace,
    arity=1,
    shape=shape,
    law=law,
    image=image,
    family="depth_to_space",
    work=work,
    cases=cases,
    same_affine=True,
)
