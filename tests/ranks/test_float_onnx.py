"""Float ONNX files of lines (C, L) and tokens (T, C): captured, quantized, and run in the file's own order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import oaq
from oaq.capture.from_float_onnx import normalize
from oaq.errors import UnsupportedOp
from oaq.ptq.execute import float_outputs
from tests.ranks.chain import check_chain, extremes_first
from tests.ranks.files import float_file
from tests.ranks.networks import Keywords, Tokens, trained

onnxruntime = pytest.importorskip("onnxruntime")

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "keywords": (Keywords, (5, 33)),
    "keywords, a line shorter than the kernel": (Keywords, (5, 2)),
    "tokens": (Tokens, (9, 12)),
    "one token": (Tokens, (1, 12)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_float_file_is_captured_quantized_proved_and_run_as_it_counts_axes(name: str, tmp_path: Path) -> None:
    make, shape = NETWORKS[name]
    path = float_file(trained(make()), shape, tmp_path / "float.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    batches = extremes_first(shape)
    graph = normalize(path)
    for batch in batches:
        for value, expected in zip(float_outputs(graph, batch), session.run(None, {"x": batch}), strict=True):
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4)
    program = oaq.quantize(graph, [batches[-1], extremes_first(shape, 16, seed=1)[-1]])
    check_chain(program, batches, tmp_path)
    results = oaq.Session(oaq.plan(program)).run(batches[-1])
    for value, expected in zip(
        results if isinstance(results, tuple) else (results,), session.run(None, {"x": batches[-1]}), strict=True
    ):
        assert np.abs(value - expected).max() < 0.15 * np.abs(expected).max()


def file_of(nodes: list[onnx.NodeProto], shape: tuple[int, ...], path: Path) -> Path:
    """A file that reads x (n, *shape) and gives y, with constants w (4, 4) and k (4, 4, 3)."""
    rng = np.random.default_rng(0)
    arrays = {
        "w": rng.normal(size=(4, 4)).astype(np.float32),
        "k": rng.normal(size=(4, 4, 3)).astype(np.float32),
        "axes": np.array([2], np.int64),
        "one": np.array([1], np.int64),
        "row": rng.normal(size=4).astype(np.float32),
    }
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])]
    results = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "net", values, results, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def node(kind: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], name=output, **attributes)


FORMS: dict[str, tuple[list[onnx.NodeProto], tuple[int, ...]]] = {
    "a line to tokens": (
        [
            node("Conv", "x k", "c", pads=[2, 0]),
            node("Transpose", "c", "t", perm=[0, 2, 1]),
            node("MatMul", "t w", "y"),
        ],
        (4, 7),
    ),
    "tokens to a line": (
        [
            node("MatMul", "x w", "m"),
            node("Transpose", "m", "t", perm=[0, 2, 1]),
            node("Conv", "t k", "y", strides=[2]),
        ],
        (7, 4),
    ),
    "tokens transposed at once": (
        [node("Transpose", "x", "t", perm=[0, 2, 1]), node("Conv", "t k", "y", dilations=[2])],
        (7, 4),
    ),
    "a line as an image of one row": (
        [node("Unsqueeze", "x axes", "u"), node("Squeeze", "u axes", "s"), node("Conv", "s k", "y")],
        (4, 7),
    ),
    "pools": (
        [
            node("Conv", "x k", "c", pads=[1, 1]),
            node("MaxPool", "c", "m", kernel_shape=[3], strides=[2], pads=[1, 0]),
            node("AveragePool", "m", "a", kernel_shape=[2], pads=[0, 1]),
            node("GlobalAveragePool", "a", "y"),
        ],
        (4, 9),
    ),
    "a greatest of all": (
        [node("Conv", "x k", "c"), node("GlobalMaxPool", "c", "g"), node("Flatten", "g", "y")],
        (4, 9),
    ),
    "means over tokens": (
        [node("MatMul", "x w", "m"), node("Add", "m row", "b"), node("ReduceMean", "b", "y", axes=[1], keepdims=0)],
        (7, 4),
    ),
    "gates by channel": (
        [
            node("Conv", "x k", "c"),
            node("GlobalAveragePool", "c", "g"),
            node("Sigmoid", "g", "s"),
            node("Mul", "c s", "y"),
        ],
        (4, 9),
    ),
    "a matrix over positions": ([node("Conv", "x k", "c"), node("MatMul", "c w", "y")], (4, 6)),
    "joined along a line": ([node("Conv", "x k", "c"), node("Concat", "c c", "y", axis=2)], (4, 6)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_lines_and_tokens_computes_the_same(form: str, tmp_path: Path) -> None:
    nodes, shape = FORMS[form]
    path = file_of(nodes, shape, tmp_path / "float.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    graph, batches = normalize(path), extremes_first(shape)
    for batch in batches:
        (value,), (expected,) = float_outputs(graph, batch), session.run(None, {"x": batch})
        assert value.shape == expected.shape
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4)
    check_chain(oaq.quantize(graph, [batches[-1]]), batches, tmp_path)


REFUSED: dict[str, tuple[list[onnx.NodeProto], tuple[int, ...], str]] = {
    "tokens as samples": (
        [node("MatMul", "x w", "m"), node("Softmax", "m", "s"), node("MatMul", "s w", "y")],
        (7, 4),
        "Softmax",
    ),
    "a mean over channels": (
        [node("Conv", "x k", "c"), node("ReduceMean", "c", "y", axes=[1])],
        (4, 6),
        r"over the axes \(1,\).*averages over",
    ),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_cannot_be_taken_is_refused_by_name(form: str, tmp_path: Path) -> None:
    nodes, shape, words = REFUSED[form]
    with pytest.raises(UnsupportedOp, match=words):
        normalize(file_of(nodes, shape, tmp_path / "float.onnx"))


def test_torch_and_onnx_capture_one_network_alike(tmp_path: Path) -> None:
    from oaq.capture.from_torch import normalize as from_torch

    network = trained(Keywords())
    file = normalize(float_file(network, (5, 33), tmp_path / "float.onnx"))
    module = from_torch(network, torch.zeros(1, 5, 33))
    assert [type(each.op) for each in file.nodes] == [type(each.op) for each in module.nodes]
