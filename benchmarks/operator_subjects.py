"""One operator at a time as a program, and the graph of the same operator on u8 tensors for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.numerics.affine import Affine
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec, output_shape
from oaq.operators.tensor import Shape
from oaq.program.int_program import IntProgram, Node

SIZES: Final[dict[str, Shape]] = {"in cache": (28, 28, 192), "in memory": (480, 320, 192)}
"""(H, W, C) of inputs: 150 kB lie in a second cache, 29 MB with an output leave the third."""
HALF: Final = np.float32(0.5)
FINE: Final = Affine(0.05, 7)
Arrays = tuple[NDArray[np.uint8], ...]


@dataclass(frozen=True, eq=False)
class Subject:
    """An operator on tensors of one size.

    Attributes:
        name: of the operator and its variant.
        size: "in cache" or "in memory".
        program: of one node.
        streams: False where an output takes more than moving it: the share of the memory limit is then no floor.
        most_apart: by how much an integer of ONNX Runtime's may differ; it rounds elsewhere.
    """

    name: str
    size: str
    program: IntProgram
    streams: bool = True
    most_apart: int = 0

    @property
    def bytes(self) -> int:
        """Bytes that are read and written, weights included: of a slice its own only."""
        tensors = sum(prod(spec.shape) for spec in self.program.tensors.values())
        if isinstance(self.program.nodes[0].op, ops.Slice):
            return 2 * prod(self.program.tensors["y"].shape)
        return tensors + sum(node.op.weight.size for node in self.program.nodes if isinstance(node.op, ops.Products))

    @property
    def is_linear(self) -> bool:
        """Whether its weights are most of what it touches: then the limit is a read of them."""
        return isinstance(self.program.nodes[0].op, ops.Linear)

    def inputs(self) -> Arrays:
        """Integers of the whole range, drawn."""
        rng = np.random.default_rng(1)
        specs = [self.program.tensors[name] for name in self.program.inputs]
        return tuple(rng.integers(0, 256, (1, *spec.shape)).astype(np.uint8) for spec in specs)


def program(name: str, op: ops.Op, *x: Shape, y: Affine = FINE) -> IntProgram:
    """One node on inputs of these shapes."""
    names = tuple(f"x{index}" for index in range(len(x)))
    tensors = {key: TensorSpec(key, shape, FINE) for key, shape in zip(names, x, strict=True)}
    tensors["y"] = TensorSpec("y", output_shape(op, x), y)
    return IntProgram(name, names, ("y",), tensors, (Node("operator", op, names, "y"),))


def subjects() -> Iterator[Subject]:
    """Every operator that sums no products, in cache and out of it."""
    for size, shape in SIZES.items():
        for name, op, x, facts in _operators(shape):
            y = FINE if _keeps_affine(op) else Affine(0.1, 3)
            yield Subject(name, size, program(name, op, *x, y=y), **facts)


def _keeps_affine(op: ops.Op) -> bool:
    return ops.rules_of(op).same_affine or isinstance(op, ops.Lookup | ops.ChannelLookup)


def _operators(shape: Shape) -> Iterator[tuple[str, ops.Op, tuple[Shape, ...], dict[str, Any]]]:
    """Name, value, shapes of inputs, further fields of ``Subject``."""
    height, width, channels = shape
    few, rounds = (height * 4, width * 4, channels // 16), {"most_apart": 1}
    scalar = {"streams": False}  # of an operator whose only row takes integers one at a time
    pair, alone = Requantize(np.array([HALF, HALF])), Requantize(np.array([0.05 * 0.05 / 0.1], np.float32))
    yield "add", ops.Add(pair), (shape, shape), rounds
    yield "multiply", ops.Mul(alone), (shape, shape), rounds
    yield "multiply by channel", ops.Mul(alone), (shape, (1, 1, channels)), rounds
    yield "concat", ops.Concat(pair), (shape, shape), rounds
    yield "max pool 3x3, stride 2", ops.MaxPool((3, 3), (2, 2), (1, 1, 1, 1)), (shape,), {}
    if height < 100:  # out of the caches ONNX Runtime takes seconds
        yield "max pool 5x5", ops.MaxPool((5, 5), (1, 1), (2, 2, 2, 2)), (shape,), {"streams": False}
    for side, stride in ((2, 2), (3, 1)):
        ratios = np.array([0.5 / (count + 1) for count in range(side * side)], np.float32)
        op = ops.AvgPool((side, side), (stride, stride), Requantize(ratios))
        yield f"average pool {side}x{side}", op, (shape,), {"streams": stride > 1, **rounds}
    mean = Requantize(np.array([0.5 / (height * width)], np.float32))
    yield "global average pool", ops.GlobalAvgPool(mean), (shape,), rounds
    small = (height // 2, width // 2, channels)
    yield "resize, nearest", ops.Resize(height, width, "nearest"), (small,), {}
    yield "resize, bilinear", ops.Resize(height, width, "bilinear"), (small,), {"streams": False, "most_apart": 2}
    yield "depth to space, DCR", ops.DepthToSpace(4, "DCR"), (shape,), {}
    yield "depth to space, CRD", ops.DepthToSpace(4, "CRD"), ((height * 2, width * 2, 48),), {}
    table = (np.arange(256) * 37 % 256).astype(np.uint8)
    yield "lookup", ops.Lookup(table), (shape,), {}
    tables = np.stack([np.roll(table, channel) for channel in range(channels)])
    yield "lookup by channel", ops.ChannelLookup(tables), (shape,), scalar
    yield "pad", ops.Pad((1, 1, 1, 1)), (shape,), {}
    yield "slice, channels", ops.Slice((0, 0, 0), (height, width, channels // 2)), (shape,), {}
    yield "slice, image", ops.Slice((1, 1, 0), (height - 1, width - 1, channels)), (shape,), {}
    half = channels // 2
    planes = ops.Transpose((height * width, channels), (1, 0), (channels, height, width))
    backwards = np.arange(width - 1, -1, -1, dtype=np.int32)
    yield "gather, columns backwards", ops.Gather(2, backwards), (shape,), {}
    yield "gather, every other channel", ops.Gather(0, np.arange(0, channels, 2, dtype=np.int32)), (shape,), {}
    yield "transpose, to channels first", planes, (shape,), {}
    yield "transpose, shuffle", ops.Transpose((height * width, 2, half), (0, 2, 1), shape), (shape,), {}
    yield "multiply by channel, few", ops.Mul(alone), (few, (1, 1, few[2])), rounds
    yield "concat, few", ops.Concat(pair), (few, few), rounds


def linear(rows: int, terms: int, outputs: int) -> Subject:
    """A linear layer on so many tokens, with weights that no run of any row overflows."""
    rng = np.random.default_rng(0)
    op = ops.Linear(
        rng.integers(-1, 2, (outputs, terms)).astype(np.int8),
        rng.integers(-1000, 1000, outputs).astype(np.int32),
        Requantize(np.full(outputs, np.float32(FINE.scale) * np.float32(0.01) / np.float32(FINE.scale), np.float32)),
    )
    name = f"linear, {rows} rows, {terms} to {outputs}"
    return Subject(name, "in memory", program(name, op, (rows, terms)), most_apart=1)


def linear_model(subject: Subject, path: Path) -> Path:
    """A linear layer on a matrix of tokens between quantizers: Gemm, which ONNX Runtime makes one operator of."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    op = subject.program.nodes[0].op
    if not isinstance(op, ops.Linear):
        raise TypeError(f"{subject.name} is not a linear layer")
    scale, weight_scale = np.float32(FINE.scale), np.float32(0.01)
    constants: dict[str, Any] = {"w": op.weight, "b": op.bias, "s": scale, "z": np.uint8(FINE.zero_point)}
    constants |= {"ws": weight_scale, "wz": np.int8(0), "bs": np.float32(scale * weight_scale), "bz": np.int32(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["xr"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wr"]),
        helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["br"]),
        helper.make_node("Gemm", ["xr", "wr", "br"], ["real"], transB=1),
        helper.make_node("QuantizeLinear", ["real", "s", "z"], ["y"]),
    ]
    rows, terms = subject.program.tensors["x0"].shape
    ports = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, [rows, size])
        for name, size in (("x", terms), ("y", op.outputs))
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "linear", ports[:1], ports[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def integer_model(subject: Subject, path: Path) -> Path:
    """The operator between quantizers as ONNX, its ends u8: nothing of the reals of a program is timed."""
    import onnx
    from onnx import TensorProto, helper

    from oaq.export.onnx_qdq.model import build

    model = build(subject.program)
    graph = model.graph
    ends = {port.name for port in (*graph.input, *graph.output)}
    first = [node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] in ends]
    last = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.output[0] in ends]
    names = {node.input[0]: node.output[0] for node in first} | {node.output[0]: node.input[0] for node in last}
    inner = [node for node in graph.node if node not in first and node not in last]
    for ports in (graph.input, graph.output):
        for port in ports:
            dims = [size.dim_value or 1 for size in port.type.tensor_type.shape.dim]
            port.CopyFrom(helper.make_tensor_value_info(names[port.name], TensorProto.UINT8, dims))
    del graph.node[:]
    graph.node.extend(inner)
    onnx.save(model, str(path))
    return path
