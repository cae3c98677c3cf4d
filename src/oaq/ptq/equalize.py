"""Cross-layer equalisation: channels of one tensor brought to like size, exactly undone by the layers that read it.

A tensor has one scale for all its channels, so a channel that is small beside the others keeps few of its bits. Where
a tensor's channel c may be multiplied by any f[c] > 0 without changing the network (its writers are convolutions or
linear layers without a fixed upper clamp, its readers are convolutions or linear layers, and what lies between is
homogeneous: additions, pools, resizing), writers take the factor into their rows and readers divide it out of their
columns. Nagel et al. (1906.04721) do this pair by pair; here it is done for a whole residual stream at once.

Rows cost nothing (each output has its own weight scale), columns do, so the factor balances the two:
f[c] = sqrt(column size / channel size). A ReLU6 has a fixed clamp: its tensor is left alone.

``across_functions`` lets functions of one value read and write equalised channels too: each channel then has a table of
its own, which takes the factors of both sides. What only such functions read has no columns: f[c] = 1 / channel size.
Where a function is constant outside an interval of each channel, that interval counts as the channel's size, and the
tensor's ends lie there: what is clamped to them changes nothing, and all steps are spent on what is told apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from oaq.capture import graph as fg
from oaq.capture.functions import changes_within
from oaq.capture.graph import FloatChannelFunction, FloatConv2d, FloatFunction, FloatGraph, FloatNode, FloatProducts
from oaq.ptq.observe import ChannelStats, Reals

ACROSS: Final = 0.25
"""Share of the columns where functions take factors: such networks hold thresholds, a few steps of 8 bits wide.

