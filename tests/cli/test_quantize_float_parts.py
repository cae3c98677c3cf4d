"""A classifier with float parts on the command line: quantized, and how often it names the same class is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from oaq import cli
from tests.capture.from_onnx.files import model, node

pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")
RNG = np.random.default_rng(5)


def test_a_classifier_with_a_norm_inside_reports_its_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = {"w": RNG.normal(size=(6, 3, 3, 3)), "t": RNG.normal(size=(6, 6, 2, 2)), "v": RNG.normal(size=(6, 5))}
    constants = {name: array.astype(np.float32) / 3 for name, array in weights.items()}
    constants |= {"s": np.ones(6, np.float32), "b": np.zeros(6, np.float32)}
    nodes = [
        node("Conv", ["x", "w"], "a"),
        node("InstanceNormalization", ["a", "s", "b"], "n"),
        node("ConvTranspose", ["n", "t"], "u", strides=[2, 2]),
        node("Relu", ["u"], "r"),
        node("GlobalAveragePool", ["r"], "g"),
        node("Flatten", ["g"], "f"),
        node("MatMul", ["f", "v"], "y"),
    ]
    written = onnx.shape_inference.infer_shapes(model(nodes, {"x": (1, 3, 8, 8)}, ["y"], constants))
    onnx.save(written, tmp_path / "net.onnx")
    data = tmp_path / "data"
    data.mkdir()
    for index in range(16):
        np.save(data / f"{index:02}.npy", RNG.normal(size=(1, 3, 8, 8)).astype(np.float32))
    out = tmp_path / "net.int8.onnx"
    assert cli.main(["quantize", str(tmp_path / "net.onnx"), "--calibrate", str(data), "--out", str(out)]) == 0
    assert "defect" not in capsys.readouterr().err
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.load(data / "00.npy")})[0].shape == (1, 5)
    kinds = [step.op_type for step in onnx.load(out).graph.node]
    assert "ConvTranspose" not in kinds
    assert "DepthToSpace" in kinds
