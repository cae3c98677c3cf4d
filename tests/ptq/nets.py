"""Small networks and data for tests of quantization."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn


class Residual(nn.Module):
    """An inverted residual: expand, depthwise, project, add."""

    def __init__(self, channels: int, wide: int, act: type[nn.Module]) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            act(),
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            act(),
            nn.Conv2d(wide, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


def net(act: type[nn.Module] = nn.ReLU6, seed: int = 0) -> nn.Module:
    """Two residual blocks between a stem and a classifier, with channels of unlike size."""
    generator = torch.Generator().manual_seed(seed)
    made = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        act(),
        Residual(16, 48, act),
        nn.Conv2d(16, 24, 1),
        Residual(24, 48, act),
        nn.Conv2d(24, 64, 1),
        act(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    with torch.no_grad():
        for name, value in made.named_parameters():
            fan = value[0].numel() if value.ndim > 1 else 4
            value.copy_(torch.randn(value.shape, generator=generator) * (1.5 / fan) ** 0.5)
            if value.ndim > 1 and "body.6" not in name:
                value.mul_(
                    torch.exp(torch.randn(value.shape[0], generator=generator) * 0.7).reshape(
                        -1, *[1] * (value.ndim - 1)
                    )
                )
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(0.5 + torch.rand(module.weight.shape, generator=generator))
    return made.eval()


def images(count: int = 24, seed: int = 0, size: int = 16) -> list[np.ndarray]:
    """Smooth random images in batches of eight."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 1, (count, 3, size // 4, size // 4)).astype(np.float32)
    x = coarse.repeat(4, axis=2).repeat(4, axis=3) + 0.2 * rng.normal(0, 1, (count, 3, size, size)).astype(np.float32)
    return [x[start : start + 8] for start in range(0, count, 8)]


def sqnr(made: nn.Module, real: np.ndarray, x: Sequence[np.ndarray]) -> float:
    """Decibels of ``real`` against the float network."""
    with torch.no_grad():
        exact = made(torch.from_numpy(np.concatenate(list(x)))).numpy()
    return float(10 * np.log10(np.mean(exact**2) / np.mean((exact - real) ** 2)))
