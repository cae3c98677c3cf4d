"""Small files that are float in part or throughout: seeds for ``oaq.InferenceSession`` and the float importers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto

from benchmarks.onnx_files import float_network, model, node
from benchmarks.tflite_files import RELU6, SAME, Model, Weights, filled

MICROSOFT: Final = "com.microsoft"
IMAGE: Final = (1, 4, 6, 6)
Array = NDArray[Any]
Operators, Tables = schema.BuiltinOperator, schema.BuiltinOptions


def float_files() -> Iterator[tuple[str, str, bytes]]:
    """(kind, name with suffix, file) of each."""
    for name, content in mixed_onnx():
        yield "onnx mixed", f"{name}.onnx", content
    for name, content in dynamic_onnx():
        yield "onnx dynamic", f"{name}.onnx", content
    yield "tflite float", "mobile.tflite", mobile()
    for code in ("CONV_2D", "FULLY_CONNECTED", "MEAN", "ADD", "HARD_SWISH"):
        yield "tflite float", f"{code.lower()}.tflite", float_operator(code)
    for kind in (np.int8, np.uint8):
        yield "tflite mixed", f"softmax_{np.dtype(kind)}.tflite", softmax_between(kind)


def _quantized(x: str, y: str) -> list[NodeProto]:
    return [node("QuantizeLinear", f"{x} s z", f"{y}_q"), node("DequantizeLinear", f"{y}_q s z", y)]


def _integer_conv(x: str, y: str) -> list[NodeProto]:
    weight = node("DequantizeLinear", "w ws", f"{y}_w")
    conv = node("Conv", f"{x}_d {y}_w", f"{y}_f", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    return [*_quantized(x, f"{x}_d"), weight, conv, *_quantized(f"{y}_f", y)]


BETWEEN: Final[dict[str, tuple[tuple[str, str, dict[str, Any]], ...]]] = {
    "softmax": (("Softmax", "a", {"axis": 1}),),
    "norm": (("LayerNormalization", "a gain", {"axis": -1}),),
    "curve": (("Erf", "a", {}), ("Mul", "t0 half", {})),
    "turned": (("Transpose", "a", {"perm": [0, 1, 3, 2]}), ("ReduceMean", "t0", {"axes": [2]}), ("Add", "t1 a", {})),
    "product": (("Transpose", "a", {"perm": [0, 1, 3, 2]}), ("MatMul", "a t0", {})),
    "sliced": (("Slice", "a begin end", {}), ("Pad", "t0 pads", {}), ("Concat", "t1 a", {"axis": 1})),
    "sizes": (("Shape", "a", {}), ("Cast", "t0", {"to": 1}), ("ReduceSum", "t1", {"keepdims": 0}), ("Add", "a t2", {})),
    "chosen": (("Greater", "a half", {}), ("Where", "t0 a half", {})),
}
"""Float operators between integers: (operator, inputs, attributes), results ``t0``, ``t1``, ..."""


def mixed_onnx() -> Iterator[tuple[str, bytes]]:
    """A convolution of integers, float operators, another convolution where channels fit; a float network too."""
    rng = np.random.default_rng(0)
    constants: dict[str, Array] = {"s": np.array(0.15, np.float32), "z": np.array(128, np.uint8)}
    constants["half"] = np.array(0.5, np.float32)
    constants |= {"w": rng.integers(-127, 128, (4, 4, 3, 3)).astype(np.int8), "ws": np.array(0.004, np.float32)}
    constants |= {"gain": np.ones(IMAGE[-1], np.float32), "pads": np.array([0, 0, 1, 0, 0, 0, 1, 0], np.int64)}
    constants |= {"begin": np.array([0, 0, 1, 0], np.int64), "end": np.array([1, 4, 5, 6], np.int64)}
    for name, steps in BETWEEN.items():
        nodes = _integer_conv("x", "a")
        nodes += [node(op, inputs, f"t{at}", **more) for at, (op, inputs, more) in enumerate(steps)]
        last = f"t{len(steps) - 1}"
        if name not in ("turned", "sliced"):
            nodes += [*_integer_conv(last, "b"), node("Identity", "b", "y")]
        else:
            nodes.append(node("Identity", last, "y"))
        used = {text for entry in nodes for text in entry.input}
        yield (
            name,
            model(
                nodes, {"x": IMAGE}, ["y"], {key: value for key, value in constants.items() if key in used}
            ).SerializeToString(),
        )
    network = float_network(rng)
    network.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    yield "float", network.SerializeToString()


def dynamic_onnx() -> Iterator[tuple[str, bytes]]:
    """Every form of a layer whose input is quantized as it comes, its sizes open."""
    rng = np.random.default_rng(1)
    weight = rng.integers(-127, 128, (6, 5)).astype(np.int8)
    unsigned = rng.integers(0, 256, (6, 5)).astype(np.uint8)
    one, each, bias = np.float32(0.01), np.full(5, 0.01, np.float32), np.ones(5, np.float32)
    tokens = ("batch", "tokens", 6)
    quantizer = node("DynamicQuantizeLinear", "x", "q xs xz")
    for name, w, scale, zero in (("one", weight, one, np.int8(0)), ("each", unsigned, each, np.uint8(128))):
        constants = {"w": w, "ws": scale, "wz": zero, "bias": bias}
        plain = [quantizer, node("MatMulInteger", "q w xz wz", "sums"), node("Cast", "sums", "r", to=TensorProto.FLOAT)]
        units = [node("Mul", "xs ws", "unit"), node("Mul", "r unit", "t"), node("Add", "t bias", "y")]
        yield f"matmul_{name}", _file([*plain, *units], tokens, constants)
        fused = node("DynamicQuantizeMatMul", "x w ws wz bias", "y", domain=MICROSOFT)
        yield f"fused_{name}", _file([fused], tokens, constants)
        half = node("MatMulIntegerToFloat", "q w xs ws xz wz bias", "y", domain=MICROSOFT)
        yield f"to_float_{name}", _file([quantizer, half], tokens, constants)
    two = [
        node("DynamicQuantizeMatMul", "x w ws wz bias", "h", domain=MICROSOFT),
        node("Softmax", "h", "p", axis=-1),
        node("DynamicQuantizeMatMul", "p v ws wz", "y", domain=MICROSOFT),
    ]
    more = {"w": weight, "v": weight[:5], "ws": each, "wz": np.int8(0), "bias": bias}
    yield "two", _file(two, tokens, more)
    conv = [
        quantizer,
        node("ConvInteger", "q w xz wz", "sums", pads=[1, 1, 1, 1]),
        node("Cast", "sums", "r", to=TensorProto.FLOAT),
        node("Mul", "xs ws", "unit"),
        node("Mul", "r unit", "y"),
    ]
    kernel = rng.integers(-127, 128, (3, 2, 3, 3)).astype(np.int8)
    yield "conv", _file(conv, ("batch", 2, "high", "wide"), {"w": kernel, "ws": one, "wz": np.int8(0)})


def _file(nodes: Sequence[NodeProto], shape: Sequence[int | str], constants: dict[str, Any]) -> bytes:
    proto: onnx.ModelProto = model(nodes, {"x": shape}, ["y"], {key: np.asarray(v) for key, v in constants.items()})
    return proto.SerializeToString()


def _options(table: str, **values: float) -> tuple[int, Any]:
    return getattr(Tables, table), filled(getattr(schema, f"{table}T"), **values)


WINDOW: Final = {"padding": SAME, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}


class FloatNet:
    """A float TFLite file while it is written; methods return the tensor that they write."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.model, self.rng, self.count = Model(), np.random.default_rng(2), 0
        self.x = self.model.tensor("x", shape, np.float32)

    def constant(self, value: Any, kind: type[np.generic] = np.float32) -> int:  # noqa: ANN401 (what NumPy takes)
        """A constant."""
        self.count += 1
        array = np.asarray(value, kind)
        return self.model.tensor(f"c{self.count}", array.shape, kind, data=array)

    def apply(
        self, code: str, inputs: Sequence[int], shape: Sequence[int], options: tuple[int, Any] | None = None
    ) -> int:
        """Append an operator."""
        self.count += 1
        y = self.model.tensor(f"{code.lower()}{self.count}", shape, np.float32)
        self.model.operator(getattr(Operators, code), inputs, [y], options)
        return y

    def drawn(self, *shape: int) -> int:
        """Weights."""
        return self.constant(self.rng.normal(0, 0.3, shape))


