"""A convolution or linear layer in training: float parameters in, exactly the integers that ``convert`` writes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from oaq.capture.graph import FloatConv2d, FloatProducts
from oaq.choose.round import LARGEST_BIAS
from oaq.choose.target import MOST_BUDGET, Target, make_cells
from oaq.numerics.requantize import Semantics
from oaq.ptq.device_cells import DeviceCells, on_device
from oaq.ptq.windows import convolution, linear
from oaq.qat.config import NORMS, Config, LayerSettings
from oaq.qat.constrain import norm_bounded, norm_limit, projected_rows
from oaq.qat.count import Overflows, count_layer
from oaq.qat.distributed import processes, total_through
from oaq.qat.exact import convolved
from oaq.qat.fixed_point import in_fixed_point
from oaq.qat.gradients import EXACT_FLOAT32, replaced, round_through
from oaq.qat.grid import SMALLEST, Grid
from oaq.qat.wrap import cyclic, excess, outside, residues

EPS: Final = 1e-5
MOMENTUM: Final = 0.1


@dataclass(frozen=True, eq=False)
class Numbers:
    """The integers of a layer in one forward pass.

    Attributes:
        rows: (N, K) float32 integers in packed K order.
        scale: (N,) float32: what ``convert`` writes as the scale of the weights.
        bias: (N,) float32 integers of at most 2**28, so exact in float32 or rounded to one that is.
    """

    rows: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor


@dataclass(frozen=True, eq=False)
class Sharing:
    """What a layer whose weights others read too has together with them.

    Attributes:
        weight: (N, ...) the parameter, without what stands behind the layer.
        gain: (N,) positive factors of its rows.
        is_normed: a batch norm stands behind the layer.
        first: the layer that holds the weights; None: this one.
        norm: the layer that holds the batch norm; None: this one.
    """

    weight: NDArray[np.float32]
    gain: NDArray[np.float32]
    is_normed: bool
    first: QatLayer | None = None
    norm: QatLayer | None = None


class QatLayer(nn.Module):
    """One layer.

    Args:
        name: of its node.
        op: float weights and geometry.
        settings: bits and target.
        config: of the network.
        order: (K,) columns of a linear layer in packed K order; None for a convolution.
        sharing: None: its weights are its own.
    """

    clip: torch.Tensor
    alpha: torch.Tensor
    fallback: torch.Tensor
    mean: torch.Tensor
    variance: torch.Tensor
    folds: torch.Tensor
    counts: torch.Tensor
    mask: torch.Tensor | None

    def __init__(
        self,
        name: str,
        op: FloatProducts,
        settings: LayerSettings,
        config: Config,
        order: NDArray[np.intp] | None,
        *,
        sharing: Sharing | None = None,
    ) -> None:
        super().__init__()
        self.name, self.op, self.settings, self.method = name, op, settings, config.method
        self.count_final = config.count == "final"
        self.depthwise = op.is_depthwise()
        self.is_odd = config.weight_grid == "odd" and settings.weight_bits < 8
        self.most_clip = (1 << (settings.weight_bits - (0 if self.is_odd else 1))) - 1
        self.target: Target | None = settings.target
        self.requantize: Semantics = config.requantize
        self.wrapping = settings.wrapping
        self.normalizes = self.wrapping is not None or (
            config.batch_norm != "fold" and isinstance(op, FloatConv2d) and (sharing is None or sharing.is_normed)
        )
        self._first = () if sharing is None or sharing.first is None else (sharing.first,)  # not a module of its own
        self._norm = () if sharing is None or sharing.norm is None else (sharing.norm,)
        self._begin_parameters(op, config, sharing)
        outputs = len(op.weight)
        self.register_buffer("clip", torch.tensor(self.most_clip))
        self.register_buffer("alpha", torch.tensor(1.0, dtype=torch.float64))
        self.register_buffer("fallback", torch.tensor(False))
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("variance", torch.ones(outputs) - EPS)
        if self.wrapping is not None:
            self.register_buffer("folds", torch.tensor(False))  # the cyclic activation is on
            self.register_buffer("counts", torch.zeros(2, dtype=torch.float64))  # sums outside, sums; in training
        prunes = config.prune is not None and self.first is self
        kept = None if not prunes else torch.ones(outputs, self.weight[0].numel(), dtype=torch.bool)
        self.register_buffer("mask", kept)  # (N, K) in packed K order: False where pruned; the first's
        self.counts_in_eval = False
        self.excess: torch.Tensor | None = None  # of the last batch in training: what the penalty is made of
        self.averaged: int | None = None  # batches that the statistics are the mean over, while they are measured anew
        self.counted: Overflows | None = None  # a controller puts one here to have the next batches counted
        self.dithered: Callable[[str, torch.Tensor], torch.Tensor] | None = None  # dithers the gradient of the sums
        self._order = None if order is None else torch.from_numpy(order.astype(np.int64))
        self._inverse = None if self._order is None else torch.argsort(self._order)
        self._cells: DeviceCells | None = None

    def _begin_parameters(self, op: FloatProducts, config: Config, sharing: Sharing | None) -> None:
        """Parameters of its own, or those of the layers that hold them."""
        outputs = len(op.weight)
        norms = config.method in NORMS and self.target is not None
        first, norm = self.first, self.norm
        if first is self:
            self.weight = nn.Parameter(torch.tensor(op.weight if sharing is None else sharing.weight))
            self.log_scale = None if config.tracks else nn.Parameter(torch.zeros(outputs))
            self.log_norm = nn.Parameter(torch.zeros(outputs)) if norms else None
        else:
            self.weight, self.log_scale, self.log_norm = first.weight, first.log_scale, first.log_norm
        if norm is self:
            self.bias = nn.Parameter(torch.tensor(op.bias))
            gain = torch.ones(outputs) if sharing is None else torch.tensor(sharing.gain)
            self.gain = nn.Parameter(gain) if self.normalizes or sharing is not None else None
        else:
            self.bias, self.gain = norm.bias, norm.gain

    @property
    def first(self) -> QatLayer:
        """The layer that holds the weights: itself, unless it shares those of an earlier one."""
        return self._first[0] if self._first else self

    @property
    def norm(self) -> QatLayer:
        """The layer that holds bias, gain and statistics: itself, unless it has the batch norm of an earlier one."""
        return self._norm[0] if self._norm else self

    @property
    def terms(self) -> int:
        """K."""
        return self.weight[0].numel()

    @property
    def cells(self) -> DeviceCells:
        """Which products share a register, on the device of the weights; needs a target."""
        assert self.target is not None
        if self._cells is None or self._cells.place.device != self.weight.device:
            cells = make_cells(self.terms, self.target, depthwise=self.depthwise)
            self._cells = on_device(cells, self.weight.device)
        return self._cells

    def float_rows(self) -> torch.Tensor:
        """(N, K) parameters in packed K order, 0 where they are pruned."""
        rows = self.weight.movedim(1, -1).flatten(1) if self._order is None else self.weight[:, self.packed_order()]
        return rows if self.first.mask is None else rows * self.first.mask

    def packed_order(self) -> torch.Tensor:
        """(K,) columns of a linear layer's own layout in packed K order."""
        assert self._order is not None
        return self._order.to(self.weight.device)

    def unpacked(self, rows: torch.Tensor) -> torch.Tensor:
        """(N, K) in packed K order to the layer's own layout."""
        if self._inverse is not None:
            return rows[:, self._inverse.to(rows.device)]
        outputs, channels, *kernel = self.weight.shape
        return rows.reshape(outputs, *kernel, channels).movedim(-1, 1).contiguous()

    def integers(self, rows: torch.Tensor, scale: torch.Tensor, norm: torch.Tensor | None, x_hi: int) -> torch.Tensor:
        """(N, K) float rows at (N,) scale to integers under the layer's method and target."""
        clip = int(self.clip)
        target = None if bool(self.fallback) else self.target
        if norm is not None and target is not None:
            limit = norm_limit(self.method, target.bits, x_hi)
            return norm_bounded(rows, norm, scale, limit=limit, clip=clip, method=self.method)
        steps = torch.clamp(rows / scale[:, None], -clip, clip)
        if self.method == "proved" and target is not None:
            budgets = target.budgets(x_hi)
            if min(budgets) < min(self.terms * clip, MOST_BUDGET):
                return projected_rows(steps, self.cells, budgets)
        if self.is_odd:
            clip -= 1 - clip % 2
            return 2.0 * round_through((torch.clamp(steps, -clip, clip) + clip) / 2.0) - clip
        return round_through(steps)

    def set_clip(self, clip: int) -> None:
        """Another largest magnitude; a learned scale keeps the real range."""
        with torch.no_grad():
            if self.log_scale is not None and self.first is self:
                self.log_scale.add_(float(np.log2(int(self.clip) / clip)))
        self.clip.fill_(clip)

    def weight_scale(self) -> torch.Tensor:
        """(N,) scale of the weights, before correction for large biases and batch-norm gain."""
        if self.log_scale is not None:
            return torch.exp2(self.log_scale).clamp_min(SMALLEST)
        return (self.float_rows().detach().abs().amax(dim=1) / int(self.clip)).clamp_min(SMALLEST)

    def affine(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(N,) factor and shift of the real sums: batch norm, or what stands behind shared weights, or 1 and bias."""
        if self.gain is None:
            return torch.ones_like(self.bias), self.bias
        gain = self.gain.abs().clamp_min(SMALLEST) / torch.sqrt(self.norm.variance + EPS)
        return gain, self.bias - self.norm.mean * gain

    @torch.no_grad()
    def _least_scale(self, x: Grid) -> torch.Tensor:
        """(N,) the finest scale of the weights at which the bias still has an integer."""
        gain, bias = self.affine()
        return bias.abs() / (x.scale * gain * LARGEST_BIAS)

    def numbers(self, x: Grid, others: Readings = ()) -> Numbers:
        """The integers as they are now.

        Args:
            x: grid of what it reads.
            others: the other layers of these weights, with the grids of what they read: weights have one scale, and
                keep to the budget of the widest operands.
        """
        gain, bias = self.affine()
        scale, x_hi = self.weight_scale(), x.range.hi
        for layer, grid in ((self, x), *others):
            scale, x_hi = torch.maximum(scale, layer._least_scale(grid)), max(x_hi, grid.range.hi)
        norm = None if self.log_norm is None else torch.exp2(self.log_norm)
        rows = self.integers(self.float_rows(), scale, norm, x_hi)
        if self.first.mask is not None:
            rows = rows * self.first.mask  # a2q+ moves rows to zero mean first; a weight less never breaks a bound
        full_scale = scale * gain
        steps = torch.clamp(bias / (x.scale * full_scale), -LARGEST_BIAS, LARGEST_BIAS)
        return Numbers(rows, full_scale, round_through(steps))

    def forward(self, x: torch.Tensor, grid: Grid, y: Grid, others: Readings = ()) -> torch.Tensor:
        """Centred integers in; the result in steps of ``y``, before rounding, out: the float that the law rounds.

        In fixed point it is rounded already, as the law does.
        """
        numbers = self.numbers(grid, others)
        reach = numbers.rows.detach().abs().sum(dim=1) * grid.reach + numbers.bias.detach().abs()
        exact = torch.float32 if float(reach.max()) < EXACT_FLOAT32 else torch.float64
        total = self.sums(x.to(exact), self.unpacked(numbers.rows).to(exact))
        if self.dithered is not None and self.training:
            total = self.dithered(self.name, total)
        if self.counted is not None and self.counted.training == self.training:
            count_layer(self, self.counted, x.detach(), numbers.rows.detach(), (grid, total.detach()))
        if self.wrapping is not None:
            if self.training or self.counts_in_eval:
                self._count_outside(total)
            if bool(self.folds):
                if not self.training:
                    return self._entries(total.double(), grid, y).float()
                total = cyclic(total, self.wrapping)
        channel = (-1, *(1,) * (total.ndim - 2))
        if self.normalizes and self.training:
            return self._normalized(total.float(), grid, numbers) / y.scale
        total, ratio = total + numbers.bias.to(exact).reshape(channel), grid.scale * numbers.scale / y.scale
        steps = total.float() * ratio.reshape(channel)
        if self.requantize == "fixed_point":
            return replaced(steps, in_fixed_point(total.detach(), ratio.detach(), self.name))
        return steps

    def sums(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Products of integers summed exactly: by algorithms that form no other numbers (no Winograd, no FFT)."""
        if x.device.type == "cuda" and isinstance(self.op, FloatConv2d) and not self.depthwise:
            return convolved(x, weight, self.op)  # without cuDNN, torch would go through the batch image by image
        with ExitStack() as stack:
            stack.enter_context(torch.backends.nnpack.flags(enabled=False))
            if x.device.type == "cuda":
                stack.enter_context(torch.backends.cudnn.flags(enabled=False))
            if not isinstance(self.op, FloatConv2d):
                return linear(x, weight)
            return convolution(x, weight, None, self.op)

    def _normalized(self, total: torch.Tensor, grid: Grid, numbers: Numbers) -> torch.Tensor:
        """Real values normalized by the statistics of the batch (of every process), which the running ones follow."""
        assert self.gain is not None
        gain = self.gain.abs().clamp_min(SMALLEST)
        norm = self.norm
        folded = (gain / torch.sqrt(norm.variance + EPS)).detach()
        channel, others = (-1, *(1,) * (total.ndim - 2)), (0, *range(2, total.ndim))
        real = total * (grid.scale * (numbers.scale / folded)).reshape(channel)
        count = real.numel() / real.shape[1] * processes()
        mean = total_through(real.sum(dim=others)) / count
        deviation = real - mean.reshape(channel)
        variance = total_through(deviation.square().sum(dim=others)) / count
        with torch.no_grad():
            momentum = norm.next_momentum()
            norm.mean.lerp_(mean, momentum)
            norm.variance.lerp_(variance, momentum)
        factor = gain / torch.sqrt(variance + EPS)
        return deviation * factor.reshape(channel) + self.bias.reshape(channel)

    def next_momentum(self) -> float:
        """Part of the statistics that the next batch replaces; while they are averaged, 1 / n of the n-th."""
        if self.averaged is None:
            return MOMENTUM
        self.averaged += 1
        return 1.0 / self.averaged

    def _count_outside(self, total: torch.Tensor) -> None:
        """Note how many sums of a batch leave the register, and how far they do on average."""
        assert self.wrapping is not None
        self.excess = excess(total.float(), self.wrapping.bits)
        with torch.no_grad():
            count = outside(total, self.wrapping.bits)
            self.counts += torch.stack([count.double(), count.new_tensor(total.numel()).double()])

    @torch.no_grad()
    def table(self, x: Grid, y: Grid) -> torch.Tensor:
        """(N, 2**bits) float64 integers of ``y``: for each residue its cyclic activation, normalized and quantized.

        The sum has no bias: a batch norm with its own stands behind the activation.
        """
        assert self.wrapping is not None and self.gain is not None
        every = residues(self.wrapping.bits, self.weight.device).expand(len(self.weight), -1)
        return self._entries(every[None], x, y)[0] + y.zero_point

    @torch.no_grad()
    def _entries(self, total: torch.Tensor, x: Grid, y: Grid) -> torch.Tensor:
        """Entries of the table, less the zero point, of float64 sums (batch, N, ...), each by the same operations."""
        assert self.wrapping is not None and self.gain is not None
        channel = (-1, *(1,) * (total.ndim - 2))
        norm = self.norm
        gain = self.gain.double().abs().clamp_min(SMALLEST) / torch.sqrt(norm.variance.double() + EPS)
        scale = x.scale.double() * self.weight_scale().double()
        mean, bias = (values.double().reshape(channel) for values in (norm.mean, self.bias))
        real = cyclic(total, self.wrapping) * scale.reshape(channel)
        return y.rounded(((real - mean) * gain.reshape(channel) + bias) / y.scale.double())

    def penalty(self, x: Grid) -> torch.Tensor:
        """What the norms of a2q exceed their limits by, summed over outputs; 0 for other methods."""
        if self.log_norm is None or self.target is None:
            return self.weight.new_zeros(())
        limit = norm_limit(self.method, self.target.bits, x.range.hi)
        return torch.relu(torch.exp2(self.log_norm) - limit * self.weight_scale()).sum()


Readings = Sequence[tuple[QatLayer, Grid]]
"""Layers, each with the grid of what it reads."""
