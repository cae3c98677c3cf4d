"""Small graphs in which one attribute has a value that is not its default: one at least for every row of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.differential_onnx.net import MICROSOFT, Net, Tensor

RNG: Final = np.random.default_rng(7)


@dataclass(frozen=True)
class Case:
    """One operator with all its attributes, one of which is what the case is for.

    Attributes:
        op: operator.
        attribute: that is perturbed.
        attributes: all that the node has.
        constants: further inputs: arrays; None is one left out.
        shape: of what the operator reads.
        opset: of ONNX's own operators.
        domain: of the operator.
    """

    op: str
    attribute: str
    attributes: Mapping[str, Any]
    constants: tuple[Any, ...] = ()
    shape: tuple[int, ...] = (1, 4, 6, 6)
    opset: int = 19
    domain: str = ""
    forms: tuple[str, ...] = field(default=("quantized", "float"))

    @property
    def name(self) -> str:
        """For the test's name."""
        return f"{self.op}-{self.attribute}={self.attributes.get(self.attribute)}-{self.opset}"


def cases(op: str, base: Mapping[str, Any], values: Mapping[str, list[Any]], **more: Any) -> list[Case]:
    """One case for each value of each attribute, the others as in ``base``."""
    return [Case(op, name, {**base, name: value}, **more) for name, options in values.items() for value in options]


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


W3 = RNG.integers(-100, 100, (4, 4, 3, 3)).astype(np.int8)
W3_GROUPS = RNG.integers(-100, 100, (4, 2, 3, 3)).astype(np.int8)
WINDOWS = {
    "auto_pad": ["SAME_UPPER", "SAME_LOWER", "VALID"],
    "dilations": [[2, 1]],
    "kernel_shape": [[3, 3]],
    "pads": [[1, 0, 2, 1]],
    "strides": [[2, 1]],
}
POOL = {name: WINDOWS[name] for name in ("auto_pad", "pads", "strides")}
K3 = {"kernel_shape": [3, 3]}
PADDED = {**K3, "pads": [1, 1, 1, 1], "strides": [2, 2]}
STATISTICS = (f32(0.5, 1, 2, 1), f32(0.1, 0, -0.2, 0.3), f32(0, 0.1, 0.2, -0.1), f32(1, 0.5, 0.8, 2))
SCALES = (None, f32(1, 1, 2, 2))
SIZES_BY_AXES = (None, None, i64(9, 12))

DOUBLED = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
TRANSPOSED = {
    "dilations": [[2, 1]],
    "kernel_shape": [[3, 3]],
    "pads": [[1, 0, 2, 1]],
    "strides": [[3, 3], [1, 2], [2, 1]],
    "output_padding": [[1, 0]],
}

LAYERS: list[Case] = [
    *cases("ConvTranspose", DOUBLED, TRANSPOSED, constants=(W3,)),
    *cases("ConvTranspose", {"strides": [2, 2]}, {"auto_pad": WINDOWS["auto_pad"]}, constants=(W3,)),
    *cases("ConvTranspose", {"strides": [2, 2]}, {"output_shape": [[11, 11], [12, 12]]}, constants=(W3,)),
    *cases("ConvTranspose", DOUBLED, {"group": [2]}, constants=(W3_GROUPS,)),
    *(case for op in ("Conv", "QLinearConv", "ConvInteger") for case in cases(op, {}, WINDOWS, constants=(W3,))),
    *(
        case
        for op in ("Conv", "QLinearConv", "ConvInteger")
        for case in cases(op, {}, {"group": [2]}, constants=(W3_GROUPS,))
    ),
    *(
        case
        for shape, flip in (((6, 5), 0), ((5, 6), 1))
        for case in cases(
            "Gemm",
            {"transB": flip},
            {"alpha": [0.5, 2.0, -1.0], "beta": [0.5, -2.0, 0.0], "transB": [flip]},
            constants=(RNG.integers(-100, 100, shape).astype(np.int8), f32(*range(5))),
            shape=(3, 6),
        )
    ),
    Case("Gemm", "transA", {"transA": 1}, (RNG.integers(-100, 100, (3, 5)).astype(np.int8), f32(1)), (3, 6)),
    *cases(
        "QGemm",
        {"transB": 1},
        {"alpha": [0.5], "transB": [1]},
        constants=(RNG.integers(-100, 100, (5, 6)).astype(np.int8),),
        shape=(3, 6),
        domain=MICROSOFT,
    ),
    Case(
        "QGemm", "transA", {"transA": 1}, (RNG.integers(-100, 100, (3, 5)).astype(np.int8),), (3, 6), domain=MICROSOFT
    ),
]
"""Layers: their first constant is the weights."""

