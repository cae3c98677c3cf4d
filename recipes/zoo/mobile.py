"""Networks for phones: depthwise convolutions, gates, shuffled channels, cheap copies."""

from __future__ import annotations

import torch
from torch import nn

from recipes.zoo.blocks import Gate, Residual, classifier, separable, stages, unit


def inverted(
    inputs: int,
    outputs: int,
    stride: int,
    *,
    expand: int = 4,
    kernel: int = 3,
    act: str = "relu6",
    gate: nn.Module | None = None,
) -> nn.Module:
    """Expand, depthwise, gate, project; added to its input where the shapes allow it (1801.04381)."""
    inside = inputs * expand
    body = nn.Sequential(
        unit(inputs, inside, 1, act=act) if expand > 1 else nn.Identity(),
        unit(inside, inside, kernel, stride, groups=inside, act=act),
        nn.Identity() if gate is None else gate,
        unit(inside, outputs, 1, act="none"),
    )
    return Residual(body) if stride == 1 and inputs == outputs else body


def mobilenet_v1() -> nn.Module:
    """Separable convolutions in a row (1704.04861)."""
    return nn.Sequential(
        unit(3, 16, 3, 2), stages(separable, 16, ((32, 1, 1), (64, 2, 2), (128, 3, 2))), classifier(128)
    )


def mobilenet_v2() -> nn.Module:
    """Inverted residuals."""
    body = stages(inverted, 16, ((24, 2, 2), (32, 2, 2), (64, 2, 2)))
    return nn.Sequential(unit(3, 16, 3, 2, act="relu6"), body, unit(64, 192, 1, act="relu6"), classifier(192))


def _mobilenet_v3(plan: tuple[tuple[int, int, int, str, bool], ...], last: int) -> nn.Module:
    """Blocks of (outputs, kernel, stride, activation, gated), then the head with its second linear layer."""
    layers: list[nn.Module] = [unit(3, 16, 3, 2, act="hardswish")]
    inputs = 16
    for outputs, kernel, stride, act, gated in plan:
        gate = Gate(inputs * 4, inputs, "relu", "hardsigmoid") if gated else None
        layers.append(inverted(inputs, outputs, stride, kernel=kernel, act=act, gate=gate))
        inputs = outputs
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, 128), nn.Hardswish(), nn.Linear(128, 100)]
    return nn.Sequential(*layers, unit(inputs, last, 1, act="hardswish"), *head)


def mobilenet_v3_small() -> nn.Module:
    """MobileNetV3 small in its structure (1905.02244)."""
    plan = (
        (16, 3, 2, "relu", True),
        (24, 3, 1, "relu", False),
        (32, 5, 2, "hardswish", True),
        (48, 5, 1, "hardswish", True),
    )
    return _mobilenet_v3(plan, 192)


def mobilenet_v3_large() -> nn.Module:
    """MobileNetV3 large in its structure."""
    plan = (
        (16, 3, 1, "relu", False), (24, 3, 2, "relu", False), (24, 3, 1, "relu", False), (40, 5, 2, "relu", True),
        (40, 5, 1, "relu", True), (64, 3, 2, "hardswish", False), (64, 3, 1, "hardswish", False),
        (80, 3, 1, "hardswish", True),
    )  # fmt: skip
    return _mobilenet_v3(plan, 256)


