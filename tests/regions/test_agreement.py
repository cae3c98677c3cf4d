"""Outputs of a file beside the float network's: reals in dB, classes, integers, and what cannot be compared."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from oaq.regions.agreement import OutputAgreement, agreement
from oaq.regions.quantize import QuantizedFile
from oaq.regions.source import open_float

pytest.importorskip("onnxruntime")
SAMPLES = ({"x": np.array([[1, 2, 0]], np.float32)}, {"x": np.array([[4, 0, 3]], np.float32)})
SUMMED = np.ones((3, 1), np.float32)


def network(scale: float, *, changed: bool = False) -> bytes:
    """Scores, their logarithms and sum, the first class, and ``x`` itself; ``changed`` gives another class and size."""
    constants = {"scale": np.float32(scale), "ones": SUMMED, "last": np.array([[0, 0, 9]], np.float32)}
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["scores"]),
        helper.make_node("Log", ["x"], ["logarithms"]),
        helper.make_node("MatMul", ["x", "ones"], ["sum"]),
        helper.make_node("Add", ["x", "last"], ["shifted"]),
        helper.make_node("ArgMax", ["shifted" if changed else "x"], ["class"], axis=1),
        helper.make_node("Concat", ["x"] * (2 if changed else 1), ["size"], axis=1),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64 if name == "class" else TensorProto.FLOAT, None)
        for name in ("scores", "logarithms", "sum", "class", "size")
    ]
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "net", [x], outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def compared(content: bytes) -> dict[str, OutputAgreement]:
    split: Any = SimpleNamespace(entries=())
    file = QuantizedFile(content, cast(Any, None), split, cast(Any, None), open_float(network(1)), SAMPLES)
    return {output.name: output for output in agreement(file)}


def test_a_file_that_computes_the_same_agrees_in_everything_infinities_too() -> None:
    outputs = compared(network(1))
    assert {name: output.sqnr_db for name, output in outputs.items()} == {
        **dict.fromkeys(("scores", "logarithms", "sum", "size"), math.inf), "class": None
    }  # fmt: skip
    assert str(outputs["class"]) == "class: 2 of 2 integers equal"
    assert str(outputs["sum"]) == "sum: inf dB"  # one number per sample is no class


def test_noise_classes_integers_and_sizes_are_told_apart() -> None:
    outputs = compared(network(1.1, changed=True))
    assert outputs["scores"].sqnr_db == pytest.approx(20, abs=1e-3)
    assert str(outputs["scores"]) == "scores: 20.0 dB, 2 of 2 of the same class"
    assert str(outputs["class"]) == "class: 0 of 2 integers equal"
    assert str(outputs["size"]) == "size: of other sizes"


def test_other_classes_and_noise_without_a_signal_are_counted() -> None:
    outputs = compared(network(-1))
    assert (outputs["scores"].rows, outputs["scores"].matches) == (2, 0)
    assert outputs["scores"].sqnr_db == pytest.approx(-6.02, abs=0.01)
