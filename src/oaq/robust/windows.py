"""Which input element each element of a linear operator reads: flat NHWC indices, one row per output element."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]
OUTSIDE = -1
"""Index of a padded position."""


@dataclass(frozen=True)
class Geometry:
    """Where the windows of an operator lie; see ``Conv2d`` for the fields."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...] = (1, 1)


def axis_positions(size: int, windows: Geometry, axis: int) -> Index:
    """(windows, kernel): the row (axis 0) or column (1) under each tap of each window, ``OUTSIDE`` where padded."""
    kernel, step, spacing = windows.kernel[axis], windows.stride[axis], windows.dilation[axis]
    before, after = windows.padding[2 * axis : 2 * axis + 2]
    count = (size + before + after - (kernel - 1) * spacing - 1) // step + 1
    places = np.arange(count)[:, None] * step - before + np.arange(kernel)[None, :] * spacing
    return np.where((places >= 0) & (places < size), places, OUTSIDE)


def positions(size: tuple[int, int], windows: Geometry) -> Index:
    """(OH * OW, KH * KW): the flat position row * W + column under each tap, ``OUTSIDE`` where it is padding."""
    rows, columns = (axis_positions(size[axis], windows, axis) for axis in (0, 1))
    flat = rows[:, None, :, None] * size[1] + columns[None, :, None, :]
    outside = (rows[:, None, :, None] < 0) | (columns[None, :, None, :] < 0)
    return np.where(outside, OUTSIDE, flat).reshape(rows.shape[0] * columns.shape[0], -1)


def per_channel(places: Index, channels: int) -> Index:
    """(positions * C, taps): the element each channel's window reads, from ``positions``."""
    channel = np.arange(channels)[None, :, None]
    elements = np.where(places[:, None, :] < 0, OUTSIDE, places[:, None, :] * channels + channel)
    return elements.reshape(-1, places.shape[1])


def grouped(places: Index, weight: NDArray[np.integer], groups: int) -> tuple[Index, NDArray[np.float64]]:
    """Elements and weights of a grouped convolution.

    Args:
        places: (positions, KH * KW), from ``positions``.
        weight: (N, KH, KW, C / groups).
        groups: divides N.

    Returns:
        (positions * N, KH * KW * C / groups) indices and weights of that shape; padding has weight 0 and index
        ``OUTSIDE``.
    """
    outputs, _, _, per_group = weight.shape
    channels = per_group * groups
    first = np.arange(outputs) // (outputs // groups) * per_group
    channel = first[None, :, None, None] + np.arange(per_group)[None, None, None, :]
    elements = np.where(places[:, None, :, None] < 0, OUTSIDE, places[:, None, :, None] * channels + channel)
    factors = weight.reshape(1, outputs, -1, per_group).astype(np.float64)
    factors = np.where(elements < 0, 0.0, np.broadcast_to(factors, elements.shape))
    rows = places.shape[0] * outputs
    return elements.reshape(rows, -1), factors.reshape(rows, -1)
