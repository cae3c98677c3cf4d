"""From a ``FloatGraph`` and the integers chosen for it to an ``IntProgram``.

Channels last inside: weights are transposed, and a linear layer that reads a flattened image has its columns put in the
order in which the image's integers lie. Multipliers are computed in float32 in ONNX Runtime's order,
(s_x * s_w) / s_y, so that an exported network computes with the very same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.capture import graph as fg
from oaq.capture.functions import FUNCTIONS
from oaq.capture.graph import FloatGraph, FloatNode, LayerParams, TensorParams
from oaq.capture.neutral import neutral
from oaq.capture.order import linear_order, nhwc_order, permutes
from oaq.errors import ProgramError, UnsupportedOp
from oaq.numerics.multipliers import layer_multipliers
from oaq.numerics.requantize import Requantize, Semantics
from oaq.operators import TensorSpec
from oaq.operators.tensor import Shape
from oaq.program.int_program import IntProgram, Node
from oaq.program.layout import channels_last


def same_affine_groups(graph: FloatGraph) -> tuple[frozenset[str], ...]:
    """Tensors that must share their integers' meaning, because operators between them only move values."""
    parent = {name: name for name in graph.shapes}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for node in graph.nodes:
        if fg.rules_of(node.op).same_affine:
            parent[root(node.output)] = root(node.inputs[0])
    groups: dict[str, set[str]] = {}
    for name in graph.shapes:
        groups.setdefault(root(name), set()).add(name)
    return tuple(frozenset(names) for names in groups.values())


def lower(
    graph: FloatGraph,
    tensors: Mapping[str, TensorParams],
    layers: Mapping[str, LayerParams],
    requantize: Semantics = "float32_half_even",
    metadata: Mapping[str, str] | None = None,
) -> IntProgram:
    """The program that computes ``graph`` with the given integers.

    Args:
        graph: what to compute.
        tensors: affine map and effective range of every tensor. A range is narrowed to what the clamp of its writer
            leaves.
        layers: weights and bias of every convolution and linear layer, by node name.
        requantize: the semantics of every requantizing node.
        metadata: added to the graph's own.

    Raises:
        UnsupportedOp: a reshape that is not one in NHWC order, or a function without a table.
        ProgramError: parameters are missing or do not fit.
    """
    check_order(graph)
    lowering = _Lowering(graph, tensors, layers, requantize)
    nodes = tuple(lowering.node(node) for node in graph.nodes)
    specs = {name: lowering.spec(name) for name in graph.shapes}
    notes = {"input_layout": "NCHW", **graph.metadata, **(metadata or {})}
    return IntProgram(graph.name, graph.inputs, graph.outputs, specs, nodes, requantize, notes)


class _Lowering:
    """One graph with its numbers; a method per kind of operator."""

    def __init__(
        self,
        graph: FloatGraph,
        tensors: Mapping[str, TensorParams],
        layers: Mapping[str, LayerParams],
        semantics: Semantics,
    ) -> None:
        missing = [name for name in graph.shapes if name not in tensors]
        if missing:
            raise ProgramError(f"{graph.name}: no integers were chosen for the tensors {', '.join(missing[:5])}")
        self.graph, self.tensors, self.layers = graph, tensors, layers
        self.semantics: Semantics = semantics
        self.written = {node.output: node for node in graph.nodes}

    def spec(self, name: str) -> TensorSpec:
        """The tensor as the program declares it."""
        params = self.tensors[name]
        bounds = params.range
        node = self.written.get(name)
        if node is not None and node.clamp is not None:
            bounds = clamp_range(node.clamp, params, node.name)
        return TensorSpec(name, channels_last(self.graph.shapes[name]), params.affine, bounds)

    def scale(self, name: str) -> np.float32:
        return np.float32(self.tensors[name].affine.scale)

    def node(self, node: FloatNode) -> Node:
        """One operator."""
        if isinstance(node.op, fg.FloatProducts):
            op: ops.Op = self.layer(node, node.op)
        elif isinstance(node.op, fg.FloatFunction):
            op = ops.Lookup(self.table(node, node.op))
        elif isinstance(node.op, fg.FloatChannelFunction):
            tables = [self.table(node, *channel) for channel in node.op.channels()]
            op = ops.ChannelLookup(np.stack(tables))
        else:
            op = self.requantized(node)
        return Node(node.name, op, node.inputs, node.output)

    def requantized(self, node: FloatNode) -> ops.Op:
        """An operator without weights and tables: its multipliers are what the scales give."""
        shapes = [channels_last(self.graph.shapes[name]) for name in node.inputs]
        scales = np.array([self.scale(name) for name in node.inputs])
        return requantized(node, shapes, scales, self.scale(node.output), self.semantics)

    def layer(self, node: FloatNode, op: fg.FloatProducts) -> ops.Products:
        """Convolution or linear layer."""
        if node.name not in self.layers:
            raise ProgramError(f"{node.name}: no weights were chosen for it")
        params, s_x, s_y = self.layers[node.name], self.scale(node.inputs[0]), self.scale(node.output)
        shape, outputs = op.weight.shape, len(op.weight)
        shapes = (params.weight.shape, params.weight_scale.shape, params.bias.shape)
        if shapes != (shape, (outputs,), (outputs,)):
            raise ProgramError(
                f"{node.name}: weight, weight_scale and bias have the shapes {shape}, ({outputs},) and ({outputs},), "
                f"those chosen have {shapes[0]}, {shapes[1]} and {shapes[2]}"
            )
        ratios = layer_multipliers(float(s_x), params.weight_scale.astype(np.float32), float(s_y))
        requantize = multipliers(ratios, self.semantics, node.name)
        if isinstance(op, fg.FloatConv2d):
            weight = np.ascontiguousarray(np.moveaxis(params.weight, 1, -1))
            return ops.Conv2d(weight, params.bias, requantize, op.stride, op.padding, op.dilation, op.groups)
        weight = np.ascontiguousarray(params.weight[:, linear_order(self.graph, node)])
        return ops.Linear(weight, params.bias, requantize)

    def table(
        self, node: FloatNode, op: fg.FloatFunction, reads: float = 1.0, writes: float = 1.0
    ) -> NDArray[np.uint8]:
        """The 256 results of a function of one value, computed in float64; ``reads`` and ``writes`` as in the graph."""
        if op.name not in FUNCTIONS:
            raise UnsupportedOp(f"{node.name}: no function {op.name!r}; oaq knows {', '.join(sorted(FUNCTIONS))}")
        x, y = self.tensors[node.inputs[0]].affine, self.spec(node.output)
        real = (np.arange(256, dtype=np.float64) - x.zero_point) * x.scale
        with np.errstate(over="ignore"):  # where no sample was: clipped below
            results = FUNCTIONS[op.name](real / reads, *op.parameters) * writes
            steps = np.rint(results / y.affine.scale) + y.affine.zero_point
        return np.clip(steps, y.range.lo, y.range.hi).astype(np.uint8)