PLAIN: list[Case] = [
    *cases("BatchNormalization", {}, {"epsilon": [0.1], "momentum": [0.5]}, constants=STATISTICS),
    Case("BatchNormalization", "training_mode", {"training_mode": 1}, STATISTICS),
    Case("BatchNormalization", "spatial", {"spatial": 0}, (np.ones((4, 6, 6), np.float32),) * 4, opset=8),
    *cases("MaxPool", K3, {**POOL, "dilations": [[2, 1]], "storage_order": [1]}),
    *cases("MaxPool", PADDED, {"ceil_mode": [1]}, shape=(1, 4, 5, 7)),
    *cases("MaxPool", {}, {"kernel_shape": [[2, 3]]}),
    *cases("AveragePool", K3, {**POOL, "dilations": [[2, 1]]}),
    *cases("AveragePool", PADDED, {"ceil_mode": [1], "count_include_pad": [1]}, shape=(1, 4, 5, 7)),
    Case("AveragePool", "ceil_mode", {**PADDED, "ceil_mode": 1, "count_include_pad": 1}, shape=(1, 4, 6, 8)),
    *cases("AveragePool", {}, {"kernel_shape": [[2, 3]]}),
    *cases("ReduceMean", {"axes": [2, 3]}, {"keepdims": [0], "axes": [[2, 3], [-1, -2], [1], [2]]}, opset=17),
    Case("ReduceMean", "noop_with_empty_axes", {"noop_with_empty_axes": 1}, opset=18),
    Case("ReduceMean", "keepdims", {"keepdims": 0}, (i64(2, 3),), opset=18),
    *cases("Transpose", {}, {"perm": [[0, 2, 3, 1], [0, 1, 3, 2], [1, 0, 2, 3]]}),
    Case("Reshape", "allowzero", {"allowzero": 1}, (i64(1, 24, 6),)),
    *cases("Flatten", {}, {"axis": [0, 1, 2, 3, 4, -1, -3]}),
    *cases("Squeeze", {}, {"axes": [[3], [2, 3]]}, shape=(1, 4, 1, 1), opset=12),
    *cases("Unsqueeze", {}, {"axes": [[1], [2], [2, 3]]}, shape=(1, 4), opset=12),
    *cases("Gather", {}, {"axis": [1, 2, -1]}, constants=(i64(0, 2),)),
    *cases("Split", {}, {"axis": [1, 2, -1]}, opset=17),
    *cases("Split", {"axis": 1}, {"split": [[1, 3]]}, opset=12),
    *cases("Split", {"axis": 1}, {"num_outputs": [2]}, opset=18),
    *cases("Slice", {"starts": [1], "ends": [3]}, {"axes": [[1], [2], [-1]]}, opset=9),
    *cases("Slice", {"axes": [2], "starts": [1], "ends": [6]}, {"starts": [[-4]], "ends": [[3], [-1], [99]]}, opset=9),
    *cases("Pad", {}, {"mode": ["reflect", "edge"]}, constants=(i64(0, 0, 1, 1, 0, 0, 1, 1),)),
    *cases("Pad", {"pads": [0, 0, 1, 1, 0, 0, 1, 1]}, {"value": [0.5], "pads": [[0, 0, 0, 2, 0, 0, 1, 0]]}, opset=10),
    *cases("DepthToSpace", {"blocksize": 2}, {"blocksize": [2], "mode": ["CRD"]}),
    *cases("Cast", {"to": 1}, {"to": [1, 6]}),
    *cases("Cast", {"to": 1}, {"to": [10]}, forms=("quantized",)),  # float graphs are computed in float32 throughout
    *cases("Clip", {"min": -0.5, "max": 0.7}, {"min": [-0.2], "max": [0.3]}, opset=10),
    *cases("HardSigmoid", {}, {"alpha": [0.4], "beta": [0.1]}),
    *cases("LeakyRelu", {}, {"alpha": [0.3, -0.3]}),
    *cases("Elu", {}, {"alpha": [0.3, 2.0]}),
    *cases("Celu", {}, {"alpha": [0.3, 2.0]}, forms=("float",)),
    *cases("Selu", {}, {"alpha": [0.3], "gamma": [1.5]}, forms=("float",)),
    *cases("Shrink", {"lambd": 0.25, "bias": 0.25}, {"lambd": [0.5], "bias": [0.5]}, forms=("float",)),
    *cases("Gelu", {}, {"approximate": ["tanh"]}, opset=20),
    *cases("QuickGelu", {}, {"alpha": [1.0]}, domain=MICROSOFT),
    *cases("Dropout", {}, {"ratio": [0.1]}, opset=11),
    *cases("Dropout", {}, {"seed": [3]}, opset=13),
    *cases("Softmax", {}, {"axis": [1, 2, -2]}),
    *cases("LogSoftmax", {}, {"axis": [1]}),
    *cases("ArgMax", {}, {"axis": [1], "keepdims": [0], "select_last_index": [1]}, forms=("float",)),
    *cases("Concat", {}, {"axis": [1, -3, 2, -1]}),
]
RESIZES: list[Case] = [
    *cases(
        "Resize",
        {},
        {"mode": ["linear", "cubic"], "exclude_outside": [0], "extrapolation_value": [1.0]},
        constants=SCALES,
    ),
    *cases(
        "Resize",
        {},
        {
            "coordinate_transformation_mode": [
                *("asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric", "tf_half_pixel_for_nn"),
            ],
            "nearest_mode": ["floor", "ceil", "round_prefer_ceil"],
        },
        constants=SCALES,
    ),
    *cases(
        "Resize",
        {"mode": "linear"},
        {"coordinate_transformation_mode": ["asymmetric", "align_corners", "half_pixel_symmetric"], "antialias": [1]},
        constants=(None, f32(1, 1, 0.5, 0.5)),
    ),
    *cases("Resize", {"mode": "cubic"}, {"cubic_coeff_a": [-0.5], "exclude_outside": [1]}, constants=SCALES),
    *cases("Resize", {}, {"axes": [[2, 3], [3, 2], [-2, -1]]}, constants=(None, f32(2, 3))),
    *cases(
        "Resize", {"axes": [2, 3]}, {"keep_aspect_ratio_policy": ["not_larger", "not_smaller"]}, constants=SIZES_BY_AXES
    ),
    *cases("Upsample", {}, {"mode": ["linear"]}, constants=(f32(1, 1, 2, 2),), opset=9),
    *cases("Upsample", {"mode": "nearest"}, {"scales": [[1.0, 1.0, 2.0, 3.0]]}, opset=8),
]
QUANTIZERS: list[Case] = [
    *cases("QuantizeLinear", {}, {"saturate": [0]}),
    *cases("QuantizeLinear", {}, {"output_dtype": [2, 3, 21, 22, 4, 5]}, opset=21),
    *cases("QuantizeLinear", {}, {"precision": [1, 10]}, opset=23),
    *cases("QLinearConcat", {}, {"axis": [1, -3, 2]}, domain=MICROSOFT),
    *cases("QLinearLeakyRelu", {}, {"alpha": [0.3]}, domain=MICROSOFT),
    *cases("QLinearGlobalAveragePool", {}, {"channels_last": [1]}, domain=MICROSOFT),
    *cases(
        "QLinearAveragePool",
        K3,
        {**POOL, "ceil_mode": [1], "count_include_pad": [1], "channels_last": [1], "kernel_shape": [[2, 3]]},
        domain=MICROSOFT,
    ),
]
"""Operators that read or write integers."""
AXES: list[Case] = [
    *(Case(op, "axis", {"axis": axis}, opset=opset) for op in ("QuantizeLinear", "DequantizeLinear")
      for axis in (0, 1, -1) for opset in (13, 21)),
    *(Case(op, "axis", {"axis": 0}, opset=17, domain=MICROSOFT) for op in ("QuantizeLinear", "DequantizeLinear")),
    *(Case(op, "block_size", {"axis": 1, "block_size": 2}, opset=21) for op in ("QuantizeLinear", "DequantizeLinear")),
    Case("DequantizeLinear", "output_dtype", {"output_dtype": 1}, opset=23),
    Case("DequantizeLinear", "output_dtype", {"output_dtype": 10}, opset=23),
]  # fmt: skip
"""QuantizeLinear and DequantizeLinear of weights."""
ONE = numpy_helper.from_array(np.array([1.5], np.float32))
FOLDED: list[tuple[str, dict[str, Any], tuple[Any, ...], int]] = [
    ("Constant", {"value": numpy_helper.from_array(f32(1, 2))}, (), 17),
    ("Constant", {"value_float": 0.5}, (), 17),
    ("Constant", {"value_floats": [0.5, 1.0]}, (), 17),
    ("Constant", {"value_int": 3}, (), 17),
    ("Constant", {"value_ints": [3, 4]}, (), 17),
    ("ConstantOfShape", {"value": ONE}, (i64(2, 3),), 17),
    ("Shape", {"start": 1}, (np.zeros((2, 3, 4), np.float32),), 17),
    ("Shape", {"end": -1}, (np.zeros((2, 3, 4), np.float32),), 17),
    ("Shape", {"start": -2, "end": 9}, (np.zeros((2, 3, 4), np.float32),), 17),
    ("Mod", {"fmod": 1}, (i64(-7, 7, 8), i64(3, -3, 5)), 17),
    ("Mod", {"fmod": 0}, (i64(-7, 7, 8), i64(3, -3, 5)), 17),
    ("Range", {"stash_type": 1}, (f32(1).reshape(()), f32(4.5).reshape(()), f32(0.5).reshape(())), 27),
    ("Concat", {"axis": -1}, (i64(1, 2).reshape(1, 2), i64(3).reshape(1, 1)), 17),
    ("Gather", {"axis": -1}, (i64(1, 2, 3, 4).reshape(2, 2), i64(1)), 17),
    ("Transpose", {"perm": [1, 0]}, (i64(1, 2, 3, 4, 5, 6).reshape(2, 3),), 17),
    ("Cast", {"to": TensorProto.INT32}, (f32(1.7, -2.3),), 17),
    ("Flatten", {"axis": 0}, (np.zeros((2, 3), np.float32),), 17),
    *(
        (op, attributes, (f32(1, 5, 2, 7, 3, 4).reshape(2, 3), *inputs), opset)
        for op, first in (("ReduceSum", 13), ("ReduceProd", 18), ("ReduceMax", 18), ("ReduceMin", 18))
        for attributes, inputs, opset in (
            ({"axes": [1], "keepdims": 0}, (), first - 2),
            ({"keepdims": 0}, (i64(-1),), max(first, 18)),
            ({"noop_with_empty_axes": 1}, (), max(first, 18)),
            ({"noop_with_empty_axes": 1}, (i64(),), max(first, 18)),
            ({"noop_with_empty_axes": 0}, (i64(),), max(first, 18)),
        )
    ),
]
"""(operator, attributes, inputs, opset) of what is computed beforehand."""
NOT_RUN: Final[Mapping[tuple[str, str], str]] = {
    ("Constant", "sparse_value"): "a file with it is refused while it is read",
    ("Constant", "value_string"): "a file with it is refused while it is read",
    ("Constant", "value_strings"): "a file with it is refused while it is read",
    ("Cast", "saturate"): "ONNX Runtime refuses a file that has it where it changes nothing",
    ("Cast", "round_mode"): "ONNX Runtime refuses a file that has it where it changes nothing",
    ("QLinearReduceMean", "axes"): "ONNX Runtime has no such kernel",
    ("QLinearReduceMean", "keepdims"): "ONNX Runtime has no such kernel",
    ("Swish", "alpha"): "ONNX Runtime has no such kernel",
    **{(op, "signed"): "of QONNX: ONNX Runtime has no such kernel" for op in ("Quant", "IntQuant")},
    **{(op, "narrow"): "of QONNX: ONNX Runtime has no such kernel" for op in ("Quant", "IntQuant")},
    **{(op, "rounding_mode"): "of QONNX: ONNX Runtime has no such kernel" for op in ("Quant", "IntQuant")},
}
"""Attributes that no case perturbs, and why."""


