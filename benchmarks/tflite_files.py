"""Small TFLite files, written with LiteRT's own schema classes."""

from __future__ import annotations

from collections.abc import Sequence
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
        self.made: Any = schema.ModelT()
        self.made.version = 3
        self.made.buffers = [schema.BufferT()]
        self.made.operatorCodes = []
        self.graph: Any = schema.SubGraphT()
        self.graph.name, self.graph.tensors, self.graph.operators = b"net", [], []
        self.made.subgraphs = [self.graph]

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
        one: Any = schema.TensorT()
        one.name, one.shape, one.type, one.buffer = name.encode(), list(shape), KINDS[np.dtype(kind)], 0
        if scale:
            quantization: Any = schema.QuantizationParametersT()
            quantization.scale, quantization.zeroPoint = list(scale), list(zero or [0] * len(scale))
            quantization.quantizedDimension = axis
            one.quantization = quantization
        if data is not None:
            buffer: Any = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data, kind).tobytes(), np.uint8)
            self.made.buffers.append(buffer)
            one.buffer = len(self.made.buffers) - 1
        self.graph.tensors.append(one)
        return len(self.graph.tensors) - 1

    def operator(
        self, code: int, inputs: Sequence[int], outputs: Sequence[int], options: tuple[int, Any] | None = None
    ) -> None:
        """Append an operator with the options (their type, their values)."""
        known: Any = schema.OperatorCodeT()
        known.builtinCode, known.deprecatedBuiltinCode, known.version = code, min(code, 127), 1
        self.made.operatorCodes.append(known)
        one: Any = schema.OperatorT()
        one.opcodeIndex, one.inputs, one.outputs = len(self.made.operatorCodes) - 1, list(inputs), list(outputs)
        if options is not None:
            one.builtinOptionsType, one.builtinOptions = options
        self.graph.operators.append(one)

    def content(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The file."""
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        builder = flatbuffers.Builder(1 << 12)
        builder.Finish(self.made.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def filled(kind: type[T], **values: int) -> T:
    """An option table."""
    one = kind()
    for name, value in values.items():
        setattr(one, name, value)
    return one


def network(seed: int = 0, kind: type[np.generic] = np.int8, scale: float = 0.02) -> bytes:
    """Conv 3x3 (SAME, stride 2, ReLU6), depthwise, a residual, mean, fully connected, softmax."""
    rng, net = np.random.default_rng(seed), Model()
    code = schema.BuiltinOperator
    at = -128 if kind is np.int8 else 0

    def weights(name: str, shape: tuple[int, ...], axis: int, count: int, x_scale: float) -> tuple[int, int]:
        """Weights and the bias that goes with them."""
        if kind is np.uint8:
            scales, zeros, data = [0.01], [128], rng.integers(0, 256, shape)
        else:
            scales, zeros = rng.uniform(0.005, 0.02, count).tolist(), [0] * count
            data = rng.integers(-127, 128, shape)
        steps = [x_scale * one for one in scales]
        return (
            net.tensor(name, shape, kind, scale=scales, zero=zeros, axis=axis, data=data),
            net.tensor(f"{name}.b", (count,), np.int32, scale=steps, data=rng.integers(-500, 500, count)),
        )

    x = net.tensor("x", (1, 9, 9, 3), kind, scale=[scale], zero=[at + 100])
    c = net.tensor("c", (1, 5, 5, 8), kind, scale=[6 / 255], zero=[at])
    d = net.tensor("d", (1, 5, 5, 8), kind, scale=[0.05], zero=[at + 90])
    a = net.tensor("a", (1, 5, 5, 8), kind, scale=[0.06], zero=[at + 80])
    m = net.tensor("m", (1, 8), kind, scale=[0.03], zero=[at + 70])
    f = net.tensor("f", (1, 5), kind, scale=[0.1], zero=[at + 128])
    y = net.tensor("y", (1, 5), kind, scale=[1 / 256], zero=[at])
    axes = net.tensor("axes", (2,), np.int32, data=np.array([1, 2]))
    conv = filled(schema.Conv2DOptionsT, padding=SAME, strideH=2, strideW=2, dilationHFactor=1, dilationWFactor=1)
    conv.fusedActivationFunction = RELU6
    depthwise = filled(
        schema.DepthwiseConv2DOptionsT, padding=SAME, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1
    )
    depthwise.depthMultiplier = 1
    options = schema.BuiltinOptions
    net.operator(code.CONV_2D, [x, *weights("w0", (8, 3, 3, 3), 0, 8, scale)], [c], (options.Conv2DOptions, conv))
    net.operator(
        code.DEPTHWISE_CONV_2D,
        [c, *weights("w1", (1, 3, 3, 8), 3, 8, 6 / 255)],
        [d],
        (options.DepthwiseConv2DOptions, depthwise),
    )
    net.operator(code.ADD, [c, d], [a], (options.AddOptions, filled(schema.AddOptionsT)))
    net.operator(code.MEAN, [a, axes], [m], (options.ReducerOptions, filled(schema.ReducerOptionsT)))
    full = filled(schema.FullyConnectedOptionsT)
    net.operator(
        code.FULLY_CONNECTED,
        [m, *weights("w2", (5, 8), 0, 5, 0.03)],
        [f],
        (options.FullyConnectedOptions, full),
    )
    softmax = filled(schema.SoftmaxOptionsT)
    softmax.beta = 1.0
    net.operator(code.SOFTMAX, [f], [y], (options.SoftmaxOptions, softmax))
    return net.content([x], [y])
