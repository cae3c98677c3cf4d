"""Every operator by itself: the captured graph computes what ONNX Runtime does, in float."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.capture.from_onnx.files import model, node

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

from oaq.capture.from_float_onnx import normalize  # noqa: E402
from oaq.capture.graph import FloatFunction, FloatGraph, FloatNode, rules_of  # noqa: E402
from oaq.ptq.execute import float_outputs  # noqa: E402

RNG = np.random.default_rng(0)
IMAGE = (6, 9, 8)
BATCH = 3


def weights(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    return RNG.uniform(0.5, 2.0, size=shape).astype(np.float32)


@dataclass
class Case:
    """Nodes from x to y."""

    nodes: Sequence[onnx.NodeProto]
    constants: Mapping[str, Any] = field(default_factory=dict)
    sample: tuple[int, ...] = IMAGE
    opset: int = 17
    ops: Sequence[str] = ()
    """What the graph is made of, if it matters: names of operators, "Function" for a function of one value."""


def one(op: str, *inputs: str, opset: int = 17, sample: tuple[int, ...] = IMAGE, **given: Any) -> Case:
    """A case of one node; what is called like an input is a constant, the rest are attributes."""
    constants = {name: given.pop(name) for name in inputs if name in given}
    return Case([node(op, ["x", *inputs], "y", **given)], constants, sample, opset)


def run_both(made: onnx.ModelProto, x: np.ndarray, folder: Path) -> tuple[FloatGraph, list[np.ndarray], list]:
    path = folder / "net.onnx"
    onnx.save(made, path)
    graph = normalize(path)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return graph, float_outputs(graph, x), session.run(None, {"x": x})


def operator_of(node: FloatNode) -> str:
    """What the node becomes; a function is told apart from a table of the file."""
    return "Function" if isinstance(node.op, FloatFunction) else rules_of(node.op).name


def agree(case: Case, folder: Path, outputs: Sequence[str] = ("y",)) -> FloatGraph:
    """Capture, run, compare; the exact graph where the case says it."""
    x = (RNG.normal(size=(BATCH, *case.sample)) * 3).astype(np.float32)
    made = model(case.nodes, {"x": ("n", *case.sample)}, outputs, case.constants, opset=case.opset)
    graph, ours, theirs = run_both(made, x, folder)
    assert len(ours) == len(theirs)
    for mine, wanted in zip(ours, theirs, strict=True):
        assert mine.shape == wanted.shape
        np.testing.assert_allclose(mine, wanted, rtol=1e-5, atol=1e-5 * max(np.abs(wanted).max(), 1.0))
    if case.ops:
        assert [operator_of(each) for each in graph.nodes] == list(case.ops)
    return graph


W, B = weights(4, 6, 3, 3), weights(4)
CONVOLUTIONS = {
    "plain": one("Conv", "w", "b", w=W, b=B),
    "no bias": one("Conv", "w", w=W),
    "pads": one("Conv", "w", "b", w=W, b=B, pads=[1, 0, 2, 1], strides=[2, 1]),
    "same upper": one("Conv", "w", "b", w=W, b=B, auto_pad="SAME_UPPER", strides=[2, 2]),
    "same lower": one("Conv", "w", "b", w=W, b=B, auto_pad="SAME_LOWER", strides=[2, 2]),
    "valid": one("Conv", "w", "b", w=W, b=B, auto_pad="VALID", kernel_shape=[3, 3]),
    "groups": one("Conv", "w", "b", w=weights(4, 3, 3, 3), b=B, group=2, pads=[1, 1, 1, 1]),
    "depthwise": one("Conv", "w", "b", w=weights(6, 1, 5, 3), b=weights(6), group=6, dilations=[1, 2]),
    "dilated": one("Conv", "w", "b", w=W, b=B, dilations=[2, 3]),
}
VECTOR = (10,)
PRODUCTS = {
    "gemm": one("Gemm", "w", "b", w=weights(5, 10), b=weights(5), transB=1, sample=VECTOR),
    "gemm, not transposed, alpha and beta": one(
        "Gemm", "w", "b", w=weights(10, 5), b=weights(1, 5), alpha=0.5, beta=2.0, sample=VECTOR
    ),
    "gemm, one bias": one("Gemm", "w", "b", w=weights(10, 5), b=weights(1), sample=VECTOR),
    "gemm, no bias": one("Gemm", "w", w=weights(10, 5), sample=VECTOR),
    "matmul": one("MatMul", "w", w=weights(10, 5), sample=VECTOR),
    "matmul and add": Case(
        [node("MatMul", ["x", "w"], "t"), node("Add", ["b", "t"], "y")],
        {"w": weights(10, 5), "b": weights(5)}, VECTOR, ops=["Linear"],
    ),
}  # fmt: skip
NORM = {"s": positive(4), "o": weights(4), "m": weights(4), "v": positive(4)}
NORM_NODE = node("BatchNormalization", ["t", "s", "o", "m", "v"], "y", epsilon=1e-3)
AFFINE = {
    "norm after conv": Case([node("Conv", ["x", "w"], "t"), NORM_NODE], {"w": W, **NORM}, ops=["Conv2d"]),
    "norm after gemm": Case([node("Gemm", ["x", "w"], "t"), NORM_NODE], {"w": weights(10, 4), **NORM}, VECTOR,
                            ops=["Linear"]),
    "norm by itself": Case([node("Relu", ["x"], "t"), NORM_NODE], NORM, (4, 5, 6)),
    "add a number": one("Add", "c", c=0.75),
    "subtract per channel": one("Sub", "c", c=weights(1, 6, 1, 1)),
    "subtract from a constant": Case([node("Sub", ["c", "x"], "y")], {"c": weights(6, 1, 1)}),
    "multiply per channel": one("Mul", "c", c=weights(6, 1, 1)),
    "divide": one("Div", "c", c=positive(6, 1, 1)),
    "negate": one("Neg"),
    "of a vector": one("Mul", "c", c=weights(10), sample=VECTOR),
    "folded into the layer before": Case(
        [node("Conv", ["x", "w", "b"], "t"), node("Mul", ["t", "k"], "u"), node("Add", ["u", "c"], "y")],
        {"w": W, "b": B, "k": weights(4, 1, 1), "c": 0.5}, ops=["Conv2d"],
    ),
    "not folded where somebody else looks": Case(
        [node("Conv", ["x", "w", "b"], "t"), node("Mul", ["t", "k"], "u"), node("Add", ["u", "t"], "y")],
        {"w": W, "b": B, "k": weights(4, 1, 1)}, ops=["Conv2d", "Conv2d", "Add"],
    ),
}  # fmt: skip
CURVES = {
    "relu": Case([node("Conv", ["x", "w"], "t"), node("Relu", ["t"], "y")], {"w": W}, ops=["Conv2d"]),
    "clip, inputs": one("Clip", "lo", "hi", lo=np.float32(-1.0), hi=np.float32(2.0)),
    "clip, attributes": one("Clip", min=-1.0, max=2.0, opset=6 + 1),
    "clip, one side": Case([node("Clip", ["x", "", "hi"], "y")], {"hi": np.float32(1.5)}),
    "clip, open": one("Clip"),
    "clip, largest floats": one("Clip", "lo", "hi", lo=np.float32(0), hi=np.finfo(np.float32).max),
    "clip away from 0": one("Clip", "lo", "hi", lo=np.float32(0.5), hi=np.float32(2.0)),
    "max": one("Max", "c", c=np.float32(-0.25)),
    "min": Case([node("Min", ["c", "x"], "y")], {"c": np.float32(0.5)}),
    "sigmoid": one("Sigmoid"),
    "tanh": one("Tanh"),
    "hardswish": one("HardSwish", opset=14),
    "hardsigmoid": one("HardSigmoid"),
    "hardsigmoid, as torch's": one("HardSigmoid", alpha=1 / 6),
    "leaky relu": one("LeakyRelu", alpha=0.1),
    "elu": one("Elu", alpha=0.7),
    "gelu": one("Gelu", opset=20),
    "prelu, a slope per channel": one("PRelu", "s", s=weights(6, 1, 1)),
    "prelu, channels last": Case(
        [
            node("Transpose", ["x"], "t", perm=[0, 2, 3, 1]),
            node("PRelu", ["t", "s"], "u"),
            node("Transpose", ["u"], "y", perm=[0, 3, 1, 2]),
        ],
        {"s": weights(6)},
    ),
    "prelu": one("PRelu", "s", s=np.full((6, 1, 1), 0.25, np.float32)),
}
POOLS = {
    "max pool": one("MaxPool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]),
    "max pool, ceil": one("MaxPool", kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1),
    "max pool, same": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    "average pool": one("AveragePool", kernel_shape=[3, 3], strides=[2, 2]),
    "average pool, padding not counted": one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "average pool, padding counted": one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    "global average": one("GlobalAveragePool"),
    "global max": one("GlobalMaxPool"),
    "mean, attribute": one("ReduceMean", axes=[2, 3], keepdims=0),
    "mean, input": one("ReduceMean", "a", a=np.array([-1, -2]), opset=18),
}
MOVES = {
    "concat": Case([node("Relu", ["x"], "t"), node("Neg", ["x"], "u"), node("Concat", ["t", "u", "x"], "y", axis=1)]),
    "pad": one("Pad", "p", p=np.array([0, 0, 1, 2, 0, 0, 3, 0])),
    "pad, attribute": one("Pad", pads=[0, 0, 1, 0, 0, 0, 0, 2], opset=10),
    "pad, taken over": Case(
        [node("Pad", ["x", "p"], "t"), node("Conv", ["t", "w"], "y", pads=[1, 1, 1, 1])],
        {"p": np.array([0, 0, 0, 1, 0, 0, 1, 0]), "w": W}, ops=["Conv2d"],
    ),
    "slice": one("Slice", "b", "e", "a", b=np.array([1, -5]), e=np.array([4, 99]), a=np.array([1, 3])),
    "flatten": Case([node("MaxPool", ["x"], "t", kernel_shape=[3, 3], strides=[3, 3]), node("Flatten", ["t"], "u"),
                     node("Gemm", ["u", "w"], "y")], {"w": weights(36, 5)}, ops=["MaxPool", "Reshape", "Linear"]),
    "reshape and back": Case([node("GlobalAveragePool", ["x"], "t"), node("Reshape", ["t", "s"], "u"),
                              node("Relu", ["u"], "v"), node("Unsqueeze", ["v", "a"], "y")],
                             {"s": np.array([0, -1]), "a": np.array([2, 3])}, ops=["GlobalAvgPool"]),
    "squeeze": Case([node("GlobalAveragePool", ["x"], "t"), node("Squeeze", ["t", "a"], "u"),
                     node("MatMul", ["u", "w"], "y")], {"a": np.array([2, 3]), "w": weights(6, 4)}),
    "there and back": Case([node("Transpose", ["x"], "t", perm=[0, 2, 3, 1]), node("Relu", ["t"], "u"),
                            node("Mul", ["u", "k"], "v"), node("Transpose", ["v"], "w", perm=[0, 3, 1, 2]),
                            node("Conv", ["w", "f"], "y")], {"k": weights(6), "f": W}),
    "in the other order": Case([node("Transpose", ["x"], "t", perm=[0, 2, 3, 1]),
                                node("Concat", ["t", "t"], "u", axis=3), node("Pad", ["u", "p"], "v"),
                                node("ReduceMean", ["v"], "y", axes=[1, 2], keepdims=0)],
                               {"p": np.array([0, 1, 0, 0, 0, 0, 2, 0])}),
    "flatten in the other order": Case([node("Transpose", ["x"], "t", perm=[0, 2, 3, 1]), node("Flatten", ["t"], "u"),
                                        node("Gemm", ["u", "w"], "y")], {"w": weights(432, 3)}),
    "shuffled channels": Case([node("Relu", ["x"], "r"), node("Reshape", ["r", "five"], "t"),
                               node("Transpose", ["t"], "u", perm=[0, 2, 1, 3, 4]), node("Reshape", ["u", "four"], "v"),
                               node("Conv", ["v", "w"], "y", group=2)],
                              {"five": np.array([0, 2, 3, 9, 8]), "four": np.array([0, 6, 9, 8]),
                               "w": weights(4, 3, 3, 3)},
                              ops=["Function", "Transpose", "Conv2d"]),
    "heads joined": Case([node("Relu", ["x"], "r"), node("Reshape", ["r", "five"], "t"),
                          node("Transpose", ["t"], "u", perm=[0, 1, 3, 4, 2]), node("Reshape", ["u", "rows"], "v"),
                          node("Neg", ["v"], "n"), node("Concat", ["v", "n"], "y", axis=1)],
                         {"five": np.array([0, 2, 3, 9, 8]), "rows": np.array([0, -1, 3])}),
    "flatten by channels": Case([node("Relu", ["x"], "r"), node("Flatten", ["r"], "y")], ops=["Function", "Transpose"]),
    "height before channels": Case([node("Transpose", ["x"], "t", perm=[0, 2, 1, 3]), node("Relu", ["t"], "r"),
                                    node("MaxPool", ["r"], "y", kernel_shape=[2, 2])]),
    "matmul over columns": Case([node("Relu", ["x"], "t"), node("MatMul", ["t", "w"], "y")], {"w": weights(8, 5)}),
    "joined along height": Case([node("Relu", ["x"], "t"), node("Concat", ["x", "t"], "y", axis=2)]),
    "joined along width": Case([node("Relu", ["x"], "t"), node("Concat", ["t", "x", "t"], "y", axis=-1)]),
    "another number of channels": Case([node("Relu", ["x"], "t"), node("Reshape", ["t", "s"], "u"),
                                        node("MaxPool", ["u"], "y", kernel_shape=[2, 2])],
                                       {"s": np.array([0, 4, 12, 9])}),
    "nearest": one("Resize", "", "s", s=np.array([1, 1, 2, 3], np.float32), mode="nearest",
                   coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    "nearest, sizes": one("Resize", "", "", "s", s=np.array([BATCH, 6, 18, 16]), mode="nearest", opset=13),
    "upsample": one("Upsample", "s", s=np.array([1, 1, 2, 2], np.float32), opset=9),
    "bilinear, corners on corners": one("Resize", "", "", "s", s=np.array([5, 17]), axes=[2, 3], mode="linear",
                                        coordinate_transformation_mode="align_corners", opset=18),
    "bilinear": one("Resize", "", "s", s=np.array([1, 1, 2, 2], np.float32), mode="linear"),
    "depth to space": one("DepthToSpace", blocksize=2, sample=(8, 3, 4)),
    "pixel shuffle": one("DepthToSpace", blocksize=2, mode="CRD", sample=(8, 3, 4)),
    "results nobody looks at": Case([node("MaxPool", ["x"], ["t", "i"], kernel_shape=[2, 2]),
                                     node("Dropout", ["t"], ["y", "m"])], opset=11),
    "identities": Case([node("Identity", ["x"], "t"), node("Dropout", ["t"], "u"), node("Relu", ["u"], "v"),
                        node("Cast", ["v"], "y", to=1)], opset=13),
}  # fmt: skip
PAIRS = {
    "max of two": Case([node("Neg", ["x"], "t"), node("Max", ["x", "t"], "y")]),
    "min of two": Case([node("Neg", ["x"], "t"), node("Min", ["t", "x"], "y")]),
    "add": Case([node("Relu", ["x"], "t"), node("Add", ["x", "t"], "y")]),
    "sum": Case([node("Relu", ["x"], "t"), node("Sum", ["x", "t"], "y")]),
    "multiply": Case([node("Relu", ["x"], "t"), node("Mul", ["x", "t"], "y")]),
    "squeeze and excite": Case([node("GlobalAveragePool", ["x"], "t"), node("Conv", ["t", "w"], "u"),
                                node("Sigmoid", ["u"], "v"), node("Mul", ["v", "x"], "y")], {"w": weights(6, 6, 1, 1)}),
    "the same in the other order": Case(
        [node("Transpose", ["x"], "h", perm=[0, 2, 3, 1]), node("ReduceMean", ["h"], "t", axes=[1, 2]),
         node("Sigmoid", ["t"], "v"), node("Mul", ["h", "v"], "m"), node("Transpose", ["m"], "y", perm=[0, 3, 1, 2])]),
}  # fmt: skip
SIX, THREE = np.float32(6), np.float32(3)
WRITTEN_OUT = {
    "silu": Case([node("Sigmoid", ["x"], "t"), node("Mul", ["x", "t"], "y")], ops=["Function"]),
    "silu behind a shifted layer": Case(
        [node("Conv", ["x", "w"], "c"), node("Add", ["c", "b"], "d"), node("Sigmoid", ["d"], "t"),
         node("Mul", ["t", "d"], "y")], {"w": W, "b": weights(4, 1, 1)}, ops=["Conv2d", "Function"]),
    "hardswish by hardsigmoid": Case([node("HardSigmoid", ["x"], "t", alpha=1 / 6), node("Mul", ["t", "x"], "y")],
                                     ops=["Function"]),
    "hardswish, divided last": Case([node("Add", ["x", "c"], "t"), node("Clip", ["t", "z", "k"], "u"),
                                     node("Mul", ["x", "u"], "v"), node("Div", ["v", "k"], "y")],
                                    {"c": THREE, "z": np.float32(0), "k": SIX}, ops=["Function"]),
    "hardswish, divided first": Case([node("Add", ["c", "x"], "t"), node("Clip", ["t", "z", "k"], "u"),
                                      node("Div", ["u", "k"], "v"), node("Mul", ["v", "x"], "y")],
                                     {"c": THREE, "z": np.float32(0), "k": SIX}, ops=["Function"]),
    "gelu": Case([node("Div", ["x", "r"], "t"), node("Erf", ["t"], "u"), node("Add", ["u", "o"], "v"),
                  node("Mul", ["x", "v"], "w"), node("Mul", ["w", "h"], "y")],
                 {"r": np.float32(np.sqrt(2)), "o": 1.0, "h": 0.5}, ops=["Function"]),
    "sigmoid by exponentials": Case([node("Neg", ["x"], "t"), node("Exp", ["t"], "u"), node("Add", ["u", "o"], "v"),
                                     node("Reciprocal", ["v"], "y")], {"o": 1.0}, ops=["Function"]),
    "a gate somebody else looks at": Case(
        [node("Sigmoid", ["x"], "t"), node("Mul", ["x", "t"], "u"), node("Add", ["t", "u"], "y")],
        ops=["Function", "Mul", "Add"]),
}  # fmt: skip
ALL = {**WRITTEN_OUT, **CONVOLUTIONS, **PRODUCTS, **AFFINE, **CURVES, **POOLS, **MOVES, **PAIRS}


@pytest.mark.parametrize("name", ALL)
def test_each_form_computes_what_onnx_runtime_does(name: str, tmp_path: Path) -> None:
    case = ALL[name]
    if name == "nearest, sizes":  # sizes hold the batch, so it is no open one
        made = model(case.nodes, {"x": (BATCH, *IMAGE)}, ["y"], case.constants, opset=case.opset)
        _, (ours,), (theirs,) = run_both(made, weights(BATCH, *IMAGE), tmp_path)
        np.testing.assert_array_equal(ours, theirs)
        return
    agree(case, tmp_path)


def test_split_gives_its_parts(tmp_path: Path) -> None:
    nodes = [
        node("Split", ["x", "s"], ["a", "b"], axis=1, name="cut"),
        node("Relu", ["a"], "y"),
        node("Neg", ["b"], "z"),
    ]
    agree(Case(nodes, {"s": np.array([2, 4])}), tmp_path, ["y", "z"])
