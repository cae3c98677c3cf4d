"""Residual networks and what grew out of them."""

from __future__ import annotations

import torch
from torch import nn

from recipes.zoo.blocks import ACTIVATIONS, Branches, Gate, Residual, Total, classifier, stages, unit

PLAN = ((24, 2, 1), (48, 2, 2), (96, 2, 2))
"""(width, blocks, stride) of each stage."""


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    same = inputs == outputs and stride == 1
    return None if same else unit(inputs, outputs, 1, stride, act="none")


def _with_stem(body: nn.Module, stem: int, width: int) -> nn.Module:
    """A stem of 7 x 7 and a max pool, ``body``, a classifier."""
    return nn.Sequential(unit(3, stem, 7, 2), nn.MaxPool2d(3, 2, 1), body, classifier(width))


def basic(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Two convolutions of 3 x 3 beside a shortcut (1512.03385)."""
    body = nn.Sequential(unit(inputs, outputs, 3, stride), unit(outputs, outputs, act="none"))
    return Residual(body, _shortcut(inputs, outputs, stride), "relu")


def bottleneck(
    inputs: int, outputs: int, stride: int, *, groups: int = 1, inside: int = 0, gate: nn.Module | None = None
) -> nn.Module:
    """1 x 1, 3 x 3, 1 x 1, and a gate if one is given, beside a shortcut."""
    inside = inside or outputs // 2
    parts = [
        unit(inputs, inside, 1),
        unit(inside, inside, 3, stride, groups=groups),
        unit(inside, outputs, 1, act="none"),
    ]
    body = nn.Sequential(*parts, *([] if gate is None else [gate]))
    return Residual(body, _shortcut(inputs, outputs, stride), "relu")


def resnet_basic() -> nn.Module:
    """ResNet-18 in its structure."""
    return _with_stem(stages(basic, 24, PLAN), 24, 96)


def resnet_bottleneck() -> nn.Module:
    """ResNet-50 in its structure."""
    return _with_stem(stages(bottleneck, 24, PLAN), 24, 96)


def resnext() -> nn.Module:
    """ResNeXt: bottlenecks of grouped convolutions (1611.05431)."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        return bottleneck(inputs, outputs, stride, groups=8, inside=outputs)

    return _with_stem(stages(block, 24, PLAN), 24, 96)


def wide_resnet() -> nn.Module:
    """Bottlenecks as wide inside as outside (1605.07146)."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        return bottleneck(inputs, outputs, stride, inside=outputs)

    return _with_stem(stages(block, 24, PLAN), 24, 96)


def se_resnet() -> nn.Module:
    """Bottlenecks with squeeze and excite (1709.01507)."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        return bottleneck(inputs, outputs, stride, gate=Gate(outputs, outputs // 4))

    return _with_stem(stages(block, 24, PLAN), 24, 96)


class ChannelAttention(nn.Module):
    """Channels gated by a 1-D convolution over their means (ECA, 1910.03151)."""

    def __init__(self, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        mean = x.mean((2, 3)).unsqueeze(1)
        gate = torch.sigmoid(self.conv(mean)).transpose(1, 2).unsqueeze(-1)
        return x * gate


def eca_resnet() -> nn.Module:
    """Bottlenecks with efficient channel attention."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        return bottleneck(inputs, outputs, stride, gate=ChannelAttention())

    return _with_stem(stages(block, 24, PLAN), 24, 96)


class SplitConv(nn.Module):
    """Channels in four parts; each but the first goes through 3 x 3 with the result before it added (1904.01169)."""

    def __init__(self, width: int, parts: int = 4) -> None:
        super().__init__()
        self.parts = parts
        self.convs = nn.ModuleList(unit(width // parts, width // parts) for _ in range(parts - 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        first, *pieces = torch.chunk(x, self.parts, 1)
        results = [first]
        for index, (piece, conv) in enumerate(zip(pieces, self.convs, strict=True)):
            results.append(conv(piece if index == 0 else piece + results[-1]))
        return torch.cat(results, 1)


def res2net() -> nn.Module:
    """Bottlenecks whose middle is split into scales."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        parts = [unit(inputs, outputs, 1, stride), SplitConv(outputs), unit(outputs, outputs, 1, act="none")]
        return Residual(nn.Sequential(*parts), _shortcut(inputs, outputs, stride), "relu")

    return _with_stem(stages(block, 24, PLAN), 24, 96)


def regnet_x() -> nn.Module:
    """RegNetX: grouped bottlenecks of ratio 1 (2003.13678)."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        return bottleneck(inputs, outputs, stride, groups=outputs // 8, inside=outputs)

    return nn.Sequential(unit(3, 16, 3, 2), stages(block, 16, ((24, 1, 2), (56, 2, 2), (152, 2, 2))), classifier(152))


def regnet_y() -> nn.Module:
    """RegNetY: RegNetX with squeeze and excite."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        gate = Gate(outputs, inputs // 4)
        return bottleneck(inputs, outputs, stride, groups=outputs // 8, inside=outputs, gate=gate)

    return nn.Sequential(unit(3, 16, 3, 2), stages(block, 16, ((24, 1, 2), (56, 2, 2), (152, 2, 2))), classifier(152))


def repvgg() -> nn.Module:
    """RepVGG as it trains: 3 x 3, 1 x 1 and the norm of the input, added (2101.03697)."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        branches: list[nn.Module] = [
            unit(inputs, outputs, 3, stride, act="none"),
            unit(inputs, outputs, 1, stride, act="none"),
        ]
        if inputs == outputs and stride == 1:
            branches.append(nn.BatchNorm2d(inputs))
        return Total(*branches, act="relu")

    return nn.Sequential(stages(block, 3, ((24, 1, 2), (32, 2, 2), (64, 2, 2), (96, 1, 2))), classifier(96))


class ScaledBlock(nn.Module):
    """Activation and a number before, grouped convolutions, no norm, a learned number behind (NFNet, 2102.06171)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.act = nn.GELU()
        self.skip = (
            nn.Identity()
            if inputs == outputs and stride == 1
            else nn.Sequential(nn.AvgPool2d(stride, stride), nn.Conv2d(inputs, outputs, 1))
        )
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1),
            nn.GELU(),
            nn.Conv2d(outputs, outputs, 3, stride, 1, groups=outputs // 8),
            nn.GELU(),
            nn.Conv2d(outputs, outputs, 1),
            Gate(outputs, outputs // 2),
        )
        self.gain = nn.Parameter(torch.tensor(0.8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        y = self.act(x) * 0.9
        return self.body(y) * (2.0 * self.gain * 0.2) + self.skip(y)


def nfnet() -> nn.Module:
    """A network without norms."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1),
        stages(ScaledBlock, 32, ((32, 1, 1), (64, 2, 2), (96, 2, 2))),
        nn.GELU(),
        classifier(96),
    )


def _dark(width: int, act: str) -> nn.Module:
    return Residual(nn.Sequential(unit(width, width // 2, 1, act=act), unit(width // 2, width, act=act)))


def darknet() -> nn.Module:
    """Darknet-53 in its structure (1804.02767)."""
    layers: list[nn.Module] = [unit(3, 16, act="leaky")]
    for inputs, outputs in ((16, 32), (32, 64), (64, 96)):
        layers += [unit(inputs, outputs, 3, 2, act="leaky"), _dark(outputs, "leaky"), _dark(outputs, "leaky")]
    return nn.Sequential(*layers, classifier(96))


def cspnet() -> nn.Module:
    """Darknet whose stages work on half of the channels (CSPNet, 1911.11929), with Mish."""
    layers: list[nn.Module] = [unit(3, 16, act="mish")]
    for inputs, outputs in ((16, 32), (32, 64), (64, 96)):
        half = outputs // 2
        deep = nn.Sequential(unit(outputs, half, 1, act="mish"), _dark(half, "mish"), _dark(half, "mish"))
        layers += [
            unit(inputs, outputs, 3, 2, act="mish"),
            Branches(unit(outputs, half, 1, act="mish"), deep),
            unit(outputs, outputs, 1, act="mish"),
        ]
    return nn.Sequential(*layers, classifier(96))


class OneShot(nn.Module):
    """Convolutions in a row, all results side by side, 1 x 1, a gate (VoVNet, 1911.06667)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inside = outputs // 2
        self.down = nn.MaxPool2d(3, stride, ceil_mode=True) if stride > 1 else nn.Identity()
        self.convs = nn.ModuleList(unit(inputs if index == 0 else inside, inside) for index in range(3))
        self.join = unit(inputs + 3 * inside, outputs, 1)
        self.gate = Gate(outputs, outputs, gate="hardsigmoid")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        parts = [self.down(x)]
        for conv in self.convs:
            parts.append(conv(parts[-1]))
        return self.gate(self.join(torch.cat(parts, 1)))


def vovnet() -> nn.Module:
    """One-shot aggregation."""
    return nn.Sequential(unit(3, 24, 3, 2), stages(OneShot, 24, ((32, 1, 2), (64, 1, 2), (96, 1, 2))), classifier(96))


class Tree(nn.Module):
    """Two blocks and a node that joins them (deep layer aggregation, 1707.06484)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.left, self.right = basic(inputs, outputs, stride), basic(outputs, outputs, 1)
        self.down = nn.MaxPool2d(stride, stride) if stride > 1 else nn.Identity()
        self.root = unit(2 * outputs + inputs, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        left = self.left(x)
        return self.root(torch.cat([self.right(left), left, self.down(x)], 1))


def dla() -> nn.Module:
    """Trees in a row."""
    return nn.Sequential(unit(3, 16, 7, 2), stages(Tree, 16, ((32, 1, 2), (64, 1, 2), (96, 1, 2))), classifier(96))


class Exchange(nn.Module):
    """A branch of full and one of half size; each gets the sum of both (HRNet, 1908.07919)."""

    def __init__(self, fine: int, coarse: int) -> None:
        super().__init__()
        self.fine, self.coarse = basic(fine, fine, 1), basic(coarse, coarse, 1)
        self.up = nn.Sequential(unit(coarse, fine, 1, act="none"), nn.Upsample(scale_factor=2, mode="nearest"))
        self.down = unit(fine, coarse, 3, 2, act="none")
        self.act = ACTIVATIONS["relu"]()

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both branches in, both out."""
        x, y = self.fine(x), self.coarse(y)
        return self.act(x + self.up(y)), self.act(y + self.down(x))


class HighResolution(nn.Module):
    """Two branches that exchange twice, then one classifier."""

    def __init__(self, classes: int = 100) -> None:
        super().__init__()
        self.stem = nn.Sequential(unit(3, 24, 3, 2), unit(24, 24, 3, 2))
        self.split = unit(24, 48, 3, 2)
        self.first, self.second = Exchange(24, 48), Exchange(24, 48)
        self.join = unit(24, 48, 3, 2)
        self.head = classifier(48, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, H, W) to (n, classes)."""
        x = self.stem(x)
        x, y = self.second(*self.first(x, self.split(x)))
        return self.head(self.join(x) + y)


def hrnet() -> nn.Module:
    """HRNet in its structure."""
    return HighResolution()
