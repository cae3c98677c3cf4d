"""Vision networks of tokens: attention, mixers, and convolutional networks in their manner."""

from __future__ import annotations

import torch
from torch import nn

from recipes.zoo.blocks import LayerNorm2d, Residual, Total, classifier, stages, unit

WIDTH = 64


class Attention(nn.Module):
    """Attention of several heads on (n, T, C)."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        n, count, width = x.shape
        q, k, v = self.qkv(x).reshape(n, count, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).reshape(n, count, width))


def mlp(width: int, inside: int) -> nn.Sequential:
    """Two linear layers with GELU between them."""
    return nn.Sequential(nn.Linear(width, inside), nn.GELU(), nn.Linear(inside, width))


def encoder_block(width: int, heads: int = 4) -> nn.Module:
    """Norm and attention, norm and two linear layers, each beside its input."""
    return nn.Sequential(
        Residual(nn.Sequential(nn.LayerNorm(width), Attention(width, heads))),
        Residual(nn.Sequential(nn.LayerNorm(width), mlp(width, 4 * width))),
    )


class Patches(nn.Module):
    """A convolution whose windows do not overlap; its result as tokens (n, T, C)."""

    def __init__(self, width: int = WIDTH, size: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, size, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, H, W) to (n, T, C)."""
        return self.conv(x).flatten(2).transpose(1, 2)


class ViT(nn.Module):
    """Vision transformer (2010.11929); with ``distilled`` a second token and head (DeiT, 2012.12877)."""

    def __init__(self, depth: int = 3, *, distilled: bool = False) -> None:
        super().__init__()
        extra = 2 if distilled else 1
        self.patches = Patches()
        self.special = nn.Parameter(torch.zeros(1, extra, WIDTH))
        self.position = nn.Parameter(torch.zeros(1, 64 + extra, WIDTH))
        self.blocks = nn.Sequential(*(encoder_block(WIDTH) for _ in range(depth)))
        self.norm = nn.LayerNorm(WIDTH)
        self.heads = nn.ModuleList(nn.Linear(WIDTH, 100) for _ in range(extra))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, 64, 64) to (n, 100)."""
        tokens = self.patches(x)
        tokens = torch.cat([self.special.expand(len(x), -1, -1), tokens], 1) + self.position
        tokens = self.norm(self.blocks(tokens))
        scores = [head(tokens[:, index]) for index, head in enumerate(self.heads)]
        return scores[0] if len(scores) == 1 else (scores[0] + scores[1]) / 2


def vit() -> nn.Module:
    """ViT in its structure."""
    return ViT()


def deit() -> nn.Module:
    """DeiT in its structure."""
    return ViT(distilled=True)


class Windowed(nn.Module):
    """Attention inside windows of 4 x 4 of (n, H, W, C), which may be moved by half a window (Swin, 2103.14030)."""

    def __init__(self, width: int, moved: bool) -> None:
        super().__init__()
        self.moved = moved
        self.attention = Attention(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        n, height, breadth, width = x.shape
        if self.moved:
            x = torch.roll(x, (-2, -2), (1, 2))
        x = x.view(n, height // 4, 4, breadth // 4, 4, width).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, width)
        x = self.attention(x).view(n, height // 4, breadth // 4, 4, 4, width).permute(0, 1, 3, 2, 4, 5)
        x = x.reshape(n, height, breadth, width)
        return torch.roll(x, (2, 2), (1, 2)) if self.moved else x


class Swin(nn.Module):
    """Windowed attention in two stages with merged patches between them."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 48, 4, 4)
        self.first, self.second = self._stage(48), self._stage(96)
        self.norm, self.merge = nn.LayerNorm(192), nn.Linear(192, 96, bias=False)
        self.last, self.head = nn.LayerNorm(96), nn.Linear(96, 100)

    @staticmethod
    def _stage(width: int) -> nn.Module:
        parts: list[nn.Module] = []
        for moved in (False, True):
            parts.append(Residual(nn.Sequential(nn.LayerNorm(width), Windowed(width, moved))))
            parts.append(Residual(nn.Sequential(nn.LayerNorm(width), mlp(width, 4 * width))))
        return nn.Sequential(*parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, 64, 64) to (n, 100)."""
        x = self.first(self.patches(x).permute(0, 2, 3, 1))
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        x = self.second(self.merge(self.norm(torch.cat(corners, -1))))
        return self.head(self.last(x).mean((1, 2)))


def swin() -> nn.Module:
    """Swin in its structure."""
    return Swin()


class Mix(nn.Module):
    """A module on (n, C, T) for tokens (n, T, C)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        return self.body(x.transpose(1, 2)).transpose(1, 2)


