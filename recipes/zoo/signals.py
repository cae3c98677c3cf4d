"""Networks of one-dimensional signals, of text lines, of volumes and of points."""

from __future__ import annotations

import torch
from torch import nn

from recipes.zoo.blocks import ACTIVATIONS, separable, unit


def line(inputs: int, outputs: int, kernel: int, stride: int = 1, *, act: str = "relu", dilation: int = 1) -> nn.Module:
    """1-D convolution, batch norm, activation; (n, C, L)."""
    padding = dilation * (kernel - 1) // 2
    conv = nn.Conv1d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm1d(outputs), ACTIVATIONS[act]())


def m5() -> nn.Module:
    """A classifier of raw sound (1610.00087)."""
    return nn.Sequential(
        line(1, 32, 81, 4), nn.MaxPool1d(4), line(32, 32, 3), nn.MaxPool1d(4), line(32, 64, 3), nn.MaxPool1d(4),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, 35),
    )  # fmt: skip


def wav2letter() -> nn.Module:
    """Letters of spectra, convolutions alone, clipped ReLU (1609.03193)."""

    def clipped(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv1d(inputs, outputs, kernel, stride, kernel // 2), nn.Hardtanh(0, 6)]

    layers = [*clipped(40, 64, 11, 2), *clipped(64, 64, 7), *clipped(64, 64, 7), *clipped(64, 96, 1)]
    return nn.Sequential(*layers, nn.Conv1d(96, 29, 1), nn.LogSoftmax(1))


class Masked(nn.Module):
    """Conv-TasNet in its structure: encode, masks by dilated depthwise blocks, decode (1809.07454)."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Conv1d(1, 64, 16, 8, bias=False), nn.ConvTranspose1d(64, 1, 16, 8, bias=False)
        self.bottleneck = nn.Conv1d(64, 32, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(32, 64, 1), nn.PReLU(), nn.GroupNorm(1, 64),
                nn.Conv1d(64, 64, 3, padding=dilation, dilation=dilation, groups=64), nn.PReLU(), nn.GroupNorm(1, 64),
                nn.Conv1d(64, 32, 1),
            )
            for dilation in (1, 2, 4)
        )  # fmt: skip
        self.mask = nn.Sequential(nn.PReLU(), nn.Conv1d(32, 128, 1), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 1, L) to (n, 2, L): two voices."""
        code = torch.relu(self.encode(x))
        y = self.bottleneck(code)
        for block in self.blocks:
            y = y + block(y)
        first, second = self.mask(y).chunk(2, 1)
        return torch.cat([self.decode(code * first), self.decode(code * second)], 1)


def conv_tasnet() -> nn.Module:
    """Separation of voices."""
    return Masked()


def ds_cnn() -> nn.Module:
    """Keywords of spectra: separable convolutions (1711.07128)."""
    stem = nn.Sequential(nn.Conv2d(1, 48, (10, 4), (2, 2), (5, 1), bias=False), nn.BatchNorm2d(48), nn.ReLU())
    blocks = [separable(48, 48) for _ in range(4)]
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 12))


class LineReader(nn.Module):
    """CRNN: convolutions over a line of text, an LSTM in both directions, letters (1507.05717)."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            unit(1, 32), nn.MaxPool2d(2), unit(32, 48), nn.MaxPool2d(2), unit(48, 64), nn.MaxPool2d((2, 1)),
            unit(64, 64), nn.MaxPool2d((4, 1)),
        )  # fmt: skip
        self.lstm = nn.LSTM(64, 48, batch_first=True, bidirectional=True)
        self.letters = nn.Linear(96, 37)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 1, 32, W) to (n, W / 4, 37)."""
        return self.letters(self.lstm(self.trunk(x).squeeze(2).transpose(1, 2))[0])


def crnn() -> nn.Module:
    """Text recognition."""
    return LineReader()


def conv3d() -> nn.Module:
    """A classifier of short films (C3D, 1412.0767)."""

    def volume(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv3d(inputs, outputs, 3, padding=1), nn.BatchNorm3d(outputs), nn.ReLU()]

    layers = [*volume(3, 16), nn.MaxPool3d((1, 2, 2)), *volume(16, 32), nn.MaxPool3d(2), *volume(32, 48)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(48, 20))


def pointnet() -> nn.Module:
    """Points (n, 3, P): the same layers for each, the largest over all, a classifier (1612.00593)."""
    layers = [line(3, 32, 1), line(32, 64, 1), line(64, 128, 1), nn.AdaptiveMaxPool1d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(128, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 20))


class Causal(nn.Module):
    """Two dilated causal convolutions beside the input (TCN, 1803.01271)."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.past = 2 * dilation
        self.first, self.second = (nn.Conv1d(width, outputs, 3, dilation=dilation) for width in (inputs, outputs))
        self.side = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        y = torch.relu(self.first(nn.functional.pad(x, (self.past, 0))))
        y = torch.relu(self.second(nn.functional.pad(y, (self.past, 0))))
        return torch.relu(y + self.side(x))


def tcn() -> nn.Module:
    """A classifier of series."""
    blocks = [Causal(6, 32, 1), Causal(32, 32, 2), Causal(32, 32, 4)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, 6))
