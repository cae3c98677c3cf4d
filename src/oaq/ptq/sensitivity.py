"""How much an error inside the network matters at its outputs, to first order.

With J the Jacobian of the outputs with respect to a tensor and d a small error of it, the outputs move by J d. For a
random sign vector v, E[(v . J d)**2] = |J d|**2, and v J is one backward pass. Two assumptions make that a sum over
single elements: errors of different elements are independent (rounding), and their mean is taken away by the bias
correction. Everything is divided by the power of the outputs: noise at 0.01 is a signal-to-noise ratio of 20 dB.

Of several outputs each counts by its own noise, in parts of what it varies by: where channels stand far from zero
whatever is seen, as the logits of a detector's classes do, most of the power says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
import torch

from oaq import operators as ops
from oaq.capture.graph import FloatConv2d, FloatGraph, FloatProducts, Unquantized
from oaq.choose.round import packed_rows
from oaq.ptq.execute import layers, run_graph, tensors_of
from oaq.ptq.observe import ChannelStats, Histogram, HistogramBuilder, Reals
from oaq.ptq.samples import Chunk

SEED = 20200527
"""Seed of the random directions."""
LEAST_SHARE: Final = 1e-3
"""Part of an output's power that it is taken to vary by at least: a constant one would outweigh all others."""
LEAST_SUM: Final = 2.0**-8
"""Part of its larger operand's range that a sum's range has at least, about one step of 8 bits.

Where operands cancel, what is left is their rounding: a step far below theirs would give it integers of its own, which
change with the order of float32 operations.
"""


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """What an error costs, in parts of the power of the outputs per sample.

    Attributes:
        tensors: by the name of the tensor that is rounded first in its group: how its values are distributed, each
            weighing what a squared error of it costs.
        weights: by node name, (N, K) in packed K order: what a squared error of each weight costs.
    """

    tensors: Mapping[str, Histogram]
    weights: Mapping[str, Reals]


def measure_sensitivity(
    graph: FloatGraph,
    stats: Mapping[str, ChannelStats],
    tensors: Sequence[str],
    samples: Iterable[Chunk],
    progress: Callable[[], None] | None = None,
    *,
    watch: Callable[[Mapping[str, torch.Tensor]], None] | None = None,
) -> Sensitivity:
    """One backward pass per chunk, in a random direction of the outputs of each sample.

    Args:
        graph: the network.
        stats: of every tensor of it.
        tensors: those that are rounded.
        samples: chunks; each sample has its own direction.
        progress: called after every chunk.
        watch: called with every tensor of every chunk, by name: what else is to be learned from the same pass.
    """
    least = least_ranges(graph, stats)
    builders = {name: HistogramBuilder(*_ends(stats[name], least.get(name, 0.0))) for name in tensors}
    parameters = {node.name: tensors_of(op) for node, op in layers(graph)}
    for weight, bias in parameters.values():
        weight.requires_grad_()
        bias.requires_grad_()
    squares = {node.name: np.zeros(packed_rows(op).shape) for node, op in layers(graph)}
    generator, powers = torch.Generator().manual_seed(SEED), output_powers(graph, stats)
    count = 0
    for chunk in samples:
        count += len(next(iter(chunk.values())))
        with torch.enable_grad():
            values = _backward(graph, chunk, parameters, powers, (generator, builders.keys()))
        for name, builder in builders.items():
            builder.add(values[name].detach(), _gradient(values[name]))
        if watch is not None:
            with torch.no_grad():
                watch({name: value.detach() for name, value in values.items()})
        for node, op in layers(graph):
            weight, bias = parameters[node.name]
            squares[node.name] += _centred(op, weight, bias, stats[node.inputs[0]].mean) ** 2
            weight.grad = bias.grad = None
        if progress is not None:
            progress()
    histograms = {name: builder.build() for name, builder in builders.items()}
    per_sample = {
        name: Histogram(histogram.lo, histogram.hi, histogram.count, histogram.weight / count)
        for name, histogram in histograms.items()
    }
    return Sensitivity(per_sample, {name: square / count for name, square in squares.items()})


