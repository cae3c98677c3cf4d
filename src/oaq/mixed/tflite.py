"""A TFLite file as regions: what stays outside its integers is written as ONNX operators, in float between quantizers.

LiteRT computes some of these operators (Softmax of int8) by tables of its own: results may be one step apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from oaq.capture.from_onnx.graph import Array, OnnxGraph, OnnxNode, TensorType, Value
from oaq.capture.from_tflite.builder import OFFSETS
from oaq.capture.from_tflite.graph import LEFT_OUT, TfliteGraph, TfliteOperator, TfliteTensor
from oaq.capture.from_tflite.importer import import_tflite
from oaq.capture.from_tflite.reader import read
from oaq.capture.imported import Imported, Island
from oaq.errors import UnsupportedOp
from oaq.mixed.cut import Source, cut
from oaq.mixed.program import MixedProgram, Port
from oaq.program.edges import output_edges

OPSET: Final = 13
DTYPES: Final = {"FLOAT32": "float32", "INT8": "int8", "UINT8": "uint8", "INT32": "int32", "INT64": "int64"}
SAME: Final = {
    "SOFTMAX": "Softmax",
    "LOG_SOFTMAX": "LogSoftmax",
    "LOGISTIC": "Sigmoid",
    "TANH": "Tanh",
    "RELU": "Relu",
    "EXP": "Exp",
    "LOG": "Log",
    "NEG": "Neg",
    "ABS": "Abs",
    "SQRT": "Sqrt",
    "FLOOR": "Floor",
    "CEIL": "Ceil",
    "ELU": "Elu",
    "HARD_SWISH": "HardSwish",
    "ADD": "Add",
    "SUB": "Sub",
    "MUL": "Mul",
    "DIV": "Div",
    "MAXIMUM": "Max",
    "MINIMUM": "Min",
    "QUANTIZE": "Identity",
    "DEQUANTIZE": "Identity",
}
"""Operators that are one of ONNX's, axes and all; along the last axis where they look along one."""
RESHAPES: Final = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")


def mixed_tflite(path: Path) -> MixedProgram:
    """The regions of a TFLite file.

    Raises:
        FormatError: it is missing or damaged.
        UnsupportedOp: an operator that stays outside is not written here; the message names it.
    """
    graph, imported = read(path), import_tflite(path)
    _require_names(graph)
    writer = _Writer(graph)
    islands = []
    for operator in _in_float(graph, imported):
        first = len(writer.nodes)
        writer.write(operator)
        reason = next((island.why for island in imported.islands if str(operator) in dict(island.nodes)), "")
        nodes = tuple((node.name, node.op) for node in writer.nodes[first:])
        islands.append(Island(nodes, (), (), "output", reason))
    onnx_graph = writer.graph_of(imported)
    regions = cut(onnx_graph, replace(imported, islands=tuple(islands)), Source(8, {}, {}))
    ports = [[_port(graph.tensors[index]) for index in indices] for indices in (graph.inputs, graph.outputs)]
    return MixedProgram(graph.name, tuple(ports[0]), tuple(ports[1]), regions, {})


def _in_float(graph: TfliteGraph, imported: Imported) -> list[TfliteOperator]:
    """The operators outside the program, and those at their edges that only they or the caller need."""
    names = {name for island in imported.islands for name, _ in island.nodes}
    members = {index for index, operator in enumerate(graph.operators) if str(operator) in names}
    computed = {edge.name for edge in output_edges(imported.program)}
    pending = [*graph.outputs, *(index for at in members for index in graph.operators[at].inputs)]
    while pending:
        index = pending.pop()
        at = graph.writers.get(index)
        if index != LEFT_OUT and at is not None and at not in members and graph.tensors[index].name not in computed:
            members.add(at)
            pending += graph.operators[at].inputs
    return [graph.operators[at] for at in sorted(members)]


