"""Sums that wrap by design: the cyclic activation, what leaves the register, and the table that ``convert`` writes.

For a register of b bits, B = 2**(b - 1), the exact sum z and the slope k:

    m(z) = (z + B) mod 2B - B
    c(z) = m where |m| <= k B / (k + 1), else sign(m) k (B - |m|)

c has the period 2B and is continuous across the wrap, so one step of z moves it by max(1, k) at most; k = infinity is
the plain wrap, which jumps by 2B - 1. c(z) = c(m(z)): inference sees the register only. Idea: WrapNet (2007.13242).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch

from oaq.errors import ConfigError

FEWEST_BITS: Final = 2
MOST_BITS: Final = 16


@dataclass(frozen=True)
class Wrapping:
    """The register that sums of method "wrap" may leave.

    Attributes:
        bits: of the register, 2..16: sums count modulo 2**bits.
        slope: k of the cyclic activation, positive; infinity is the plain wrap, through which nothing trains.
    """

    bits: int = 8
    slope: float = 2.0

    def __post_init__(self) -> None:
        check_wrap_bits(self.bits, "wrapping: bits")
        if not self.slope > 0.0:
            raise ConfigError(f"wrapping: the slope is positive, not {self.slope!r}")


def check_wrap_bits(value: object, name: str) -> None:
    """Raise a ``ConfigError`` unless ``value`` is a number of bits that sums may be counted modulo."""
    if type(value) is not int or not FEWEST_BITS <= value <= MOST_BITS:
        raise ConfigError(f"{name}: {FEWEST_BITS} to {MOST_BITS} bits, not {value!r}")


def in_register(total: torch.Tensor, bits: int) -> torch.Tensor:
    """m(z): what a two's complement register of ``bits`` bits holds; exact for integers that the type holds."""
    half = float(1 << (bits - 1))
    return torch.remainder(total + half, 2 * half) - half


def cyclic(total: torch.Tensor, wrapping: Wrapping) -> torch.Tensor:
    """c(z), with its true gradient: 1 in the middle, -k in the folds."""
    half, slope = float(1 << (wrapping.bits - 1)), wrapping.slope
    held = in_register(total, wrapping.bits)
    if math.isinf(slope):
        return held
    fold = torch.sign(held.detach()) * half - held  # B - |m| with the sign of m, falling as m grows
    return torch.where(held.detach().abs() * (slope + 1) <= slope * half, held, slope * fold)


def excess(total: torch.Tensor, bits: int) -> torch.Tensor:
    """Mean of max(|z| - B, 0) over everything: a mean, so that wide feature maps do not outvote other layers."""
    return torch.relu(total.abs() - float(1 << (bits - 1))).mean()


def outside(total: torch.Tensor, bits: int) -> torch.Tensor:
    """() how many sums leave the register."""
    half = 1 << (bits - 1)
    return ((total < -half) | (total > half - 1)).sum()


def residues(bits: int, device: torch.device) -> torch.Tensor:
    """(2**bits,) float64: m of each residue 0, 1, ..., 2**bits - 1."""
    return in_register(torch.arange(1 << bits, dtype=torch.float64, device=device), bits)
