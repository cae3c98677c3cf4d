"""Which part of a photo a network sees: what turns places in its input into pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.data.preprocess import Preprocess


@dataclass(frozen=True)
class Window:
    """A rectangle in pixels of a photo that the whole input of a network shows; it may reach beyond the photo.

    Attributes:
        x, y: its upper left corner.
        width, height: its sides.
    """

    x: float
    y: float
    width: float
    height: float

    def to_pixels(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 4) left, top, right, bottom in pixels of the photo, from shares of the input."""
        sides = np.array([self.width, self.height, self.width, self.height])
        return boxes * sides + np.array([self.x, self.y, self.x, self.y])

    def to_shares(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of ``to_pixels``."""
        sides = np.array([self.width, self.height, self.width, self.height])
        return (boxes - np.array([self.x, self.y, self.x, self.y])) / sides


def window_of(preprocess: Preprocess, width: int, height: int) -> Window:
    """The window of a photo of ``width`` x ``height`` pixels, as ``preprocess`` cuts it.

    >>> window_of(Preprocess((100, 100)), 400, 200)
    Window(x=100.0, y=0.0, width=200.0, height=200.0)
    """
    rows, columns = preprocess.size
    if preprocess.fit == "stretch":
        return Window(0.0, 0.0, float(width), float(height))
    if preprocess.fit == "pad":
        scaled_width, scaled_height, first_column, first_row = padded(preprocess, width, height)
        x_scale, y_scale = width / scaled_width, height / scaled_height
        return Window(-first_column * x_scale, -first_row * y_scale, columns * x_scale, rows * y_scale)
    if preprocess.resize is None:
        scale = max(columns / width, rows / height)
        part_width, part_height = min(columns / scale, width), min(rows / scale, height)  # division may round up
        return Window((width - part_width) / 2, (height - part_height) / 2, part_width, part_height)
    scaled_width, scaled_height = resized(preprocess, width, height)
    x_scale, y_scale = width / scaled_width, height / scaled_height
    first_column, first_row = (scaled_width - columns) // 2, (scaled_height - rows) // 2
    return Window(first_column * x_scale, first_row * y_scale, columns * x_scale, rows * y_scale)


def resized(preprocess: Preprocess, width: int, height: int) -> tuple[int, int]:
    """Width and height of a photo after ``resize``, before the crop."""
    rows, columns = preprocess.size
    scale = (preprocess.resize or min(width, height)) / min(width, height)
    return max(columns, round(width * scale)), max(rows, round(height * scale))


def padded(preprocess: Preprocess, width: int, height: int) -> tuple[int, int, int, int]:
    """Width and height of a photo that fits into ``size`` as a whole, and columns and rows left free before it."""
    rows, columns = preprocess.size
    scale = min(columns / width, rows / height)
    scaled_width = min(columns, max(1, round(width * scale)))
    scaled_height = min(rows, max(1, round(height * scale)))
    return scaled_width, scaled_height, (columns - scaled_width) // 2, (rows - scaled_height) // 2
