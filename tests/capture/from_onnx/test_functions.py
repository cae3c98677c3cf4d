"""Functions of one value become tables: for each of the 256 integers, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.import_equality import compare_with_onnxruntime
from oaq import operators as ops
from oaq.capture.from_onnx import curves, import_quantized
from oaq.capture.from_onnx.values import LONGEST_RUN
from tests.capture.from_onnx.files import MICROSOFT, model, node

CONSTANTS = {
    "s": np.array(0.05, np.float32),
    "z": np.array(100, np.uint8),
    "w": np.full((1, 1, 1, 1), 64, np.int8),
    "ws": np.array(1 / 64, np.float32),
    "sy": np.array(0.04, np.float32),
    "zy": np.array(60, np.uint8),
    "one": np.array(1.0, np.float32),
    "three": np.array(3.0, np.float32),
    "six": np.array(6.0, np.float32),
    "nought": np.array(0.0, np.float32),
    "sixth": np.array(1 / 6, np.float32),
    "half": np.array(0.5, np.float32),
    "root": np.array(np.sqrt(2.0), np.float32),
    "low": np.array(0.7, np.float32),
    "high": np.array(1.9, np.float32),
    "minus": np.array(-1.5, np.float32),
}
IMAGE = (np.arange(256) - 100).astype(np.float32).reshape(1, 1, 16, 16) * np.float32(0.05)


def network(nodes: Sequence[onnx.NodeProto], opset: int = 20) -> onnx.ModelProto:
    """All 256 integers through a convolution that leaves them as they are, then ``nodes`` from "r" to "f"."""
    return model(
        [
            node("QuantizeLinear", ["x", "s", "z"], "q"),
            node("DequantizeLinear", ["q", "s", "z"], "d"),
            node("DequantizeLinear", ["w", "ws"], "wr"),
            node("Conv", ["d", "wr"], "c"),
            node("QuantizeLinear", ["c", "s", "z"], "p"),
            node("DequantizeLinear", ["p", "s", "z"], "r"),
            *nodes,
            node("QuantizeLinear", ["f", "sy", "zy"], "t"),
            node("DequantizeLinear", ["t", "sy", "zy"], "y"),
        ],
        {"x": ("n", 1, 16, 16)},
        ["y"],
        CONSTANTS,
        opset=opset,
    )


def steps(made: onnx.ModelProto, folder: Path) -> tuple[int, int]:
    """(how many of 256 integers differ, by how much at most); the file must be one layer and one table."""
    path = folder / "net.onnx"
    path.write_bytes(made.SerializeToString())
    imported = import_quantized(path)
    assert imported.islands == ()
    assert [type(one.op) for one in imported.program.nodes] == [ops.Conv2d, ops.Lookup]
    seen = compare_with_onnxruntime(path, imported, [{"x": IMAGE}])
    assert seen.integers["Lookup"] == 256
    return seen.differ["Lookup"], seen.most["Lookup"]


ALONE = {
    "Relu": {},
    "Sigmoid": {},
    "Tanh": {},
    "HardSigmoid": {"alpha": 0.3, "beta": 0.4},
    "HardSwish": {},
    "LeakyRelu": {"alpha": 0.2},
    "Elu": {"alpha": 0.7},
    "Gelu": {},
    "Erf": {},
    "Softplus": {},
    "Softsign": {},
    "Mish": {},
    "Exp": {},
    "Abs": {},
    "Neg": {},
    "Floor": {},
    "Ceil": {},
    "Round": {},
}


@pytest.mark.parametrize("op", ALONE)
def test_a_function_alone(op: str, tmp_path: Path) -> None:
    differ, most = steps(network([node(op, ["r"], "f", **ALONE[op])]), tmp_path)
    assert most <= 1
    assert differ <= 2, "float libraries approximate; more than a tie here and there is another function"


@pytest.mark.parametrize(("op", "more"), [("Gelu", {}), ("QuickGelu", {"alpha": 1.5})])
def test_a_function_of_onnxruntimes_own(op: str, more: dict[str, float], tmp_path: Path) -> None:
    differ, most = steps(network([node(op, ["r"], "f", domain=MICROSOFT, **more)]), tmp_path)
    assert (differ <= 2, most <= 1) == (True, True)


def test_gelu_by_tanh_is_told_apart(tmp_path: Path) -> None:
    differ, most = steps(network([node("Gelu", ["r"], "f", approximate="tanh")]), tmp_path)
    assert (differ <= 2, most <= 1) == (True, True)


WRITTEN_OUT = {
    "SiLU": [node("Sigmoid", ["r"], "a"), node("Mul", ["r", "a"], "f")],
    "hard swish": [
        node("Add", ["r", "three"], "a"),
        node("Clip", ["a", "nought", "six"], "b"),
        node("Mul", ["r", "b"], "e"),
        node("Div", ["e", "six"], "f"),
    ],
    "hard swish, another order": [
        node("Add", ["three", "r"], "a"),
        node("Clip", ["a", "nought", "six"], "b"),
        node("Mul", ["b", "sixth"], "e"),
        node("Mul", ["e", "r"], "f"),
    ],
    "GELU": [
        node("Div", ["r", "root"], "a"),
        node("Erf", ["a"], "b"),
        node("Add", ["b", "one"], "c1"),
        node("Mul", ["r", "c1"], "e"),
        node("Mul", ["e", "half"], "f"),
    ],
    "a clip that leaves out zero": [node("Clip", ["r", "low", "high"], "f")],
    "min and max": [node("Min", ["r", "high"], "a"), node("Max", ["minus", "a"], "f")],
    "one minus": [node("Sub", ["one", "r"], "f")],
}


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_a_function_written_out(name: str, tmp_path: Path) -> None:
    differ, most = steps(network(WRITTEN_OUT[name]), tmp_path)
    assert most <= 1
    assert differ <= 2


def test_every_function_that_is_known_is_compared_here_or_has_a_reason_not_to() -> None:
    without_runtime = {
        "Swish",
        "Reciprocal",
        "Log",
        "Sqrt",
    }  # newer than ONNX Runtime has; not finite on these integers
    assert set(curves.FUNCTIONS) == set(ALONE) - {"Relu"} | {"QuickGelu"} | without_runtime


@pytest.mark.parametrize("op", ["Log", "Sqrt", "Reciprocal"])
def test_a_function_that_is_not_finite_everywhere_stays_outside(op: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(network([node(op, ["r"], "f")]).SerializeToString())
    (island,) = import_quantized(path).islands
    assert island.where == "output"
    assert island.why.endswith("it is not finite everywhere")


def test_a_function_of_two_tensors_stays_outside(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(network([node("Sub", ["r", "d"], "f")]).SerializeToString())
    (island,) = import_quantized(path).islands
    assert [kind for _, kind in island.nodes if "Quantize" not in kind and "quantize" not in kind] == ["Sub"]


@pytest.mark.parametrize("op", ["Neg", "Relu"])
def test_a_function_or_layer_with_too_many_nodes_behind_it_stays_outside(op: str, tmp_path: Path) -> None:
    def chained(start: str, count: int) -> list[onnx.NodeProto]:
        names = [start, *(f"n{index}" for index in range(count - 1)), "f"]
        return [node(op, [one], other) for one, other in pairwise(names)]

    differ, _ = steps(network(chained("r", LONGEST_RUN)), tmp_path)
    assert differ == 0
    path = tmp_path / "longer.onnx"
    path.write_bytes(network(chained("r", LONGEST_RUN + 1)).SerializeToString())
    (island,) = import_quantized(path).islands
    assert island.why.endswith(f"more than {LONGEST_RUN} nodes come between it and a quantizer")
