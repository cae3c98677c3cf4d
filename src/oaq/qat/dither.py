"""Dithered backprop: gradients of layers' outputs as few small integers times one step, without bias.

Of the gradient g of a layer's sums, just before the two products of backprop,

    D  = max(s * unit(g), max |g| / limit)      unit: the standard deviation over the tensor, by default
    k  = floor(g / D) + [u < frac(g / D)]       u uniform in [0, 1), drawn anew for each element
    g~ = k D

so E[g~] = g and |k| <= limit: what is not zero has so few bits that both products could be sums of integers. Idea:
non-subtractive dither (Wiedemann et al., 2004.04729); this is its rounding on a grid that holds zero. Forward passes
are what they were. Each draw depends on (seed, step, layer, call, worker) only, and N workers, whose mean has a
variance N times smaller, dither with s sqrt(N).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import torch

from oaq.errors import ConfigError

Unit = Literal["std", "nonzero_std", "mean_abs"]
UNITS: Final[Mapping[Unit, Callable[[torch.Tensor], torch.Tensor]]] = {
    "std": lambda g: g.std(correction=0),
    "nonzero_std": lambda g: g[g != 0].std(correction=0),
    "mean_abs": lambda g: g.abs().mean(),
}
MOST_LIMIT: Final = 127
LEAST_CUT: Final = 0.9
"""Largest part of its size that a step keeps when the guard makes it smaller."""


@dataclass(frozen=True)
class Dither:
    """How gradients are dithered.

    Attributes:
        scale: s: the step in parts of ``unit``; 0 switches dithering off.
        limit: most |k|, 1..127: 127 makes every non-zero an s8.
        unit: of what the step is ``scale`` times, over the whole gradient of a layer: its standard deviation, that of
            what is not zero, or its mean magnitude.
        layers: regular expressions for whole names of layers; a layer that none matches keeps its gradient.
        fewest: a layer with fewer values in one sample of its output keeps its gradient: that of a head of few classes
            is few numbers of very unlike size.
        most_noise: variance of the dither, in parts of the power of the gradient, beyond which a step is made smaller;
            N workers are allowed N times as much. ``limit`` comes first. None: no bound.
        warmup: steps over which ``scale`` grows from nothing.
        by_workers: whether ``scale`` grows with the square root of the number of processes.
        seed: of every draw.
    """

    scale: float = 2.0
    limit: int = MOST_LIMIT
    unit: Unit = "std"
    layers: tuple[str, ...] = (".*",)
    fewest: int = 16
    most_noise: float | None = 2.0
    warmup: int = 0
    by_workers: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.scale < float("inf"):
            raise ConfigError(f"dither: the scale is at least 0 and finite, not {self.scale!r}")
        if type(self.limit) is not int or not 1 <= self.limit <= MOST_LIMIT:
            raise ConfigError(f"dither: limit is 1 to {MOST_LIMIT}, not {self.limit!r}")
        if self.unit not in UNITS:
            raise ConfigError(f"dither: unit is one of {', '.join(UNITS)}, not {self.unit!r}")
        if self.most_noise is not None and not 0.0 < self.most_noise < float("inf"):
            raise ConfigError(f"dither: most_noise is positive and finite, or None; not {self.most_noise!r}")
        for setting in ("fewest", "warmup", "seed"):
            value = getattr(self, setting)
            if type(value) is not int or value < 0:
                raise ConfigError(f"dither: {setting} is a whole number, at least 0; not {value!r}")
        for pattern in self.layers:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigError(f"dither: layers: {pattern!r} is not a regular expression: {error}") from error


@dataclass(frozen=True)
class Step:
    """The step of one gradient.

    Attributes:
        size: D; 0: the gradient stays as it is, being zero, not finite, or so large that k D could leave its type.
        limited: ``limit`` made it larger.
        guarded: ``most_noise`` made it smaller.
        noise: variance of the dither in parts of the power of the gradient.
    """

    size: float
    limited: bool = False
    guarded: bool = False
    noise: float = 0.0


def step_of(gradient: torch.Tensor, dither: Dither, scale: float, most_noise: float | None) -> Step:
    """The step of a gradient; a power of two for types of 8 to 11 significant bits, in which k D is exact then.

    Args:
        gradient: any shape, float.
        dither: limit and unit.
        scale: s of this step of training, over all workers.
        most_noise: what the guard allows, over all workers.
    """
    exact = gradient.float().double()  # neither squares nor tiny quotients leave the range
    largest = float(exact.abs().max()) if exact.numel() else 0.0
    if not 0.0 < largest < math.inf:
        return Step(0.0)
    binary = gradient.dtype in (torch.float16, torch.bfloat16)
    kind = torch.finfo(gradient.dtype)
    least = _fit(max(largest / dither.limit, kind.tiny * kind.eps), binary=binary)
    room = min(kind.max, torch.finfo(torch.float32).max) - largest  # |k| D is below largest + D
    if least > room:
        return Step(0.0)
    if binary:
        room = 2.0 ** math.floor(math.log2(room))
    aim, guarded = min(scale * float(UNITS[dither.unit](exact).float()), room), False
    size = max(_fit(aim, binary=binary), least)
    noise, power = _noise(exact, size)
    while most_noise is not None and noise > most_noise * power and size > least:
        cut = 0.5 if binary else min((1 + most_noise) / (1 + noise / power), LEAST_CUT)
        size, guarded = max(size * cut, least), True
        noise, power = _noise(exact, size)
    return Step(size, aim < least, guarded, noise / power)


def _fit(size: float, *, binary: bool) -> float:
    """``size``, or the next power of two that is not below it."""
    return 2.0 ** math.ceil(math.log2(size)) if binary and size > 0.0 else size


def rounded(gradient: torch.Tensor, size: float, uniform: torch.Tensor, limit: int) -> torch.Tensor:
    """k: integers of at most ``limit`` as float32, whose mean over ``uniform`` is gradient / size.

    The fraction is exact and compared with a draw, so no addition rounds a large quotient up to the next integer.
    """
    steps = gradient / size
    floor = torch.floor(steps)
    return (floor + (uniform < steps - floor)).clamp_(-limit, limit)


def _noise(gradient: torch.Tensor, size: float) -> tuple[float, float]:
    """Variance of the dither and power of the gradient, summed over elements, in units of size**2."""
    steps = gradient / size
    part = steps - torch.floor(steps)
    return float((part * (1 - part)).sum()), float(steps.square().sum())