def _require_names(graph: TfliteGraph) -> None:
    names = [tensor.name for tensor in graph.tensors if not tensor.constant]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise UnsupportedOp(
            f"{graph.where}: two tensors are called {repeated!r}, so its float parts cannot be told apart"
        )


class _Writer:
    """ONNX nodes for operators, one after the other."""

    def __init__(self, graph: TfliteGraph) -> None:
        self.graph = graph
        self.nodes: list[OnnxNode] = []
        self.constants: dict[str, Array] = {}

    def write(self, operator: TfliteOperator) -> None:
        """One operator: reals of what it reads, what it computes, integers of that where the file has integers.

        Raises:
            UnsupportedOp: it is not written here.
        """
        core = CORES.get(operator.op)
        activation = operator.options.get("FusedActivationFunction", 0)
        if core is None or activation not in (0, 1, 3) or len(operator.outputs) != 1:
            raise UnsupportedOp(
                f"{self.graph.where}: {operator} stays in float, and oaq has no float operator for it in TFLite files"
            )
        indices = [index for index in operator.inputs if index != LEFT_OUT]
        names = [self._real(operator, self.graph.tensors[index]) for index in indices]
        result = core(self, operator, names)
        if activation:
            bounds = [self.constant(operator, 0.0)] + ([self.constant(operator, 6.0)] if activation == 3 else [])
            result = self.node(operator, "Clip", [result, *bounds])
        self._leave(operator, result, self.graph.tensors[operator.outputs[0]])

    def node(self, operator: TfliteOperator, op: str, inputs: Sequence[str], out: str = "", **attributes: Value) -> str:
        """Append a node; returns what it writes."""
        place = len(self.nodes)
        name = f"{operator.name} ({operator.op}) {place}"
        out = out or f"{operator.name}/{place}"
        self.nodes.append(OnnxNode(name, op, "", tuple(inputs), (out,), attributes))
        return out

    def constant(self, operator: TfliteOperator, value: object, dtype: Any = np.float32) -> str:  # noqa: ANN401
        """Append a constant; returns its name."""
        name = f"{operator.name}/constant {len(self.constants)}"
        self.constants[name] = np.asarray(value, dtype)
        return name

    def graph_of(self, imported: Imported) -> OnnxGraph:
        """The nodes as a graph between the file's own inputs and outputs."""
        graph = self.graph
        types = {
            tensor.name: TensorType(np.dtype(DTYPES[tensor.kind]), tensor.shape)
            for tensor in graph.tensors
            if tensor.kind in DTYPES
        }
        return OnnxGraph(
            where=graph.where,
            name=graph.name,
            nodes=tuple(self.nodes),
            inputs=tuple(graph.tensors[index].name for index in graph.inputs),
            outputs=tuple(graph.tensors[index].name for index in graph.outputs),
            constants=self.constants,
            types=types,
            opsets={"": OPSET},
            batch=1,
            producer="tflite",
            metadata={},
            initializers=frozenset(),
            folded={},
        )

    def _real(self, operator: TfliteOperator, tensor: TfliteTensor) -> str:
        if tensor.constant and tensor.data is not None:
            data = tensor.data
            if tensor.kind in OFFSETS and tensor.scale.size:
                data = (data.astype(np.int32) - np.int32(tensor.zero_point[0])) * np.float32(tensor.scale[0])
            return self.constant(operator, data, data.dtype if data.dtype.kind in "iu" else np.float32)
        if tensor.kind not in OFFSETS or not tensor.scale.size:
            return tensor.name
        return self.node(operator, "DequantizeLinear", [tensor.name, *self._numbers(operator, tensor)])

    def _leave(self, operator: TfliteOperator, result: str, tensor: TfliteTensor) -> None:
        if tensor.kind in OFFSETS and tensor.scale.size:
            self.node(operator, "QuantizeLinear", [result, *self._numbers(operator, tensor)], tensor.name)
        else:
            self.node(operator, "Identity", [result], tensor.name)

    def _numbers(self, operator: TfliteOperator, tensor: TfliteTensor) -> list[str]:
        dtype = DTYPES[tensor.kind]
        zero = tensor.zero_point[0] if tensor.zero_point.size else 0
        return [self.constant(operator, tensor.scale[0]), self.constant(operator, zero, dtype)]


