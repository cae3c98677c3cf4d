"""DeepLabV3+ (Chen et al., 1802.02611) on MobileNetV2: dilated stages, pyramid of rates, bilinear resizes, one skip.

The trunk's weights are those of ``recipes.models`` (torchvision's, ImageNet). Its last stages keep a stride of 16: the
stride of the stage of 160 channels becomes a dilation of 2.
"""

from __future__ import annotations

from typing import Final, Self

import torch
import torch.nn.functional as F
from torch import nn

from recipes.models.mobilenet_v2 import InvertedResidual, MobileNetV2

STRIDE: Final = 16
"""Pixels of the input per cell of the pyramid."""
EDGE: Final = 4
"""``features`` below it answer at a stride of 4: what the decoder takes for edges."""
DEEP: Final = 14
"""The first of ``features`` that is dilated instead of strided."""
LAST: Final = 18
"""``features`` up to it are used; what follows makes 1280 channels for a classifier."""
FROZEN: Final = 7
"""``features`` below it keep ImageNet's weights: they see edges and textures, which differ little between tasks."""
RATES: Final = (2, 4, 6)
"""Dilations of the pyramid, in cells; the paper's 6, 12 and 18 are for inputs of 513 pixels."""
LOW_WIDTH: Final = 24


def _unit(inputs: int, outputs: int, kernel: int = 1, rate: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU; sides stay."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2 * rate, dilation=rate, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class Pyramid(nn.Module):
    """ASPP: the same map through windows of several rates and through its mean, side by side."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.point = _unit(channels, width)
        self.windows = nn.ModuleList(_unit(channels, width, 3, rate) for rate in RATES)
        self.mean = nn.Sequential(nn.Conv2d(channels, width, 1), nn.ReLU())  # one cell: too few for a batch norm
        self.join = _unit((2 + len(RATES)) * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, C, H, W) to (n, width, H, W)."""
        mean = self.mean(F.adaptive_avg_pool2d(x, 1))
        mean = F.interpolate(mean, size=(x.shape[2], x.shape[3]), mode="bilinear", align_corners=False)
        return self.join(torch.cat([self.point(x), *(window(x) for window in self.windows), mean], 1))


class DeepLab(nn.Module):
    """(n, 3, H, W), sides multiples of 16, to (n, classes, H, W) logits."""

    def __init__(self, classes: int, width: int = 64) -> None:
        super().__init__()
        features: nn.Sequential = MobileNetV2().features[:LAST]  # type: ignore[assignment]
        self.frozen: nn.Sequential = features[:FROZEN]  # type: ignore[assignment]
        self.trunk: nn.Sequential = features[FROZEN:]  # type: ignore[assignment]
        _dilate(features)
        self.pyramid = Pyramid(320, width)
        self.edges = _unit(LOW_WIDTH, width // 4)
        self.decoder = _unit(width + width // 4, width, 3)
        self.head = nn.Conv2d(width, classes, 1)
        for weights in self.frozen.parameters():
            weights.requires_grad_(False)

    def take_trunk(self, classifier: MobileNetV2) -> None:
        """Copy the weights of a trained classifier's first layers."""
        for number, layer in enumerate(classifier.features[:LAST]):  # type: ignore[arg-type]
            target = self.frozen[number] if number < FROZEN else self.trunk[number - FROZEN]
            target.load_state_dict(layer.state_dict())

    def train(self, mode: bool = True) -> Self:
        """Frozen layers keep their statistics."""
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class logits of every pixel."""
        low = x
        for number, layer in enumerate(self.frozen):
            x = layer(x)
            low = x if number == EDGE - 1 else low
        x = self.pyramid(self.trunk(x))
        x = F.interpolate(x, size=(low.shape[2], low.shape[3]), mode="bilinear", align_corners=False)
        x = self.head(self.decoder(torch.cat([x, self.edges(low)], 1)))
        return F.interpolate(x, scale_factor=4.0, mode="bilinear", align_corners=False)


def _dilate(features: nn.Sequential) -> None:
    """Give the deep blocks a stride of 1 and, behind the first of them, a dilation of 2."""
    for number, block in enumerate(features):
        if number >= DEEP and isinstance(block, InvertedResidual):
            depthwise = next(m for m in block.modules() if isinstance(m, nn.Conv2d) and m.groups > 1)
            depthwise.stride = (1, 1)
            if number > DEEP:
                depthwise.dilation = depthwise.padding = (2, 2)
