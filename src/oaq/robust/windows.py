"""Which input element each element of a linear operator reads: flat NHWC indices, one row per output element."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oaq.operators.windows import Window, taps_inside

Index = NDArray[np.int64]
OUTSIDE = -1
"""Index of a padded position."""


def axis_positions(size: tuple[int, ...], window: Window, axis: int) -> Index:
    """(windows, kernel): the position along an axis under each tap of each window, ``OUTSIDE`` where padded."""
    inside = taps_inside(window, size, axis)
    first = np.arange(len(inside))[:, None] * window.stride[axis] - window.padding[2 * axis]
    return np.where(inside, first + np.arange(window.kernel[axis])[None, :] * window.dilation[axis], OUTSIDE)


def positions(size: tuple[int, ...], window: Window) -> Index:
    """(OH * OW, KH * KW): the flat position row * W + column under each tap, ``OUTSIDE`` where it is padding."""
    rows, columns = (axis_positions(size, window, axis) for axis in (0, 1))
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
