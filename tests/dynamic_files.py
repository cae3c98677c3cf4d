"""Dynamic ONNX files for tests, every form of them, with open sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
Array = NDArray[Any]


def model(
    nodes: Sequence[NodeProto], constants: dict[str, Array], shape: Sequence[Any], outputs: Sequence[str]
) -> bytes:
    """A file with one float input ``x``."""
    graph = helper.make_graph(
        list(nodes),
        "dynamic",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def matmul_integer(
    weight: Array,
    scale: Array,
    *,
    zero: Array | None = None,
    bias: Array | None = None,
    split: bool = False,
) -> bytes:
    """DynamicQuantizeLinear, MatMulInteger, Cast, Mul, Add; ``split``: the two scales are multiplied one by one."""
    constants = {"w": weight, "w_scale": scale, "w_zero": np.zeros((), weight.dtype) if zero is None else zero}
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "x_scale", "x_zero"]),
        helper.make_node("MatMulInteger", ["q", "w", "x_zero", "w_zero"], ["sums"], "dense"),
        helper.make_node("Cast", ["sums"], ["reals"], to=TensorProto.FLOAT),
    ]
    if split:
        nodes += [
            helper.make_node("Mul", ["reals", "x_scale"], ["half"]),
            helper.make_node("Mul", ["w_scale", "half"], ["y0"]),
        ]
    else:
        nodes += [
            helper.make_node("Mul", ["x_scale", "w_scale"], ["unit"]),
            helper.make_node("Mul", ["reals", "unit"], ["y0"]),
        ]
    if bias is not None:
        constants["bias"] = bias
        nodes.append(helper.make_node("Add", ["y0", "bias"], ["y"]))
    return model(nodes, constants, ("batch", "tokens", weight.shape[0]), ["y" if bias is not None else "y0"])


def fused(kind: str, weight: Array, scale: Array, *, zero: Array | None = None, bias: Array | None = None) -> bytes:
    """DynamicQuantizeMatMul, or DynamicQuantizeLinear and MatMulIntegerToFloat."""
    constants = {"w": weight, "w_scale": scale}
    names = {"w_zero": zero, "bias": bias}
    constants |= {name: value for name, value in names.items() if value is not None}
    present = {name: name if value is not None else "" for name, value in names.items()}
    if kind == "DynamicQuantizeMatMul":
        inputs = ["x", "w", "w_scale", present["w_zero"], present["bias"]]
        nodes = [helper.make_node(kind, inputs, ["y"], "dense", domain=MICROSOFT)]
    else:
        inputs = ["q", "w", "x_scale", "w_scale", "x_zero", present["w_zero"], present["bias"]]
        nodes = [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "x_scale", "x_zero"]),
            helper.make_node("MatMulIntegerToFloat", inputs, ["y"], "dense", domain=MICROSOFT),
        ]
    return model(nodes, constants, ("batch", "tokens", weight.shape[0]), ["y"])


def conv_integer(weight: Array, scale: Array, *, groups: int = 1, zero: Array | None = None) -> bytes:
    """DynamicQuantizeLinear, ConvInteger, Cast, Mul; padded by one."""
    rank = weight.ndim - 2
    constants = {"w": weight, "w_scale": scale, "w_zero": np.zeros((), weight.dtype) if zero is None else zero}
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "x_scale", "x_zero"]),
        helper.make_node(
            "ConvInteger", ["q", "w", "x_zero", "w_zero"], ["sums"], "conv", group=groups, pads=[1] * (2 * rank)
        ),
        helper.make_node("Cast", ["sums"], ["reals"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x_scale", "w_scale"], ["unit"]),
        helper.make_node("Mul", ["reals", "unit"], ["y"]),
    ]
    return model(nodes, constants, ("batch", weight.shape[1] * groups, *[f"side{axis}" for axis in range(rank)]), ["y"])


def run(content: bytes, x: Array) -> list[Array]:
    """What ONNX Runtime computes, nothing fused."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


def initializers(content: bytes) -> dict[str, Array]:
    """Constants of a file."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(content).graph.initializer}
