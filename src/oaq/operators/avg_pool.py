"""AvgPool: the mean under a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.errors import AccumulatorOverflow, ProgramError, UnsupportedOp
from oaq.numerics.formats import S32
from oaq.numerics.ranges import ChannelRanges
from oaq.numerics.requantize import Requantize, Semantics
from oaq.operators.checks import check_count
from oaq.operators.operator import ALWAYS, Arrays, Case, Op, Ranges, Rules, Scales, Specs, Work, pointwise_work
from oaq.operators.tensor import Shape, TensorSpec
from oaq.operators.windows import Window, check_pool_padding, check_window, positions_inside, taps


@dataclass(frozen=True, eq=False)
class AvgPool(Op):
    """acc = sum over the window of (x - zx), padded positions adding 0; y = requantize[count - 1](acc).

    With an ``origin`` o both are measured from it: acc = sum of (x - o), y = o + requantize[count - 1](acc). That is
    for runtimes that divide sums of stored integers and round halves away from the stored 0; input and output then
    share one affine map, and padding is not counted.

    ``count`` is the number of elements averaged over: the whole window if ``count_include_pad``, else the positions of
    the window that lie inside the input. ``requantize`` holds a multiplier s_x / s_y / count for every count = 1, 2,
    ..., size of the window. ``padding`` empty: none.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    requantize: Requantize
    padding: tuple[int, ...] = ()
    count_include_pad: bool = True
    origin: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "padding", tuple(self.padding) or (0, 0) * len(self.kernel))
        check_window("AvgPool", self.window)
        check_pool_padding("AvgPool", self.window)
        check_count("AvgPool", self.requantize, self.window.size)
        if self.origin is not None and (not 0 <= self.origin <= 255 or self.count_include_pad):
            raise ProgramError(
                f"AvgPool: an origin is an integer in [0, 255] and leaves padding out, not {self.origin} with "
                f"count_include_pad={self.count_include_pad}"
            )

    @property
    def window(self) -> Window:
        """Where integers are read."""
        return Window(self.kernel, self.stride, self.padding, (1,) * len(self.kernel))


def shape(op: AvgPool, inputs: Sequence[Shape]) -> Shape:
    """(spatial axes..., C) to (windows..., C)."""
    return op.window.output_shape("AvgPool", inputs[0], inputs[0][-1])


def zero_points(op: AvgPool, x: TensorSpec, y: TensorSpec) -> tuple[int, int]:
    """What is taken off the inputs, and what results are counted from."""
    return (x.affine.zero_point, y.affine.zero_point) if op.origin is None else (op.origin, op.origin)


def check(op: AvgPool, inputs: Specs, y: TensorSpec) -> None:
    """Require that an average about an origin keeps the affine map.

    Raises:
        ProgramError: it does not.
    """
    if op.origin is not None and inputs[0].affine != y.affine:
        raise ProgramError(f"averages about {op.origin}, which keeps {inputs[0].affine}, into {y.affine}")


def averaged(op: AvgPool, size: Shape) -> NDArray[np.int64]:
    """(windows...) how many elements each window over ``size`` is averaged over."""
    inside = np.ones((1, *size, 1), np.int64)
    total = np.int64(0)
    for _, tap in taps(inside, op.window, outside=1 if op.count_include_pad else 0):
        total = total + tap
    return np.asarray(total)[0, ..., 0]


def law(op: AvgPool, inputs: Arrays, specs: Specs, y: TensorSpec) -> NDArray[np.int64]:
    """(batch, windows..., C): each sum, requantized with the multiplier of the number of elements it averages."""
    before, after = zero_points(op, specs[0], y)
    x = inputs[0].astype(np.int64) - before
    sums = np.zeros((), np.int64)
    for _, tap in taps(x, op.window, outside=0):
        sums = sums + tap
    counts = averaged(op, x.shape[1:-1])
    result = np.empty_like(sums)
    for count in np.unique(counts):
        places = counts == count
        requantize = op.requantize.single(int(count) - 1)
        result[:, places] = requantize.apply(sums[:, places], after, y.range)
    return result


def image(op: AvgPool, inputs: Ranges, specs: Specs, y: TensorSpec, where: str) -> ChannelRanges:
    """The images of the sums over every number of input positions that a window can cover."""
    full, hull = op.window.size, None
    check_sum(full, where)
    before, after = zero_points(op, specs[0], y)
    x = inputs[0].less(before)
    for inside in positions_inside(op.window, specs[0].shape[:-1]):
        count = full if op.count_include_pad else inside
        sums = ChannelRanges(inside * x.lo, inside * x.hi)
        part = op.requantize.single(count - 1).image(sums, after, y.range)
        hull = part if hull is None else hull.union(part)
    if hull is None:
        raise UnsupportedOp(f"{where}: AvgPool has no output position")
    return hull


def ratios(op: AvgPool, scales: Scales, y: np.floating[Any], _shapes: Sequence[Shape]) -> Scales:
    """s_x / s_y / count for every count."""
    return scales[0] / y / np.arange(1, op.window.size + 1, dtype=scales.dtype)


def check_sum(positions: int, where: str) -> None:
    """Require that a raw sum over so many positions fits 32 bits.

    Raises:
        AccumulatorOverflow: it does not.
    """
    if positions * 255 > S32.hi:
        raise AccumulatorOverflow(
            f"{where}: a window of {positions} positions can sum to {positions * 255}, which leaves s32; pool in two "
            "stages"
        )


def work(op: AvgPool, _x: Sequence[Shape], y: Shape) -> Work:
    """Every value of the window is read at every place."""
    counts, size = pointwise_work(y), op.window.size
    return counts | {"reads": counts["values"] * size, "places": counts["places"] * size}


def cases(semantics: Semantics) -> tuple[Case, ...]:
    """Padding counted and not, about an origin, and a line of one axis."""

    def mean(
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        count: bool,
        origin: int | None = None,
    ) -> AvgPool:
        ratios = np.float32(1) / np.arange(1, np.prod(kernel) + 1, dtype=np.float32)
        return AvgPool(kernel, stride, Requantize.from_scales(ratios, semantics), padding, count, origin)

    return (
        Case(mean((1, 1), (1, 1), (), True), ((1, 1, 1),)),
        Case(mean((3, 2), (2, 1), (1, 2, 0, 1), True), ((6, 5, 3),)),
        Case(mean((3, 2), (2, 1), (1, 2, 0, 1), False), ((6, 5, 3),)),
        Case(mean((3, 2), (2, 1), (1, 2, 0, 1), False, 128), ((6, 5, 3),)),
        Case(mean((3,), (2,), (1, 0), False), ((8, 3),)),
        Case(mean((2, 1, 3), (1, 2, 1), (1, 0, 0, 0, 2, 2), False), ((3, 4, 2, 2),)),
    )


RULES = Rules(
    AvgPool,
    arity=1,
    shape=shape,
    law=law,
    image=image,
    family="avg_pool",
    work=work,
    cases=cases,
    float_defined=ALWAYS,
    check=check,
    ratios=ratios,
)
