"""Resize: an image of another size, by the nearest pixel or bilinear."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.ranges import ChannelRanges
from oaq.numerics.requantize import Semantics
from oaq.numerics.rounding import rounding_shift
from oaq.operators.operator import Arrays, Case, Op, Ranges, Rules, Specs, Work, pointwise_work
from oaq.operators.tensor import Shape, TensorSpec
from oaq.operators.windows import check_rank

Taps = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
WEIGHT_BITS = 11
"""Bilinear weights are multiples of 2**-11 on each axis, so of 2**-22 together."""


Mode = Literal["nearest", "bilinear", "bilinear_corners", "bilinear_asymmetric"]


@dataclass(frozen=True)
class Resize(Op):
    """(H, W, C) to (height, width, C); input and output share one affine map.

    nearest: y[i] = x[floor(i * H / height)]. bilinear: half-pixel centres, weights rounded to multiples of 2**-11 that
    sum to one on each axis, the four products summed exactly and shifted right by 22 with rounding. bilinear_corners:
    the same, the first and the last pixel of both on each other ("align_corners"). bilinear_asymmetric: the same, pixel
    i at i * H / height.
    """

    height: int
    width: int
    mode: Mode = "nearest"

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1 or self.mode not in get_args(Mode):
            raise ProgramError(f"Resize: {self.mode} to {self.height} x {self.width} is not a size or a mode")


def shape(op: Resize, inputs: Sequence[Shape]) -> Shape:
    """(H, W, C) to (height, width, C)."""
    check_rank("Resize", inputs[0], 2)
    return (op.height, op.width, inputs[0][-1])


def law(op: Resize, inputs: Arrays, _specs: Specs, _y: TensorSpec) -> NDArray[np.int64]:
    """(batch, H, W, C) to (batch, height, width, C)."""
    values = inputs[0].astype(np.int64)
    if op.mode == "nearest":
        rows = np.arange(op.height) * values.shape[1] // op.height
        columns = np.arange(op.width) * values.shape[2] // op.width
        return values[:, rows][:, :, columns]
    taps = taps_of(op.mode)
    mixed = _interpolate(_interpolate(values, 1, taps(values.shape[1], op.height)), 2, taps(values.shape[2], op.width))
    return rounding_shift(mixed, 2 * WEIGHT_BITS)


def taps_of(mode: Mode) -> Callable[[int, int], Taps]:
    """Where a bilinear mode reads an axis: ``bilinear_axis``, ``corner_axis`` or ``asymmetric_axis``."""
    return {"bilinear_corners": corner_axis, "bilinear_asymmetric": asymmetric_axis}.get(mode, bilinear_axis)


def asymmetric_axis(size: int, results: int) -> Taps:
    """``bilinear_axis`` where output i lies at i * size / results: the first pixels of both on each other."""
    return _between(np.arange(results, dtype=np.int64) * size, results, size)


def corner_axis(size: int, results: int) -> Taps:
    """``bilinear_axis`` where output i lies at i * (size - 1) / (results - 1): corners on corners; at 0 if alone."""
    return _between(np.arange(results, dtype=np.int64) * (size - 1), max(results - 1, 1), size)


def bilinear_axis(size: int, results: int) -> Taps:
    """Where each of ``results`` outputs reads an axis of ``size`` inputs, half-pixel centres, in exact integers.

    Output i lies at (i + 1/2) * size / results - 1/2 = ((2i + 1) * size - results) / (2 * results). Between input j and
    j + 1, with j the floor of that, the second weighs round(fraction * 2**11), ties upwards, and the first the rest.
    Both indices are clamped to the axis.

    Returns:
        (index of the first, index of the second, weight of the second in 0..2**11), each (results,).
    """
    return _between((2 * np.arange(results, dtype=np.int64) + 1) * size - results, 2 * results, size)


def _between(numerator: NDArray[np.int64], denominator: int, size: int) -> Taps:
    """Both inputs beside each place numerator / denominator of an axis, and the weight of the second."""
    first = numerator // denominator
    second_weight = (((numerator - first * denominator) << (WEIGHT_BITS + 1)) + denominator) // (2 * denominator)
    return np.clip(first, 0, size - 1), np.clip(first + 1, 0, size - 1), second_weight


def _interpolate(values: NDArray[np.int64], axis: int, taps: Taps) -> NDArray[np.int64]:
    first, second, weight = taps
    weight = weight.reshape([-1 if index == axis else 1 for index in range(values.ndim)])
    return values.take(first, axis) * ((1 << WEIGHT_BITS) - weight) + values.take(second, axis) * weight


def image(_op: Resize, inputs: Ranges, _specs: Specs, _y: TensorSpec, _where: str) -> ChannelRanges:
    """A convex combination, rounded to nearest, stays between the least and the greatest."""
    return inputs[0]


def work(op: Resize, _x: Sequence[Shape], y: Shape) -> Work:
    """Bilinear mixes four values for each."""
    counts = pointwise_work(y)
    return counts | {"blends": counts["values"] if op.mode != "nearest" else 0.0}


def cases(_semantics: Semantics) -> tuple[Case, ...]:
    """Larger and smaller, both modes."""
    return (
        Case(Resize(1, 1), ((1, 1, 1),)),
        Case(Resize(5, 7), ((3, 4, 2),)),
        Case(Resize(7, 3, "bilinear"), ((4, 5, 3),)),
        Case(Resize(7, 1, "bilinear_corners"), ((4, 5, 3),)),
        Case(Resize(9, 4, "bilinear_corners"), ((5, 7, 2),)),
        Case(Resize(9, 4, "bilinear_asymmetric"), ((5, 7, 2),)),
    )


RULES = Rules(
    Resize,
    arity=1,
    shape=shape,
    law=law,
    image=image,
    family="resize",
    work=work,
    cases=cases,
    same_affine=True,
    float_defined=lambda op: op.mode != "nearest",
)
