"""MaxPool, AvgPool and GlobalAvgPool on exact integers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.affine import Affine
from oaq.program import ops
from oaq.program.int_program import TensorSpec
from oaq.reference.conv2d import taps
from oaq.reference.elementwise import single


def max_pool(op: ops.MaxPool, x: NDArray[np.uint8], y: TensorSpec) -> NDArray[np.int64]:
    """The largest integer under each window; a padded position never wins.

    A window that holds no input at all (dilation can do that) yields the least integer of ``y.range``: what ONNX
    Runtime computes for integers and, by way of the least float, for QDQ files.
    """
    below_every_integer = -1
    largest = np.int64(below_every_integer)
    for _, _, tap in taps(x.astype(np.int64), op, outside=below_every_integer):
        largest = np.maximum(largest, tap)
    return np.clip(largest, y.range.lo, y.range.hi)


def avg_pool_sums(op: ops.AvgPool, x: NDArray[np.uint8], affine: Affine) -> NDArray[np.int64]:
    """(batch, OH, OW, C): the sum of x - zx under each window, padded positions adding nothing."""
    total = np.int64(0)
    for _, _, tap in taps(x.astype(np.int64) - affine.zero_point, op, outside=0):
        total = total + tap
    return np.asarray(total)


def avg_pool_counts(op: ops.AvgPool, height: int, width: int) -> NDArray[np.int64]:
    """(OH, OW): how many elements each window is averaged over."""
    inside = np.ones((1, height, width, 1), np.int64)
    counted = 1 if op.count_include_pad else 0
    return sum(tap for _, _, tap in taps(inside, op, outside=counted))[0, :, :, 0]  # type: ignore[index]


def avg_pool(op: ops.AvgPool, x: NDArray[np.uint8], affine: Affine, y: TensorSpec) -> NDArray[np.int64]:
    """Each window's sum, requantized with the multiplier of the number of elements it averages."""
    sums = avg_pool_sums(op, x, affine)
    counts = avg_pool_counts(op, x.shape[1], x.shape[2])
    result = np.empty_like(sums)
    for count in np.unique(counts):
        where = counts == count
        result[:, where] = single(op.requantize, int(count) - 1).apply(sums[:, where], y.affine.zero_point, y.range)
    return result


def global_avg_pool_sums(x: NDArray[np.uint8], affine: Affine) -> NDArray[np.int64]:
    """(batch, 1, 1, C): the sum of x - zx over rows and columns."""
    return (x.astype(np.int64) - affine.zero_point).sum(axis=(1, 2), keepdims=True)


def global_avg_pool(op: ops.GlobalAvgPool, x: NDArray[np.uint8], affine: Affine, y: TensorSpec) -> NDArray[np.int64]:
    """The sum over rows and columns, requantized; the multiplier holds the division."""
    return op.requantize.apply(global_avg_pool_sums(x, affine), y.affine.zero_point, y.range)
