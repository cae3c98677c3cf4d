"""Small ONNX networks of integers with whatever else a test puts between, before and behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]


class Net:
    """A graph written node by node; every method that appends returns the name of what it appended.

    Args:
        opset: of ONNX's own operators.
        seed: of the weights.
    """

    def __init__(self, opset: int = 17, seed: int = 0) -> None:
        self.opset, self.rng = opset, np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def constant(self, value: object, dtype: Any = np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), f"c{len(self.constants)}"))
        return self.constants[-1].name

    def input(self, shape: Sequence[int | str], kind: int = TensorProto.FLOAT, name: str = "x") -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def op(self, kind: str, *inputs: str, count: int = 1, out: str = "", domain: str = "", **attributes: Any) -> Any:
        results = [out or f"t{len(self.nodes)}_{index}" for index in range(count)]
        name = f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), results, name=name, domain=domain, **attributes))
        return results[0] if count == 1 else results

    def qdq(self, tensor: str, scale: float = 0.15, zero: int = 128, dtype: Any = np.uint8) -> str:
        s, z = self.constant(scale), self.constant(zero, dtype)
        return self.op("DequantizeLinear", self.op("QuantizeLinear", tensor, s, z), s, z)

    def weight(self, shape: Sequence[int], scale: float = 0.004) -> str:
        integers = self.rng.integers(-127, 128, shape)
        return self.op("DequantizeLinear", self.constant(integers, np.int8), self.constant(scale))

    def conv(self, tensor: str, inputs: int = 4, outputs: int = 6, scale: float = 0.15, **attributes: Any) -> str:
        window = {"pads": [1] * 4, **attributes}
        return self.qdq(self.op("Conv", tensor, self.weight((outputs, inputs, 3, 3)), **window), scale)

    def output(self, tensor: str, name: str = "y", kind: int = TensorProto.FLOAT) -> str:
        self.op("Identity", tensor, out=name)
        silent = kind == TensorProto.UNDEFINED  # the file does not say the type
        self.outputs.append(
            onnx.ValueInfoProto(name=name) if silent else helper.make_tensor_value_info(name, kind, None)
        )
        return name

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "net", self.inputs, self.outputs, self.constants)
        domains = {node.domain for node in self.nodes if node.domain}
        opsets = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(domain, 1) for domain in sorted(domains))]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def save(self, path: Path) -> Path:
        onnx.save(self.model(), str(path))
        return path


def runtime_session(path: Path) -> Any:
    """ONNX Runtime on the file as it stands, without fusions: reals between quantizers, as ONNX defines it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def by_runtime(path: Path, feed: Mapping[str, Array]) -> list[Array]:
    """All outputs of the file as ONNX Runtime gives them."""
    return runtime_session(path).run(None, dict(feed))


def image(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Extremes first, then random reals between -2 and 2."""
    x = np.random.default_rng(seed).uniform(-2, 2, shape).astype(np.float32)
    x.reshape(-1)[:3] = (0, -100, 100)
    return x
