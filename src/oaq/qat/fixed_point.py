"""The laws of ``fixed_point`` on tensors: the very integers, by 64-bit multiplication and shift."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from oaq.capture.graph import FloatNode
from oaq.capture.lower import requantized
from oaq.errors import ProgramError
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec, rules_of
from oaq.program.layout import channels_last
from oaq.qat.grid import Grid


@torch.no_grad()
def in_fixed_point(total: torch.Tensor, ratio: torch.Tensor, where: str) -> torch.Tensor:
    """Exact sums (batch, N, ...) brought to (N,) ratios of scales and rounded, float32: |sums| below 2**31.

    Raises:
        ProgramError: a ratio has no multiplier.
    """
    try:
        numbers = Requantize.from_scales(ratio.cpu().numpy(), "fixed_point")
    except ValueError as error:
        raise ProgramError(f"{where}: {error}") from error
    channel = (-1, *(1,) * (total.ndim - 2))
    multiplier, shift = (
        torch.from_numpy(np.asarray(values, np.int64)).to(total.device).reshape(channel)
        for values in (numbers.multiplier, numbers.shift)
    )
    return ((total.long() * multiplier + (1 << (shift - 1))) >> shift).float()


@torch.no_grad()
def law_in_fixed_point(node: FloatNode, inputs: Sequence[torch.Tensor], grids: Sequence[Grid], y: Grid) -> torch.Tensor:
    """Centred integers of an operator that requantizes, by the reference's own law."""
    arrays = [
        np.ascontiguousarray(np.moveaxis((x + grid.zero_point).cpu().numpy().astype(np.uint8), 1, -1))
        for x, grid in zip(inputs, grids, strict=True)
    ]
    specs = [_spec(x.shape, grid) for x, grid in zip(inputs, grids, strict=True)]
    shapes = [spec.shape for spec in specs]
    scales = np.array([np.float32(spec.affine.scale) for spec in specs])
    op = requantized(node, shapes, scales, np.float32(y.params().affine.scale), "fixed_point")
    shape = rules_of(op).shape(op, shapes)
    result = rules_of(op).law(op, arrays, specs, TensorSpec("y", shape, y.params().affine, y.range))
    centred = np.ascontiguousarray(np.moveaxis(result, -1, 1)) - y.zero_point
    return torch.from_numpy(centred.astype(np.float32)).to(inputs[0].device)


def _spec(shape: torch.Size, grid: Grid) -> TensorSpec:
    params = grid.params()
    return TensorSpec("x", channels_last(tuple(shape[1:])), params.affine, grid.range)
