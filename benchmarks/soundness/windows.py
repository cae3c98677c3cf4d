"""Which input positions each window of a convolution or pool reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
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


def window_axes(node: Mapping[str, Any], kernel: Sequence[int], size: Sequence[int]) -> tuple[Axis, ...]:
    """One, two or three axes. Padding is (before, after), axis by axis."""
    stride, padding = node["stride"], node["padding"]
    dilation = node.get("dilation", [1] * len(kernel))
    return tuple(
        _axis(size[axis], (kernel[axis], stride[axis], dilation[axis]), (padding[2 * axis], padding[2 * axis + 1]))
        for axis in range(len(kernel))
    )


def _axis(size: int, window: tuple[int, int, int], padding: tuple[int, int]) -> Axis:
    kernel, stride, dilation = window
    outputs = (size + padding[0] + padding[1] - ((kernel - 1) * dilation + 1)) // stride + 1
    position = np.array(
        [[output * stride + tap * dilation - padding[0] for tap in range(kernel)] for output in range(outputs)],
        np.int64,
    )
    return Axis(position, (position >= 0) & (position < size))


def gathered(x: Ints, axes: tuple[Axis, ...], outside: int) -> Ints:
    """(batch, H, W, C) to (batch, OH, OW, KH, KW, C): what every tap reads, ``outside`` where it reads none.

    Likewise (batch, L, C) and (batch, D, H, W, C).
    """
    places = (_spread(np.where(axis.inside, axis.position, 0), at, len(axes)) for at, axis in enumerate(axes))
    taps = x[(slice(None), *places)]
    return np.where(reads_input(axes)[None, ..., None], taps, outside)


def reads_input(axes: tuple[Axis, ...]) -> NDArray[np.bool_]:
    """(OH, OW, KH, KW), as many of both as there are axes: the tap reads the input."""
    return reduce(np.logical_and, [_spread(axis.inside, at, len(axes)) for at, axis in enumerate(axes)])


def tap_axes(axes: tuple[Axis, ...]) -> tuple[int, ...]:
    """Places of the taps among the axes of ``reads_input``."""
    return tuple(range(len(axes), 2 * len(axes)))


def _spread(values: NDArray[Any], axis: int, rank: int) -> NDArray[Any]:
    """(outputs, kernel) of one of ``rank`` axes, with axes of size 1 for the others."""
    shape = [1] * (2 * rank)
    shape[axis], shape[rank + axis] = values.shape
    return values.reshape(shape)
