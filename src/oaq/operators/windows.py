"""Windows that slide over the leading axes of a tensor: (L, C), (H, W, C), (D, H, W, C)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.operators.tensor import Shape

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]
"""Rows and columns added at the (top, bottom, left, right) of an image."""

LARGEST_WINDOW = 32767
"""Kernel sizes, strides, paddings and dilations stay within this: beyond it is a damaged file, not a network."""
LARGEST_SPATIAL_RANK = 3
"""A window slides over at most this many axes."""


@dataclass(frozen=True)
class Window:
    """A window over r = 1, 2 or 3 axes.

    Attributes:
        kernel: (r,) positions the window covers along each axis, >= 1.
        stride: (r,) positions from one window to the next, >= 1.
        padding: (2 r,) positions added before and after each axis, axis by axis, >= 0.
        dilation: (r,) positions from one tap to the next, >= 1.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def rank(self) -> int:
        """Axes the window slides over."""
        return len(self.kernel)

    @property
    def size(self) -> int:
        """Taps of the window."""
        return prod(self.kernel)

    @property
    def reach(self) -> tuple[int, ...]:
        """(r,) positions from the first tap to the last, both counted."""
        return tuple((size - 1) * step + 1 for size, step in zip(self.kernel, self.dilation, strict=True))

    def counts(self, size: Shape) -> tuple[int, ...]:
        """(r,) windows that fit along each axis of ``size``; 0 or less where none does."""
        return tuple(
            (length + self.padding[2 * axis] + self.padding[2 * axis + 1] - self.reach[axis]) // self.stride[axis] + 1
            for axis, length in enumerate(size)
        )

    def output_shape(self, name: str, x: Shape, channels: int) -> Shape:
        """Shape of the windows over ``x`` with ``channels`` results each.

        Raises:
            ProgramError: ``x`` has another rank, or no window fits; ``name`` begins the message.
        """
        check_rank(name, x, self.rank)
        shape = (*self.counts(x[:-1]), channels)
        if min(shape) < 1:
            raise ProgramError(f"{name}: no window fits the input {x} (the result would be {shape})")
        return shape

    def over_image(self) -> Window:
        """A window over an image: one along (L, C) is a window of one row over (1, L, C).

        Raises:
            ProgramError: the window slides over three axes.
        """
        if self.rank > 2:
            raise ProgramError(f"a window of {self.rank} axes, {self.kernel}, does not slide over an image")
        unit, zeros = (1,) * (2 - self.rank), (0, 0) * (2 - self.rank)
        return Window(unit + self.kernel, unit + self.stride, zeros + self.padding, unit + self.dilation)

    def of_planes(self) -> Window:
        """What a window over a volume (D, H, W, C) is over each of its planes."""
        return Window(self.kernel[1:], self.stride[1:], self.padding[2:], self.dilation[1:])


AXES = ("needs a channel axis only", "needs a (L, C) input", "needs a (H, W, C) input", "needs a (D, H, W, C) input")


def check_rank(name: str, x: Shape, rank: int) -> None:
    """Require ``rank`` axes before the channels.

    Raises:
        ProgramError: ``x`` has more or fewer; ``name`` begins the message.
    """
    if len(x) != rank + 1:
        raise ProgramError(f"{name}: {AXES[rank]}, got {x}")


def check_window(name: str, window: Window) -> None:
    """Require sizes that make sense together.

    Raises:
        ProgramError: a size is out of range, or the four tuples are of different ranks.
    """
    kernel, stride, padding, dilation = window.kernel, window.stride, window.padding, window.dilation
    fits = 1 <= len(kernel) == len(stride) == len(dilation) <= LARGEST_SPATIAL_RANK and len(padding) == 2 * len(kernel)
    numbers = (*kernel, *stride, *padding, *dilation)
    if not fits or min(padding) < 0 or min(*kernel, *stride, *dilation) < 1 or max(numbers) > LARGEST_WINDOW:
        raise ProgramError(
            f"{name}: kernel {kernel}, stride {stride}, padding {padding}, dilation {dilation}: out of range"
        )


