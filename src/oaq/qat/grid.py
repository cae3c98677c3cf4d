"""What a tensor's integers mean during training: scale, zero point, effective range; learned, or following the data."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import Final

import torch
from torch import nn

from oaq.capture.graph import FloatClamp, TensorParams
from oaq.capture.lower import clamp_range
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.ptq.clip import affine_range
from oaq.qat.distributed import greatest
from oaq.qat.gradients import round_through

EMA: Final = 0.9
"""How much of the range seen so far stays when a batch is seen."""
SMALLEST: Final = 1e-12
"""Least scale."""


@dataclass(frozen=True, eq=False)
class Grid:
    """The integers of one tensor in one forward pass.

    Tensors travel *centred*: integer - zero_point, as float32.

    Attributes:
        scale: () float32, of one step; carries gradients if it is learned.
        zero_point: the integer of 0.0.
        range: effective, as the program will declare it.
    """

    scale: torch.Tensor
    zero_point: int
    range: IntRange

    @property
    def reach(self) -> int:
        """Largest magnitude of a centred integer."""
        return max(self.range.hi - self.zero_point, self.zero_point - self.range.lo)

    def params(self) -> TensorParams:
        """Scale, zero point and range as ``capture.lower`` takes them."""
        return TensorParams(Affine(float(self.scale.detach()), self.zero_point), self.range)

    def clamped(self, clamp: FloatClamp | None, where: str) -> Grid:
        """With the range that the clamp of the tensor's writer leaves."""
        if clamp is None:
            return self
        return Grid(self.scale, self.zero_point, clamp_range(clamp, self.params(), where))

    def rounded(self, steps: torch.Tensor) -> torch.Tensor:
        """clamp(round_half_even(steps)): centred integers; the gradient stops where the clamp acts."""
        low, high = self.range.lo - self.zero_point, self.range.hi - self.zero_point
        return torch.clamp(round_through(steps), low, high)


class TensorQuantizer(nn.Module):
    """The grid of a tensor, and of those that share its integers because they only move its values.

    Args:
        params: to begin with; its effective range is [0, steps].
        ends: least and greatest real value seen, holding 0.
        learned: log2 of the scale is a parameter (1903.08066), with the straight-through gradient of LSQ (1902.08153);
            else scale and zero point follow a moving average of the ends, and fewer steps mean a coarser scale.
    """

    most_steps: torch.Tensor
    steps: torch.Tensor
    zero_point: torch.Tensor
    ends: torch.Tensor

    def __init__(self, params: TensorParams, ends: tuple[float, float], *, learned: bool) -> None:
        super().__init__()
        self.register_buffer("most_steps", torch.tensor(params.range.hi))
        self.register_buffer("steps", torch.tensor(params.range.hi))
        self.register_buffer("zero_point", torch.tensor(params.affine.zero_point))
        self.register_buffer("ends", torch.tensor(ends, dtype=torch.float64))
        self.log_scale = nn.Parameter(torch.tensor(params.affine.scale).log2()) if learned else None

    @torch.no_grad()
    def begin(self, params: TensorParams) -> None:
        """Begin anew with other integers; a learned scale only."""
        assert self.log_scale is not None
        self.most_steps.fill_(params.range.hi)
        self.steps.fill_(params.range.hi)
        self.zero_point.fill_(params.affine.zero_point)
        self.log_scale.fill_(log2(params.affine.scale))

    def grid(self) -> Grid:
        """As it is now."""
        steps = int(self.steps)
        if self.log_scale is None:
            lo, hi = self.ends.tolist()
            params = affine_range(lo, hi, steps)
            scale = torch.tensor(params.affine.scale, device=self.ends.device)
            return Grid(scale, params.affine.zero_point, params.range)
        return Grid(torch.exp2(self.log_scale).clamp_min(SMALLEST), int(self.zero_point), IntRange(0, steps))

    def observe(self, real: torch.Tensor) -> None:
        """Follow the values of a batch (of every process)."""
        if self.log_scale is None:
            lo, hi = real.detach().aminmax()
            extremes = greatest(torch.stack([-lo.clamp_max(0.0), hi.clamp_min(0.0)]).double())
            self.ends.mul_(EMA).add_(torch.stack([-extremes[0], extremes[1]]), alpha=1 - EMA)

    def set_steps(self, steps: int) -> None:
        """Use ``steps`` steps; a learned scale keeps the real range, a zero point its place in it."""
        old = int(self.steps)
        if steps == old:
            return
        self.steps.fill_(steps)
        self.zero_point.fill_(min(max(round(int(self.zero_point) * steps / old), 0), steps))
        if self.log_scale is not None:
            with torch.no_grad():
                self.log_scale.add_(log2(old / steps))


class FixedQuantizer(TensorQuantizer):
    """A grid that training does not move: levels that other tables and weights are made for."""

    def __init__(self, params: TensorParams) -> None:
        super().__init__(params, (0.0, 0.0), learned=False)
        self.register_buffer("scale", torch.tensor(params.affine.scale))

    scale: torch.Tensor

    def grid(self) -> Grid:
        """As it was chosen."""
        return Grid(self.scale, int(self.zero_point), IntRange(0, int(self.steps)))

    def observe(self, real: torch.Tensor) -> None:
        """Nothing follows data."""

    def set_steps(self, steps: int) -> None:
        """Nothing is narrowed."""
