"""Windows over (batch, C, L) and (batch, C, H, W) with torch, in the numbers of a ``FloatGraph``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import torch
import torch.nn.functional as F

from oaq import operators as ops
from oaq.capture import graph as fg

CONVOLUTIONS: Final[dict[int, Callable[..., torch.Tensor]]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
MAX_POOLS: Final[dict[int, Callable[..., torch.Tensor]]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
"""Functions by the number of axes the window slides over."""


def padded(x: torch.Tensor, padding: tuple[int, ...], value: float = 0.0) -> torch.Tensor:
    """``x`` with ``padding`` positions before and after each axis, axis by axis."""
    if not any(padding):
        return x
    sides = [padding[2 * axis + side] for axis in reversed(range(len(padding) // 2)) for side in (0, 1)]
    return F.pad(x, sides, value=value)


def symmetric_padding(x: torch.Tensor, padding: tuple[int, ...]) -> tuple[torch.Tensor, tuple[int, ...]]:
    """``x`` and the padding per axis that torch's own convolution is to add; ``x`` holds it where sides differ."""
    before, after = padding[::2], padding[1::2]
    return (x, before) if before == after else (padded(x, padding), (0,) * len(before))


def convolution(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, op: fg.FloatConv2d) -> torch.Tensor:
    """(batch, C, ...) to (batch, N, ...)."""
    x, padding = symmetric_padding(x, op.padding)
    return CONVOLUTIONS[len(op.kernel)](x, weight, bias, op.stride, padding, op.dilation, op.groups)


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """(batch, K, ...) to (batch, N, ...): the matrix at every position."""
    if x.ndim == 2:
        return F.linear(x, weight, bias)
    return F.linear(x.movedim(1, -1), weight, bias).movedim(-1, 1)


def max_pool(op: ops.MaxPool, x: torch.Tensor) -> torch.Tensor:
    """Padding never wins; a window without input is minus infinity."""
    return MAX_POOLS[len(op.kernel)](padded(x, op.padding, -math.inf), op.kernel, op.stride, 0, op.dilation)


def mean_under(x: torch.Tensor, op: fg.FloatAvgPool) -> torch.Tensor:
    """Mean of each whole window over ``x`` without padding."""
    return _avg(len(op.kernel))(x, op.kernel, op.stride)


def sum_under(x: torch.Tensor, op: fg.FloatAvgPool) -> torch.Tensor:
    """Sum of each window over ``x`` without padding; exact for integers in float64."""
    if len(op.kernel) == 1:  # torch's avg_pool1d divides always
        return x.unfold(-1, op.kernel[0], op.stride[0]).sum(-1)
    return _avg(len(op.kernel))(x, op.kernel, op.stride, divisor_override=1)


def _avg(rank: int) -> Any:  # noqa: ANN401 (built-in functions without a common type)
    return {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[rank]


def by_channel(factor: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """(batch, C) in a shape that multiplies (batch, C, ...); other shapes as they are."""
    return factor.reshape(*factor.shape, *(1,) * (x.ndim - 2)) if factor.ndim == 2 < x.ndim else factor
