"""An FCOS-shaped detector (1904.01355) as AQD wants it (2007.06919): convolutions read nothing negative.

A ResNet-8 of width 16 gives levels of strides 8, 16 and 32. A pyramid adds coarse levels, enlarged to the nearest
pixel, to finer ones; every convolution of it has batch norm and ReLU. Two towers of two convolutions and two
predictors are *shared*: the same weights read every level. Their batch norms are either shared, too, or each level has
its own (``levels=True``). Boxes leave as distances through ReLU, times a learned number of each level's; scores through
a sigmoid.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import nn

from oaq.data.preprocess import Preprocess
from oaq.tasks import Detector, Task, detect
from oaq.tasks.detect import Grid, Head, Part
from recipes.models.resnet import BasicBlock

SIDE: Final = 128
"""Rows and columns of the input."""
STRIDES: Final = (8, 16, 32)
LABELS: Final = ("top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
"""Classes of Fashion-MNIST."""
WIDTH: Final = 32
"""Channels of pyramid and towers."""


class Unit(nn.Module):
    """Convolution without a bias, batch norm, ReLU."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, C, H, W) to (n, out, H / stride, W / stride)."""
        return F.relu(self.norm(self.conv(x)))


class SharedUnit(nn.Module):
    """A convolution for every level, then the level's own batch norm, or one for all, then ReLU."""

    def __init__(self, channels: int, *, levels: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        norms = [nn.BatchNorm2d(channels) for _ in STRIDES] if levels else [nn.BatchNorm2d(channels)] * len(STRIDES)
        self.norms = nn.ModuleList(norms)

    def forward(self, x: torch.Tensor, level: int) -> torch.Tensor:
        """(n, C, H, W) of a level, shape in, shape out; the level is told, not counted."""
        return F.relu(self.norms[level](self.conv(x)))


class Heads(nn.Module):
    """Towers and predictors that read every level with the same weights."""

    def __init__(self, *, levels: bool) -> None:
        super().__init__()
        self.box_tower = nn.ModuleList(SharedUnit(WIDTH, levels=levels) for _ in range(2))
        self.score_tower = nn.ModuleList(SharedUnit(WIDTH, levels=levels) for _ in range(2))
        self.boxes, self.scores = nn.Conv2d(WIDTH, 4, 3, 1, 1), nn.Conv2d(WIDTH, len(LABELS), 3, 1, 1)
        self.reach = nn.ParameterList(nn.Parameter(torch.ones(())) for _ in STRIDES)
        nn.init.constant_(self.boxes.bias, 1.0)  # type: ignore[arg-type]  (a cell, at first)
        nn.init.constant_(self.scores.bias, -3.0)  # type: ignore[arg-type]  (a score of 0.05)

    def forward(self, x: torch.Tensor, level: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Distances to four edges in cells, and scores in 0..1."""
        box = score = x
        for unit in self.box_tower:
            box = unit(box, level)
        for unit in self.score_tower:
            score = unit(score, level)
        return F.relu(self.boxes(box) * self.reach[level]), torch.sigmoid(self.scores(score))


class Fcos(nn.Module):
    """(n, 3, 128, 128) in 0..1 to boxes and scores of strides 8, 16 and 32, in turn.

    Args:
        levels: each level has batch norms of its own behind shared convolutions; False: one for all.
    """

    def __init__(self, *, levels: bool) -> None:
        super().__init__()
        self.levels = levels
        self.stem = Unit(3, 16, 3, 2)
        self.stages = nn.ModuleList([BasicBlock(16, 16, 2), BasicBlock(16, 32, 2), BasicBlock(32, 64, 2)])
        self.lateral = nn.ModuleList([Unit(32, WIDTH, 1), Unit(64, WIDTH, 1), Unit(64, WIDTH, 3, 2)])
        self.output = nn.ModuleList(Unit(WIDTH, WIDTH, 3) for _ in STRIDES)
        self.heads = Heads(levels=levels)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Six maps: (n, 4, side, side) and (n, 10, side, side) for each stride."""
        quarter = self.stages[0](self.stem(x))
        eighth = self.stages[1](quarter)
        sixteenth = self.stages[2](eighth)
        reads = (eighth, sixteenth, sixteenth)
        low, middle, high = (unit(value) for unit, value in zip(self.lateral, reads, strict=True))
        middle = middle + F.interpolate(high, scale_factor=2.0, mode="nearest")
        low = low + F.interpolate(middle, scale_factor=2.0, mode="nearest")
        outputs: list[torch.Tensor] = []
        for level, value in enumerate((low, middle, high)):
            outputs += self.heads(self.output[level](value), level)
        return tuple(outputs)


def task_of(names: tuple[str, ...] = ()) -> Task:
    """What the network is for; ``names`` are those of its outputs, in order."""
    names = names or tuple(f"{kind}.{level}" for level in range(len(STRIDES)) for kind in ("boxes", "scores"))
    heads = tuple(
        Head(Part(names[2 * level]), Part(names[2 * level + 1]), (Grid(SIDE // stride, SIDE // stride),))
        for level, stride in enumerate(STRIDES)
    )
    decoder = Detector(heads, coder="distances", background=-1, activation="none", score=0.02)
    return detect(Preprocess((SIDE, SIDE), mean=(0.0,) * 3, std=(1.0,) * 3, fit="pad"), LABELS, decoder)
