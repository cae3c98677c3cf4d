"""Networks of other shapes than those of the recipes, random weights: what a prediction of time has to hold for too."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from oaq.data.preprocess import Preprocess
from recipes.networks import Network


class Fire(nn.Module):
    """Squeeze, then 1 x 1 and 3 x 3 side by side."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.narrow = nn.Conv2d(squeezed, expanded, 1)
        self.wide = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) to (B, 2 * expanded, H, W)."""
        x = functional.relu(self.squeeze(x))
        return torch.cat([functional.relu(self.narrow(x)), functional.relu(self.wide(x))], 1)


def squeezed() -> nn.Module:
    """Fire modules with max pools between: concatenations, odd sizes, no depthwise layer."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        Fire(64, 16, 64),
        Fire(128, 16, 64),
        nn.MaxPool2d(3, 2),
        Fire(128, 32, 128),
        Fire(256, 32, 128),
        nn.MaxPool2d(3, 2),
        Fire(256, 48, 192),
        Fire(384, 64, 256),
        nn.Conv2d(512, 1000, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


class Hourglass(nn.Module):
    """Down twice and up again with skips, as networks that give an image back do."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 24, 3, padding=1)
        self.down = nn.Conv2d(24, 48, 3, stride=2, padding=1)
        self.deep = nn.Conv2d(48, 96, 3, stride=2, padding=1)
        self.mixed = nn.Conv2d(96, 96, 3, padding=1, groups=4)
        self.up = nn.Conv2d(144, 48, 3, padding=1)
        self.last = nn.Conv2d(72, 16, 3, padding=1)
        self.out = nn.Conv2d(16, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to (B, 4, H, W), H and W multiples of 4."""
        a = functional.relu(self.first(x))
        b = functional.relu(self.down(a))
        c = functional.relu(self.mixed(functional.relu(self.deep(b))))
        c = functional.interpolate(c, scale_factor=2, mode="nearest")
        d = functional.relu(self.up(torch.cat([c, b], 1)))
        d = functional.interpolate(d, scale_factor=2, mode="bilinear")
        return self.out(functional.relu(self.last(torch.cat([d, a], 1))))


def hourglass() -> nn.Module:
    """Resizes, concatenations, a grouped convolution, few channels at high resolution."""
    torch.manual_seed(0)
    return Hourglass()


UNSEEN = {
    "squeezed": Network("squeezed", squeezed, Preprocess((224, 224), 256)),
    "hourglass": Network("hourglass", hourglass, Preprocess((128, 128), 144)),
}
