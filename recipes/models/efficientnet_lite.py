"""EfficientNet-Lite0 and Lite1: MobileNetV2's inverted bottlenecks, ReLU6, no squeeze-and-excitation.

Source: Tan and Le, "EfficientNet" (1905.11946), and the Lite variants' published table: stem, head, first and last
stage keep their size whatever the multipliers. Names of modules are those of the published state dictionaries (a
port from TensorFlow, hence leading underscores and TensorFlow's "same" padding, which is uneven at stride 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

EPSILON = 1e-3


@dataclass(frozen=True)
class Stage:
    """Blocks of one width: ``repeats`` of kernel ``kernel``, the first with ``stride``; ``expand`` widens inside."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    width: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class SameConv2d(nn.Conv2d):
    """Convolution with ceil(size / stride) outputs; what padding is left over goes to the bottom and the right."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=0, groups=groups, bias=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(n, C, H, W) to (n, N, ceil(H / stride), ceil(W / stride))."""
        rows, columns = (self._missing(input.shape[axis], axis - 2) for axis in (2, 3))
        padding = [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2]
        return super().forward(F.pad(input, padding) if any(padding) else input)

    def _missing(self, size: int, axis: int) -> int:
        kernel, stride = self.kernel_size[axis], self.stride[axis]
        return max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)


class Block(nn.Module):
    """Expand 1x1, depthwise, project 1x1; added to its input where the shapes allow it."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        inside = inputs * stage.expand
        self._adds = stride == 1 and inputs == stage.width
        self._expands = stage.expand != 1
        if self._expands:
            self._expand_conv = SameConv2d(inputs, inside, 1)
            self._bn0 = nn.BatchNorm2d(inside, EPSILON)
        self._depthwise_conv = SameConv2d(inside, inside, stage.kernel, stride, groups=inside)
        self._bn1 = nn.BatchNorm2d(inside, EPSILON)
        self._project_conv = SameConv2d(inside, stage.width, 1)
        self._bn2 = nn.BatchNorm2d(stage.width, EPSILON)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        y = F.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self._adds else y


class EfficientNetLite(nn.Module):
    """An EfficientNet-Lite without width scaling.

    Args:
        depth: multiplies the repeats of every stage but the first and the last.
        classes: outputs.
    """

    def __init__(self, depth: float = 1.0, classes: int = 1000) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, 2)
        self._bn0 = nn.BatchNorm2d(32, EPSILON)
        self._blocks = nn.ModuleList()
        width = 32
        for index, stage in enumerate(STAGES):
            fixed = index in (0, len(STAGES) - 1)
            for turn in range(stage.repeats if fixed else math.ceil(stage.repeats * depth)):
                self._blocks.append(Block(width, stage, stage.stride if turn == 0 else 1))
                width = stage.width
        self._conv_head = SameConv2d(width, 1280, 1)
        self._bn1 = nn.BatchNorm2d(1280, EPSILON)
        self._dropout = nn.Dropout(0.2)
        self._fc = nn.Linear(1280, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, H, W), (pixel - 127) / 128, to (n, classes) logits."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = F.relu6(self._bn1(self._conv_head(x)))
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return self._fc(self._dropout(x))


def efficientnet_lite0() -> EfficientNetLite:
    """4.65 M parameters, 385 M multiply-accumulates at 224 x 224."""
    return EfficientNetLite(1.0)


def efficientnet_lite1() -> EfficientNetLite:
    """5.42 M parameters, for 240 x 240."""
    return EfficientNetLite(1.1)
