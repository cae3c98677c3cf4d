"""MobileNetV2 (Sandler et al., 1801.04381) with the module names of torchvision's published weights."""

from __future__ import annotations

import torch
from torch import nn

SETTINGS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""(expand, width, repeats, stride) per stage."""


def _unit(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU6."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1 without activation; added to its input where the shapes allow it."""

    def __init__(self, inputs: int, outputs: int, stride: int, expand: int) -> None:
        super().__init__()
        inside = inputs * expand
        self._adds = stride == 1 and inputs == outputs
        layers: list[nn.Module] = [] if expand == 1 else [_unit(inputs, inside, 1)]
        layers += [
            _unit(inside, inside, 3, stride, groups=inside),
            nn.Conv2d(inside, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        return x + self.conv(x) if self._adds else self.conv(x)


class MobileNetV2(nn.Module):
    """The network of width 1.0: 3.50 M parameters, 301 M multiply-accumulates at 224 x 224."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = [_unit(3, 32, 3, 2)]
        width = 32
        for expand, outputs, repeats, stride in SETTINGS:
            for turn in range(repeats):
                layers.append(InvertedResidual(width, outputs, stride if turn == 0 else 1, expand))
                width = outputs
        self.features = nn.Sequential(*layers, _unit(width, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, H, W), ImageNet mean and standard deviation, to (n, classes) logits."""
        x = self.features(x)
        x = nn.functional.adaptive_avg_pool2d(x, (1, 1))
        return self.classifier(torch.flatten(x, 1))
