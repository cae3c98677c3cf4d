"""MaxPool: the largest integer under a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.ranges import ChannelRanges, IntRange
from oaq.numerics.requantize import Semantics
from oaq.operators.operator import Arrays, Case, Op, Ranges, Rules, Specs, Work, pointwise_work
from oaq.operators.tensor import Shape, TensorSpec, as_image
from oaq.operators.windows import Window, check_pool_padding, check_window, inputs_along, taps

BELOW_EVERY_INTEGER = -1


@dataclass(frozen=True)
class MaxPool(Op):
    """The largest integer under the window; padded positions never win. Input and output share one affine map.

    A window whose taps all miss the input (a dilated one can step over it) yields the least integer of the output's
    effective range: the largest of nothing, clamped. Padding is less than the kernel on every side, as ONNX Runtime
    and torch demand (``docs/decisions/0022-a-maximum-of-nothing.md``). ``padding`` empty: none; ``dilation`` empty: 1.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "padding", tuple(self.padding) or (0, 0) * len(self.kernel))
        object.__setattr__(self, "dilation", tuple(self.dilation) or (1,) * len(self.kernel))
        check_window("MaxPool", self.window)
        check_pool_padding("MaxPool", self.window)

    @property
    def window(self) -> Window:
        """Where integers are read."""
        return Window(self.kernel, self.stride, self.padding, self.dilation)


def shape(op: MaxPool, inputs: Sequence[Shape]) -> Shape:
    """(spatial axes..., C) to (windows..., C)."""
    return op.window.output_shape("MaxPool", inputs[0], inputs[0][-1])


def law(op: MaxPool, inputs: Arrays, _specs: Specs, y: TensorSpec) -> NDArray[np.int64]:
    """(batch, windows..., C)."""
    largest = np.int64(BELOW_EVERY_INTEGER)
    for _, tap in taps(inputs[0].astype(np.int64), op.window, outside=BELOW_EVERY_INTEGER):
        largest = np.maximum(largest, tap)
    return np.clip(largest, y.range.lo, y.range.hi)


def image(op: MaxPool, inputs: Ranges, specs: Specs, y: TensorSpec, _where: str) -> ChannelRanges:
    """A window that holds inputs stays between the least and the greatest; one that holds none is the least of y."""
    x, covered = inputs[0], inputs_along(op.window, specs[0].shape[:-1])
    if min(min(counts) for counts in covered) > 0:
        return x
    least = ChannelRanges.constant(IntRange(y.range.lo, y.range.lo), len(x))
    return x.union(least) if min(max(counts) for counts in covered) > 0 else least


def work(op: MaxPool, x: Sequence[Shape], y: Shape) -> Work:
    """Lines over one another, then pixels beside one another."""
    counts, (height, *line), kernel = pointwise_work(y), (as_image(y)[0], *as_image(x[0])[1:]), op.kernel
    across = float(height * prod(kernel[:-1]) * prod(line))
    return counts | {"reads": across + counts["values"] * kernel[-1]}


def cases(_semantics: Semantics) -> tuple[Case, ...]:
    """Padded, dilated, windows that read no input, and a line of one axis."""
    return (
        Case(MaxPool((1, 1), (1, 1)), ((1, 1, 1),)),
        Case(MaxPool((3, 2), (2, 1), (1, 1, 0, 1)), ((6, 5, 3),)),
        Case(MaxPool((2, 2), (1, 1), (1, 1, 1, 1), (3, 3)), ((2, 2, 4),)),
        Case(MaxPool((3,), (2,), (1, 0)), ((8, 3),)),
        Case(MaxPool((2, 1, 3), (1, 2, 1), (1, 0, 0, 0, 2, 2)), ((3, 4, 2, 2),)),
    )


RULES = Rules(
    MaxPool,
    arity=1,
    shape=shape,
    law=law,
    image=image,
    family="max_pool",
    work=work,
    cases=cases,
    same_affine=True,
)
