"""Small ONNX files of every form that the importer reads, for benchmarks and tests that need many kinds at once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET: Final = 17
CHANNELS: Final = 8
SIDE: Final = 8
QONNX: Final = "qonnx.custom_op.general"
Constants = Mapping[str, NDArray[Any]]


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str],
    constants: Constants,
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model of float32 inputs; results of unknown shape and of element type ``kind``."""
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    domains = sorted({node.domain for node in nodes if node.domain})
    opsets = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="hand")


def node(op: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:  # noqa: ANN401 (ONNX's own)
    """One node; names separated by spaces, "-" for an input left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    domain = str(attributes.pop("domain", ""))
    outputs = output.split()
    return helper.make_node(op, names, outputs, name=outputs[0], domain=domain, **attributes)


def float_network(rng: np.random.Generator) -> onnx.ModelProto:
    """Convolutions of all kinds, a residual, a gate, branches, pools, a classifier: what ORT's quantizer gets."""
    c = CHANNELS
    nodes = [
        node("Conv", "x w0 b0", "c0", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Clip", "c0 zero six", "r0"),
        node("Conv", "r0 w1 b1", "c1", kernel_shape=[3, 3], pads=[0, 0, 2, 2], group=c),
        node("Relu", "c1", "r1"),
        node("Conv", "r1 w2", "c2", kernel_shape=[1, 1]),
        node("Add", "c2 r0", "a"),
        node("GlobalAveragePool", "a", "g0"),
        node("Conv", "g0 w3 b0", "g1", kernel_shape=[1, 1]),
        node("Sigmoid", "g1", "g2"),
        node("Mul", "a g2", "m"),
        node("MaxPool", "m", "p0", kernel_shape=[2, 2], strides=[2, 2]),
        node("AveragePool", "m", "p1", kernel_shape=[2, 2], strides=[2, 2]),
        node("Concat", "p0 p1", "k", axis=1),
        node("GlobalAveragePool", "k", "v"),
        node("Flatten", "v", "f"),
        node("Gemm", "f w4 b4", "logits", transB=1),
        node("Softmax", "logits", "y", axis=1),
    ]
    shapes = {"w0": (c, 3, 3, 3), "w1": (c, 1, 3, 3), "w2": (c, c, 1, 1), "w3": (c, c, 1, 1), "w4": (10, 2 * c)}
    shapes |= {"b0": (c,), "b1": (c,), "b4": (10,)}
    constants = {name: rng.normal(0, 0.4, shape).astype(np.float32) for name, shape in shapes.items()}
    constants |= {"zero": np.float32(0), "six": np.float32(6)}
    return model(nodes, {"x": ("batch", 3, SIDE, SIDE)}, ["y"], constants)


def written(folder: Path) -> Path:
    """The folder, with a file of every form in it."""
    for name, content in every().items():
        (folder / f"{name}.onnx").write_bytes(content)
    return folder


class Photos:
    """What onnxruntime.quantization calibrates on."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...] = (3, SIDE, SIDE)) -> None:
        self._batches = [{"x": rng.normal(0, 1, (1, *shape)).astype(np.float32)} for _ in range(4)]

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """One batch; None when there are no more."""
        return self._batches.pop() if self._batches else None


def static(float_model: onnx.ModelProto, rng: np.random.Generator, **options: Any) -> bytes:  # noqa: ANN401 (their options)
    """What ``onnxruntime.quantization.quantize_static`` makes of a float model."""
    from onnxruntime import quantization

    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(float_model, before)
        quantization.quantize_static(str(before), str(after), cast(Any, Photos(rng)), **options)
        return after.read_bytes()


def dynamic(float_model: onnx.ModelProto) -> bytes:
    """What ``onnxruntime.quantization.quantize_dynamic`` makes of a float model."""
    from onnxruntime import quantization

    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(float_model, before)
        quantization.quantize_dynamic(str(before), str(after), op_types_to_quantize=["Conv", "Gemm", "MatMul"])
        return after.read_bytes()


def from_onnxruntime(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """(name, file) of each form that ONNX Runtime's tools write."""
    from onnxruntime.quantization import QuantFormat, QuantType

    u8, s8 = QuantType.QUInt8, QuantType.QInt8
    float_model = float_network(rng)
    for name, form in (("QDQ", QuantFormat.QDQ), ("QOperator", QuantFormat.QOperator)):
        for kinds in ((u8, s8), (u8, u8), (s8, s8)):
            for per_channel in (False, True):
                types = "".join("U8" if kind == u8 else "S8" for kind in kinds)
                file = static(
                    float_model,
                    rng,
                    quant_format=form,
                    activation_type=kinds[0],
                    weight_type=kinds[1],
                    per_channel=per_channel,
                )
                yield f"{name} {types} {'per channel' if per_channel else 'per tensor'}", file
    yield "dynamic", dynamic(float_model)


def moving() -> onnx.ModelProto:
    """Integers that are moved every way, between two convolutions."""
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("DequantizeLinear", "q s z", "d"),
        node("Pad", "d pads", "t0"),
        node("Slice", "t0 begin end axes", "t1"),
        node("DepthToSpace", "t1", "t2", blocksize=2, mode="CRD"),
        node("Resize", "t2 - - sizes", "t3", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        node("QuantizeLinear", "t3 s z", "q1"),
        node("Split", "q1 halves", "h0 h1", axis=1),
        node("DequantizeLinear", "h0 s z", "d0"),
        node("DequantizeLinear", "h1 s z", "d1"),
        node("Add", "d0 d1", "a"),
        node("QuantizeLinear", "a s z", "q2"),
        node("Cast", "q2", "i", to=TensorProto.INT32),
        node("Gather", "table i", "q3", axis=0),
        node("DequantizeLinear", "q3 s z", "d3"),
        node("Shape", "d3", "shape"),
        node("Gather", "shape first", "n", axis=0),
        node("Concat", "n rest", "wanted", axis=0),
        node("Reshape", "d3 wanted", "flat"),
        node("DequantizeLinear", "w ws wz", "wr", axis=1),
        node("MatMul", "flat wr", "m"),
        node("Add", "m bias", "y"),
    ]
    constants: dict[str, NDArray[Any]] = {
        "s": np.array(0.03, np.float32),
        "z": np.array(120, np.uint8),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "begin": np.array([1, 1]),
        "end": np.array([9, 9]),
        "axes": np.array([2, 3]),
        "sizes": np.array([1, 2, 8, 8]),
        "halves": np.array([1, 1]),
        "table": np.arange(256)[::-1].astype(np.uint8),
        "first": np.array([0]),
        "rest": np.array([64]),
        "w": np.ones((64, 5), np.int8),
        "ws": np.full(5, 0.01, np.float32),
        "wz": np.zeros(5, np.int8),
        "bias": np.zeros(5, np.float32),
    }
    return model(nodes, {"x": (1, 8, 8, 8)}, ["y"], constants)


def qonnx() -> onnx.ModelProto:
    """QONNX, as Brevitas writes it: one Quant per tensor, weights stored as reals."""
    nodes = [
        node("Quant", "x s zero eight", "q", domain=QONNX, signed=0, narrow=0, rounding_mode="ROUND"),
        node("Quant", "w ws zero four", "wq", domain=QONNX, signed=1, narrow=1, rounding_mode="ROUND"),
        node("Conv", "q wq b", "c", kernel_shape=[3, 3]),
        node("Relu", "c", "r"),
        node("Quant", "r s2 zero four", "q2", domain=QONNX, signed=0, narrow=0, rounding_mode="ROUND"),
        node("BatchNormalization", "q2 one nought nought one", "n"),
        node("GlobalAveragePool", "q2", "y"),
    ]
    constants: dict[str, NDArray[Any]] = {
        "s": np.array(0.02, np.float32),
        "s2": np.array(0.5, np.float32),
        "zero": np.array(0, np.float32),
        "eight": np.array(8, np.float32),
        "four": np.array(4, np.float32),
        "w": np.linspace(-1, 1, 4 * 3 * 9).reshape(4, 3, 3, 3).astype(np.float32),
        "ws": np.full((4, 1, 1, 1), 0.125, np.float32),
        "b": np.zeros(4, np.float32),
        "one": np.ones(4, np.float32),
        "nought": np.zeros(4, np.float32),
    }
    return model(nodes, {"x": ("n", 3, 6, 6)}, ["y", "n"], constants)


def with_function() -> onnx.ModelProto:
    """A network whose one layer is a function of the file's own."""
    body = [
        helper.make_node("DequantizeLinear", ["a", "s", "z"], ["r"]),
        helper.make_node("DequantizeLinear", ["w", "ws"], ["wr"]),
        helper.make_node("MatMul", ["r", "wr"], ["m"]),
        helper.make_node("QuantizeLinear", ["m", "s", "z"], ["b"]),
    ]
    opsets = [helper.make_opsetid("", OPSET)]
    layer = helper.make_function("own", "Layer", ["a", "s", "z", "w", "ws"], ["b"], body, opsets)
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("Layer", "q s z w ws", "h", domain="own"),
        node("Layer", "h s z w ws", "k", domain="own"),
        node("DequantizeLinear", "k s z", "y"),
    ]
    constants: dict[str, NDArray[Any]] = {
        "s": np.array(0.1, np.float32),
        "z": np.array(3, np.uint8),
        "w": np.eye(4, dtype=np.int8) * 100,
        "ws": np.array(0.01, np.float32),
    }
    result = model(nodes, {"x": ("n", 4)}, ["y"], constants)
    result.functions.append(layer)
    return result


BY_HAND: Final[Mapping[str, Callable[[], onnx.ModelProto]]] = {
    "moving": moving,
    "QONNX": qonnx,
    "function": with_function,
}


def every(seed: int = 0) -> dict[str, bytes]:
    """One file of each form, by name."""
    files = dict(from_onnxruntime(np.random.default_rng(seed)))
    return files | {name: make().SerializeToString() for name, make in BY_HAND.items()}
