"""Cross-layer equalisation: channels of one tensor brought to like size, exactly undone by the layers that read it.

A tensor has one scale for all its channels, so a channel that is small beside the others keeps few of its bits. Where
a tensor's channel c may be multiplied by any f[c] > 0 without changing the network (its writers are convolutions or
linear layers without a fixed upper clamp, its readers are convolutions or linear layers, and what lies between is
homogeneous: additions, pools, resizing), writers take the factor into their rows and readers divide it out of their
columns. Nagel et al. (1906.04721) do this pair by pair; here it is done for a whole residual stream at once.

Rows cost nothing (each output has its own weight scale), columns do, so the factor balances the two:
f[c] = sqrt(column size / channel size). A ReLU6 has a fixed clamp: its tensor is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from oaq.capture import graph as fg
from oaq.capture.graph import FloatConv2d, FloatGraph, FloatNode, FloatProducts
from oaq.ptq.observe import ChannelStats, Reals

FARTHEST: Final = 32.0
"""Most by which a factor leaves 1."""
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


def equalize(graph: FloatGraph, stats: Mapping[str, ChannelStats]) -> Equalized:
    """Rescale every group of tensors that may be."""
    factors: dict[str, Reals] = {}
    for group in _streams(graph):
        factor = _factor(graph, group, stats)
        if factor is not None:
            factors.update(dict.fromkeys(group, factor))
    nodes = tuple(rescaled(node, factors) for node in graph.nodes)
    scaled = {name: channels.scaled(factors[name]) if name in factors else channels for name, channels in stats.items()}
    return Equalized(replace(graph, nodes=nodes), scaled, factors)


def _streams(graph: FloatGraph) -> list[tuple[str, ...]]:
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
    return [tuple(names) for names in groups.values() if _may_scale(graph, set(names))]


def _passes(node: FloatNode, graph: FloatGraph) -> bool:
    """Whether a factor of the inputs' channels comes out as the same factor of the output's."""
    before, after = graph.shapes[node.inputs[0]], graph.shapes[node.output]
    flat = isinstance(node.op, fg.FloatReshape) and before[1:] in ((1, 1), ()) and before[0] == after[0]
    return (fg.rules_of(node.op).name in BETWEEN or flat) and _is_homogeneous(node.clamp)


def _is_homogeneous(clamp: fg.FloatClamp | None) -> bool:
    return clamp is None or (clamp[0] in (None, 0.0) and clamp[1] is None)


def _may_scale(graph: FloatGraph, names: set[str]) -> bool:
    if names & {*graph.inputs, *graph.outputs}:
        return False
    for node in graph.nodes:
        layer = isinstance(node.op, FloatProducts)
        if node.output in names and not (_passes(node, graph) or (layer and _is_homogeneous(node.clamp))):
            return False
        if names & set(node.inputs) and not (_passes(node, graph) or layer):
            return False
        if names & set(node.inputs) and layer and not columns_are_channels(node, graph):
            return False
    return True


def columns_are_channels(node: FloatNode, graph: FloatGraph) -> bool:
    """Not so for a linear layer that reads a flattened image: its tensor's channels are not the image's."""
    return isinstance(node.op, FloatConv2d) or node.op.weight.shape[1] == graph.shapes[node.inputs[0]][0]  # type: ignore[union-attr]


def _factor(graph: FloatGraph, group: tuple[str, ...], stats: Mapping[str, ChannelStats]) -> Reals | None:
    """(C,), its geometric mean 1; None if there is nothing to gain."""
    size = np.max([np.maximum(np.abs(stats[name].lo), np.abs(stats[name].hi)) for name in group], axis=0)
    columns = [
        _columns(node.op)
        for node in graph.nodes
        if isinstance(node.op, FloatProducts)
        and node.inputs[0] in group
        and not (node.op.is_depthwise())  # its rows are its columns: free
    ]
    column = np.max(columns, axis=0) if columns else np.ones_like(size)
    alive = (size > 0) & (column > 0)
    if not alive.any():
        return None
    factor = np.ones_like(size)
    factor[alive] = np.sqrt(column[alive] / size[alive])
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


def _as_columns(op: FloatProducts, factor: Reals) -> Reals:
    """A factor of input channels in the shape of the weights."""
    if not isinstance(op, FloatConv2d):
        return factor[None]
    outputs = op.weight.shape[0]
    columns = factor.reshape(op.groups, -1).repeat(outputs // op.groups, axis=0)
    return columns.reshape(*columns.shape, *(1,) * len(op.kernel))
