"""TFLite files whose last or middle operators have no integers of ours: run in float, as LiteRT within one step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="NOT RUN: ai-edge-litert holds the schema and the interpreter")

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from benchmarks.tflite_files import Model, Weights, filled
from oaq.errors import UnsupportedOp
from oaq.mixed import execute
from oaq.mixed.inference import InferenceSession

Options = schema.BuiltinOptions
Operator = schema.BuiltinOperator


class Layers:
    """Fully connected int8 layers with operators between and behind them."""

    def __init__(self) -> None:
        self.net = Model()
        self.x = self.net.tensor("x", (1, 8), np.int8, scale=[0.1], zero=[3])
        self.count = 0

    def dense(self, x: int, inputs: int = 8, outputs: int = 8) -> int:
        self.count += 1
        y = self.net.tensor(f"dense{self.count}", (1, outputs), np.int8, scale=[0.08], zero=[-4])
        weights = Weights(self.net, np.int8, np.random.default_rng(self.count))
        drawn = weights.draw(f"w{self.count}", (outputs, inputs), 0, 0.1)
        options = (Options.FullyConnectedOptions, schema.FullyConnectedOptionsT())
        self.net.operator(Operator.FULLY_CONNECTED, [x, *drawn], [y], options)
        return y

    def apply(self, code: int, x: int, name: str, dtype: Any, options: Any = None, **numbers: Any) -> int:
        y = self.net.tensor(name, (1, 8), dtype, **numbers)
        self.net.operator(code, [x], [y], options or (0, None))
        return y

    def softmax(self, x: int, beta: float = 1.0, name: str = "soft") -> int:
        options = (Options.SoftmaxOptions, filled(schema.SoftmaxOptionsT, beta=beta))
        return self.apply(Operator.SOFTMAX, x, name, np.int8, options, scale=[1 / 256], zero=[-128])

    def save(self, path: Path, *outputs: int) -> Path:
        path.write_bytes(self.net.content([self.x], list(outputs)))
        return path


def litert(path: Path, x: np.ndarray) -> list[np.ndarray]:
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return [interpreter.get_tensor(end["index"]) for end in interpreter.get_output_details()]


def inputs() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    ends = [np.full((1, 8), value, np.int8) for value in (-128, 127, 3)]
    return [*ends, *(rng.integers(-128, 128, (1, 8)).astype(np.int8) for _ in range(20))]


def kinds(session: InferenceSession) -> str:
    return "".join(region.kind[0] for region in session.program.regions)


@pytest.mark.parametrize("runtime", [True, False])
def test_a_classifier_that_ends_in_softmax_gives_probabilities(
    runtime: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = Layers()
    logits = layers.dense(layers.x)
    path = layers.save(tmp_path / "net.tflite", layers.softmax(logits))
    if not runtime:
        monkeypatch.setattr(execute, "runtime_version", lambda: None)
    session = InferenceSession(path)
    assert kinds(session) == "if"
    assert [(end.name, end.type, end.shape) for end in session.get_outputs()] == [("soft", "tensor(int8)", [1, 8])]
    for x in inputs():
        (y,), (right,) = session.run(None, {"x": x}), litert(path, x)
        assert (y.shape, y.dtype) == (right.shape, right.dtype)
        assert np.abs(y.astype(int) - right.astype(int)).max() <= 1


def test_a_softmax_in_the_middle_with_a_beta_and_a_float_output(tmp_path: Path) -> None:
    layers = Layers()
    soft = layers.softmax(layers.dense(layers.x), beta=0.5)
    ends = layers.dense(soft), layers.apply(Operator.DEQUANTIZE, soft, "real", np.float32)
    path = layers.save(tmp_path / "net.tflite", *ends)
    session = InferenceSession(path)
    assert kinds(session) == "ifi"
    for x in inputs():
        for y, right in zip(session.run(None, {"x": x}), litert(path, x), strict=True):
            assert (y.shape, y.dtype) == (right.shape, right.dtype)
            assert np.abs(y.astype(float) - right.astype(float)).max() <= 1


def test_what_is_not_written_here_is_named(tmp_path: Path) -> None:
    layers = Layers()
    y = layers.apply(Operator.CUMSUM, layers.dense(layers.x), "sum", np.int8, scale=[0.1], zero=[0])
    path = layers.save(tmp_path / "net.tflite", y)
    with pytest.raises(UnsupportedOp, match=r"operator 'sum' \(CUMSUM\) stays in float"):
        InferenceSession(path)
