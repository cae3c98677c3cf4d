"""Parts that many architectures share: convolution with norm and activation, sums, branches, gates, heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import nn

ACTIVATIONS: Final[dict[str, Callable[[], nn.Module]]] = {
    "none": nn.Identity,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "hardsigmoid": nn.Hardsigmoid,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "mish": nn.Mish,
    "leaky": lambda: nn.LeakyReLU(0.1),
    "elu": nn.ELU,
    "tanh": nn.Tanh,
}


def unit(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    *,
    groups: int = 1,
    act: str = "relu",
    dilation: int = 1,
) -> nn.Sequential:
    """Convolution with zeros around it, batch norm, activation; (n, C, H, W)."""
    padding = dilation * (kernel - 1) // 2
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(outputs),
        ACTIVATIONS[act](),
    )


def separable(inputs: int, outputs: int, stride: int = 1, *, act: str = "relu") -> nn.Sequential:
    """Depthwise 3 x 3, then 1 x 1, each with norm and activation."""
    return nn.Sequential(unit(inputs, inputs, 3, stride, groups=inputs, act=act), unit(inputs, outputs, 1, act=act))


def classifier(width: int, classes: int = 100) -> nn.Sequential:
    """Mean over positions, one linear layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


class Residual(nn.Module):
    """``act(body(x) + shortcut(x))``."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None, act: str = "none") -> None:
        super().__init__()
        self.body = body
        self.shortcut = nn.Identity() if shortcut is None else shortcut
        self.act = ACTIVATIONS[act]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        return self.act(self.body(x) + self.shortcut(x))


class Branches(nn.Module):
    """Results of several modules on one tensor, side by side on the channel axis."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        return torch.cat([branch(x) for branch in self.branches], 1)


class Total(nn.Module):
    """Sum of the results of several modules on one tensor, then an activation."""

    def __init__(self, *branches: nn.Module, act: str = "none") -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.act = ACTIVATIONS[act]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        total = self.branches[0](x)
        for branch in self.branches[1:]:
            total = total + branch(x)
        return self.act(total)


class Gate(nn.Module):
    """Channels multiplied by numbers in (0, 1) that their means give (squeeze and excite, 1709.01507)."""

    def __init__(self, width: int, reduced: int, act: str = "relu", gate: str = "sigmoid") -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, reduced, 1),
            ACTIVATIONS[act](),
            nn.Conv2d(reduced, width, 1),
            ACTIVATIONS[gate](),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        return x * self.weigh(x)


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of (n, C, H, W)."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def stages(block: Callable[[int, int, int], nn.Module], inputs: int, plan: Sequence[tuple[int, int, int]]) -> nn.Module:
    """Blocks of (inputs, outputs, stride) in a row, for each (outputs, repeats, stride of the first) of ``plan``."""
    layers: list[nn.Module] = []
    for outputs, repeats, stride in plan:
        for turn in range(repeats):
            layers.append(block(inputs, outputs, 1 if turn else stride))
            inputs = outputs
    return nn.Sequential(*layers)
