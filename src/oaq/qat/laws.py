"""The laws of the operators that sum no products, on centred integers, so that a forward pass is the program's.

Each operator that requantizes returns its result in steps of the output *before* rounding (float32, the very float that
the law rounds); those that only move integers return integers. ``oaq.reference`` is what they must equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, Final

import numpy as np
import torch

from oaq.capture import graph as fg
from oaq.capture.functions import FUNCTIONS
from oaq.capture.graph import FloatNode
from oaq.errors import UnsupportedOp
from oaq.numerics.requantize import Semantics
from oaq.operators.coarsen import place_and_step
from oaq.operators.resize import WEIGHT_BITS, Taps, taps_of
from oaq.ptq.execute import apply_op
from oaq.ptq.windows import by_channel, padded, sum_under
from oaq.qat.fixed_point import law_in_fixed_point
from oaq.qat.gradients import EXACT_FLOAT32, replaced
from oaq.qat.grid import Grid

Inputs = Sequence[torch.Tensor]
"""Centred integers, (batch, C, ...) each."""


def moves(node: FloatNode) -> bool:
    """True iff the node only moves or selects integers: its output has the grid of its input."""
    return fg.rules_of(node.op).same_affine


def in_steps(
    node: FloatNode, inputs: Sequence[torch.Tensor], grids: Sequence[Grid], y: Grid, semantics: Semantics
) -> torch.Tensor:
    """The result of a requantizing operator in steps of ``y``, not yet rounded or clamped; in fixed point it is both.

    Raises:
        UnsupportedOp: no law for it.
    """
    rules = fg.rules_of(node.op)
    if rules.name not in IN_STEPS:
        raise UnsupportedOp(f"{node.name}: there is no law to train {rules.name} by")
    steps = IN_STEPS[rules.name](node, inputs, grids, y)
    if semantics == "fixed_point" and rules.ratios is not None:
        low, high = y.range.lo - y.zero_point - 0.5, y.range.hi - y.zero_point + 0.5  # beyond, the law clamps
        return replaced(steps.clamp(low, high), law_in_fixed_point(node, inputs, grids, y))
    return steps


def moved(node: FloatNode, x: torch.Tensor, grid: Grid) -> torch.Tensor:
    """The result of an operator that moves integers: what it computes of reals, if it has no law of its own."""
    law = MOVED.get(fg.rules_of(node.op).name)
    return apply_op(node, [x]) if law is None else law(node, x, grid)


def _per_input(inputs: Inputs, grids: Sequence[Grid], y: Grid) -> list[torch.Tensor]:
    """Each input in steps of the output."""
    return [x * (grid.scale / y.scale) for x, grid in zip(inputs, grids, strict=True)]


def _add(_node: FloatNode, inputs: Inputs, grids: Sequence[Grid], y: Grid) -> torch.Tensor:
    a, b = _per_input(inputs, grids, y)
    return a + b


def _mul(_node: FloatNode, inputs: Inputs, grids: Sequence[Grid], y: Grid) -> torch.Tensor:
    a, b = inputs
    return (a * by_channel(b, a)) * (grids[0].scale * grids[1].scale / y.scale)


def _concat(_node: FloatNode, inputs: Inputs, grids: Sequence[Grid], y: Grid) -> torch.Tensor:
    return torch.cat(_per_input(inputs, grids, y), dim=1)


def _global_avg_pool(_node: FloatNode, inputs: Inputs, grids: Sequence[Grid], y: Grid) -> torch.Tensor:
    x, count = inputs[0], prod(inputs[0].shape[2:])
    exact = x.double() if count * grids[0].reach >= EXACT_FLOAT32 else x
    total = exact.sum(dim=tuple(range(2, x.ndim)), keepdim=True).float()
    return total * (grids[0].scale / y.scale / torch.tensor(float(count), device=x.device))


def _max_pool(node: FloatNode, x: torch.Tensor, grid: Grid) -> torch.Tensor:
    low = float(grid.range.lo - grid.zero_point)
    return apply_op(node, [x]).clamp_min(low)  # a window without any input holds minus infinity


def _resize(node: FloatNode, x: torch.Tensor, _grid: Grid) -> torch.Tensor:
    op: Any = node.op
    if op.mode == "nearest":
        rows = torch.arange(op.height, device=x.device) * x.shape[2] // op.height
        columns = torch.arange(op.width, device=x.device) * x.shape[3] // op.width
        return x[:, :, rows][:, :, :, columns]
    taps = taps_of(op.mode)
    mixed = _interpolated(x.double(), 2, taps(x.shape[2], op.height))
    mixed = _interpolated(mixed, 3, taps(x.shape[3], op.width))
    return (mixed + (torch.floor(mixed + 0.5) - mixed).detach()).float()


def _interpolated(x: torch.Tensor, axis: int, taps: Taps) -> torch.Tensor:
    """One axis by weights that are multiples of 2**-11: exact in float64."""
    first, second, weight = (torch.from_numpy(array).to(x.device) for array in taps)
    part = (weight.double() / (1 << WEIGHT_BITS)).reshape([-1 if index == axis else 1 for index in range(x.ndim)])
    return x.index_select(axis, first) * (1.0 - part) + x.index_select(axis, second) * part


def _avg_pool(node: FloatNode, inputs: Inputs, grids: Sequence[Grid], y: Grid) -> torch.Tensor:
    op: Any = node.op
    x, ratio = inputs[0], grids[0].scale / y.scale
    total = sum_under(padded(x, op.padding).double(), op).float()
    count = torch.full(total.shape[2:], float(prod(op.kernel)), device=x.device)
    if not op.count_include_pad:
        count = sum_under(padded(torch.ones_like(x[:1, :1]), op.padding), op)[0, 0]
    return total * (ratio / count)


def _looked_up(node: FloatNode, inputs: Inputs, grids: Sequence[Grid], y: Grid) -> torch.Tensor:
    """The 256 results computed in float64 as ``capture.lower`` does; the gradient is the function's own."""
    op: Any = node.op
    x, grid = inputs[0], grids[0]
    smooth = apply_op(node, [x * grid.scale]) / y.scale
    with torch.no_grad():
        table = _table(op, grid, y).to(x.device)
        exact = table[(x + grid.zero_point).long()]
    return replaced(smooth, exact)


