"""A float graph whose chosen layers read few levels a channel: scales folded (static), or ``Coarsen`` (dynamic)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.capture import graph as fg
from oaq.capture.graph import FloatChannelFunction, FloatGraph, FloatNode, FloatProducts, TensorParams
from oaq.errors import CalibrationError
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.operators.coarsen import largest_step
from oaq.ptq.channel_moments import ChannelMoments, measure_channels
from oaq.ptq.daq import Daq, mixed_bits
from oaq.ptq.equalize import columns_are_channels, rescaled
from oaq.ptq.execute import layers
from oaq.ptq.levels import dynamic_factors, static_levels, windows_of
from oaq.ptq.observe import Reals
from oaq.ptq.samples import Chunk

SUFFIX = ".levels"
"""What the tensor of levels has behind the name of the one it is made of."""


@dataclass(frozen=True, eq=False)
class Levelled:
    """A graph that computes the same but for what lies outside of the levels.

    Attributes:
        graph: its layers read levels.
        fixed: tensors whose integers are decided: those of levels.
        layers: names of the layers that read levels.
        bits: by tensor, (C,) bits.
    """

    graph: FloatGraph
    fixed: Mapping[str, TensorParams]
    layers: frozenset[str]
    bits: Mapping[str, NDArray[np.int64]]


def chosen_layers(graph: FloatGraph, daq: Daq) -> list[FloatNode]:
    """The layers that read levels: those asked for that read more than one position of each channel.

    Raises:
        CalibrationError: there is none; the message names the network's layers.
    """
    able = [
        node
        for node, _ in layers(graph)
        if prod(graph.shapes[node.inputs[0]][1:]) > 1 and columns_are_channels(node, graph)
    ]
    if daq.layers is not None:
        selected = [node for node in able if re.fullmatch(daq.layers, node.name)]
    else:
        behind = _before_a_layer(graph)
        first = _of_inputs(graph)
        selected = [node for node in able if node.inputs[0] not in first and node.output in behind]
    if not selected:
        names = ", ".join(node.name for node in able[:20])
        raise CalibrationError(
            f"daq: no layer reads levels{'' if daq.layers is None else f' ({daq.layers!r})'}: by default the first and "
            f"the last do not. Name some by layers; those with more than one position are {names or 'none'}"
        )
    return selected


def levelled(graph: FloatGraph, samples: Iterable[Chunk], daq: Daq) -> Levelled:
    """Choose levels on samples and rewrite the graph for them.

    Raises:
        CalibrationError: no layer can read levels.
    """
    selected = chosen_layers(graph, daq)
    tensors = dict.fromkeys(node.inputs[0] for node in selected)
    moments = measure_channels(graph, samples, tensors, per_image=daq.mode == "dynamic")
    names = frozenset(node.name for node in selected)
    result = Levelled(graph, {}, names, {})
    for tensor in tensors:
        readers = [node for node in selected if node.inputs[0] == tensor]
        bits = np.full(graph.shapes[tensor][0], daq.bits)
        if daq.mixed:
            bits = mixed_bits(moments[tensor].deviation.mean(axis=0) * _column_norms(readers), daq.bits)
        rewrite = _static if daq.mode == "static" else _dynamic
        result = rewrite(replace(result, bits={**result.bits, tensor: bits}), tensor, moments[tensor], daq)
    return result


def _static(before: Levelled, tensor: str, moments: ChannelMoments, daq: Daq) -> Levelled:
    graph, bits = before.graph, before.bits[tensor]
    levels = static_levels(moments, daq, bits)
    factor = 1.0 / levels.step
    if _may_fold(before, tensor, bits):
        params = TensorParams(Affine(1.0, 0), IntRange(0, int(levels.top[0])))
        nodes = tuple(rescaled(node, {tensor: factor}) for node in graph.nodes)
        return replace(before, graph=replace(graph, nodes=nodes), fixed={**before.fixed, tensor: params})
    zero_point, ends, largest = windows_of(levels)
    lo, hi = zip(*ends, strict=True)
    op = FloatChannelFunction("window", (tuple(factor.tolist()), tuple(lo), tuple(hi)))
    params = TensorParams(Affine(1.0, zero_point), IntRange(0, largest))
    return _with_levels(before, tensor, op, {tensor + SUFFIX: params}, factor)


def _dynamic(before: Levelled, tensor: str, moments: ChannelMoments, daq: Daq) -> Levelled:
    bits = before.bits[tensor].astype(np.uint8)
    limits = largest_step(bits).astype(np.uint8)
    factors = dynamic_factors(moments, daq, before.bits[tensor])
    op = ops.Coarsen(bits, factors, limits, moments.rectified.astype(np.uint8))
    return _with_levels(before, tensor, op, {}, None)


def _may_fold(before: Levelled, tensor: str, bits: NDArray[np.int64]) -> bool:
    """Whether the requantize and the clamp of a ReLU's layer can write the levels of all channels."""
    graph = before.graph
    node = graph.producer(tensor)
    return (
        node is not None
        and isinstance(node.op, FloatProducts)
        and node.clamp == (0.0, None)
        and tensor not in graph.outputs
        and all(reader.name in before.layers for reader in graph.consumers(tensor))
        and int(bits.min()) == int(bits.max())
    )


