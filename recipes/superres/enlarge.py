"""A photo through a network that enlarges luma: extended by its own edge, in colour, beside bicubic enlargement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from oaq.data.window import Window
from oaq.runtime.frames import FrameSession
from oaq.tasks import Task
from oaq.tasks.drawing import write_lines
from oaq.tasks.task import Picture
from recipes.superres.pictures import Luma, brightness, eight_bits, resized

EDGE: Final = 8
"""Pixels by which a photo is extended on every side, so that the zeros around it are far."""
CLOSE_UP: Final = 160
"""Pixels of the enlarged photo whose every pixel is shown twice as large in the close-up."""

Enlarger: TypeAlias = Callable[[Luma], Luma]
"""(rows, columns) luma of 8 bits to (rows * scale, columns * scale) in 0..1."""


def by_integers(session: FrameSession) -> Enlarger:
    """Enlarge by the integers."""
    return lambda luma: np.asarray(session.run(luma[None, None]))[0, 0]


def by_float(net: nn.Module) -> Enlarger:
    """Enlarge by the float network."""

    def enlarge(luma: Luma) -> Luma:
        with torch.inference_mode():
            return net(torch.from_numpy(luma)[None, None]).numpy()[0, 0]

    return enlarge


def enlarged(luma: Luma, scale: int, enlarger: Enlarger) -> NDArray[np.float64]:
    """The luma of a photo, enlarged, as a picture of 8 bits has it."""
    y = enlarger(eight_bits(np.pad(luma, EDGE, mode="edge")))
    inner = y[EDGE * scale : -EDGE * scale, EDGE * scale : -EDGE * scale]
    return eight_bits(np.clip(inner, 0, 1)).astype(np.float64)


def enlarge_photo(photo: Picture, scale: int, enlarger: Enlarger, task: Task) -> Picture:
    """The photo, ``scale`` times as large, in colour."""
    rows, columns = photo.shape[:2]
    answer = enlarged(brightness(photo), scale, enlarger)
    return task.draw(photo, answer, Window(0.0, 0.0, float(columns), float(rows)))


def side_by_side(titles: tuple[str, ...], pictures: tuple[Picture, ...]) -> Picture:
    """Pictures of one size in a row, what they are above them, and below them the same part of each, twice as large.

    The part is the square whose luma varies most in the last picture.
    """
    rows, columns = pictures[0].shape[:2]
    side = min(CLOSE_UP, rows, columns)
    top, first = _busiest(brightness(pictures[-1]), side)
    halves = []
    for title, picture in zip(titles, pictures, strict=True):
        part = picture[top : top + side, first : first + side]
        part = np.repeat(np.repeat(part, 2, axis=0), 2, axis=1)
        width = max(columns, part.shape[1])
        column = np.full((rows + part.shape[0] + 8, width, 3), 255, np.uint8)
        column[:rows, :columns] = write_lines(picture, [title])
        column[rows + 8 :, : part.shape[1]] = part
        halves.append(column)
    gap = np.full((len(halves[0]), 8, 3), 255, np.uint8)
    return np.concatenate([part for half in halves for part in (half, gap)][:-1], axis=1)


def _busiest(luma: Luma, side: int) -> tuple[int, int]:
    """Upper left corner of the square, on a grid of half sides, whose luma varies most."""
    step = max(side // 2, 1)
    tops = range(0, luma.shape[0] - side + 1, step)
    corners = [(top, first) for top in tops for first in range(0, luma.shape[1] - side + 1, step)]
    return max(corners, key=lambda at: float(luma[at[0] : at[0] + side, at[1] : at[1] + side].std()))


def bicubic(photo: Picture, scale: int) -> Picture:
    """The photo, ``scale`` times as large, by Pillow's bicubic filter."""
    return resized(photo, photo.shape[0] * scale, photo.shape[1] * scale)
