"""U-Net (Ronneberger et al., 1505.04597) with batch norm and padding: pools down, either of two ways up."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

Rise = Literal["transposed", "resize"]
"""How maps grow: a transposed convolution of 2 x 2, or a bilinear resize and a convolution of 1 x 1."""


def _double(inputs: int, outputs: int) -> nn.Sequential:
    """Convolution of 3 x 3, batch norm, ReLU, twice."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class Up(nn.Module):
    """A map of twice the sides and half the channels."""

    def __init__(self, channels: int, rise: Rise) -> None:
        super().__init__()
        self.resizes = rise == "resize"
        self.conv = (
            nn.Conv2d(channels, channels // 2, 1) if self.resizes else nn.ConvTranspose2d(channels, channels // 2, 2, 2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, C, H, W) to (n, C / 2, 2 H, 2 W)."""
        if self.resizes:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.conv(x)


class UNet(nn.Module):
    """(n, 1, H, W), sides multiples of 2 ** depth, to (n, classes, H, W) logits."""

    def __init__(self, classes: int, rise: Rise = "transposed", *, base: int = 16, depth: int = 3) -> None:
        super().__init__()
        widths = [base << level for level in range(depth + 1)]
        self.down = nn.ModuleList(_double(a, b) for a, b in zip([1, *widths], widths, strict=False))
        self.up = nn.ModuleList(Up(width, rise) for width in widths[:0:-1])
        self.join = nn.ModuleList(_double(width, width // 2) for width in widths[:0:-1])
        self.head = nn.Conv2d(base, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class logits of every pixel."""
        levels = []
        for number, block in enumerate(self.down):
            x = block(x if number == 0 else F.max_pool2d(x, 2))
            levels.append(x)
        for up, join, level in zip(self.up, self.join, levels[-2::-1], strict=True):
            x = join(torch.cat([level, up(x)], 1))
        return self.head(x)
