"""Which input positions each window of a convolution or pool reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of a window.

    Attributes:
        position: (outputs, kernel) input position of every tap; it may lie outside.
        inside: (outputs, kernel) whether it lies inside.
    """

    position: Ints
    inside: NDArray[np.bool_]


def window_axes(node: Mapping[str, Any], kernel: tuple[int, int], size: tuple[int, int]) -> tuple[Axis, Axis]:
    """Rows and columns. Padding is (top, bottom, left, right)."""
    dilation, padding = node.get("dilation", [1, 1]), node["padding"]
    return (
        _axis(size[0], (kernel[0], node["stride"][0], dilation[0]), (padding[0], padding[1])),
        _axis(size[1], (kernel[1], node["stride"][1], dilation[1]), (padding[2], padding[3])),
    )


def _axis(size: int, window: tuple[int, int, int], padding: tuple[int, int]) -> Axis:
    kernel, stride, dilation = window
    outputs = (size + padding[0] + padding[1] - ((kernel - 1) * dilation + 1)) // stride + 1
    position = np.array(
        [[output * stride + tap * dilation - padding[0] for tap in range(kernel)] for output in range(outputs)],
        np.int64,
    )
    return Axis(position, (position >= 0) & (position < size))


def gathered(x: Ints, axes: tuple[Axis, Axis], outside: int) -> Ints:
    """(batch, H, W, C) to (batch, OH, OW, KH, KW, C): what every tap reads, ``outside`` where it reads none."""
    rows, columns = (np.where(axis.inside, axis.position, 0) for axis in axes)
    taps = x[:, rows[:, None, :, None], columns[None, :, None, :], :]
    return np.where(reads_input(axes)[None, ..., None], taps, outside)


def reads_input(axes: tuple[Axis, Axis]) -> NDArray[np.bool_]:
    """(OH, OW, KH, KW): the tap reads the input."""
    return axes[0].inside[:, None, :, None] & axes[1].inside[None, :, None, :]
