"""Small ONNX files, written by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from oaq.capture.from_onnx import OnnxGraph, decode

MICROSOFT = "com.microsoft"
Shape = Sequence[int | str | None]


def node(op: str, inputs: Sequence[str], outputs: Sequence[str] | str, **attributes: Any) -> onnx.NodeProto:
    """One node, called like its first result."""
    outputs = [outputs] if isinstance(outputs, str) else list(outputs)
    domain = str(attributes.pop("domain", ""))
    name = str(attributes.pop("name", outputs[0] if outputs else op))
    return helper.make_node(op, list(inputs), outputs, name=name, domain=domain, **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Shape | tuple[Shape, int]],
    outputs: Sequence[str],
    constants: Mapping[str, NDArray | float | int] | None = None,
    *,
    opset: int = 17,
    **more: object,
) -> onnx.ModelProto:
    """A model; inputs are float32 unless (shape, element type) says otherwise; Python numbers: float32 or int64."""
    given = []
    for name, shape in inputs.items():
        typed = isinstance(shape, tuple) and len(shape) == 2 and isinstance(shape[0], tuple | list)
        dims, kind = shape if typed else (shape, TensorProto.FLOAT)  # type: ignore[misc]
        given.append(helper.make_tensor_value_info(name, kind, list(dims)))  # type: ignore[arg-type]
    arrays = {
        name: np.asarray(value, np.float32 if isinstance(value, float) else None)
        for name, value in (constants or {}).items()
    }
    graph = helper.make_graph(
        list(nodes),
        "net",
        given,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [
            numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
            for name, array in arrays.items()
        ],
    )
    domains = {one.domain for one in nodes if one.domain}
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in sorted(domains))]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="hand", **more)


def graph_of(made: onnx.ModelProto, **how: object) -> OnnxGraph:
    return decode(made.SerializeToString(), "net.onnx", **how)  # type: ignore[arg-type]


def chain(count: int = 3) -> onnx.ModelProto:
    names = ["x", *(f"t{index}" for index in range(count))]
    return model([node("Relu", [a], b) for a, b in pairwise(names)], {"x": ("n", 4)}, [names[-1]])
