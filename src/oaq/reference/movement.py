"""Operators that move or mix integers of one affine map: Resize, DepthToSpace, Reshape, Pad, Slice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.rounding import rounding_shift
from oaq.program import ops

WEIGHT_BITS = 11
"""Bilinear weights are multiples of 2**-11 on each axis, so of 2**-22 together."""


def resize(op: ops.Resize, x: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(batch, H, W, C) to (batch, height, width, C)."""
    values = x.astype(np.int64)
    if op.mode == "nearest":
        rows = np.arange(op.height) * x.shape[1] // op.height
        columns = np.arange(op.width) * x.shape[2] // op.width
        return values[:, rows][:, :, columns]
    mixed = _interpolate(_interpolate(values, 1, op.height), 2, op.width)
    return rounding_shift(mixed, 2 * WEIGHT_BITS)


def bilinear_axis(size: int, wanted: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Where each of ``wanted`` outputs reads an axis of ``size`` inputs, half-pixel centres, in exact integers.

    Output i lies at (i + 1/2) * size / wanted - 1/2 = ((2i + 1) * size - wanted) / (2 * wanted). Between input j and
    j + 1, with j the floor of that, the second weighs round(fraction * 2**11), ties upwards, and the first the rest.
    Both indices are clamped to the axis.

    Returns:
        (index of the first, index of the second, weight of the second in 0..2**11), each (wanted,).
    """
    numerator = (2 * np.arange(wanted, dtype=np.int64) + 1) * size - wanted
    denominator = 2 * wanted
    first = numerator // denominator
    second_weight = (((numerator - first * denominator) << (WEIGHT_BITS + 1)) + denominator) // (2 * denominator)
    return np.clip(first, 0, size - 1), np.clip(first + 1, 0, size - 1), second_weight


def _interpolate(values: NDArray[np.int64], axis: int, wanted: int) -> NDArray[np.int64]:
    first, second, weight = bilinear_axis(values.shape[axis], wanted)
    weight = weight.reshape([-1 if index == axis else 1 for index in range(values.ndim)])
    return values.take(first, axis) * ((1 << WEIGHT_BITS) - weight) + values.take(second, axis) * weight


def depth_to_space(op: ops.DepthToSpace, x: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(batch, H, W, b*b*C) to (batch, H*b, W*b, C)."""
    batch, height, width, channels = x.shape
    block, rest = op.block, channels // op.block**2
    if op.mode == "DCR":
        parts = x.reshape(batch, height, width, block, block, rest)
    else:
        parts = np.moveaxis(x.reshape(batch, height, width, rest, block, block), 3, 5)
    return parts.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height * block, width * block, rest).astype(np.int64)


def reshape(op: ops.Reshape, x: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The same integers in the same NHWC order under another shape."""
    return x.reshape(x.shape[0], *op.shape).astype(np.int64)


def pad(op: ops.Pad, x: NDArray[np.uint8], zero_point: int) -> NDArray[np.int64]:
    """Rows and columns of ``zero_point`` around the image."""
    top, bottom, left, right = op.padding
    wide = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=zero_point)
    return wide.astype(np.int64)


def slice_(op: ops.Slice, x: NDArray[np.uint8]) -> NDArray[np.int64]:
    """x[begin:end] on every axis of a sample."""
    window = (slice(None), *(slice(b, e) for b, e in zip(op.begin, op.end, strict=True)))
    return x[window].astype(np.int64)