def mobile() -> bytes:
    """A stem, a depthwise convolution, a residual, a mean, a classifier, softmax."""
    net = FloatNet((1, 8, 8, 3))
    conv = _options("Conv2DOptions", **WINDOW, fusedActivationFunction=RELU6)
    stem = net.apply("CONV_2D", [net.x, net.drawn(8, 3, 3, 3), net.drawn(8)], (1, 8, 8, 8), conv)
    depthwise = _options("DepthwiseConv2DOptions", **WINDOW, depthMultiplier=1)
    deep = net.apply("DEPTHWISE_CONV_2D", [stem, net.drawn(1, 3, 3, 8), net.drawn(8)], (1, 8, 8, 8), depthwise)
    added = net.apply("ADD", [deep, stem], (1, 8, 8, 8), _options("AddOptions"))
    axes = net.constant([1, 2], np.int32)
    mean = net.apply("MEAN", [added, axes], (1, 8), _options("ReducerOptions", keepDims=False))
    full = _options("FullyConnectedOptions")
    logits = net.apply("FULLY_CONNECTED", [mean, net.drawn(5, 8), net.drawn(5)], (1, 5), full)
    soft = net.apply("SOFTMAX", [logits], (1, 5), _options("SoftmaxOptions", beta=1.0))
    return net.model.content([net.x], [soft])