def graph(case: Case, form: str) -> onnx.ModelProto:
    """The case after a layer (in float graphs, alone), each result quantized."""
    net = Net(np.random.default_rng(3), case.opset, form)  # type: ignore[arg-type]
    x = net.quantized(net.input(case.shape, case.shape[0]), "uint8")
    if case in LAYERS:
        y = _layer(net, x, case)
    elif case in QUANTIZERS:
        y = _of_integers(net, _mixed(net, x, case), case)
    elif case in AXES:
        y = _weights(net, x, case)
    else:
        y = _plain(net, _mixed(net, x, case), case)
    return net.model([net.quantized(y, "uint8").name])


def _mixed(net: Net, x: Tensor, case: Case) -> Tensor:
    """``x`` through a matrix product along its last axis, so that there is a layer."""
    if net.form == "float":
        return Tensor(net.node("Neg", x.name), x.shape, -2, 2)
    size = x.shape[-1]
    w = net.node(
        "DequantizeLinear", net.integers(net.rng.integers(-100, 100, (size, size)), "int8"), net.constant(0.005)
    )
    if len(x.shape) < 4:
        return net.quantized(Tensor(net.node("MatMul", x.name, w), x.shape, -1, 1), "uint8")
    channels = x.shape[1]
    values = net.rng.integers(-100, 100, (channels, channels, 1, 1))
    w = net.node("DequantizeLinear", net.integers(values, "int8"), net.constant(0.005))
    return net.quantized(Tensor(net.node("Conv", x.name, w), x.shape, -1, 1), "uint8")


