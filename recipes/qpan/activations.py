"""Proximal operators of penalties on coefficients, and their average, as activations with parameters per channel.

Soft threshold: the operator of the absolute value. Firm threshold: of the minimax concave penalty. SCAD: of the
smoothly clipped absolute deviation. Their average P with weights on the simplex belongs to the proximal average of the
three penalties; c - P(c) is the gradient of its Moreau envelope, bounded and constant beyond the last knee.
Parameters are kept legal (thresholds above 0, firm's ratio above 1, SCAD's above 2) by softplus.
"""

from __future__ import annotations

import math
from typing import Final

import torch

FIRM_RATIO: Final = 2.5
SCAD_RATIO: Final = 3.7
"""Where training starts: slopes stay below 1.7, so that the average expands distances by less than 1.42."""


def soft(c: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """0 up to ``threshold``, then |c| less the threshold, with the sign of c."""
    return c - torch.clamp(c, -threshold, threshold)


def firm(c: torch.Tensor, threshold: torch.Tensor, ratio: torch.Tensor) -> torch.Tensor:
    """0 up to ``threshold``, the identity from ``ratio`` times it on, a line between."""
    size = torch.clamp(ratio / (ratio - 1) * (c.abs() - threshold), min=0)
    return torch.sign(c) * torch.minimum(c.abs(), size)


def scad(c: torch.Tensor, threshold: torch.Tensor, ratio: torch.Tensor) -> torch.Tensor:
    """Soft up to twice ``threshold``, the identity from ``ratio`` times it on, a line between."""
    size, sign = c.abs(), torch.sign(c)
    line = ((ratio - 1) * c - sign * ratio * threshold) / (ratio - 2)
    return torch.where(size <= 2 * threshold, soft(c, threshold), torch.where(size <= ratio * threshold, line, c))


def inverse_softplus(value: float) -> float:
    """What softplus makes ``value`` of, above 0."""
    return value + math.log(-math.expm1(-value))