def multipliers(ratio: NDArray[np.floating], semantics: Semantics, where: str) -> Requantize:
    """Real ratios as the multipliers of the semantics.

    Raises:
        ProgramError: one has no multiplier.
    """
    try:
        return Requantize.from_scales(np.asarray(ratio, np.float32), semantics)
    except ValueError as error:
        raise ProgramError(f"{where}: {error}") from error


def requantized(
    node: FloatNode, shapes: Sequence[Shape], scales: NDArray[np.float32], y: np.float32, semantics: Semantics
) -> ops.Op:
    """An operator without weights and tables, its multipliers what the scales give.

    Args:
        node: of a float graph.
        shapes: of its inputs, channels last.
        scales: of its inputs.
        y: scale of its output.
        semantics: of the multipliers.
    """
    op, rules = neutral(node.op, shapes), fg.rules_of(node.op)
    if rules.ratios is None:
        return op
    ratios = rules.ratios(op, scales, y, shapes)
    value: Any = op
    return replace(value, requantize=rules.fit(multipliers(ratios, semantics, node.name)))


def check_order(graph: FloatGraph) -> None:
    """Check that no reshape permutes memory where channels lie innermost, before anybody chooses integers.

    A reshape keeps (C, H, W) memory order; in NHWC that is a reshape too only where it moves nothing. Flattening an
    image of more than one pixel permutes its values; that is taken if only linear layers (whose weights can be
    permuted) see the result.

    Raises:
        UnsupportedOp: one does.
    """
    for node in graph.nodes:
        if not isinstance(node.op, fg.FloatReshape):
            continue
        source, shape = graph.shapes[node.inputs[0]], node.op.shape
        if node.op.channels_last or np.array_equal(nhwc_order(source), nhwc_order(shape)):
            continue
        if len(shape) != 1 or len(source) < 2:
            raise UnsupportedOp(f"{node.name}: reshapes {source} to {shape}; channels lie innermost here")
        if permutes(graph, node):
            raise UnsupportedOp(
                f"{node.name}: flattens {source} to {shape} for something other than a linear layer; channels lie "
                "innermost here, so that is not a reshape"
            )


def clamp_range(clamp: fg.FloatClamp, params: TensorParams, where: str = "clamp") -> fg.IntRange:
    """The integers that real bounds leave of a range: bounds are rounded to the nearest integer of the output.

    Raises:
        ProgramError: none is left.
    """
    affine, (lo, hi) = params.affine, (params.range.lo, params.range.hi)
    if clamp[0] is not None:
        lo = max(lo, round(min(max(clamp[0] / affine.scale, -1e6), 1e6)) + affine.zero_point)
    if clamp[1] is not None:
        hi = min(hi, round(min(max(clamp[1] / affine.scale, -1e6), 1e6)) + affine.zero_point)
    if lo > hi or not lo <= affine.zero_point <= hi:
        raise ProgramError(
            f"{where}: the clamp {clamp} leaves no range of {params.range} that holds the zero point "
            f'{affine.zero_point}; bounds that exclude 0.0 are a FloatFunction("clamp")'
        )
    return fg.IntRange(lo, hi)
