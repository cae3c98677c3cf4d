"""Small TFLite files, written with LiteRT's own schema classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

T = TypeVar("T")
KINDS = {np.dtype(np.int8): 9, np.dtype(np.uint8): 3, np.dtype(np.int32): 2, np.dtype(np.float32): 0}
RELU6 = 3
SAME = 0


class Model:
    """A model while it is written; tensors by index."""

    def __init__(self) -> None:
        self.model: Any = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.graph: Any = schema.SubGraphT()
        self.graph.name, self.graph.tensors, self.graph.operators = b"net", [], []
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        kind: type[np.generic] = np.int8,
        *,
        scale: Sequence[float] = (),
        zero: Sequence[int] = (),
        axis: int = 0,
        data: NDArray[Any] | None = None,
    ) -> int:
        """Append a tensor; ``data`` makes it a constant."""
        entry: Any = schema.TensorT()
        entry.name, entry.shape, entry.type, entry.buffer = name.encode(), list(shape), KINDS[np.dtype(kind)], 0
        if scale:
            quantization: Any = schema.QuantizationParametersT()
            quantization.scale, quantization.zeroPoint = list(scale), list(zero or [0] * len(scale))
            quantization.quantizedDimension = axis
            entry.quantization = quantization
        if data is not None:
            buffer: Any = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data, kind).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            entry.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(entry)
        return len(self.graph.tensors) - 1

    def operator(
        self, code: int, inputs: Sequence[int], outputs: Sequence[int], options: tuple[int, Any] | None = None
    ) -> None:
        """Append an operator with the options (their type, their values)."""
        code_entry: Any = schema.OperatorCodeT()
        code_entry.builtinCode, code_entry.deprecatedBuiltinCode, code_entry.version = code, min(code, 127), 1
        self.model.operatorCodes.append(code_entry)
        entry: Any = schema.OperatorT()
        entry.opcodeIndex, entry.inputs, entry.outputs = len(self.model.operatorCodes) - 1, list(inputs), list(outputs)
        if options is not None:
            entry.builtinOptionsType, entry.builtinOptions = options
        self.graph.operators.append(entry)

    def content(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The file."""
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        builder = flatbuffers.Builder(1 << 12)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def filled(kind: type[T], **values: float | list[int]) -> T:
    """An option table."""
    table = kind()
    for name, value in values.items():
        setattr(table, name, value)
    return table


@dataclass(frozen=True, eq=False)
class Weights:
    """Draws weights, with the bias that goes with them."""

    net: Model
    kind: type[np.generic]
    rng: np.random.Generator

    def draw(self, name: str, shape: tuple[int, ...], axis: int, x_scale: float) -> tuple[int, int]:
        """(weights, bias): a scale per output along ``axis`` for int8, one scale and a zero point for uint8."""
        count = shape[axis]
        if self.kind is np.uint8:
            scales, zeros, data = [0.01], [128], self.rng.integers(0, 256, shape)
        else:
            scales, zeros = self.rng.uniform(0.005, 0.02, count).tolist(), [0] * count
            data = self.rng.integers(-127, 128, shape)
        steps, bias = [x_scale * weight_scale for weight_scale in scales], self.rng.integers(-500, 500, count)
        return (
            self.net.tensor(name, shape, self.kind, scale=scales, zero=zeros, axis=axis, data=data),
            self.net.tensor(f"{name}.b", (count,), np.int32, scale=steps, data=bias),
        )


def window(kind: type[T], stride: int) -> T:
    """Options of a convolution with SAME padding."""
    return filled(kind, padding=SAME, strideH=stride, strideW=stride, dilationHFactor=1, dilationWFactor=1)