def _plain(net: Net, x: Tensor, case: Case) -> Tensor:
    inputs = ["" if value is None else net.constant(value, value.dtype) for value in case.constants]
    first = [x.name, x.name] if case.op == "Concat" else [x.name]
    results = {"Split": 2, "BatchNormalization": 3 if "training_mode" in case.attributes else 1}.get(case.op, 1)
    name = net.node(case.op, *first, *inputs, results=results, domain=case.domain, **case.attributes)
    if case.op == "ArgMax" or case.attributes.get("to", 1) != 1:
        name = net.node("Cast", name, to=1)
    return Tensor(name, x.shape, -2, 2)


def _layer(net: Net, x: Tensor, case: Case) -> Tensor:
    w, *others = case.constants
    if net.form == "float":
        inputs = [x.name, net.constant(w * np.float32(0.004)), *(net.constant(value) for value in others)]
        return Tensor(net.node(case.op, *inputs, **case.attributes), x.shape, -4, 4)
    assert x.stored is not None
    q = net.integers(w.astype(np.int64), "int8")
    side = [x.stored.name, x.stored.scale, x.stored.zero_point or net.integers(np.array(0), "uint8")]
    zero, scale = net.integers(np.array(0), "int8"), net.constant(0.004)
    match case.op:
        case "ConvInteger":
            sums = net.node("ConvInteger", side[0], q, side[2], zero, **case.attributes)
            name = net.node("Mul", net.node("Cast", sums, to=1), net.constant(1e-4))
        case "QLinearConv" | "QGemm":
            s, z = net.constant(0.03), net.integers(np.array(128), "uint8")
            end = [s, z] if case.op == "QLinearConv" else ["", s, z]
            y = net.node(case.op, *side, q, scale, zero, *end, domain=case.domain, **case.attributes)
            name = net.node("DequantizeLinear", y, s, z)
        case _:
            inputs = [net.node("DequantizeLinear", q, scale, zero), *(net.constant(value) for value in others)]
            name = net.node(case.op, x.name, *inputs, **case.attributes)
    return Tensor(name, x.shape, -4, 4)