def float_operator(code: str) -> bytes:
    """One operator by itself."""
    shape = (1, 5) if code == "FULLY_CONNECTED" else (1, 5, 5, 4)
    net = FloatNet(shape)
    if code == "CONV_2D":
        inputs, result, options = [net.drawn(4, 2, 3, 4), net.drawn(4)], shape, _options("Conv2DOptions", **WINDOW)
    elif code == "FULLY_CONNECTED":
        inputs, result, options = [net.drawn(3, 5), net.drawn(3)], (1, 3), _options("FullyConnectedOptions")
    elif code == "MEAN":
        options = _options("ReducerOptions", keepDims=True)
        inputs, result = [net.constant([1, 2], np.int32)], (1, 1, 1, 4)
    elif code == "ADD":
        inputs, result, options = [net.drawn(4)], shape, _options("AddOptions")
    else:
        inputs, result, options = [], shape, _options("HardSwishOptions")
    return net.model.content([net.x], [net.apply(code, [net.x, *inputs], result, options)])


def softmax_between(kind: type[np.generic]) -> bytes:
    """Fully connected layers of integers around a softmax that LiteRT computes by tables and oaq in float."""
    net, at = Model(), 3 if kind is np.int8 else 131
    weights = Weights(net, kind, np.random.default_rng(3))
    x, first = (net.tensor(name, (1, 8), kind, scale=[0.1], zero=[at]) for name in ("x", "first"))
    soft = net.tensor("soft", (1, 8), kind, scale=[1 / 256], zero=[-128 if kind is np.int8 else 0])
    y = net.tensor("y", (1, 8), kind, scale=[0.08], zero=[at])
    full = _options("FullyConnectedOptions")
    net.operator(Operators.FULLY_CONNECTED, [x, *weights.draw("w0", (8, 8), 0, 0.1)], [first], full)
    net.operator(Operators.SOFTMAX, [first], [soft], _options("SoftmaxOptions", beta=1.0))
    net.operator(Operators.FULLY_CONNECTED, [soft, *weights.draw("w1", (8, 8), 0, 1 / 256)], [y], full)
    return net.content([x], [y])