Core = Callable[[_Writer, TfliteOperator, list[str]], str]


def _equivalent(writer: _Writer, operator: TfliteOperator, names: list[str]) -> str:
    if operator.op == "SOFTMAX" and operator.options.get("Beta", 1.0) not in (0.0, 1.0):
        scale = writer.constant(operator, operator.options["Beta"])
        names = [writer.node(operator, "Mul", [names[0], scale])]
    return writer.node(operator, SAME[operator.op], names)


def _relu6(writer: _Writer, operator: TfliteOperator, names: list[str]) -> str:
    return writer.node(operator, "Clip", [names[0], writer.constant(operator, 0.0), writer.constant(operator, 6.0)])


def _rsqrt(writer: _Writer, operator: TfliteOperator, names: list[str]) -> str:
    return writer.node(operator, "Reciprocal", [writer.node(operator, "Sqrt", names)])


def _square(writer: _Writer, operator: TfliteOperator, names: list[str]) -> str:
    return writer.node(operator, "Mul", [names[0], names[0]])


def _reshape(writer: _Writer, operator: TfliteOperator, names: list[str]) -> str:
    return _shaped(writer, operator, names[0])


def _shaped(writer: _Writer, operator: TfliteOperator, name: str) -> str:
    shape = writer.graph.tensors[operator.outputs[0]].shape
    return writer.node(operator, "Reshape", [name, writer.constant(operator, shape, np.int64)])


def _transpose(writer: _Writer, operator: TfliteOperator, names: list[str]) -> str:
    return writer.node(operator, "Transpose", names[:1], perm=_numbers(writer, operator))


def _mean(writer: _Writer, operator: TfliteOperator, names: list[str]) -> str:
    mean = writer.node(operator, "ReduceMean", names[:1], axes=_numbers(writer, operator), keepdims=1)
    return _shaped(writer, operator, mean)


def _extreme(writer: _Writer, operator: TfliteOperator, names: list[str]) -> str:
    (axis,) = _numbers(writer, operator)
    place = writer.node(operator, "ArgMax" if operator.op == "ARG_MAX" else "ArgMin", names[:1], axis=axis, keepdims=0)
    kind = writer.graph.tensors[operator.outputs[0]].kind
    return place if kind == "INT64" else writer.node(operator, "Cast", [place], to=6)


def _normal(writer: _Writer, operator: TfliteOperator, names: list[str]) -> str:
    return writer.node(operator, "LpNormalization", names, axis=-1)


def _concatenation(writer: _Writer, operator: TfliteOperator, names: list[str]) -> str:
    return writer.node(operator, "Concat", names, axis=int(operator.options.get("Axis", 0)))  # type: ignore[arg-type]


def _numbers(writer: _Writer, operator: TfliteOperator) -> tuple[int, ...]:
    data = writer.graph.data(operator.input_at(1))
    if data is None:
        raise UnsupportedOp(f"{writer.graph.where}: {operator}: its axes are computed while it runs")
    return tuple(int(number) for number in data.reshape(-1))


CORES: Final[Mapping[str, Core]] = {
    **dict.fromkeys(SAME, _equivalent),
    **dict.fromkeys(RESHAPES, _reshape),
    "RELU6": _relu6,
    "RSQRT": _rsqrt,
    "SQUARE": _square,
    "TRANSPOSE": _transpose,
    "MEAN": _mean,
    "ARG_MAX": _extreme,
    "ARG_MIN": _extreme,
    "L2_NORMALIZATION": _normal,
    "CONCATENATION": _concatenation,
}
"""What computes each operator on reals, by its name in TFLite."""


def _port(tensor: TfliteTensor) -> Port:
    return Port(tensor.name, DTYPES.get(tensor.kind, ""), tensor.shape)
