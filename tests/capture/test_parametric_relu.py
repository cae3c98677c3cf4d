"""A slope per channel: the same tables from torch, from float ONNX and from quantized ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")

from torch import nn  # noqa: E402

import oaq  # noqa: E402
from oaq import operators as ops  # noqa: E402
from oaq.capture.from_onnx import import_quantized  # noqa: E402
from oaq.report.agreement import sqnr_db  # noqa: E402
from tests.capture.from_onnx.files import model, node  # noqa: E402


def test_prelu_with_a_slope_per_channel_becomes_tables_of_channels() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.PReLU(8), nn.Conv2d(8, 4, 1)).eval()
    with torch.no_grad():
        net[1].weight.copy_(torch.linspace(-0.5, 1.5, 8))
    x = torch.randn(4, 3, 9, 9)
    program = oaq.quantize(net, [x], budget=None)
    tables = [node.op for node in program.nodes if isinstance(node.op, ops.ChannelLookup)]
    assert [len(op.tables) for op in tables] == [8]
    expected = net(x).detach().numpy()
    assert sqnr_db(expected, oaq.Session(oaq.plan(program)).run(x.numpy())) > 25


@pytest.mark.parametrize("axis", [1, 3])
def test_a_quantized_file_is_computed_as_onnxruntime_computes_it(axis: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    slopes = rng.normal(size=(5, 1, 1) if axis == 1 else (6,)).astype(np.float32)
    ends = {"s": np.float32(0.05), "z": np.uint8(120), "t": np.float32(0.07), "u": np.uint8(90)}
    weight = {"w": rng.integers(-127, 128, (4, 5, 1, 1)).astype(np.int8), "v": np.float32(0.01), "o": np.int8(0)}
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], "q"),
        node("DequantizeLinear", ["q", "s", "z"], "d"),
        node("PRelu", ["d", "slopes"], "p"),
        node("QuantizeLinear", ["p", "t", "u"], "r"),
        node("DequantizeLinear", ["r", "t", "u"], "e"),
        node("DequantizeLinear", ["w", "v", "o"], "f"),
        node("Conv", ["e", "f"], "c"),
        node("QuantizeLinear", ["c", "t", "u"], "g"),
        node("DequantizeLinear", ["g", "t", "u"], "y"),
    ]
    file = model(nodes, {"x": ("n", 5, 4, 6)}, ["y"], {**ends, **weight, "slopes": slopes})
    onnx.save(file, tmp_path / "net.onnx")
    imported = import_quantized(tmp_path / "net.onnx")
    assert any(isinstance(made.op, ops.ChannelLookup) for made in imported.program.nodes)
    assert imported.islands == ()
    x = rng.normal(0, 3, (2, 5, 4, 6)).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    runtime = onnxruntime.InferenceSession(file.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (expected,) = runtime.run(None, {"x": x})
    result = oaq.Session(oaq.plan(imported.program)).run(x)
    assert np.abs(result - expected).max() <= 0.07 * 1.01  # a convolution in float may round to the next step
    assert (result != expected).mean() < 0.01
