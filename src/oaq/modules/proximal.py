"""Activations of sparse coding: proximal operators of three penalties, averaged, with parameters of each channel's own.

With clip(c, t) = min(max(c, -t), t), what the operator P of each penalty takes away of a coefficient c is

    soft threshold (absolute value)            c - P(c) = clip(c, l)
    firm threshold (minimax concave penalty)   c - P(c) = clip(c, l) - (clip(c, g l) - clip(c, l)) / (g - 1)
    SCAD (smoothly clipped absolute deviation) c - P(c) = clip(c, l) - (clip(c, a l) - clip(c, 2 l)) / (a - 2)

and their average with weights on the simplex is c - P(c) of the proximal average (Bauschke et al., 2008), the gradient
of its Moreau envelope: bounded, and constant where |c| is beyond the farthest knee T. A coefficient clamped to [-T, T]
therefore gives the very same number, so 8 bits of it are spent inside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from oaq.capture.polyline import Polyline
from oaq.errors import ConfigError

Penalty = Literal["soft", "firm", "scad"]
PENALTIES: Final[tuple[Penalty, ...]] = ("soft", "firm", "scad")
FIRM_RATIO: Final = 2.5
SCAD_RATIO: Final = 3.7
"""Where g and a begin: the average's slopes stay below 1.42."""


class ProximalAverage(nn.Module):
    """The average P of proximal operators, or c - P(c), channel by channel, (n, C, ...) to the same shape.

    All parameters are kept legal by softplus: thresholds above 0, g above 1, a above 2. A network that holds one is
    captured with a table for each channel (``ChannelLookup``).

    Attributes:
        penalties: that are averaged.
        residual: whether it is c - P(c).
        thresholds: (C, penalties) before softplus.
        ratios: (C, 2) g - 1 and a - 2 before softplus.
        logits: (C, penalties) of the weights, before softmax.
        gain: (C,) factor of the result; not trained.
    """

    gain: torch.Tensor

    def __init__(
        self,
        channels: int,
        threshold: float,
        *,
        penalties: Sequence[Penalty] = PENALTIES,
        residual: bool = True,
    ) -> None:
        super().__init__()
        if not penalties or len(set(penalties)) != len(penalties) or not set(penalties) <= set(PENALTIES):
            raise ConfigError(f"penalties are some of {', '.join(PENALTIES)}, each once; not {', '.join(penalties)}")
        if not 0 < threshold < math.inf:
            raise ConfigError(f"a threshold is above 0, not {threshold!r}")
        self.penalties, self.residual = tuple(penalties), residual
        start = inverse_softplus(threshold)
        self.thresholds = nn.Parameter(torch.full((channels, len(self.penalties)), start))
        ends = [inverse_softplus(ratio) for ratio in (FIRM_RATIO - 1, SCAD_RATIO - 2)]
        self.ratios = nn.Parameter(torch.tensor(ends).repeat(channels, 1))
        self.logits = nn.Parameter(torch.zeros(channels, len(self.penalties)))
        self.register_buffer("gain", torch.ones(channels))

    def forward(self, c: torch.Tensor) -> torch.Tensor:
        """See the class."""
        knees, factors = self.ramps()
        shape = (-1, *(1,) * (c.ndim - 2))
        removed = Ramps.apply(c, knees, factors)
        result = removed if self.residual else c - removed
        return result * self.gain.view(shape)

    def ramps(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(C, K) knees t and factors f: c - P(c) is the sum of f clip(c, t)."""
        thresholds, weights = F.softplus(self.thresholds), torch.softmax(self.logits, dim=1)
        slopes = F.softplus(self.ratios)
        knees, factors = [], []
        for index, penalty in enumerate(self.penalties):
            level, weight = thresholds[:, index], weights[:, index]
            if penalty == "soft":
                knees += [level]
                factors += [weight]
            elif penalty == "firm":
                knees += [level, level * (1 + slopes[:, 0])]
                factors += [weight * (1 + 1 / slopes[:, 0]), -weight / slopes[:, 0]]
            else:
                knees += [level, 2 * level, level * (2 + slopes[:, 1])]
                factors += [weight, weight / slopes[:, 1], -weight / slopes[:, 1]]
        return torch.stack(knees, 1), torch.stack(factors, 1)

    def polyline(self) -> Polyline:
        """What each channel computes, for capture."""
        with torch.no_grad():
            knees, factors = (part.double().numpy() for part in self.ramps())
            gain = self.gain.double().numpy()[:, None]
        order = np.argsort(knees, axis=1)
        knees = np.take_along_axis(knees, order, 1)
        places = np.concatenate([-knees[:, ::-1], knees], 1)
        removed = np.clip(places[:, :, None], -knees[:, None], knees[:, None])
        removed = (removed * np.take_along_axis(factors, order, 1)[:, None]).sum(axis=2)
        outer = np.full((len(knees), 2), 0.0 if self.residual else 1.0)
        return Polyline(outer * gain, places, (removed if self.residual else places - removed) * gain)


class Ramps(torch.autograd.Function):
    """The sum over k of f[c, k] clip(x[:, c], t[c, k]); sums over an image are kept, not the image of each ramp."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, knees: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        """(n, C, ...), (C, K) and (C, K)."""
        ctx.save_for_backward(x, knees, factors)
        shape = (-1, *(1,) * (x.ndim - 2))
        y = torch.zeros_like(x)
        for knee, factor in zip(knees.T, factors.T, strict=True):
            edge = knee.reshape(shape)
            y.addcmul_(torch.clamp(x, -edge, edge), factor.reshape(shape))
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # noqa: ANN401
        """Gradients of all three, (n, C, ...), (C, K) and (C, K)."""
        x, knees, factors = ctx.saved_tensors
        gradient, shape = gradients[0], (-1, *(1,) * (x.ndim - 2))
        axes = [axis for axis in range(x.ndim) if axis != 1]
        slope, of_knees, of_factors = torch.zeros_like(x), torch.zeros_like(knees), torch.zeros_like(factors)
        size, moments, signs = x.abs(), gradient * x, gradient * torch.sign(x)
        signs_of_all = signs.sum(axes)
        for index, (knee, factor) in enumerate(zip(knees.T, factors.T, strict=True)):
            inside = (size <= knee.reshape(shape)).to(x.dtype)
            slope.addcmul_(inside, factor.reshape(shape))
            farther = signs_of_all - (signs * inside).sum(axes)
            of_factors[:, index] = (moments * inside).sum(axes) + knee * farther
            of_knees[:, index] = factor * farther
        return gradient * slope, of_knees, of_factors


def inverse_softplus(value: float) -> float:
    """What softplus makes ``value`` of, above 0."""
    return value + math.log(-math.expm1(-value))


def removed_by(penalty: Penalty, c: NDArray[np.float64], threshold: float, ratio: float) -> NDArray[np.float64]:
    """C - P(c) of one penalty by its formula; ``ratio`` is g or a, and unused for "soft"."""

    def clip(edge: float) -> NDArray[np.float64]:
        return np.clip(c, -edge, edge)

    if penalty == "soft":
        return clip(threshold)
    if penalty == "firm":
        return clip(threshold) - (clip(ratio * threshold) - clip(threshold)) / (ratio - 1)
    return clip(threshold) - (clip(ratio * threshold) - clip(2 * threshold)) / (ratio - 2)