def network(seed: int = 0, kind: type[np.generic] = np.int8, scale: float = 0.02) -> bytes:
    """Conv 3x3 (SAME, stride 2, ReLU6), depthwise, a residual, mean, fully connected, softmax."""
    net = Model()
    code, options, weights = (
        schema.BuiltinOperator,
        schema.BuiltinOptions,
        Weights(net, kind, np.random.default_rng(seed)),
    )
    at = -128 if kind is np.int8 else 0

    def activation(name: str, shape: tuple[int, ...], step: float, zero: int) -> int:
        return net.tensor(name, shape, kind, scale=[step], zero=[at + zero])

    x, c = activation("x", (1, 9, 9, 3), scale, 100), activation("c", (1, 5, 5, 8), 6 / 255, 0)
    d, a = activation("d", (1, 5, 5, 8), 0.05, 90), activation("a", (1, 5, 5, 8), 0.06, 80)
    m, f = activation("m", (1, 8), 0.03, 70), activation("f", (1, 5), 0.1, 128)
    y = activation("y", (1, 5), 1 / 256, 0)
    axes = net.tensor("axes", (2,), np.int32, data=np.array([1, 2]))
    conv, depthwise = window(schema.Conv2DOptionsT, 2), window(schema.DepthwiseConv2DOptionsT, 1)
    conv.fusedActivationFunction, depthwise.depthMultiplier = RELU6, 1
    full, softmax = filled(schema.FullyConnectedOptionsT), filled(schema.SoftmaxOptionsT)
    softmax.beta = 1.0
    first, second = weights.draw("w0", (8, 3, 3, 3), 0, scale), weights.draw("w1", (1, 3, 3, 8), 3, 6 / 255)
    net.operator(code.CONV_2D, [x, *first], [c], (options.Conv2DOptions, conv))
    net.operator(code.DEPTHWISE_CONV_2D, [c, *second], [d], (options.DepthwiseConv2DOptions, depthwise))
    net.operator(code.ADD, [c, d], [a], (options.AddOptions, filled(schema.AddOptionsT)))
    net.operator(code.MEAN, [a, axes], [m], (options.ReducerOptions, filled(schema.ReducerOptionsT)))
    last = weights.draw("w2", (5, 8), 0, 0.03)
    net.operator(code.FULLY_CONNECTED, [m, *last], [f], (options.FullyConnectedOptions, full))
    net.operator(code.SOFTMAX, [f], [y], (options.SoftmaxOptions, softmax))
    return net.content([x], [y])


def sequence_network(seed: int = 0, kind: type[np.generic] = np.int8) -> bytes:
    """A convolution along 12 positions, written as converters write one, and a linear layer at every position.

    (1, 12, 5) to (1, 1, 12, 5), a convolution with a (1, 3) kernel, (1, 6, 8), a fully connected layer: (1, 6, 4).
    """
    net = Model()
    code, options, weights = (
        schema.BuiltinOperator,
        schema.BuiltinOptions,
        Weights(net, kind, np.random.default_rng(seed)),
    )
    zero = -20 if kind is np.int8 else 108

    def activation(name: str, shape: tuple[int, ...], step: float) -> int:
        return net.tensor(name, shape, kind, scale=[step], zero=[zero])

    x, wide = activation("x", (1, 12, 5), 0.02), activation("wide", (1, 1, 12, 5), 0.02)
    c, flat = activation("c", (1, 1, 6, 8), 0.05), activation("flat", (1, 6, 8), 0.05)
    y = activation("y", (1, 6, 4), 0.2)
    axis = net.tensor("axis", (), np.int32, data=np.array(1))
    net.operator(code.EXPAND_DIMS, [x, axis], [wide], (options.ExpandDimsOptions, schema.ExpandDimsOptionsT()))
    net.operator(
        code.CONV_2D,
        [wide, *weights.draw("along", (8, 1, 3, 5), 0, 0.02)],
        [c],
        (options.Conv2DOptions, window(schema.Conv2DOptionsT, 2)),
    )
    net.operator(code.SQUEEZE, [c], [flat], (options.SqueezeOptions, filled(schema.SqueezeOptionsT, squeezeDims=[1])))
    net.operator(
        code.FULLY_CONNECTED,
        [flat, *weights.draw("linear", (4, 8), 0, 0.05)],
        [y],
        (options.FullyConnectedOptions, filled(schema.FullyConnectedOptionsT, keepNumDims=True)),
    )
    return net.content([x], [y])