def least_ranges(graph: FloatGraph, stats: Mapping[str, ChannelStats]) -> dict[str, float]:
    """The least range of every tensor that is a sum of two."""
    spans = {name: hi - lo for name, (lo, hi) in ((name, _ends(channels)) for name, channels in stats.items())}
    return {
        node.output: LEAST_SUM * max(spans[name] for name in node.inputs)
        for node in graph.nodes
        if isinstance(node.op, Unquantized) and node.op.operator is ops.Add
    }


def _ends(channels: ChannelStats, least: float = 0.0) -> tuple[float, float]:
    """Ends that hold 0 and every value seen; ``least`` apart at least, about 0 in the same proportion."""
    lo, hi = min(float(channels.lo.min()), 0.0), max(float(channels.hi.max()), 0.0)
    if hi - lo >= least:
        return lo, hi
    return (lo / (hi - lo) * least, hi / (hi - lo) * least) if lo < hi else (0.0, least)


def output_powers(graph: FloatGraph, stats: Mapping[str, ChannelStats]) -> dict[str, float]:
    """What a squared error of a sample of each output is divided by.

    Of one output its power; of several their powers too where all vary by the same part of it (by channel, over
    positions and samples). One that varies by a smaller part counts more, by that much.
    """
    powers = {name: max(float(stats[name].power.mean()) * prod(graph.shapes[name]), 1e-30) for name in graph.outputs}
    if len(powers) == 1:
        return powers
    shares = {name: _varying_share(stats[name]) for name in powers}
    mean = float(np.mean(list(shares.values())))
    return {name: power * (shares[name] / mean) for name, power in powers.items()}


def _varying_share(channels: ChannelStats) -> float:
    """What a tensor's channels vary by, in parts of its power."""
    power = float(channels.power.mean())
    varying = float(np.maximum(channels.power - channels.mean**2, 0.0).mean())
    return max(varying / power, LEAST_SHARE) if power > 0 else 1.0


def _backward(
    graph: FloatGraph,
    chunk: Chunk,
    parameters: Mapping[str, tuple[torch.Tensor, torch.Tensor]],
    powers: Mapping[str, float],
    choices: tuple[torch.Generator, Collection[str]],
) -> dict[str, torch.Tensor]:
    """Every tensor, its gradient attached to some.

    ``powers``: what each output's squared errors are divided by. ``choices``: where directions come from, and the names
    of the tensors whose gradients are read.
    """
    generator, rounded = choices

    def watch(name: str, value: torch.Tensor) -> torch.Tensor:
        if not value.requires_grad:
            value = value.clone().requires_grad_()
        if name in rounded:
            value.retain_grad()
        return value

    values = run_graph(graph, chunk, parameters=parameters, after=watch)
    loss = torch.zeros(())
    for name in graph.outputs:
        signs = torch.randint(0, 2, values[name].shape, generator=generator) * 2.0 - 1.0
        loss = loss + (values[name] * signs).sum() / powers[name] ** 0.5
    loss.backward()
    return values


def _gradient(value: torch.Tensor) -> torch.Tensor:
    return value.grad if value.grad is not None else torch.zeros_like(value)


def _centred(op: FloatProducts, weight: torch.Tensor, bias: torch.Tensor, mean: Reals) -> Reals:
    """(N, K) gradient of the weights as if their inputs had mean zero: the bias correction takes that part."""
    outputs = weight.shape[0]
    of_weight, across = (_gradient(parameter).numpy().astype(np.float64) for parameter in (weight, bias))
    if not isinstance(op, FloatConv2d):
        return of_weight - across[:, None] * mean[None]
    by_group = mean.reshape(op.groups, -1).repeat(outputs // op.groups, axis=0)
    taps = (1,) * len(op.kernel)
    centred = of_weight - across.reshape(-1, 1, *taps) * by_group.reshape(*by_group.shape, *taps)
    return np.ascontiguousarray(np.moveaxis(centred, 1, -1)).reshape(outputs, -1)