def _looked_up_by_channel(node: FloatNode, inputs: Inputs, grids: Sequence[Grid], y: Grid) -> torch.Tensor:
    """``_looked_up``, a table for each channel."""
    op: Any = node.op
    x, grid = inputs[0], grids[0]
    smooth = apply_op(node, [x * grid.scale]) / y.scale
    with torch.no_grad():
        tables = [_table(own, grid, y, factors) for own, *factors in op.channels()]
        channel = torch.arange(len(tables), device=x.device).reshape(-1, *(1,) * (x.ndim - 2))
        exact = torch.stack(tables).to(x.device)[channel, (x + grid.zero_point).long()]
    return replaced(smooth, exact)


def _table(op: fg.FloatFunction, x: Grid, y: Grid, factors: Sequence[float] = (1.0, 1.0)) -> torch.Tensor:
    """(256,) results in steps of ``y``, clamped, for every integer of ``x``; ``factors``: of reads and writes."""
    scale, y_scale = float(x.scale.detach()), float(y.scale.detach())
    real = (np.arange(256, dtype=np.float64) - x.zero_point) * scale
    steps = np.rint(FUNCTIONS[op.name](real / factors[0], *op.parameters) * factors[1] / y_scale)
    low, high = y.range.lo - y.zero_point, y.range.hi - y.zero_point
    return torch.from_numpy(np.clip(steps, low, high).astype(np.float32))


def _coarsen(node: FloatNode, x: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Statistics as the reference takes them; the gradient passes where no level is the outermost for being so."""
    op: Any = node.op
    integers = x.detach().long() + grid.zero_point
    off = torch.from_numpy(op.rectified.astype(np.int64)) * grid.zero_point
    above = (integers.flatten(2) if x.ndim > 2 else integers[:, :, None]) - off.to(x.device)[None, :, None]
    above = torch.where(above > 0, above, 0)  # of what is not rectified, integers are not negative
    is_counted = (above > 0) | torch.from_numpy(op.rectified == 0).to(x.device)[None, :, None]
    parts = [part.sum(dim=2).tolist() for part in (is_counted, above, above.square())]
    chosen = [
        [place_and_step(op, channel, sums, grid.zero_point) for channel, sums in enumerate(zip(*sample, strict=True))]
        for sample in zip(*parts, strict=True)
    ]
    ends = torch.tensor(chosen, device=x.device).reshape(*x.shape[:2], *(1,) * (x.ndim - 2), 2)
    first, step = ends[..., 0], ends[..., 1]
    top = torch.from_numpy((1 << op.bits.astype(np.int64)) - 1).to(x.device).reshape(-1, *(1,) * (x.ndim - 2))
    level = torch.div(integers - first, step, rounding_mode="floor")
    inside = (level >= 0) & (level <= top)
    exact = first + step * torch.minimum(level.clamp_min(0), top) + step // 2
    exact = exact.clamp(grid.range.lo, grid.range.hi) - grid.zero_point
    return replaced(torch.where(inside, x, x.detach()), exact.to(x.dtype))


IN_STEPS: Final[Mapping[str, Callable[[FloatNode, Inputs, Sequence[Grid], Grid], torch.Tensor]]] = {
    "Add": _add,
    "Mul": _mul,
    "Concat": _concat,
    "AvgPool": _avg_pool,
    "GlobalAvgPool": _global_avg_pool,
    "Lookup": _looked_up,
    "ChannelLookup": _looked_up_by_channel,
}
"""Laws of the operators that requantize or look up their result, by the name of their rules."""
MOVED: Final[Mapping[str, Callable[[FloatNode, torch.Tensor, Grid], torch.Tensor]]] = {
    "MaxPool": _max_pool,
    "Resize": _resize,
    "Coarsen": _coarsen,
}
"""Laws of the operators that move integers, where they differ from what the operator computes of reals."""


def real_inputs(x: torch.Tensor, grid: Grid) -> torch.Tensor:
    """An input of the network in steps: divided in float32, as QuantizeLinear does; infinities are clamped later."""
    return x.float() / grid.scale


def bounded(node: FloatNode, real: torch.Tensor) -> torch.Tensor:
    """Real values after the node's clamp."""
    if node.clamp is None or node.clamp == (None, None):
        return real
    return real.clamp(*(None if end is None or math.isinf(end) else end for end in node.clamp))
