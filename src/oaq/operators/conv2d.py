"""Conv2d: a window of weights that slides over one, two or three axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.matmul import matmul
from oaq.numerics.requantize import Semantics
from oaq.operators.operator import Arrays, Case, Rules, Specs
from oaq.operators.products import Products, check_total, freeze, sample, sample_weight
from oaq.operators.tensor import Shape, TensorSpec
from oaq.operators.windows import Window, check_rank, check_window, taps


@dataclass(frozen=True, eq=False)
class Conv2d(Products):
    """acc[n] = bias[n] + sum_k weight[n, k] * (x[k] - zx); y = requantize(acc, zy).

    A padded position holds x = zx, so it adds nothing. Depthwise is ``groups == C == N``. Over an image (H, W, C) the
    window has two axes; over (L, C) one, over (D, H, W, C) three, with tuples of that length.

    Attributes:
        weight: (N, KH, KW, C / groups) int8, or (N, KL, ...), (N, KD, KH, KW, ...); int16 in [-255, 255] where one
            leaves int8 (imported with a zero point).
        bias: (N,) int32 at scale s_x * s_w[n].
        requantize: N multipliers, or tables of residues of sums that wrap by design.
        stride: rows, columns; >= 1. Empty: 1 along every axis.
        padding: top, bottom, left, right; >= 0. Empty: none.
        dilation: rows, columns; >= 1. Empty: 1 along every axis.
        groups: divides C and N.
    """

    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1

    def __post_init__(self) -> None:
        freeze(self, (4, 3, 5))
        rank = self.weight.ndim - 2
        object.__setattr__(self, "stride", tuple(self.stride) or (1,) * rank)
        object.__setattr__(self, "padding", tuple(self.padding) or (0, 0) * rank)
        object.__setattr__(self, "dilation", tuple(self.dilation) or (1,) * rank)
        check_window(f"Conv2d, weight of shape {self.weight.shape}", self.window)
        if self.groups < 1 or self.outputs % self.groups:
            raise ProgramError(f"Conv2d: groups {self.groups} does not divide the {self.outputs} outputs")

    @property
    def kernel(self) -> tuple[int, ...]:
        """Rows and columns of the window."""
        return self.weight.shape[1:-1]

    @property
    def window(self) -> Window:
        """Where operands are read."""
        return Window(self.kernel, self.stride, self.padding, self.dilation)

    @property
    def channel_groups(self) -> int:
        """Groups of input channels; each output reads one."""
        return self.groups


def shape(op: Conv2d, inputs: Sequence[Shape]) -> Shape:
    """(spatial axes..., C) to (windows..., N)."""
    x = inputs[0]
    check_rank("Conv2d", x, op.window.rank)
    if x[-1] != op.group_channels * op.groups:
        raise ProgramError(
            f"Conv2d: weights of shape {op.weight.shape} in {op.groups} groups take {op.group_channels * op.groups} "
            f"channels, the input {x} has {x[-1]}"
        )
    return op.window.output_shape("Conv2d", x, op.outputs)


def law(op: Conv2d, inputs: Arrays, specs: Specs, _y: TensorSpec) -> NDArray[np.int64]:
    """(batch, windows..., N) exact sums, bias included, one tap of the window at a time."""
    per_group, groups = op.group_channels, op.groups
    weight = op.weight.reshape(groups, op.outputs // groups, *op.weight.shape[1:]).astype(np.int64)
    x = inputs[0].astype(np.int64) - specs[0].affine.zero_point
    total: NDArray[np.int64] | int = 0
    for index, tap in taps(x, op.window, outside=0):
        result = (*tap.shape[:-1], op.outputs)
        operands = tap.reshape(-1, groups, per_group)
        factor = weight[(slice(None), slice(None), *index)]
        if per_group == 1:  # depthwise: one product per output, nothing to sum inside a tap
            total = total + (operands * factor[None, :, :, 0]).reshape(result)
        else:
            sums = matmul(np.moveaxis(operands, 1, 0), factor)
            total = total + np.moveaxis(sums, 0, 1).reshape(result)
    return total + op.bias.astype(np.int64)


def cases(semantics: Semantics) -> tuple[Case, ...]:
    """One pixel, grouped, depthwise, dilated, a line of one axis, a volume of three."""
    values = []
    for kernel_shape, x, geometry in (
        ((3, 1, 1, 2), (1, 1, 2), {}),
        ((6, 3, 2, 2), (5, 6, 4), {"stride": (2, 1), "padding": (1, 0, 1, 2), "groups": 2}),
        ((5, 3, 3, 1), (6, 4, 5), {"padding": (1, 1, 1, 1), "groups": 5}),
        ((4, 2, 3, 3), (7, 7, 3), {"dilation": (2, 3), "padding": (0, 1, 2, 0)}),
        ((4, 3, 3), (9, 3), {"stride": (2,), "padding": (1, 2)}),
        ((3, 2, 1, 3, 2), (4, 3, 5, 2), {"stride": (1, 2, 1), "padding": (1, 0, 0, 0, 0, 2), "dilation": (2, 1, 1)}),
    ):
        weight = sample_weight(kernel_shape)
        values.append(Case(Conv2d(weight, *sample(weight, semantics), **geometry), (x,)))
    return tuple(values)


RULES = Rules(
    Conv2d,
    arity=1,
    shape=shape,
    law=law,
    image=None,
    family=lambda op: "depthwise" if op.is_depthwise() else "gemm",
    work=None,
    cases=cases,
    check=check_total,
)