def check_pool_padding(name: str, window: Window) -> None:
    """Refuse what ONNX Runtime and torch refuse, dilated or not. An undilated window then always meets the input.

    Raises:
        ProgramError: padding reaches the size of the kernel.
    """
    for axis, size in enumerate(window.kernel):
        if max(window.padding[2 * axis : 2 * axis + 2]) >= size:
            raise ProgramError(
                f"{name}: padding {window.padding} reaches the size of the kernel {window.kernel}; ONNX Runtime and "
                "torch refuse it too. Pad first, then pool"
            )


def taps(x: NDArray[np.int64], window: Window, outside: int) -> Iterator[tuple[tuple[int, ...], NDArray[np.int64]]]:
    """What each tap of the window reads.

    Args:
        x: (batch, spatial axes..., C).
        window: over the spatial axes.
        outside: what a padded position holds.

    Yields:
        (index of the tap along each axis, (batch, windows..., C)), the last axis fastest.
    """
    counts = window.counts(x.shape[1:-1])
    pads = [(0, 0), *zip(window.padding[::2], window.padding[1::2], strict=True), (0, 0)]
    padded = np.pad(x, pads, constant_values=outside)
    for index in product(*(range(size) for size in window.kernel)):
        first = [tap * step for tap, step in zip(index, window.dilation, strict=True)]
        spans = [
            slice(begin, begin + (count - 1) * stride + 1, stride)
            for begin, count, stride in zip(first, counts, window.stride, strict=True)
        ]
        yield index, padded[(slice(None), *spans)]


def taps_inside(window: Window, size: Shape, axis: int) -> NDArray[np.bool_]:
    """(windows along ``axis``, taps along ``axis``): whether the tap of that window lies inside the input.

    A tap lies inside the input iff it does along every axis.
    """
    tap = np.arange(window.kernel[axis]) * window.dilation[axis] - window.padding[2 * axis]
    position = np.arange(window.counts(size)[axis])[:, None] * window.stride[axis] + tap
    return (position >= 0) & (position < size[axis])


def window_reach(window: Window, size: Shape) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Per tap, (kernel): does it read padding at some output position, does it read the input at some position."""
    inside = [taps_inside(window, size, axis) for axis in range(window.rank)]
    return (
        outer(np.logical_or, [np.asarray((~part).any(axis=0)) for part in inside]),
        outer(np.logical_and, [np.asarray(part.any(axis=0)) for part in inside]),
    )


def outer(combine: np.ufunc, axes: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """One array over all axes from one vector per axis."""
    table = axes[0]
    for axis in axes[1:]:
        table = combine.outer(table, axis)
    return table


def inputs_per_window(size: int, count: int, taps: tuple[int, int, int, int]) -> list[int]:
    """How many positions of the input each of ``count`` windows holds along one axis; 0 is a window without input.

    Args:
        size: of the axis.
        count: of windows.
        taps: kernel, stride, dilation of the window along the axis, and the padding before the input.
    """
    kernel, stride, dilation, before = taps
    starts = range(-before, count * stride - before, stride)
    return [max(0, min(kernel, -((start - size) // dilation)) - max(0, -(start // dilation))) for start in starts]


def inputs_along(window: Window, size: Shape) -> tuple[list[int], ...]:
    """``inputs_per_window`` along every axis the window slides over."""
    return tuple(
        inputs_per_window(
            size[axis],
            window.counts(size)[axis],
            (window.kernel[axis], window.stride[axis], window.dilation[axis], window.padding[2 * axis]),
        )
        for axis in range(window.rank)
    )


def positions_inside(window: Window, size: Shape) -> list[int]:
    """Every number of input positions, above 0, that a window can cover."""
    per_axis = [set(counts) for counts in inputs_along(window, size)]
    return sorted({prod(counts) for counts in product(*per_axis)} - {0})
