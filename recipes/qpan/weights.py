"""Weights of few bits in the forward pass: the nearest integers times a scale per output, gradients as if unrounded.

The float weights are what the optimizer moves; they are never rounded themselves. 8 to 3 bits: integers up to
2^(bits - 1) - 1, the scale of least error; 2 bits: -1, 0 and 1, the scale of least error; 1 bit: signs times the mean
size.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import nn
from torch.nn.utils import parametrize

SHRINK: Final = tuple(float(2.0 ** (-step / 8)) for step in range(20))
"""Parts of the scale that the largest weight fits that are tried."""


class FewBits(nn.Module):
    """A parametrization of a weight (outputs, ...).

    Attributes:
        bits: 1..8.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The weights as they are multiplied."""
        with torch.no_grad():
            levels = rounded(weight, self.bits)
        return weight + (levels - weight).detach()


def rounded(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """Integers of ``bits`` bits times the scale of least error of each output."""
    rows = weight.flatten(1)
    if bits == 1:
        size = rows.abs().mean(dim=1, keepdim=True)
        return torch.where(rows < 0, -size, size).view_as(weight)
    most = 2 ** (bits - 1) - 1
    full = (rows.abs().amax(dim=1, keepdim=True) / most).clamp_min(1e-12)
    best, error = rows, torch.full_like(full, torch.inf)
    for part in SHRINK:
        levels = torch.clamp(torch.round(rows / (full * part)), -most, most)
        power = levels.square().sum(dim=1, keepdim=True)
        scale = torch.where(power > 0, (levels * rows).sum(dim=1, keepdim=True) / power.clamp_min(1e-12), full * part)
        difference = (levels * scale - rows).square().sum(dim=1, keepdim=True)
        best = torch.where(difference < error, levels * scale, best)
        error = torch.minimum(error, difference)
    return best.view_as(weight)


def quantize_weights(net: nn.Module, bits: int) -> None:
    """Let every convolution of ``net`` multiply weights of so many bits from now on."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            parametrize.register_parametrization(module, "weight", FewBits(bits))


def settle_weights(net: nn.Module) -> None:
    """Make the rounded weights the weights."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
