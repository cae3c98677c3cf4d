"""Overflows of a batch in training, counted exactly: the paper's count, and that of a declared register.

Sums are of operands *as loaded* (raw u8, the zero point at padded positions), as kernels form them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Final

import torch
import torch.nn.functional as F

from oaq.capture.graph import FloatConv2d
from oaq.numerics.formats import S16, S32, signed
from oaq.numerics.ranges import IntRange
from oaq.operators.windows import Window
from oaq.ptq.windows import padded
from oaq.qat.gradients import EXACT_FLOAT32
from oaq.qat.grid import Grid

if TYPE_CHECKING:
    from oaq.qat.layer import QatLayer

AT_ONCE: Final = 1 << 24
"""Operands unfolded at once: bounds memory, changes no count."""


@dataclass
class Overflows:
    """What was counted so far.

    Attributes:
        wrong: sums that left their register: final sums, or lanes at a spill and saturating pairs.
        sums: final sums, or lanes, altogether.
        samples: images.
        most: largest magnitude among the sums.
        training: whether it counts batches of ``train()``, or else of ``eval()``.
    """

    wrong: int = 0
    sums: int = 0
    samples: int = 0
    most: int = 0
    training: bool = True

    def add(self, sums: torch.Tensor, register: IntRange) -> None:
        """Sums that should fit ``register``."""
        self.wrong += outside(sums, register)
        self.sums += sums.numel()
        self.most = max(self.most, int(sums.abs().max()))


@torch.no_grad()
def count_layer(
    layer: QatLayer, into: Overflows, x: torch.Tensor, rows: torch.Tensor, sums: tuple[Grid, torch.Tensor]
) -> None:
    """Add one batch of one layer.

    Args:
        layer: whose ``count_final`` and ``target`` say what is counted; if it is exempt, or has fallen back, it sums in
            32 bits.
        into: added to.
        x: centred integers it reads.
        rows: (N, K) integer weights in packed K order.
        sums: grid of ``x``, and the exact sums without bias.
    """
    grid, total = sums
    into.samples += len(x)
    wide = layer.target is None or bool(layer.fallback)
    target = None if layer.count_final or wide else layer.target
    if target is None or (target.register == "pure" and target.run is None):
        raw = total.double() + (rows.sum(dim=1).double() * grid.zero_point).reshape(-1, *(1,) * (total.ndim - 2))
        into.add(raw, S32 if wide else S16 if target is None else signed(target.bits))
        return
    accumulator = target.accumulator(depthwise=layer.depthwise)
    exact = torch.float32 if float(rows.abs().sum(dim=1).max()) * grid.range.hi < EXACT_FLOAT32 else torch.float64
    weight = rows.to(exact)
    for operands in _operands(layer, x, grid):
        groups = operands.shape[0]
        per_group = weight.reshape(groups, -1, weight.shape[1])
        operands = operands.to(exact)
        for cell in layer.cells.members:
            members = cell[cell >= 0]
            lane = operands[:, :, members] @ per_group[:, :, members].mT
            into.add(lane, accumulator.range)
        if accumulator.group_overflow == "saturates":
            into.wrong += _pairs(operands, per_group, grid.range.hi, accumulator.range)


def outside(sums: torch.Tensor, register: IntRange) -> int:
    """How many leave the register."""
    return int(((sums < register.lo) | (sums > register.hi)).sum())


def _pairs(operands: torch.Tensor, weight: torch.Tensor, x_hi: int, register: IntRange) -> int:
    """Pairs whose own sum leaves the register; only those whose weights allow it are formed."""
    missing = weight.shape[2] % 2
    pairs = F.pad(weight, (0, missing)).unflatten(2, (-1, 2))
    x = F.pad(operands, (0, missing)).unflatten(2, (-1, 2))
    most, least = pairs.clamp_min(0).sum(dim=3) * x_hi, pairs.clamp_max(0).sum(dim=3) * x_hi
    possible, wrong = (most > register.hi) | (least < register.lo), 0
    for group, pair in possible.any(dim=1).nonzero().tolist():
        outputs = pairs[group, possible[group, :, pair], pair]
        wrong += outside(x[group, :, pair] @ outputs.mT, register)
    return wrong


def _operands(layer: QatLayer, x: torch.Tensor, grid: Grid) -> Iterator[torch.Tensor]:
    """(groups, M, K) operands as loaded in packed K order, in parts of bounded size."""
    op = layer.op
    if not isinstance(op, FloatConv2d):
        yield (x.movedim(1, -1).flatten(0, -2)[:, layer.packed_order()] + grid.zero_point)[None]
        return
    window, taps = Window(op.kernel, op.stride, op.padding, op.dilation).over_image(), prod(op.kernel)
    images = x if x.ndim == 4 else x[:, :, None]
    for part in images.split(max(1, AT_ONCE // (images[0].numel() * taps))):
        wide = padded(part, window.padding) + grid.zero_point
        columns = F.unfold(wide, window.kernel, window.dilation, 0, window.stride)
        batch, _, positions = columns.shape
        split = columns.reshape(batch, op.groups, -1, taps, positions)
        yield split.permute(1, 0, 4, 3, 2).reshape(op.groups, batch * positions, -1)
