"""The file of float nodes and integers: which sizes stay open, and tensors that float nodes know by other names."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from oaq.regions import QuantizedFile, quantize_onnx
from oaq.report.agreement import sqnr_db
from tests.mixed.nets import Net

ort = pytest.importorskip("onnxruntime")
RNG = np.random.default_rng(5)
LEAST_DB = 15.0
"""An input may leave the ranges of the calibration; a wrong order of axes leaves less than 5."""


def real(net: Net, *shape: int) -> str:
    return net.constant(net.rng.normal(size=shape) / np.sqrt(shape[0]))


def drawn(shape: tuple[int, ...]) -> np.ndarray:
    return RNG.uniform(-1, 1, shape).astype(np.float32)


def quantized(net: Net, shape: tuple[int, ...]) -> QuantizedFile:
    samples = [drawn(shape) for _ in range(32)]
    return quantize_onnx(net.model().SerializeToString(), samples)


def assert_close_to_float(file: QuantizedFile, net: Net, x: np.ndarray) -> list[Any]:
    """ONNX Runtime on the file gives the shapes of the float network and nearly its numbers."""
    sessions = [ort.InferenceSession(content) for content in (net.model().SerializeToString(), file.content)]
    exact, rounded = (session.run(None, {"x": x}) for session in sessions)
    for reference, result in zip(exact, rounded, strict=True):
        assert reference.shape == result.shape
        assert sqnr_db(reference, result) > LEAST_DB
    return rounded


def open_sizes(content: bytes) -> list[int | str]:
    (x,) = onnx.load_from_string(content).graph.input
    return [dim.dim_param or dim.dim_value for dim in x.type.tensor_type.shape.dim]


@pytest.mark.parametrize("resized", [False, True])
def test_sizes_stay_open_unless_a_node_of_the_integers_holds_them(resized: bool) -> None:
    net = Net()
    y = net.op("Conv", net.input(["n", 3, "h", "w"]), real(net, 4, 3, 3, 3), pads=[1] * 4)
    if resized:
        scales = {"coordinate_transformation_mode": "asymmetric", "mode": "nearest", "nearest_mode": "floor"}
        y = net.op("Resize", y, "", net.constant([1, 1, 2, 2]), **scales)
    y = net.op("Conv", y, real(net, 4, 4, 3, 3), pads=[1] * 4)
    net.output(net.op("Softmax", y))
    file = quantized(net, (1, 3, 8, 6))
    assert open_sizes(file.content) == ["n", 3, *((8, 6) if resized else ("h", "w"))]
    assert_close_to_float(file, net, drawn((1, 3, 8, 6) if resized else (1, 3, 5, 9)))


def test_sizes_of_tokens_are_counted_in_the_order_of_the_file() -> None:
    net = Net()
    rows = net.op("MatMul", net.input(["n", "t", 8]), real(net, 8, 10))
    size = net.op("Shape", rows)
    flat = net.op("Reshape", net.op("Softmax", net.op("Relu", rows)), net.constant([-1], np.int64))
    net.output(net.op("Reshape", flat, size))
    file = quantized(net, (1, 5, 8))
    (y,) = assert_close_to_float(file, net, drawn((1, 7, 8)))
    assert y.shape == (1, 7, 10)


def test_float_nodes_may_read_a_layers_result_before_or_after_what_only_renames_it() -> None:
    net = Net()
    plain = net.op("MatMul", net.input(["n", 8]), real(net, 8, 6))
    renamed = net.op("Identity", plain)
    net.output(net.op("Softmax", plain), "before")
    net.output(net.op("Softplus", net.op("Softmax", renamed)), "after")
    net.output(plain, "itself")
    file = quantized(net, (2, 8))
    assert file.split.graph.nodes
    assert_close_to_float(file, net, drawn((3, 8)))


def test_weights_that_only_integers_read_are_left_out_of_the_file() -> None:
    net = Net()
    weight, bias = real(net, 8, 6), real(net, 6)
    y = net.op("Add", net.op("Softmax", net.op("MatMul", net.input(["n", 8]), weight)), bias)
    net.output(y)
    stored = onnx.load_from_string(quantized(net, (2, 8)).content).graph.initializer
    names = {tensor.name for tensor in stored if numpy_helper.to_array(tensor).dtype == np.float32}
    assert bias in names and weight not in names
