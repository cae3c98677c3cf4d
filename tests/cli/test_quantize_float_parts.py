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


NET = """
import torch
from torch import nn


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.first, self.last = nn.Embedding(20, 8), nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, ids, weight):
        x = torch.relu(self.first(self.words(ids)))
        return self.last((x * weight.unsqueeze(-1)).mean(1))
"""


def test_a_module_of_ids_and_of_several_inputs_is_quantized_by_regions(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    data = tmp_path / "data"
    data.mkdir()
    for index in range(16):
        ids = RNG.integers(0, 20, (1, 6))
        np.savez(data / f"{index:02}.npz", ids=ids, weight=RNG.uniform(0.5, 1, (1, 6)).astype(np.float32))
    out = tmp_path / "net.int8.onnx"
    command = ["quantize", f"{tmp_path / 'net.py'}:Words", "--calibrate", str(data), "--out", str(out)]
    assert cli.main(command) == 0
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    assert [port.type for port in session.get_inputs()] == ["tensor(int64)", "tensor(float)"]
    assert "QuantizeLinear" in [step.op_type for step in onnx.load(out).graph.node]


def test_a_wrong_array_for_a_module_of_images_is_an_error_that_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.py").write_text("from torch import nn\nmake = nn.Conv2d(3, 4, 3)\n")
    np.save(tmp_path / "x.npy", RNG.normal(size=(1, 2, 8, 8)).astype(np.float32))
    out = tmp_path / "net.onnx"
    command = ["quantize", f"{tmp_path / 'net.py'}:make", "--calibrate", str(tmp_path / "x.npy"), "--out", str(out)]
    assert cli.main(command) == 2
    assert "does not run on an example" in capsys.readouterr().err


FILM = """
from torch import nn
make = nn.Sequential(nn.Conv3d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 4))
"""


def test_a_module_of_volumes_keeps_their_convolutions_in_float(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(FILM)
    data = tmp_path / "data"
    data.mkdir()
    for index in range(16):
        np.save(data / f"{index:02}.npy", RNG.normal(size=(1, 3, 4, 8, 8)).astype(np.float32))
    out = tmp_path / "net.int8.onnx"
    command = ["quantize", f"{tmp_path / 'net.py'}:make", "--calibrate", str(data), "--out", str(out)]
    assert cli.main(command) == 0
    kinds = [step.op_type for step in onnx.load(out).graph.node]
    assert "Conv" in kinds
    assert "QuantizeLinear" in kinds
