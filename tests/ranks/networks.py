"""Small networks of lines and tokens that every front end is tried on."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

Curve = Callable[[torch.Tensor], torch.Tensor]


class Keywords(nn.Module):
    """A line (C, L): convolutions that stride, dilate and go by channel; pools; one mean for all positions."""

    def __init__(self, channels: int = 5, classes: int = 7) -> None:
        super().__init__()
        self.front = nn.Sequential(
            nn.Conv1d(channels, 16, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Conv1d(16, 16, 3, padding=2, dilation=2, groups=16, bias=False),
            nn.BatchNorm1d(16),
            nn.ReLU6(),
            nn.Conv1d(16, 24, 1, groups=2),
            nn.ReLU(),
        )
        self.pools = nn.Sequential(nn.MaxPool1d(3, 2, 1), nn.AvgPool1d(2, 1, 1, count_include_pad=False))
        self.head = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(24, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.pools(self.front(x)))


class Tokens(nn.Module):
    """Tokens (T, C): a matrix at every token, a curve, a residual sum; results per network and per token."""

    def __init__(self, channels: int = 12, classes: int = 5, *, bias: bool = True, curve: Curve = F.gelu) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(channels, 32, bias), nn.Linear(32, channels, bias)
        self.again, self.last = nn.Linear(channels, 20, bias), nn.Linear(20, channels, bias)
        self.head, self.curve = nn.Linear(channels, classes), curve

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = x + self.narrow(self.curve(self.wide(x)))
        x = x + self.last(self.again(x).relu())
        return self.head(x.mean(1)), x


def trained(network: nn.Module, seed: int = 0) -> nn.Module:
    """Batch statistics and weights that are not at their starting values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in (*network.named_parameters(), *network.named_buffers()):
            if value.is_floating_point():
                noise = torch.randn(value.shape, generator=generator)
                value.copy_(1.0 + 0.3 * noise.abs() if "var" in name else value + 0.05 * noise)
    return network.eval()
