"""Networks for small images: residual ones (He et al., 1512.03385, section 4.2), depthwise blocks, a perceptron."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from recipes.models.resnet import BasicBlock


class SmallResNet(nn.Module):
    """A stem of 3 x 3, three stages of ``blocks`` basic blocks, mean, linear: 6 * blocks + 2 layers.

    Args:
        blocks: per stage; 3 is ResNet-20.
        channels: of the images.
        width: of the first stage; it doubles with every stage.
        stem_stride: 1 as published; 2 halves height and width at once, for a quarter of the work.
        classes: to tell apart.
    """

    def __init__(
        self, blocks: int = 3, *, channels: int = 3, width: int = 16, stem_stride: int = 1, classes: int = 10
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, stem_stride, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        layers: list[nn.Module] = []
        inputs = width
        for stage in range(3):
            for block in range(blocks):
                outputs = width << stage
                layers.append(BasicBlock(inputs, outputs, 2 if stage and not block else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, H, W) to (n, classes) logits."""
        x = self.blocks(self.relu(self.bn(self.conv(x))))
        return self.fc(torch.flatten(self.pool(x), 1))


class SmallMlp(nn.Module):
    """Linear layers with batch norm and ReLU between them.

    Args:
        inputs: pixels of an image.
        width: of every hidden layer.
        hidden: how many there are.
        classes: to tell apart.
    """

    def __init__(self, inputs: int = 784, *, width: int = 256, hidden: int = 4, classes: int = 10) -> None:
        super().__init__()
        sizes = [inputs, *[width] * hidden]
        layers = [
            layer
            for before, after in pairwise(sizes)
            for layer in (nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU())
        ]
        self.body = nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, H, W) to (n, classes) logits."""
        return self.body(x)


class InvertedResidual(nn.Module):
    """Expansion 1x1, depthwise 3x3, projection 1x1 (1801.04381)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.adds = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            nn.Conv2d(inputs, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(inplace=True),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(inplace=True),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        return x + self.body(x) if self.adds else self.body(x)


class SmallMobileNet(nn.Module):
    """MobileNetV2's blocks for images of 32 x 32.

    Args:
        channels: of the images.
        stem_stride: 2 halves height and width at once, for a quarter of the work.
        classes: to tell apart.
    """

    def __init__(self, *, channels: int = 3, stem_stride: int = 1, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 16
        for outputs, stride in ((24, 2), (24, 1), (40, 2), (40, 1), (80, 2), (80, 1)):
            layers.append(InvertedResidual(inputs, outputs, stride, 4))
            inputs = outputs
        self.stem = nn.Sequential(
            nn.Conv2d(channels, 16, 3, stem_stride, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6(inplace=True)
        )
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Conv2d(inputs, 256, 1, bias=False), nn.BatchNorm2d(256), nn.ReLU6(inplace=True))
        self.pool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(256, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, H, W) to (n, classes) logits."""
        return self.fc(torch.flatten(self.pool(self.head(self.blocks(self.stem(x)))), 1))


def published_init(net: nn.Module) -> nn.Module:
    """Weights of convolutions from a normal distribution by fan-out (1502.01852); the same module."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net


class LeNet300(nn.Module):
    """LeNet-300-100: a perceptron without batch norm.

    Args:
        inputs: pixels of an image.
        classes: to tell apart.
    """

    def __init__(self, inputs: int = 784, classes: int = 10) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(),
            nn.Linear(inputs, 300),
            nn.ReLU(),
            nn.Linear(300, 100),
            nn.ReLU(),
            nn.Linear(100, classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 1, H, W) to (n, classes) logits."""
        return self.body(x)


class LeNet5(nn.Module):
    """LeNet-5 for grey images of 28 x 28, with ReLU and largest values of 2 x 2; without batch norm.

    Args:
        classes: to tell apart.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * 25, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 1, 28, 28) to (n, classes) logits."""
        return self.body(x)


class SmallVgg(nn.Module):
    """Convolutions of 3 x 3 with ReLU and largest values of 2 x 2 behind each (1409.1556); without batch norm.

    Args:
        channels: of images of 32 x 32.
        widths: of the convolutions, one for each halving.
        classes: to tell apart.
    """

    def __init__(self, channels: int = 3, widths: tuple[int, ...] = (32, 64, 128, 128), classes: int = 10) -> None:
        super().__init__()
        layers = [
            layer
            for before, after in pairwise((channels, *widths))
            for layer in (nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        ]
        side = 32 >> len(widths)
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * side * side, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, 32, 32) to (n, classes) logits."""
        return self.body(x)