class MeanHead(nn.Module):
    """Mean over tokens, then a linear layer."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 100)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, T, C) to (n, 100)."""
        return self.linear(x.mean(1))


def mlp_mixer() -> nn.Module:
    """MLP-Mixer: linear layers over tokens and over channels (2105.01601)."""
    blocks: list[nn.Module] = []
    for _ in range(3):
        blocks.append(Residual(nn.Sequential(nn.LayerNorm(WIDTH), Mix(mlp(64, 32)))))
        blocks.append(Residual(nn.Sequential(nn.LayerNorm(WIDTH), mlp(WIDTH, 2 * WIDTH))))
    return nn.Sequential(Patches(), *blocks, nn.LayerNorm(WIDTH), MeanHead())


class Affine(nn.Module):
    """A scale and a shift per channel of tokens (n, T, C)."""

    def __init__(self, width: int, scale: float = 1.0) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.full((width,), scale)), nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        return x * self.scale + self.shift


def resmlp() -> nn.Module:
    """ResMLP: a mixer whose norms are affine maps (2105.03404)."""
    blocks: list[nn.Module] = []
    for _ in range(3):
        blocks.append(Residual(nn.Sequential(Affine(WIDTH), Mix(nn.Linear(64, 64)), Affine(WIDTH, 0.3))))
        blocks.append(Residual(nn.Sequential(Affine(WIDTH), mlp(WIDTH, 4 * WIDTH), Affine(WIDTH, 0.3))))
    return nn.Sequential(Patches(), *blocks, Affine(WIDTH), MeanHead())


class Pooling(nn.Module):
    """The mean of 3 x 3 without the middle: ``pool(x) - x`` (PoolFormer, 2111.11418)."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        return self.pool(x) - x


class LayerScale(nn.Module):
    """A learned number per channel of (n, C, H, W)."""

    def __init__(self, width: int, scale: float = 0.3) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width, 1, 1), scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        return x * self.gamma


def _conv_mlp(width: int, inside: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, inside, 1), nn.GELU(), nn.Conv2d(inside, width, 1))


def poolformer() -> nn.Module:
    """Pools in place of attention, group norms."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        del inputs, stride
        mixed = Residual(nn.Sequential(nn.GroupNorm(1, outputs), Pooling(), LayerScale(outputs)))
        wide = _conv_mlp(outputs, 4 * outputs)
        return nn.Sequential(mixed, Residual(nn.Sequential(nn.GroupNorm(1, outputs), wide, LayerScale(outputs))))

    return nn.Sequential(
        nn.Conv2d(3, 32, 7, 4, 2), block(32, 32, 1), nn.Conv2d(32, 64, 3, 2, 1), block(64, 64, 1), block(64, 64, 1),
        nn.GroupNorm(1, 64), classifier(64),
    )  # fmt: skip


def convnext() -> nn.Module:
    """ConvNeXt: depthwise 7 x 7, layer norm over channels, two linear layers (2201.03545)."""

    def block(width: int) -> nn.Module:
        parts = [
            nn.Conv2d(width, width, 7, padding=3, groups=width),
            LayerNorm2d(width, 1e-6),
            _conv_mlp(width, 4 * width),
        ]
        return Residual(nn.Sequential(*parts, LayerScale(width)))

    return nn.Sequential(
        nn.Conv2d(3, 32, 4, 4), LayerNorm2d(32), block(32), LayerNorm2d(32), nn.Conv2d(32, 64, 2, 2), block(64),
        block(64), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(64), nn.Linear(64, 100),
    )  # fmt: skip


