"""Conv2d on exact integers, one tap of the window at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.affine import Affine
from oaq.program import ops
from oaq.program.shapes import window_count
from oaq.reference.matmul import matmul


def conv2d(op: ops.Conv2d, x: NDArray[np.uint8], affine: Affine) -> NDArray[np.int64]:
    """acc[n] = bias[n] + sum_k weight[n, k] * (x[k] - zx); padded positions hold zx, so they add nothing.

    Args:
        op: the convolution.
        x: (batch, H, W, C) integers.
        affine: of ``x``.

    Returns:
        (batch, OH, OW, N) exact sums.
    """
    outputs, _, _, per_group = op.weight.shape
    groups, outputs_per_group = op.groups, outputs // op.groups
    weight = op.weight.reshape(groups, outputs_per_group, *op.weight.shape[1:]).astype(np.int64)
    total: NDArray[np.int64] | int = 0
    for row, column, tap in taps(x.astype(np.int64) - affine.zero_point, op, outside=0):
        batch, rows, columns, _ = tap.shape
        part = tap.reshape(batch * rows * columns, groups, per_group)
        factor = weight[:, :, row, column, :]
        if per_group == 1:  # depthwise: one product per output, nothing to sum inside a tap
            total = total + (part * factor[None, :, :, 0]).reshape(batch, rows, columns, outputs)
        else:
            sums = matmul(np.moveaxis(part, 1, 0), factor)
            total = total + np.moveaxis(sums, 0, 1).reshape(batch, rows, columns, outputs)
    return total + op.bias.astype(np.int64)


def taps(
    x: NDArray[np.int64], op: ops.Conv2d | ops.MaxPool | ops.AvgPool, outside: int
) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """What each position of the window sees.

    Args:
        x: (batch, H, W, C).
        op: whose ``kernel``, ``stride``, ``padding`` and, if it has one, ``dilation`` say where windows lie.
        outside: what a padded position holds.

    Yields:
        (row, column, (batch, OH, OW, C)) for each row and column of the window, rows first.
    """
    top, bottom, left, right = op.padding
    down, across = op.dilation if not isinstance(op, ops.AvgPool) else (1, 1)
    size = (x.shape[1], x.shape[2])
    rows, columns = window_count(size, op.kernel, op.stride, op.padding, (down, across))
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=outside)
    for row in range(op.kernel[0]):
        for column in range(op.kernel[1]):
            first_row, first_column = row * down, column * across
            last_row = first_row + (rows - 1) * op.stride[0] + 1
            last_column = first_column + (columns - 1) * op.stride[1] + 1
            yield (
                row,
                column,
                padded[:, first_row : last_row : op.stride[0], first_column : last_column : op.stride[1], :],
            )
