"""Convolutional networks without sums: stacks, branches, dense connections."""

from __future__ import annotations

import torch
from torch import nn

from recipes.zoo.blocks import Branches, Residual, classifier, separable, unit


def vgg() -> nn.Module:
    """VGG without batch norms: convolutions with bias, max pools, three linear layers (1409.1556)."""
    layers: list[nn.Module] = []
    inputs = 3
    for width in (16, 0, 32, 0, 64, 64, 0, 96, 96, 0):
        layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()] if width else [nn.MaxPool2d(2)]
        inputs = width or inputs
    head = [nn.Flatten(), nn.Linear(96 * 16, 128), nn.ReLU(), nn.Dropout(), nn.Linear(128, 100)]
    return nn.Sequential(*layers, *head)


class Dense(nn.Module):
    """Norm, ReLU, 1 x 1, norm, ReLU, 3 x 3, beside its input (1608.06993)."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        return torch.cat([x, self.body(x)], 1)


def densenet() -> nn.Module:
    """Three dense blocks with transitions between them."""
    layers: list[nn.Module] = [unit(3, 24, 7, 2), nn.MaxPool2d(3, 2, 1)]
    width = 24
    for block in range(3):
        for _ in range(3):
            layers.append(Dense(width, 12))
            width += 12
        if block < 2:
            layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)]
            width //= 2
    return nn.Sequential(*layers, nn.BatchNorm2d(width), nn.ReLU(), classifier(width))


class Harmonic(nn.Module):
    """Layer t reads the results of layers t - 2**n where 2**n divides t (HarDNet, 1909.00948)."""

    def __init__(self, inputs: int, growth: int, outputs: int) -> None:
        super().__init__()
        self.links: list[list[int]] = []
        widths, convs = [inputs], []
        for layer in range(1, 5):
            links = [layer - 2**power for power in range(3) if layer % 2**power == 0 and layer >= 2**power]
            self.links.append(links)
            convs.append(unit(sum(widths[link] for link in links), growth, act="relu6"))
            widths.append(growth)
        self.convs = nn.ModuleList(convs)
        self.join = unit(3 * growth, outputs, 1, act="relu6")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        results = [x]
        for links, conv in zip(self.links, self.convs, strict=True):
            parts = [results[link] for link in links]
            results.append(conv(torch.cat(parts, 1) if len(parts) > 1 else parts[0]))
        return self.join(torch.cat([results[1], results[3], results[4]], 1))


def hardnet() -> nn.Module:
    """Harmonic dense blocks."""
    return nn.Sequential(
        unit(3, 16, 3, 2, act="relu6"),
        Harmonic(16, 12, 48),
        nn.MaxPool2d(2),
        Harmonic(48, 16, 64),
        nn.MaxPool2d(2),
        Harmonic(64, 24, 96),
        classifier(96),
    )


def _mixed(inputs: int, widths: tuple[int, int, int, int]) -> nn.Module:
    """1 x 1, 5 x 5, 3 x 3 twice, and a mean, side by side."""
    return Branches(
        unit(inputs, widths[0], 1),
        nn.Sequential(unit(inputs, widths[1], 1), unit(widths[1], widths[1], 5)),
        nn.Sequential(unit(inputs, widths[2], 1), unit(widths[2], widths[2]), unit(widths[2], widths[2])),
        nn.Sequential(nn.AvgPool2d(3, 1, 1), unit(inputs, widths[3], 1)),
    )


def _asymmetric(inputs: int, width: int) -> nn.Module:
    """1 x 1 beside 1 x 7 and 7 x 1."""
    row = nn.Sequential(nn.Conv2d(width, width, (1, 7), padding=(0, 3), bias=False), nn.BatchNorm2d(width), nn.ReLU())
    column = nn.Sequential(
        nn.Conv2d(width, width, (7, 1), padding=(3, 0), bias=False), nn.BatchNorm2d(width), nn.ReLU()
    )
    return Branches(unit(inputs, width, 1), nn.Sequential(unit(inputs, width, 1), row, column))


def inception() -> nn.Module:
    """Inception v3 in its structure (1512.00567)."""
    reduce = Branches(unit(64, 48, 3, 2), nn.MaxPool2d(3, 2, 1))
    return nn.Sequential(
        unit(3, 16, 3, 2), unit(16, 32), nn.MaxPool2d(3, 2, 1), _mixed(32, (16, 12, 20, 16)), reduce,
        _asymmetric(112, 48), classifier(96),
    )  # fmt: skip


def _xception(inputs: int, outputs: int) -> nn.Module:
    body = nn.Sequential(
        nn.ReLU(), separable(inputs, outputs), separable(outputs, outputs, act="none"), nn.MaxPool2d(3, 2, 1)
    )
    return Residual(body, unit(inputs, outputs, 1, 2, act="none"))


def xception() -> nn.Module:
    """Separable convolutions beside strided shortcuts (1610.02357)."""
    return nn.Sequential(
        unit(3, 16, 3, 2), unit(16, 32), _xception(32, 48), _xception(48, 96), separable(96, 128), classifier(128)
    )


def _fire(inputs: int, squeezed: int, width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, squeezed, 1),
        nn.ReLU(),
        Branches(
            nn.Sequential(nn.Conv2d(squeezed, width, 1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(squeezed, width, 3, padding=1), nn.ReLU()),
        ),
    )


def squeezenet() -> nn.Module:
    """SqueezeNet 1.1 in its structure: max pools that round up, a convolution as classifier (1602.07360)."""
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, 2), nn.ReLU(), pool, _fire(32, 8, 32), _fire(64, 8, 32), pool, _fire(64, 16, 48), pool,
        _fire(96, 16, 64), nn.Conv2d(128, 100, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
