"""Rules for QuantizeLinear, DequantizeLinear and QONNX's Quant: where reals become integers and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from oaq import operators as ops
from oaq.capture.from_onnx.attributes import integers
from oaq.capture.from_onnx.graph import OnnxGraph, OnnxNode
from oaq.capture.from_onnx.joins import extreme_of
from oaq.capture.from_onnx.moves import moved
from oaq.capture.from_onnx.scales import pairs
from oaq.capture.from_onnx.values import Extreme, Integers, Meaning, Pending, Reals, Stays, View, settled
from oaq.capture.from_onnx.walk import EIGHT_BITS, Walk, constant_meaning
from oaq.capture.from_onnx.weights import quant_numbers, quant_range
from oaq.numerics.ranges import IntRange

KEEPS_MEANING: Final = (
    *("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "MaxPool", "Pad", "Slice", "Clip", "Relu"),
    *("DepthToSpace", "Resize"),
)
"""Operators on integers whose result has the scale and zero point of their first input."""


def meanings(graph: OnnxGraph) -> dict[str, Meaning]:
    """Scale and zero point of every 8-bit tensor of the file that some node states."""
    by_name: dict[str, Meaning] = {}
    for node in graph.nodes:
        for tensor, scale, zero in pairs(node):
            name = node.outputs[0] if tensor < 0 or node.op == "QuantizeLinear" else node.input_name(tensor)
            dtype = graph.dtype(name)
            if name and dtype in EIGHT_BITS and name not in by_name:
                meaning = constant_meaning(graph, node.input_name(scale), node.input_name(zero), dtype == np.int8)
                if meaning is not None:
                    by_name[name] = meaning
    for node in reversed(graph.nodes):
        if node.op in KEEPS_MEANING and node.input_name(0) and node.outputs and node.outputs[0] in by_name:
            by_name.setdefault(node.input_name(0), by_name[node.outputs[0]])
    return by_name


def quantize(walk: Walk, node: OnnxNode) -> None:
    """QuantizeLinear: of reals of the program, or of something float, which becomes an input of the program."""
    result = node.outputs[0]
    dtype = walk.graph.dtype(result)
    if dtype not in EIGHT_BITS:
        raise Stays(f"it quantizes to {dtype}, not to 8 bits")
    meaning = walk.meaning(node.input_name(1), node.input_name(2), dtype == np.int8)
    meaning = replace(meaning, bits=walk.graph.bits(result) or 8)
    view = _quantized_within(walk, node, (meaning, meaning.reach))
    walk.values[result] = Integers(view, meaning.offset)
    walk.absorb([node])


def quantized(walk: Walk, node: OnnxNode, name: str, meaning: Meaning, file: str) -> View:
    """The integers that quantizing the float tensor ``name`` gives; the file calls them ``file``.

    A file may quantize one tensor again for each reader; the integers are the same.
    """
    earlier = walk.quantized.get((name, meaning))
    if earlier is not None and walk.draft.tensors[earlier[0].tensor].range == earlier[1]:
        walk.draft.tensors[earlier[0].tensor].readers += 1  # nobody narrows it from now on
        return earlier[0]
    view = _quantized_first(walk, node, name, meaning, file)
    walk.quantized[name, meaning] = (view, walk.draft.tensors[view.tensor].range)
    return view


def _quantized_first(walk: Walk, node: OnnxNode, name: str, meaning: Meaning, file: str) -> View:
    value = walk.values.get(name)
    match value:
        case Reals():
            view = walk.requantized(value, meaning, file, node)
            walk.absorb(value.nodes)
        case Extreme():
            view = extreme_of(walk, value, meaning, file)
        case Pending():
            inner = file if not value.moves else value.nodes[-1].outputs[0]
            view = walk.materialized(value, meaning, inner)
            walk.draft.tensors[view.tensor].is_integer = not value.moves
            for move in value.moves:
                view = moved(walk, move, view, None)
            walk.absorb(value.moves)
            view = settled(walk.draft, view)
        case None if name not in walk.graph.constants:
            return _turned_line(walk, name, meaning) or walk.entry(name, meaning, file)
        case _:
            raise Stays(f"its input {name!r} is nothing to quantize")
    tensor = walk.draft.tensors[view.tensor]
    if not tensor.is_integer:
        tensor.file, tensor.layout, tensor.offset, tensor.is_integer = file, view.layout, meaning.offset, True
    return view


def _turned_line(walk: Walk, name: str, meaning: Meaning) -> View | None:
    """An input (batch, T, C) that the file transposes before it quantizes it; None if ``name`` is something else."""
    turn = walk.graph.producers.get(name)
    source = turn.input_name(0) if turn is not None and turn.op == "Transpose" and not turn.domain else ""
    if turn is None or source not in walk.graph.inputs or len(walk.graph.shape(source)) != 3:
        return None
    if integers(turn, "perm") not in (None, (0, 2, 1)) or walk.readers.get(source, 0) != 1 or source in walk.values:
        return None
    view = walk.entry(source, meaning, source)
    walk.draft.tensors[view.tensor].is_integer, walk.draft.tensors[view.tensor].is_stated = False, True
    walk.absorb([turn])
    return View(view.tensor, view.layout.transposed((1, 0)))


def dequantize(walk: Walk, node: OnnxNode) -> None:
    """DequantizeLinear of integers that the network computes; that of constants is left to its readers."""
    name = node.input_name(0)
    if name in walk.graph.constants:
        raise Stays("it dequantizes a constant")
    dtype = walk.graph.dtype(name)
    if dtype not in EIGHT_BITS:
        raise Stays(f"it dequantizes {dtype}, not 8 bits")
    meaning = walk.meaning(node.input_name(1), node.input_name(2), dtype == np.int8)
    walk.values[node.outputs[0]] = Reals(walk.integers(name, meaning))
    walk.absorb([node])


def fake_quantize(walk: Walk, node: OnnxNode) -> None:
    """QONNX's Quant: QuantizeLinear, Clip and DequantizeLinear in one, on reals."""
    result = node.outputs[0]
    scale, zero, bits = quant_numbers(walk.graph, node)
    if scale.size != 1 or zero.size != 1:
        raise Stays("it has one scale per channel")
    lo, hi = quant_range(node, bits)
    if bits > 8:
        raise Stays(f"it quantizes to {bits} bits, more than 8")
    signed = lo < 0
    meaning = Meaning(float(np.float32(scale.reshape(-1)[0])), int(zero.reshape(-1)[0]), signed)
    reach = IntRange(lo + meaning.offset, hi + meaning.offset)
    if meaning.affine.zero_point not in reach:
        raise Stays("its zero point is none of its integers")
    walk.values[result] = Reals(_quantized_within(walk, node, (meaning, reach)))
    walk.absorb([node])


