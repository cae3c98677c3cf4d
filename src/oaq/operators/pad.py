"""Pad: positions that hold the zero point around a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.ranges import ChannelRanges
from oaq.numerics.requantize import Semantics
from oaq.operators.operator import Arrays, Case, Op, Ranges, Rules, Specs, Work, pointwise_work
from oaq.operators.tensor import Shape, TensorSpec, as_image
from oaq.operators.windows import LARGEST_SPATIAL_RANK, LARGEST_WINDOW, check_rank


@dataclass(frozen=True)
class Pad(Op):
    """(H, W, C) with ``padding`` rows and columns that hold ``zx``; one affine map.

    Attributes:
        padding: top, bottom, left, right; two numbers for (L, C), six for (D, H, W, C), axis by axis.
    """

    padding: tuple[int, ...]

    def __post_init__(self) -> None:
        counts = tuple(2 * rank for rank in range(1, LARGEST_SPATIAL_RANK + 1))
        if len(self.padding) not in counts or min(self.padding) < 0 or max(self.padding) > LARGEST_WINDOW:
            raise ProgramError(f"Pad: padding is four numbers >= 0 (two per axis), not {self.padding}")


def shape(op: Pad, inputs: Sequence[Shape]) -> Shape:
    """(spatial axes..., C), each longer by what is added before and after it."""
    x, added = inputs[0], op.padding
    check_rank("Pad", x, len(added) // 2)
    return (*(size + added[2 * axis] + added[2 * axis + 1] for axis, size in enumerate(x[:-1])), x[-1])


def law(op: Pad, inputs: Arrays, specs: Specs, _y: TensorSpec) -> NDArray[np.int64]:
    """(batch, spatial axes..., C) with the zero point around."""
    widths = [(0, 0), *zip(op.padding[::2], op.padding[1::2], strict=True), (0, 0)]
    return np.pad(inputs[0].astype(np.int64), widths, constant_values=specs[0].affine.zero_point)


def image(op: Pad, inputs: Ranges, specs: Specs, _y: TensorSpec, _where: str) -> ChannelRanges:
    """The input's range, and the zero point if any is added."""
    return inputs[0].hull(specs[0].affine.zero_point) if any(op.padding) else inputs[0]


def work(_op: Pad, _x: Sequence[Shape], y: Shape) -> Work:
    """Whole lines are copied."""
    return pointwise_work(y) | {"places": float(prod(as_image(y)[:1]))}


def cases(_semantics: Semantics) -> tuple[Case, ...]:
    """One side, four sides, and a line of one axis."""
    return (
        Case(Pad((0, 1, 0, 0)), ((1, 1, 1),)),
        Case(Pad((2, 0, 1, 3)), ((3, 4, 2),)),
        Case(Pad((1, 2)), ((5, 3),)),
        Case(Pad((1, 2, 0, 0, 0, 1)), ((2, 3, 2, 4),)),
    )


RULES = Rules(
    Pad,
    arity=1,
    shape=shape,
    law=law,
    image=image,
    family="pad",
    work=work,
    cases=cases,
    same_affine=True,
)