def efficientnet() -> nn.Module:
    """EfficientNet-B0 in its structure: SiLU and gates (1905.11946)."""
    layers: list[nn.Module] = [unit(3, 16, 3, 2, act="silu")]
    inputs = 16
    for outputs, kernel, stride, expand in (
        (16, 3, 1, 1),
        (24, 3, 2, 4),
        (24, 3, 1, 4),
        (40, 5, 2, 4),
        (40, 5, 1, 4),
        (64, 3, 2, 4),
    ):
        gate = Gate(inputs * expand, max(inputs // 4, 4), "silu")
        layers.append(inverted(inputs, outputs, stride, expand=expand, kernel=kernel, act="silu", gate=gate))
        inputs = outputs
    return nn.Sequential(*layers, unit(inputs, 192, 1, act="silu"), classifier(192))


def efficientnet_v2() -> nn.Module:
    """EfficientNetV2 in its structure: expansion and depthwise fused into one 3 x 3 in early stages (2104.00298)."""

    def fused(inputs: int, outputs: int, stride: int) -> nn.Module:
        body = nn.Sequential(unit(inputs, 3 * inputs, 3, stride, act="silu"), unit(3 * inputs, outputs, 1, act="none"))
        return Residual(body) if stride == 1 and inputs == outputs else body

    def gated(inputs: int, outputs: int, stride: int) -> nn.Module:
        return inverted(inputs, outputs, stride, act="silu", gate=Gate(4 * inputs, inputs // 4, "silu"))

    early, late = stages(fused, 16, ((16, 1, 1), (32, 2, 2))), stages(gated, 32, ((48, 2, 2), (64, 2, 2)))
    return nn.Sequential(unit(3, 16, 3, 2, act="silu"), early, late, unit(64, 192, 1, act="silu"), classifier(192))


def mnasnet() -> nn.Module:
    """Inverted residuals of 3 x 3 and 5 x 5 with ReLU (1807.11626)."""

    def wide(inputs: int, outputs: int, stride: int) -> nn.Module:
        return inverted(inputs, outputs, stride, expand=3, kernel=5, act="relu")

    def narrow(inputs: int, outputs: int, stride: int) -> nn.Module:
        return inverted(inputs, outputs, stride, expand=3, act="relu")

    body = nn.Sequential(stages(narrow, 16, ((24, 2, 2),)), stages(wide, 24, ((40, 2, 2), (80, 2, 2))))
    return nn.Sequential(unit(3, 32, 3, 2), separable(32, 16), body, unit(80, 192, 1), classifier(192))


def shuffle(x: torch.Tensor, groups: int) -> torch.Tensor:
    """Channels of (n, C, H, W), counted group by group, dealt out."""
    n, width, height, breadth = x.shape
    return x.view(n, groups, width // groups, height, breadth).transpose(1, 2).reshape(n, width, height, breadth)


class Shuffled(nn.Module):
    """Half of the channels pass, half go through a block, all are shuffled (ShuffleNetV2, 1807.11164)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.splits = stride == 1
        inside = inputs // 2 if self.splits else inputs
        self.body = nn.Sequential(
            unit(inside, half, 1), unit(half, half, 3, stride, groups=half, act="none"), unit(half, half, 1)
        )
        self.side = (
            nn.Identity()
            if self.splits
            else nn.Sequential(unit(inputs, inputs, 3, stride, groups=inputs, act="none"), unit(inputs, half, 1))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        a, b = x.chunk(2, 1) if self.splits else (x, x)
        return shuffle(torch.cat([self.side(a), self.body(b)], 1), 2)


def shufflenet_v2() -> nn.Module:
    """Shuffled blocks."""
    body = stages(Shuffled, 24, ((48, 2, 2), (96, 3, 2), (128, 2, 2)))
    return nn.Sequential(unit(3, 24, 3, 2), body, unit(128, 192, 1), classifier(192))


class GroupedShuffle(nn.Module):
    """Grouped 1 x 1, shuffle, depthwise, grouped 1 x 1, beside the input or a mean of it (1707.01083)."""

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int = 4) -> None:
        super().__init__()
        self.groups, self.strided = groups, stride > 1
        produced = outputs - inputs if self.strided else outputs
        inside = outputs // 4
        self.first = unit(inputs, inside, 1, groups=groups)
        self.rest = nn.Sequential(
            unit(inside, inside, 3, stride, groups=inside, act="none"),
            unit(inside, produced, 1, groups=groups, act="none"),
        )
        self.pool = nn.AvgPool2d(3, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        y = self.rest(shuffle(self.first(x), self.groups))
        return torch.relu(torch.cat([self.pool(x), y], 1) if self.strided else x + y)


def shufflenet_v1() -> nn.Module:
    """Grouped convolutions with shuffled channels."""
    body = stages(GroupedShuffle, 24, ((64, 2, 2), (128, 2, 2)))
    return nn.Sequential(unit(3, 24, 3, 2), body, classifier(128))


class Ghost(nn.Module):
    """Half of the outputs by 1 x 1, the other half by a cheap depthwise 3 x 3 of them (1911.11907)."""

    def __init__(self, inputs: int, outputs: int, act: str = "relu") -> None:
        super().__init__()
        self.primary = unit(inputs, outputs // 2, 1, act=act)
        self.cheap = unit(outputs // 2, outputs // 2, groups=outputs // 2, act=act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        y = self.primary(x)
        return torch.cat([y, self.cheap(y)], 1)


def ghostnet() -> nn.Module:
    """Ghost bottlenecks with gates."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        inside = 2 * inputs
        down = unit(inside, inside, 3, stride, groups=inside, act="none") if stride > 1 else nn.Identity()
        gate = Gate(inside, inputs // 2, gate="hardsigmoid")
        body = nn.Sequential(Ghost(inputs, inside), down, gate, Ghost(inside, outputs, "none"))
        if stride == 1 and inputs == outputs:
            return Residual(body)
        side = nn.Sequential(
            unit(inputs, inputs, 3, stride, groups=inputs, act="none"), unit(inputs, outputs, 1, act="none")
        )
        return Residual(body, side)

    return nn.Sequential(
        unit(3, 16, 3, 2), stages(block, 16, ((24, 2, 2), (40, 2, 2), (80, 2, 2))), unit(80, 160, 1), classifier(160)
    )


def lcnet() -> nn.Module:
    """PP-LCNet in its structure: separable convolutions with hard swish, gates late (2109.15099)."""

    def late(inputs: int, outputs: int, stride: int) -> nn.Module:
        depthwise = unit(inputs, inputs, 5, stride, groups=inputs, act="hardswish")
        gate = Gate(inputs, inputs // 4, gate="hardsigmoid")
        return nn.Sequential(depthwise, gate, unit(inputs, outputs, 1, act="hardswish"))

    def early(inputs: int, outputs: int, stride: int) -> nn.Module:
        return separable(inputs, outputs, stride, act="hardswish")

    body = nn.Sequential(stages(early, 16, ((32, 1, 1), (64, 2, 2))), stages(late, 64, ((128, 2, 2),)))
    head = [nn.AdaptiveAvgPool2d(1), nn.Conv2d(128, 192, 1), nn.Hardswish(), nn.Flatten(), nn.Linear(192, 100)]
    return nn.Sequential(unit(3, 16, 3, 2, act="hardswish"), body, *head)