class Unfolded(nn.Module):
    """Attention between equal places of patches of 2 x 2 (MobileViT, 2110.02178)."""

    def __init__(self, width: int, inside: int) -> None:
        super().__init__()
        self.before = nn.Sequential(unit(width, width, act="silu"), nn.Conv2d(width, inside, 1, bias=False))
        self.blocks = nn.Sequential(encoder_block(inside), encoder_block(inside), nn.LayerNorm(inside))
        self.after = unit(inside, width, 1, act="silu")
        self.join = unit(2 * width, width, act="silu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        y = self.before(x)
        n, width, height, breadth = y.shape
        count = height * breadth // 4
        y = y.reshape(n * width * height // 2, 2, breadth // 2, 2).transpose(1, 2)
        y = y.reshape(n, width, count, 4).transpose(1, 3).reshape(n * 4, count, width)
        y = self.blocks(y).view(n, 4, count, width).transpose(1, 3)
        y = y.reshape(n * width * height // 2, breadth // 2, 2, 2).transpose(1, 2).reshape(n, width, height, breadth)
        return self.join(torch.cat([x, self.after(y)], 1))


def mobilevit() -> nn.Module:
    """MobileViT in its structure."""
    return nn.Sequential(
        unit(3, 16, 3, 2, act="silu"), unit(16, 32, 3, 2, act="silu"), Unfolded(32, 48), unit(32, 64, 3, 2, act="silu"),
        Unfolded(64, 64), unit(64, 160, 1, act="silu"), classifier(160),
    )  # fmt: skip


class ToTokens(nn.Module):
    """(n, C, H, W) to (n, T, C)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        return x.flatten(2).transpose(1, 2)


def efficientformer() -> nn.Module:
    """Pools and convolutions with batch norms first, attention last (2206.01191)."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        down = [unit(inputs, outputs, 3, stride, act="none")] if stride > 1 else []
        wide = nn.Sequential(unit(outputs, 4 * outputs, 1, act="gelu"), unit(4 * outputs, outputs, 1, act="none"))
        mixed = Residual(nn.Sequential(Pooling(), LayerScale(outputs)))
        return nn.Sequential(*down, mixed, Residual(nn.Sequential(wide, LayerScale(outputs))))

    early = stages(block, 32, ((32, 2, 1), (64, 2, 2)))
    return nn.Sequential(
        unit(3, 16, 3, 2), unit(16, 32, 3, 2), early, ToTokens(), encoder_block(64), nn.LayerNorm(64), MeanHead()
    )


class LeViTBlock(nn.Module):
    """Attention on (n, T, C) whose linear layers have batch norms, with hard swish (2104.01136)."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.norm = nn.Linear(width, 2 * width, bias=False), nn.BatchNorm1d(2 * width)
        self.out = nn.Sequential(nn.Hardswish(), nn.Linear(width, width))
        self.bias = nn.Parameter(torch.zeros(heads, 64, 64))
        self.wide = nn.Sequential(nn.Linear(width, 2 * width), nn.Hardswish(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        n, count, width = x.shape
        y = self.qkv(x)
        y = self.norm(y.flatten(0, 1)).reshape_as(y).view(n, count, self.heads, -1)
        size = width // self.heads // 2
        q, k, v = (part.transpose(1, 2) for part in y.split([size, size, 2 * size], 3))
        weights = (q @ k.transpose(-2, -1) * size**-0.5 + self.bias).softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(n, count, width))
        return x + self.wide(x)


def levit() -> nn.Module:
    """LeViT in its structure: a convolutional stem, attention with learned biases."""
    stem = nn.Sequential(
        unit(3, 16, 3, 2, act="hardswish"), unit(16, 32, 3, 2, act="hardswish"), unit(32, 64, 3, 2, act="none")
    )
    return nn.Sequential(stem, ToTokens(), LeViTBlock(64), LeViTBlock(64), MeanHead())


def convmixer() -> nn.Module:
    """Patches, then depthwise convolutions beside their input and 1 x 1, GELU before each norm (2201.09792)."""

    def tail(width: int) -> list[nn.Module]:
        return [nn.GELU(), nn.BatchNorm2d(width)]

    layers: list[nn.Module] = [nn.Conv2d(3, 64, 4, 4), *tail(64)]
    for _ in range(3):
        depthwise = nn.Sequential(nn.Conv2d(64, 64, 7, padding=3, groups=64), *tail(64))
        layers += [Residual(depthwise), nn.Conv2d(64, 64, 1), *tail(64)]
    return nn.Sequential(*layers, classifier(64))


def mobileone() -> nn.Module:
    """MobileOne as it trains: depthwise and pointwise layers of several branches (2206.04040)."""

    def deep(width: int, stride: int) -> nn.Module:
        branches = [
            unit(width, width, 3, stride, groups=width, act="none"),
            unit(width, width, 1, stride, groups=width, act="none"),
        ]
        return Total(*branches, *([nn.BatchNorm2d(width)] if stride == 1 else []), act="relu")

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        wide = Total(unit(inputs, outputs, 1, act="none"), unit(inputs, outputs, 1, act="none"), act="relu")
        return nn.Sequential(deep(inputs, stride), wide)

    return nn.Sequential(unit(3, 24, 3, 2), stages(block, 24, ((32, 2, 2), (64, 2, 2), (96, 2, 2))), classifier(96))
