"""ResNet-18 and ResNet-50 (He et al., 1512.03385) with seeded random weights, which no published weights favour.

Batch norms get random scales and shifts too, so that channels differ in scale as they do in trained networks, instead
of the identity of a fresh ``BatchNorm2d``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

Net = TypeVar("Net", bound=nn.Module)
WIDTHS = (64, 128, 256, 512)
DEPTHS = (3, 4, 6, 3)
"""Bottlenecks of each width in ResNet-50."""
WIDER = 4
"""Outputs of a bottleneck in parts of its width."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is 1x1 where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class ResNet18(nn.Module):
    """11.7 M parameters, 1.8 G multiply-accumulates at 224 x 224."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        blocks: list[nn.Module] = []
        inputs = WIDTHS[0]
        for width in WIDTHS:
            blocks += [BasicBlock(inputs, width, 1 if width == WIDTHS[0] else 2), BasicBlock(width, width, 1)]
            inputs = width
        self.layers = nn.Sequential(*blocks)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, H, W), ImageNet mean and standard deviation, to (n, classes) logits."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(self.layers(x)), 1))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut, which is 1x1 where the shape changes."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = WIDER * width
        self.body = nn.Sequential(
            *(nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)),
            *(nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)),
            *(nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)),
        )
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        return torch.relu(self.body(x) + self.downsample(x))


class ResNet50(nn.Module):
    """25.6 M parameters, 4.1 G multiply-accumulates at 224 x 224."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, WIDTHS[0], 7, 2, 3, bias=False), nn.BatchNorm2d(WIDTHS[0])]
        layers += [nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
        inputs = WIDTHS[0]
        for width, depth in zip(WIDTHS, DEPTHS, strict=True):
            for index in range(depth):
                layers.append(Bottleneck(inputs, width, 2 if index == 0 and width != WIDTHS[0] else 1))
                inputs = WIDER * width
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(inputs, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, H, W), ImageNet mean and standard deviation, to (n, classes) logits."""
        return self.layers(x)


def resnet18(seed: int = 0, classes: int = 1000) -> ResNet18:
    """The network with random weights that depend on ``seed`` only."""
    return _seeded(ResNet18, seed, classes)


def resnet50(seed: int = 0, classes: int = 1000) -> ResNet50:
    """As ``resnet18``."""
    return _seeded(ResNet50, seed, classes)


def _seeded(make: Callable[[int], Net], seed: int, classes: int) -> Net:
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = make(classes)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            deviation = (2 / (module.out_channels * module.kernel_size[0] * module.kernel_size[1])) ** 0.5
            module.weight.data.normal_(0, deviation, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
    return net.eval()