On eight MR slices that nothing else saw, a quarter lost 0.080 dB to float, a half 0.102 and an eighth 0.098.
"""
FARTHEST: Final = 32.0
"""Most by which a factor leaves 1."""
FUNCTIONS: Final = (FloatFunction, FloatChannelFunction)
"""Operators that take any factors where each channel may have a table of its own."""
BETWEEN: Final = ("Add", "MaxPool", "AvgPool", "GlobalAvgPool", "Pad", "Resize")
"""Homogeneous operators that treat every channel alike."""


@dataclass(frozen=True, eq=False)
class Equalized:
    """A graph that computes the same, and what was done.

    Attributes:
        graph: with other weights.
        stats: of its tensors.
        factors: (C,) by tensor, where one was changed.
    """

    graph: FloatGraph
    stats: Mapping[str, ChannelStats]
    factors: Mapping[str, Reals]


def equalize(
    graph: FloatGraph, stats: Mapping[str, ChannelStats], *, across_functions: bool = False, columns: bool = True
) -> Equalized:
    """Rescale every group of tensors that may be.

    Args:
        graph: the network.
        stats: of its tensors.
        across_functions: functions of one value take factors.
        columns: False: only groups that no layer reads, so that factors change rows alone.
    """
    factors: dict[str, Reals] = {}
    if across_functions:
        stats = {name: _told_apart(graph, name, channels) for name, channels in stats.items()}
    groups = _streams(graph, across_functions)
    for group in groups if columns else [group for group in groups if not _is_read_by_layers(graph, group)]:
        factor = _factor(graph, group, stats, ACROSS if across_functions else 0.5)
        if factor is not None:
            factors.update(dict.fromkeys(group, factor))
    nodes = tuple(rescaled(node, factors) for node in graph.nodes)
    scaled = {name: channels.scaled(factors[name]) if name in factors else channels for name, channels in stats.items()}
    return Equalized(replace(graph, nodes=nodes, norms={}), scaled, factors)


def _told_apart(graph: FloatGraph, tensor: str, stats: ChannelStats) -> ChannelStats:
    """Statistics of a layer's output, its ends moved inwards to where the one function that reads it is not constant.

    Only ends that reach beyond on data are moved: others stay what calibration makes of them.
    """
    ends = _interval(graph, tensor, len(stats.lo))
    if ends is None:
        return stats
    lo, hi = np.maximum(stats.lo, np.minimum(ends[0], 0.0)), np.minimum(stats.hi, np.maximum(ends[1], 0.0))
    return replace(stats, lo=lo, hi=hi)


def _interval(graph: FloatGraph, tensor: str, channels: int) -> tuple[Reals, Reals] | None:
    """(C,) least and (C,) most that the only reader of ``tensor``, a function, tells apart; None if there is none."""
    writer, readers = graph.producer(tensor), list(graph.consumers(tensor))
    if writer is None or not isinstance(writer.op, FloatProducts) or tensor in graph.outputs or len(readers) != 1:
        return None
    op = readers[0].op
    if isinstance(op, FloatFunction):
        ends = [changes_within(op)] * channels
    elif isinstance(op, FloatChannelFunction):
        ends = [tuple(end * reads for end in changes_within(own)) for own, reads, _ in op.channels()]
    else:
        return None
    lo, hi = np.array(ends).T
    return lo, hi


def _streams(graph: FloatGraph, across_functions: bool) -> list[tuple[str, ...]]:
    """Groups of tensors whose channels must share one factor, and may have any."""
    parent = {name: name for name in graph.shapes}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for node in graph.nodes:
        if _passes(node, graph):
            for name in node.inputs:
                parent[root(name)] = root(node.output)
    groups: dict[str, list[str]] = {}
    for name in graph.shapes:
        groups.setdefault(root(name), []).append(name)
    return [tuple(names) for names in groups.values() if _may_scale(graph, set(names), across_functions)]


def _passes(node: FloatNode, graph: FloatGraph) -> bool:
    """Whether a factor of the inputs' channels comes out as the same factor of the output's."""
    before, after = graph.shapes[node.inputs[0]], graph.shapes[node.output]
    flat = isinstance(node.op, fg.FloatReshape) and before[1:] in ((1, 1), ()) and before[0] == after[0]
    return (fg.rules_of(node.op).name in BETWEEN or flat) and _is_homogeneous(node.clamp)


def _is_homogeneous(clamp: fg.FloatClamp | None) -> bool:
    return clamp is None or (clamp[0] in (None, 0.0) and clamp[1] is None)


def _may_scale(graph: FloatGraph, names: set[str], across_functions: bool) -> bool:
    if names & {*graph.inputs, *graph.outputs}:
        return False
    for node in graph.nodes:
        layer = isinstance(node.op, FloatProducts)
        function = across_functions and isinstance(node.op, FUNCTIONS)
        scales = (layer or function) and _is_homogeneous(node.clamp)
        if node.output in names and not (_passes(node, graph) or scales):
            return False
        if names & set(node.inputs) and not (_passes(node, graph) or layer or function):
            return False
        if names & set(node.inputs) and layer and not columns_are_channels(node, graph):
            return False
    return True


def _is_read_by_layers(graph: FloatGraph, group: tuple[str, ...]) -> bool:
    return any(isinstance(node.op, FloatProducts) and node.inputs[0] in group for node in graph.nodes)


def columns_are_channels(node: FloatNode, graph: FloatGraph) -> bool:
    """Not so for a linear layer that reads a flattened image: its tensor's channels are not the image's."""
    return isinstance(node.op, FloatConv2d) or node.op.weight.shape[1] == graph.shapes[node.inputs[0]][0]  # type: ignore[union-attr]


def _factor(graph: FloatGraph, group: tuple[str, ...], stats: Mapping[str, ChannelStats], share: float) -> Reals | None:
    """(C,), its geometric mean 1, columns counting ``share``; None if there is nothing to gain."""
    size = np.max([np.maximum(np.abs(stats[name].lo), np.abs(stats[name].hi)) for name in group], axis=0)
    columns = [
        _columns(node.op)
        for node in graph.nodes
        if isinstance(node.op, FloatProducts)
        and node.inputs[0] in group
        and not (node.op.is_depthwise())  # its rows are its columns: free
    ]
    column = np.max(columns, axis=0) if columns else np.ones_like(size)
    if not _is_read_by_layers(graph, group):
        column[size > 0] = 1 / size[size > 0]  # functions alone read it, and take any factor
    alive = (size > 0) & (column > 0)
    if not alive.any():
        return None
    factor = np.ones_like(size)
    ratio = column[alive] / size[alive]
    factor[alive] = np.sqrt(ratio) if share == 0.5 else ratio**share * size[alive] ** (2 * share - 1)
    factor[alive] /= np.exp(np.log(factor[alive]).mean())
    return np.clip(factor, 1 / FARTHEST, FARTHEST)


def _columns(op: FloatProducts) -> Reals:
    """(C,) largest weight that reads each input channel."""
    weight = np.abs(op.weight.astype(np.float64))
    if not isinstance(op, FloatConv2d):
        return weight.max(axis=0)
    by_group = weight.reshape(op.groups, -1, *weight.shape[1:])
    return by_group.max(axis=(1, *range(3, by_group.ndim))).reshape(-1)


def rescaled(node: FloatNode, factors: Mapping[str, Reals]) -> FloatNode:
    """The node with weights for tensors whose channel c is multiplied by ``factors[tensor][c]``."""
    op = node.op
    if isinstance(op, FUNCTIONS) and (node.inputs[0] in factors or node.output in factors):
        return replace(node, op=_by_channel(op, factors.get(node.inputs[0]), factors.get(node.output)))
    if not isinstance(op, FloatProducts):
        return node
    weight, bias = op.weight.astype(np.float64), op.bias.astype(np.float64)
    if (into := factors.get(node.inputs[0])) is not None:
        weight = weight / _as_columns(op, into)
    if (out := factors.get(node.output)) is not None:
        weight = weight * out.reshape(-1, *(1,) * (weight.ndim - 1))
        bias = bias * out
    changed = replace(op, weight=weight.astype(np.float32), bias=bias.astype(np.float32))
    return replace(node, op=changed)


def _by_channel(
    op: FloatFunction | FloatChannelFunction, into: Reals | None, out: Reals | None
) -> FloatChannelFunction:
    """A function between channels that were multiplied by ``into`` and ``out``; None: they were not."""
    count = len(into if into is not None else out)  # type: ignore[arg-type]
    if isinstance(op, FloatFunction):
        op = FloatChannelFunction(op.name, tuple((number,) * count for number in op.parameters))
    reads, writes = (
        factors if more is None else tuple((np.array(factors or (1.0,) * count) * more).tolist())
        for factors, more in ((op.reads, into), (op.writes, out))
    )
    return replace(op, reads=reads, writes=writes)


def _as_columns(op: FloatProducts, factor: Reals) -> Reals:
    """A factor of input channels in the shape of the weights."""
    if not isinstance(op, FloatConv2d):
        return factor[None]
    outputs = op.weight.shape[0]
    columns = factor.reshape(op.groups, -1).repeat(outputs // op.groups, axis=0)
    return columns.reshape(*columns.shape, *(1,) * len(op.kernel))
