"""Which cells of which level answer for a box, as FCOS has it (1904.01355), and the overlap that training raises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

CENTRAL: Final = 1.5
"""Cells around a box's centre whose centres answer for it."""


@dataclass(frozen=True)
class Levels:
    """Cells of a square crop.

    Attributes:
        side: pixels of the crop.
        strides: pixels between cells, level by level.
        reach: pixels from a cell's centre to a box's farthest edge, up to which each level answers.
    """

    side: int
    strides: tuple[int, ...]
    reach: tuple[float, ...]


class Targets:
    """What every cell of every level should answer.

    Attributes:
        centres: (A, 2) x, y of the cells in pixels.
        strides: (A,).
        cells: (P,) cells that answer for a box, counted over the batch: photo * A + cell.
        boxes: (P, 4) of what they answer for.
        classes: (P,).
    """

    def __init__(self, boxes: Sequence[NDArray[np.float64]], levels: Levels) -> None:
        self.centres, self.strides, reach = cells_of(levels)
        picked: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        for photo, rows in enumerate(boxes):
            owner = _owners(self.centres, self.strides, reach, rows[:, 1:])
            at = np.flatnonzero(owner >= 0)
            picked.append((photo * len(self.centres) + at, rows[owner[at]]))
        rows = np.concatenate([rows for _, rows in picked])
        self.cells = torch.from_numpy(np.concatenate([at for at, _ in picked]))
        self.boxes = torch.from_numpy(rows[:, 1:]).float()
        self.classes = torch.from_numpy(rows[:, 0]).long()


def cells_of(levels: Levels) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Centres, strides, and (A, 2) least and most reach of every cell."""
    centres, strides, reach = [], [], []
    for level, stride in enumerate(levels.strides):
        side = (np.arange(levels.side // stride) + 0.5) * stride
        x, y = np.meshgrid(side, side)
        centres.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full(x.size, float(stride)))
        reach.append(np.tile([levels.reach[level - 1] if level else 0.0, levels.reach[level]], (x.size, 1)))
    return np.concatenate(centres), np.concatenate(strides), np.concatenate(reach)


def _owners(
    centres: NDArray[np.float64], strides: NDArray[np.float64], reach: NDArray[np.float64], boxes: NDArray[np.float64]
) -> NDArray[np.int64]:
    """(A,) the smallest box that each cell answers for; -1: none."""
    if not len(boxes):
        return np.full(len(centres), -1)
    sides = np.concatenate([centres[:, None] - boxes[None, :, :2], boxes[None, :, 2:] - centres[:, None]], axis=2)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    central = (np.abs(centres[:, None] - middle[None]) <= CENTRAL * strides[:, None, None]).all(axis=2)
    farthest = sides.max(axis=2)
    fits = (sides.min(axis=2) > 0) & central & (farthest > reach[:, :1]) & (farthest <= reach[:, 1:])
    areas = np.where(fits, np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)[None], np.inf)
    return np.where(fits.any(axis=1), areas.argmin(axis=1), -1)


def giou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(n,) overlap of (n, 4) boxes, less what of their hull neither covers (1902.09630)."""
    common = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).clamp(min=1e-3).prod(1)
    union = (a[:, 2:] - a[:, :2]).clamp(min=0).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - common
    return common / union.clamp(min=1e-3) - (hull - union) / hull
