"""The clock, the draws and the counts of dithered backprop (``qat.dither``) in one network."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from oaq.errors import ConfigError
from oaq.qat.distributed import processes, rank
from oaq.qat.dither import Dither, Step, rounded, step_of


@dataclass(frozen=True)
class DitherState:
    """What dithering did to one layer since it was last asked.

    Attributes:
        iteration: optimizer steps done.
        layer: its name.
        draws: gradients dithered.
        natural_zeros: share of elements that were zero before.
        zeros: share that is zero now.
        bits: of the largest |k| seen, with its sign.
        noise: variance of the dither in parts of the power of the gradient.
        limited: share of draws whose step ``limit`` made larger.
        guarded: share of draws whose step ``most_noise`` made smaller.
        products: multiplications that one of the two products of backprop takes for one element: K.
        values: elements of one gradient.
    """

    iteration: int
    layer: str
    draws: int
    natural_zeros: float
    zeros: float
    bits: int
    noise: float
    limited: float
    guarded: float
    products: int
    values: float


@dataclass
class _Tally:
    """Sums since states were last taken; ``noise``: of ratios."""

    draws: int = 0
    limited: int = 0
    guarded: int = 0
    largest: int = 0
    values: int = 0
    natural: int = 0
    zeros: int = 0
    noise: float = 0.0


class _Dithered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, draw: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:  # noqa: ANN401
        ctx.draw = draw
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradient: torch.Tensor) -> tuple[torch.Tensor, None]:  # noqa: ANN401
        return ctx.draw(gradient[0]), None


class Ditherer(nn.Module):
    """The clock, the draws and the counts of one network; in its checkpoints is the clock.

    Args:
        dither: how.
        products: K by name of every layer that may be dithered.

    Attributes:
        step: forward passes in training so far: with gradients accumulated, every micro-step counts.
        worker: (rank, workers) to draw as; None: of the process group.

    Raises:
        ConfigError: a pattern of ``dither.layers`` matches no layer.
    """

    def __init__(self, dither: Dither, products: Mapping[str, int]) -> None:
        super().__init__()
        self.dither, self.step = dither, 0
        self.worker: tuple[int, int] | None = None
        self._calls: dict[str, int] = {}
        self._tallies: dict[str, _Tally] = {}
        for pattern in dither.layers:
            if not any(re.fullmatch(pattern, name) for name in products):
                names = ", ".join(list(products)[:20])
                raise ConfigError(f"dither: layers: {pattern!r} matches no layer; there are {names}")
        self._products = {
            name: count for name, count in products.items() if any(re.fullmatch(p, name) for p in dither.layers)
        }

    def begin(self) -> None:
        """A forward pass in training begins."""
        self.step += 1
        self._calls.clear()

    def through(self, name: str, output: torch.Tensor) -> torch.Tensor:
        """``output`` of a layer, the gradient of which will be dithered."""
        if not (torch.is_grad_enabled() and output.requires_grad) or self.dither.scale == 0.0:
            return output
        if name not in self._products or output.numel() < self.dither.fewest * max(len(output), 1):
            return output
        call = self._calls.get(name, 0)
        self._calls[name] = call + 1
        return _Dithered.apply(output, partial(self._draw, name, self.step, call))  # type: ignore[return-value]

    def _draw(self, name: str, step: int, call: int, gradient: torch.Tensor) -> torch.Tensor:
        """The dithered gradient, of its own type; counted."""
        dither = self.dither
        member, workers = self.worker if self.worker is not None else (rank(), processes())
        growth = min(step / dither.warmup, 1.0) if dither.warmup else 1.0
        scale = dither.scale * growth * (math.sqrt(workers) if dither.by_workers else 1.0)
        allowed = None if dither.most_noise is None else dither.most_noise * workers
        grid = step_of(gradient, dither, scale, allowed) if scale else Step(0.0)
        if not grid.size:
            return gradient
        generator = torch.Generator(gradient.device).manual_seed(_seed(dither.seed, step, call, name, member))
        uniform = torch.rand(gradient.shape, generator=generator, device=gradient.device)
        k = rounded(gradient.float(), grid.size, uniform, dither.limit)
        self._count(self._tallies.setdefault(name, _Tally()), gradient, k, grid)
        return k.to(gradient.dtype) * grid.size

    def _count(self, tally: _Tally, before: torch.Tensor, k: torch.Tensor, grid: Step) -> None:
        tally.draws += 1
        tally.limited += grid.limited
        tally.guarded += grid.guarded
        tally.largest = max(tally.largest, int(k.abs().max()))
        tally.values += before.numel()
        tally.natural += before.numel() - int(torch.count_nonzero(before))
        tally.zeros += k.numel() - int(torch.count_nonzero(k))
        tally.noise += grid.noise

    def states(self, iteration: int) -> list[DitherState]:
        """What was done since this was last called, layer by layer; begins to count anew."""
        states = [
            DitherState(
                iteration,
                name,
                tally.draws,
                tally.natural / tally.values,
                tally.zeros / tally.values,
                math.ceil(math.log2(tally.largest + 1)) + 1,
                tally.noise / tally.draws,
                tally.limited / tally.draws,
                tally.guarded / tally.draws,
                self._products[name],
                tally.values / tally.draws,
            )
            for name, tally in self._tallies.items()
        ]
        self._tallies.clear()
        return states

    def get_extra_state(self) -> torch.Tensor:
        """The clock."""
        return torch.tensor(self.step)

    def set_extra_state(self, state: torch.Tensor) -> None:
        """The clock of a checkpoint."""
        self.step = int(state)


def _seed(*key: object) -> int:
    """63 bits that depend on every part of the key."""
    digest = hashlib.blake2b("\n".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def skipped(states: Sequence[DitherState]) -> float:
    """Share of the multiplications of backprop's two products that a zero takes part in, over all ``states``.

    Of a layer that keeps its gradient there is no state: it is not counted.
    """
    weights = [state.products * state.values * state.draws for state in states]
    products = sum(weight * state.zeros for weight, state in zip(weights, states, strict=True))
    return products / sum(weights) if sum(weights) else 0.0