def _quantized_within(walk: Walk, node: OnnxNode, target: tuple[Meaning, IntRange]) -> View:
    """``quantized`` of a node's input, clamped to a range, which may be narrower than 8 bits."""
    meaning, reach = target
    first = len(walk.draft.tensors)
    view = quantized(walk, node, node.input_name(0), meaning, node.outputs[0])
    tensor = walk.draft.tensors[view.tensor]
    if reach.contains(tensor.range):
        return view
    writer = walk.draft.writer(view.tensor)
    # A tensor that was there before has readers to come, which want all of it.
    is_new = view.tensor >= first and not tensor.readers
    fresh = is_new and not (writer and ops.rules_of(writer.op).same_affine)
    narrowed = IntRange(max(reach.lo, tensor.range.lo), min(reach.hi, tensor.range.hi))
    table = np.clip(np.arange(256), reach.lo, reach.hi).astype(np.uint8)
    if fresh and writer is not None and isinstance(writer.op, ops.Lookup):
        writer.op, tensor.range = ops.Lookup(table[writer.op.table]), narrowed
    elif fresh:
        tensor.range = narrowed
    else:
        clamped = replace(tensor, range=reach, file=node.outputs[0])
        view = View(walk.draft.emit(node.name, ops.Lookup(table), [view.tensor], clamped), view.layout)
    return view


RULES: Final[Mapping[str, Callable[[Walk, OnnxNode], None]]] = {
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
}
"""Rules by operator; ``fake_quantize`` is of QONNX's domains."""
