"""``import_tflite``: from a TFLite file that holds 8-bit integers to an ``IntProgram``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from oaq import operators as ops
from oaq.capture.from_tflite import arithmetic, functions, layers, movement, pools, transposed
from oaq.capture.from_tflite.builder import OFFSETS, Stays, TfliteBuilder
from oaq.capture.from_tflite.functions import Handler
from oaq.capture.from_tflite.graph import LEFT_OUT, TfliteGraph, TfliteOperator, TfliteTensor
from oaq.capture.from_tflite.islands import Outside, find_islands
from oaq.capture.from_tflite.options import refusal
from oaq.capture.from_tflite.reader import decode, read
from oaq.capture.imported import Imported
from oaq.errors import OaqError, ProgramError, UnsupportedOp
from oaq.numerics.requantize import SEMANTICS, Semantics
from oaq.program.edges import Edge, with_edges
from oaq.program.int_program import IntProgram, Node

HANDLERS: Final[Mapping[str, Handler]] = {
    "CONV_2D": layers.conv_2d,
    "DEPTHWISE_CONV_2D": layers.depthwise_conv_2d,
    "TRANSPOSE_CONV": transposed.transpose_conv,
    "FULLY_CONNECTED": layers.fully_connected,
    "ADD": arithmetic.add,
    "SUB": arithmetic.sub,
    "MUL": arithmetic.mul,
    **dict.fromkeys(("MAXIMUM", "MINIMUM"), arithmetic.extreme),
    "CONCATENATION": arithmetic.concatenation,
    "AVERAGE_POOL_2D": pools.average_pool_2d,
    "MAX_POOL_2D": pools.max_pool_2d,
    "MEAN": pools.mean,
    **dict.fromkeys(functions.CLAMPS, functions.clamp),
    "LOGISTIC": functions.logistic,
    "TANH": functions.tanh,
    "HARD_SWISH": functions.swish,
    "LEAKY_RELU": functions.leaky_relu,
    "PRELU": functions.parametric_relu,
    "ELU": functions.elu,
    "GELU": functions.gelu,
    "QUANTIZE": functions.quantize,
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"), movement.reshape),
    "TRANSPOSE": movement.transpose,
    **dict.fromkeys(("PAD", "PADV2"), movement.pad),
    "MIRROR_PAD": movement.mirror_pad,
    "GATHER": movement.gather,
    "SLICE": movement.slice_,
    "STRIDED_SLICE": movement.strided_slice,
    **dict.fromkeys(("SPLIT", "SPLIT_V"), movement.split),
    **dict.fromkeys(("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"), movement.resize),
    "DEPTH_TO_SPACE": movement.depth_to_space,
}
"""Handlers by operator; operators without one stay outside."""

FLOAT_BY_NATURE: Final = ("SOFTMAX", "LOG_SOFTMAX", "ARG_MAX", "ARG_MIN", "DEQUANTIZE", "QUANTIZE", "TOPK_V2")
"""Operators that are not expected among integers."""

ROUNDING: Final = {
    "float32_half_even": "Every operator rounds as LiteRT's default kernels do (XNNPACK, and its built-in ones where "
    "XNNPACK does not apply){exceptions}. Its reference kernels round otherwise: requantize='fixed_point' has their "
    "multipliers.",
    "fixed_point": "Sums are rounded once with the multipliers of LiteRT's reference kernels, which round twice: one "
    "step apart at most, where the first rounding lands on a tie. Tables are those of its reference kernels.",
}


def import_tflite(
    source: str | Path | bytes, *, requantize: Semantics = "float32_half_even", where: str = "model"
) -> Imported:
    """The integers of a TFLite file.

    Args:
        source: path of the file, or its bytes.
        requantize: ``float32_half_even`` is what LiteRT computes by default: sums in float32 (XNNPACK), all else in
            integers as its kernels do; ``fixed_point`` has the multipliers of its reference kernels: see
            ``from_tflite.multipliers``.
        where: names the file in messages if ``source`` is bytes.

    Raises:
        FormatError: the file is missing, cut off, damaged or contradicts itself.
        UnsupportedOp: it is of a kind that is not read, or no layer of it is made of 8-bit integers.
        ProgramError: its integers break a rule of ``IntProgram``.
    """
    if requantize not in SEMANTICS:
        raise ProgramError(f"requantize is one of {', '.join(SEMANTICS)}, not {requantize!r}")
    graph = decode(source, where) if isinstance(source, bytes) else read(source)
    build = TfliteBuilder(graph, requantize)
    try:
        outside, edges = _walk(build)
        return _assemble(build, outside, edges)
    except OaqError as error:
        raise type(error)(f"{graph.where}: {error}") from error


def _walk(build: TfliteBuilder) -> tuple[list[Outside], dict[int, int]]:
    """Take every operator that can be taken.

    Returns:
        Those that stay outside, and for float tensors at the edges the integers they are made of or into.
    """
    graph, outside, edges = build.graph, [], dict[int, int]()
    for operator in graph.operators:
        if _is_edge(graph, operator):
            edges[operator.outputs[0]] = operator.inputs[0]
            continue
        handler = HANDLERS.get(operator.op)
        try:
            reason = refusal(operator)
            if handler is None or reason:
                raise Stays(reason)
            with np.errstate(all="ignore"):  # as LiteRT: what becomes infinite is refused where integers are made of it
                handler(build, operator)
        except Stays as stay:
            outside.append(Outside(operator, str(stay) if _might_be_integers(graph, operator) else ""))
    return outside, edges


def _is_edge(graph: TfliteGraph, operator: TfliteOperator) -> bool:
    """QUANTIZE of what the caller gives as floats, DEQUANTIZE of what only the caller gets: a session does both."""
    if operator.op not in ("QUANTIZE", "DEQUANTIZE") or len(operator.inputs) != 1 or operator.inputs[0] == LEFT_OUT:
        return False
    x, y = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    if operator.op == "QUANTIZE":
        return x.kind == "FLOAT32" and x.index in graph.inputs and y.kind in OFFSETS
    return x.kind in OFFSETS and not x.constant and not graph.readers.get(y.index)


def _might_be_integers(graph: TfliteGraph, operator: TfliteOperator) -> bool:
    if operator.op in FLOAT_BY_NATURE:
        return False
    tensors = (graph.tensors[index] for index in (*operator.inputs, *operator.outputs) if index != LEFT_OUT)
    return any(tensor.kind in (*OFFSETS, "INT16", "INT4") for tensor in tensors)


def _assemble(build: TfliteBuilder, outside: list[Outside], edges: Mapping[int, int]) -> Imported:
    graph = build.graph
    outside = _with_what_follows(build, outside)
    indices = [edges.get(index, index) for index in graph.outputs]
    indices += [index for node in outside for index in node.operator.inputs]
    names = dict.fromkeys(build.values[index] for index in indices if index in build.values)
    outputs = [name for name in names if name in build.nodes]
    nodes = _needed(build, outputs)
    if not any(isinstance(node.op, ops.Products) for node in nodes):
        reason = next(
            (f"{node.operator}: {node.why}" for node in outside if node.why), "its numbers are floats throughout"
        )
        raise UnsupportedOp(f"holds no layer of 8-bit integers: {reason}. For a float network: oaq quantize")
    read_names = {name for node in nodes for name in node.inputs}
    inputs = {name: index for name, index in build.inputs.items() if name in read_names}
    specs = {name: build.specs[name] for name in (*inputs, *(node.output for node in nodes))}
    metadata = {"input_layout": "NHWC", "source": "tflite"}
    program = IntProgram(graph.name, tuple(inputs), tuple(outputs), specs, nodes, build.semantics, metadata)
    program = with_edges(program, *_edges(build, program, inputs, edges))
    islands = find_islands(graph, outside, {i: n for i, n in build.values.items() if n in specs}, inputs)
    notes = [ROUNDING[build.semantics].format(exceptions=", but for what is named below" if build.deviations else "")]
    notes += _deviations(build, {node.name for node in nodes})
    notes += [
        f"{', '.join(island.writes)}: computed outside, so given to the program."
        for island in islands
        if island.where == "inside"
    ]
    layers_ = {name: source for name, source in build.layers.items() if name in specs}
    return Imported(program, islands, tuple(notes), layers_, {name: build.sources[name] for name in specs})


def _edges(
    build: TfliteBuilder, program: IntProgram, inputs: Mapping[str, int], edges: Mapping[int, int]
) -> tuple[list[Edge], list[Edge]]:
    """How the file sees the program's inputs and outputs; outputs that only what stays outside reads come last."""
    graph = build.graph
    taken = [_edge(program, name, graph.tensors[edges.get(index, index)]) for name, index in inputs.items()]
    ends = [index for index in graph.outputs if build.values.get(edges.get(index, index)) in program.outputs]
    shown = {build.values[edges.get(index, index)] for index in ends}
    inner = {name: index for index, name in build.values.items() if name in program.outputs and name not in shown}
    results = [_edge(program, build.values[edges.get(index, index)], graph.tensors[index]) for index in ends]
    return taken, results + [_edge(program, name, graph.tensors[index]) for name, index in inner.items()]


