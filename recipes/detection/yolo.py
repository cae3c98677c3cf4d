"""A detector in the structure of YOLOv8: SiLU, C2f blocks, SPPF, a path up and a path down, DFL heads; 640 x 640.

Structure and sizes are those of YOLOv8n (3 M parameters, 4 GMAC); weights are random, or those that ``train`` makes on
composited photos. Boxes and scores leave as six maps, two per level; softmax over the bins of a side, boxes and
suppression are float code after the integers (``oaq.tasks.detect``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import nn

from oaq.data.preprocess import Preprocess
from oaq.tasks import Detector, Task, detect
from oaq.tasks.detect import Grid, Head, Part
from recipes.detection.composited import CUT_OUTS
from recipes.networks import load_weights

SIDE: Final = 640
"""Rows and columns of the input."""
STRIDES: Final = (8, 16, 32)
BINS: Final = 16
"""Distances of a side, in cells: the mean of a softmax over so many (Generalized Focal Loss, 2006.04388)."""
LABELS: Final = tuple(CUT_OUTS)
"""Classes: COCO's names of what composited photos show."""
WIDTHS: Final = (16, 32, 64, 128, 256)
DEPTHS: Final = (1, 2, 2, 1)


class Unit(nn.Module):
    """Convolution, batch norm, SiLU."""

    def __init__(self, channels: int, out: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(out, eps=1e-3, momentum=0.03)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, C, H, W) to (n, out, H / stride, W / stride)."""
        return F.silu(self.norm(self.conv(x)))


class Bottleneck(nn.Module):
    """Two 3 x 3 units, added to their input or not."""

    def __init__(self, channels: int, *, adds: bool) -> None:
        super().__init__()
        self.first, self.second, self.adds = Unit(channels, channels, 3), Unit(channels, channels, 3), adds

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape in, shape out."""
        y = self.second(self.first(x))
        return x + y if self.adds else y


class C2f(nn.Module):
    """Half of the channels goes through ``depth`` blocks in turn; all that was seen on the way is put side by side."""

    def __init__(self, channels: int, out: int, depth: int, *, adds: bool) -> None:
        super().__init__()
        self.split, self.inner = Unit(channels, out), out // 2
        self.blocks = nn.ModuleList(Bottleneck(self.inner, adds=adds) for _ in range(depth))
        self.join = Unit((2 + depth) * self.inner, out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, C, H, W) to (n, out, H, W)."""
        parts = list(self.split(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.join(torch.cat(parts, 1))


class Pyramid(nn.Module):
    """SPPF: three pools of 5 x 5, one after the other, side by side with what they pool."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze, self.spread = Unit(channels, channels // 2), Unit(channels * 2, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape in, shape out."""
        parts = [self.squeeze(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, 1, 2))
        return self.spread(torch.cat(parts, 1))


class Yolo(nn.Module):
    """(n, 3, H, W) in 0..1, sides multiples of 32, to box maps and score maps of strides 8, 16 and 32, in turn."""

    def __init__(self, classes: int = len(LABELS)) -> None:
        super().__init__()
        stem, *stages = WIDTHS
        self.stem = Unit(3, stem, 3, 2)
        self.downs = nn.ModuleList(Unit(a, b, 3, 2) for a, b in zip(WIDTHS, stages, strict=False))
        self.stages = nn.ModuleList(
            C2f(width, width, depth, adds=True) for width, depth in zip(stages, DEPTHS, strict=True)
        )
        self.pyramid = Pyramid(stages[-1])
        low, middle, high = stages[1:]
        self.up_middle, self.up_low = C2f(high + middle, middle, 1, adds=False), C2f(middle + low, low, 1, adds=False)
        self.down_low, self.down_middle = Unit(low, low, 3, 2), Unit(middle, middle, 3, 2)
        self.out_middle, self.out_high = (
            C2f(low + middle, middle, 1, adds=False),
            C2f(middle + high, high, 1, adds=False),
        )
        self.boxes = nn.ModuleList(self._head(width, low, 4 * BINS) for width in (low, middle, high))
        self.scores = nn.ModuleList(self._head(width, max(low, classes), classes) for width in (low, middle, high))
        for head in self.scores:
            nn.init.constant_(head[-1].bias, -4.6)  # type: ignore[index]  (a score of 0.01 at first)

    @staticmethod
    def _head(channels: int, inner: int, out: int) -> nn.Sequential:
        return nn.Sequential(Unit(channels, inner, 3), Unit(inner, inner, 3), nn.Conv2d(inner, out, 1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Six maps: (n, 4 * bins, side, side) and (n, classes, side, side) for each stride."""
        x, levels = self.stem(x), []
        for down, stage in zip(self.downs, self.stages, strict=True):
            x = stage(down(x))
            levels.append(x)
        _, low, middle, high = *levels[:3], self.pyramid(levels[3])
        up = F.interpolate(high, scale_factor=2.0, mode="nearest")
        wide = self.up_middle(torch.cat([up, middle], 1))
        up = F.interpolate(wide, scale_factor=2.0, mode="nearest")
        low = self.up_low(torch.cat([up, low], 1))
        middle = self.out_middle(torch.cat([self.down_low(low), wide], 1))
        high = self.out_high(torch.cat([self.down_middle(middle), high], 1))
        outputs: list[torch.Tensor] = []
        for level, boxes, scores in zip((low, middle, high), self.boxes, self.scores, strict=True):
            outputs += [boxes(level), scores(level)]
        return tuple(outputs)


def load(path: Path | None = None) -> tuple[Yolo, Task]:
    """The network in eval mode and what it is for; random weights, always the same, if ``path`` is None.

    Raises:
        WeightsError: the file is missing, damaged or of another network.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        net = Yolo()
    if path is not None:
        load_weights(net, path)
    return net.eval(), task_of(SIDE)


def task_of(side: int) -> Task:
    """What the network is for on square inputs of ``side`` pixels."""
    heads = tuple(
        Head(Part(f"boxes.{level}"), Part(f"scores.{level}"), (Grid(side // stride, side // stride),))
        for level, stride in enumerate(STRIDES)
    )
    decoder = Detector(heads, coder="distances", bins=BINS, background=-1)
    return detect(Preprocess((side, side), mean=(0.0,) * 3, std=(1.0,) * 3, fit="pad"), LABELS, decoder)