def _with_levels(
    before: Levelled, tensor: str, op: fg.FloatOp, params: Mapping[str, TensorParams], factor: Reals | None
) -> Levelled:
    """A node of levels after the tensor's writer, and chosen readers that read it."""
    graph, output = before.graph, tensor + SUFFIX
    nodes: list[FloatNode] = []
    levels = FloatNode(output, op, (tensor,), output)
    if tensor in graph.inputs:
        nodes.append(levels)
    for node in graph.nodes:
        if node.name in before.layers and node.inputs[0] == tensor:
            moved = replace(node, inputs=(output, *node.inputs[1:]))
            node = moved if factor is None else rescaled(moved, {output: factor})
        nodes.append(node)
        if node.output == tensor:
            nodes.append(levels)
    shapes = {**graph.shapes, output: graph.shapes[tensor]}
    changed = replace(graph, shapes=_in_order(shapes, graph.inputs, nodes), nodes=tuple(nodes))
    return replace(before, graph=changed, fixed={**before.fixed, **params})


def _in_order(
    shapes: Mapping[str, tuple[int, ...]], inputs: Iterable[str], nodes: Iterable[FloatNode]
) -> dict[str, tuple[int, ...]]:
    """Shapes in the order in which tensors are written."""
    written = [*inputs, *(node.output for node in nodes)]
    return {name: shapes[name] for name in written}


def _column_norms(readers: Iterable[FloatNode]) -> Reals:
    """(C,) root of the summed squares of all weights that read each channel."""
    total = np.zeros(1)
    for node in readers:
        op = node.op
        assert isinstance(op, FloatProducts)
        weight = op.weight.astype(np.float64)
        groups, axes = op.channel_groups, tuple(range(2, weight.ndim))
        by_group = (weight**2).sum(axis=axes).reshape(groups, -1, weight.shape[1])
        total = total + by_group.sum(axis=1).reshape(-1)
    return np.sqrt(total)


def _of_inputs(graph: FloatGraph) -> set[str]:
    """Inputs of the network, and what only moves or looks up their values."""
    names = set(graph.inputs)
    for node in graph.nodes:
        if not isinstance(node.op, FloatProducts) and set(node.inputs) <= names:
            names.add(node.output)
    return names


def _before_a_layer(graph: FloatGraph) -> set[str]:
    """Tensors that another layer depends on."""
    names: set[str] = set()
    for node in reversed(graph.nodes):
        if isinstance(node.op, FloatProducts) or node.output in names:
            names.update(node.inputs)
    return names