def _of_integers(net: Net, x: Tensor, case: Case) -> Tensor:
    if case.op == "QuantizeLinear":
        s = net.constant(0.02)
        q = net.node("QuantizeLinear", x.name, s, **case.attributes)
        return Tensor(net.node("DequantizeLinear", q, s), x.shape, -2, 2)
    assert x.stored is not None
    side = [x.stored.name, x.stored.scale, x.stored.zero_point or net.integers(np.array(0), "uint8")]
    s, z = net.constant(0.01), net.integers(np.array(120), "uint8")
    inputs = [s, z, *side, *side] if case.op == "QLinearConcat" else [*side, s, z]
    q = net.node(case.op, *inputs, domain=case.domain, **case.attributes)
    return Tensor(net.node("DequantizeLinear", q, s, z), x.shape, -2, 2)


def _weights(net: Net, x: Tensor, case: Case) -> Tensor:
    """A square convolution whose weights go through the case's operator along its axis."""
    values = np.random.default_rng(5).integers(-100, 100, (4, 4, 1, 1))
    axis, blocks = case.attributes.get("axis", 0), case.attributes.get("block_size", 0)
    count = (1,) if axis == -1 else (4,)
    shape = (4, 2, 1, 1) if blocks else () if "output_dtype" in case.attributes else count
    s = net.constant(np.linspace(0.003, 0.007, max(int(np.prod(shape)), 1)).reshape(shape))
    half = 10 if case.attributes.get("output_dtype") == 10 else 1
    if half == 10:
        s = net.constant(0.004, np.float32)
    z = net.integers(np.zeros(shape, np.int64), "int8")
    both = {key: value for key, value in case.attributes.items() if key in ("axis", "block_size")}
    q = net.integers(values, "int8")
    if case.op == "QuantizeLinear":
        q = net.node("QuantizeLinear", net.constant(values * 0.004), s, z, domain=case.domain, **both)
    w = net.node("DequantizeLinear", q, s, z, domain=case.domain, **case.attributes)
    if half == 10:
        w = net.node("Cast", w, to=1)
    return Tensor(net.node("Conv", x.name, w), x.shape, -3, 3)


def folded_model(op: str, attributes: Mapping[str, Any], inputs: tuple[Any, ...], opset: int) -> onnx.ModelProto:
    """A node of constants alone; its result is the output."""
    names = [f"c{index}" for index in range(len(inputs))]
    constants = [numpy_helper.from_array(value, name) for name, value in zip(names, inputs, strict=True)]
    nodes = [helper.make_node(op, names, ["y"], name="node", **attributes), helper.make_node("Relu", ["x"], ["z"])]
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])]
    outputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]), helper.make_empty_tensor_value_info("y")]
    model = helper.make_graph(nodes, "g", values, outputs, constants)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(model, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets))