def _edge(program: IntProgram, name: str, tensor: TfliteTensor) -> Edge:
    shape = program.tensors[name].shape
    return Edge(tensor.name, name, tensor.kind.lower(), shape, tuple((axis,) for axis in range(len(shape))))


def _deviations(build: TfliteBuilder, names: set[str]) -> list[str]:
    """A line for each way in which results may differ from LiteRT's, with the operators it concerns."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in build.deviations.items():
        if name in names:
            by_reason.setdefault(reason, []).append(name)
    return [f"{', '.join(concerned)}: {reason}." for reason, concerned in by_reason.items()]


def _with_what_follows(build: TfliteBuilder, outside: list[Outside]) -> list[Outside]:
    """Operators on integers that no layer computes, behind those outside: they stay there too."""
    summed = set[str]()
    for node in build.nodes.values():
        if isinstance(node.op, ops.Products) or summed.intersection(node.inputs):
            summed.add(node.output)
    useful = {name for node in _needed(build, list(summed)) for name in (*node.inputs, node.output)}
    idle = {index for index, name in build.values.items() if name not in useful}
    by_name = {node.operator.name: node for node in outside}
    for operator in build.graph.operators:
        if operator.name not in by_name and all(index in idle for index in operator.outputs):
            by_name[operator.name] = Outside(operator, "")
    for index in idle:
        del build.values[index]
    return [by_name[operator.name] for operator in build.graph.operators if operator.name in by_name]


def _needed(build: TfliteBuilder, outputs: Sequence[str]) -> tuple[Node, ...]:
    """The nodes that the outputs depend on, in order."""
    needed, nodes = set(outputs), list[Node]()
    for node in reversed(build.nodes.values()):
        if node.output in needed:
            nodes.append(node)
            needed.update(node.inputs)
    return tuple(reversed(nodes))
