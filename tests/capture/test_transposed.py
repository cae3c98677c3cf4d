"""Transposed convolutions: the graph computes what torch and ONNX Runtime do, and programs are exact as ever."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")

from torch import nn  # noqa: E402

import oaq  # noqa: E402
from oaq.capture import from_float_onnx, from_torch  # noqa: E402
from oaq.capture.from_float_onnx.split import split  # noqa: E402
from oaq.capture.from_onnx import read  # noqa: E402
from oaq.capture.graph import FloatConv2d, FloatGraph, rules_of  # noqa: E402
from oaq.errors import FormatError, UnsupportedOp  # noqa: E402
from oaq.ptq.execute import float_outputs  # noqa: E402
from oaq.report.agreement import sqnr_db  # noqa: E402
from tests.capture.from_onnx.files import model, node  # noqa: E402

RNG = np.random.default_rng(11)
IMAGES = {
    "doubled without overlap": nn.ConvTranspose2d(4, 3, 2, 2),
    "doubled, four taps": nn.ConvTranspose2d(4, 3, 4, 2, 1),
    "doubled, three taps, one row more": nn.ConvTranspose2d(4, 3, 3, 2, 1, output_padding=1),
    "tripled, nine taps": nn.ConvTranspose2d(4, 1, 9, 3, 4, output_padding=2),
    "stride 1": nn.ConvTranspose2d(4, 3, 3, 1, 1),
    "stride 1 without padding": nn.ConvTranspose2d(4, 3, 4),
    "a window smaller than its stride": nn.ConvTranspose2d(4, 3, 1, 3),
    "a window smaller than its stride, rows of biases behind": nn.ConvTranspose2d(4, 3, 2, 3, output_padding=2),
    "cut by more than a window": nn.ConvTranspose2d(4, 3, 3, 2, 4),
    "dilated": nn.ConvTranspose2d(4, 3, 3, 2, 1, dilation=2),
    "groups": nn.ConvTranspose2d(4, 6, 4, 2, 1, groups=2),
    "depthwise": nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=4, bias=False),
    "groups of stride 1": nn.ConvTranspose2d(4, 6, 3, groups=2),
    "columns only": nn.ConvTranspose2d(4, 3, (3, 4), (1, 2), (1, 1)),
    "columns only, groups": nn.ConvTranspose2d(4, 6, (3, 4), (1, 2), (1, 1), groups=2),
    "rows only": nn.ConvTranspose2d(4, 3, (4, 3), (2, 1), (1, 1)),
    "strides that differ": nn.ConvTranspose2d(4, 3, (3, 4), (3, 2), (1, 1), output_padding=(1, 0)),
    "strides that differ, groups": nn.ConvTranspose2d(4, 6, (3, 4), (3, 2), (1, 0), groups=2),
    "a window that is not square": nn.ConvTranspose2d(4, 3, (2, 5), 2, (0, 1)),
}
LINES = {
    "a decoder of sound": nn.ConvTranspose1d(4, 1, 16, 8, bias=False),
    "doubled": nn.ConvTranspose1d(4, 3, 4, 2, 1),
    "groups": nn.ConvTranspose1d(4, 6, 5, 3, 2, output_padding=1, groups=2),
    "depthwise of stride 1": nn.ConvTranspose1d(4, 4, 3, groups=4),
}
LAYERS = {
    **{f"image, {name}": net for name, net in IMAGES.items()},
    **{f"line, {name}": net for name, net in LINES.items()},
}


def sample(net: nn.Module, batch: int = 2) -> np.ndarray:
    shape = (4, 7) if isinstance(net, nn.ConvTranspose1d) else (4, 5, 6)
    return RNG.normal(size=(batch, *shape)).astype(np.float32)


def run_torch(net: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return net.eval()(torch.from_numpy(x)).numpy()


def kinds(graph: FloatGraph) -> list[str]:
    return [rules_of(step.op).name for step in graph.nodes]


@pytest.mark.parametrize("name", LAYERS)
def test_a_module_is_captured_as_what_it_computes(name: str) -> None:
    net = LAYERS[name]
    x = sample(net)
    graph = from_torch.normalize(net, torch.from_numpy(x))
    assert kinds(graph)[0] == "Conv2d"
    assert set(kinds(graph)[1:]) <= {"DepthToSpace", "Reshape", "Transpose", "Slice"}
    np.testing.assert_allclose(float_outputs(graph, x)[0], run_torch(net, x), atol=1e-5)


def file_of(net: Any, x: np.ndarray, folder: Path, **attributes: Any) -> Path:
    path = folder / "net.onnx"
    stated = {
        "strides": list(net.stride),
        "dilations": list(net.dilation),
        "pads": [*net.padding, *net.padding],
        "output_padding": list(net.output_padding),
        "group": net.groups,
    } | attributes
    constants = {"w": net.weight.detach().numpy()}
    if net.bias is not None:
        constants["b"] = net.bias.detach().numpy()
    step = node(
        "ConvTranspose", ["x", *constants], "y", **{key: value for key, value in stated.items() if value is not None}
    )
    onnx.save(model([step], {"x": ("n", *x.shape[1:])}, ["y"], constants), path)
    return path


def both(path: Path, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return float_outputs(from_float_onnx.normalize(path), x)[0], session.run(None, {"x": x})[0]


@pytest.mark.parametrize("name", LAYERS)
def test_a_file_is_captured_as_what_onnx_runtime_computes(name: str, tmp_path: Path) -> None:
    x = sample(LAYERS[name])
    ours, theirs = both(file_of(LAYERS[name], x, tmp_path), x)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("attributes", [
    {"pads": None, "output_shape": [10, 12]},
    {"pads": None, "auto_pad": "VALID"},
    {"pads": [0, 1, 2, 0]},
    {"kernel_shape": [4, 4]},
])  # fmt: skip
def test_every_way_of_saying_where_results_lie(attributes: dict[str, Any], tmp_path: Path) -> None:
    x = sample(IMAGES["doubled, four taps"])
    ours, theirs = both(file_of(IMAGES["doubled, four taps"], x, tmp_path, **attributes), x)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(("attributes", "words"), [
    ({"pads": None, "output_shape": [11, 12]}, "where the cut begins is read in different ways"),
    ({"pads": None, "auto_pad": "SAME_UPPER"}, "auto_pad 'SAME_UPPER' is read in different ways"),
])  # fmt: skip
def test_what_is_left_open_is_refused_by_name(attributes: dict[str, Any], words: str, tmp_path: Path) -> None:
    net = IMAGES["doubled, four taps"]
    with pytest.raises(UnsupportedOp, match=words):
        from_float_onnx.normalize(file_of(net, sample(net), tmp_path, **attributes))


@pytest.mark.parametrize("attributes", [{"pads": [30, 0, 0, 0]}, {"kernel_shape": [3, 3]}, {"group": 3}])
def test_what_contradicts_itself_is_refused(attributes: dict[str, Any], tmp_path: Path) -> None:
    net = IMAGES["doubled, four taps"]
    with pytest.raises(FormatError):
        from_float_onnx.normalize(file_of(net, sample(net), tmp_path, **attributes))


def norm(outputs: int, *, line: bool = False) -> nn.Module:
    layer = nn.BatchNorm1d(outputs) if line else nn.BatchNorm2d(outputs)
    layer.running_mean.normal_()  # type: ignore[union-attr]
    layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    nn.init.uniform_(layer.weight, 0.5, 1.5)
    nn.init.normal_(layer.bias)
    return layer


@pytest.mark.parametrize("name", LAYERS)
def test_norm_and_relu_behind_it_become_part_of_the_convolution(name: str) -> None:
    layer = LAYERS[name]
    net = nn.Sequential(layer, norm(layer.out_channels, line=isinstance(layer, nn.ConvTranspose1d)), nn.ReLU6()).eval()
    x = sample(layer)
    graph = from_torch.normalize(net, torch.from_numpy(x))
    assert sum(isinstance(step.op, FloatConv2d) for step in graph.nodes) == 1
    assert graph.nodes[0].clamp == (0.0, 6.0)
    assert all(step.clamp is None for step in graph.nodes[1:])
    np.testing.assert_allclose(float_outputs(graph, x)[0], run_torch(net, x), atol=2e-5)


class Shared(nn.Module):
    """A result that two read."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 3, 4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.up(x)
        return torch.relu(y) + y


def test_a_result_that_two_read_is_not_clamped_for_both() -> None:
    net, x = Shared(), RNG.normal(size=(1, 4, 5, 6)).astype(np.float32)
    graph = from_torch.normalize(net, torch.from_numpy(x))
    np.testing.assert_allclose(float_outputs(graph, x)[0], run_torch(net, x), atol=1e-5)


QUANTIZED: Sequence[str] = ("image, doubled, four taps", "image, groups", "image, columns only", "line, doubled")


@pytest.mark.parametrize("name", QUANTIZED)
def test_programs_run_exactly_and_are_written_as_onnx(name: str, tmp_path: Path) -> None:
    layer = LAYERS[name]
    before = nn.Conv1d(4, 4, 1) if isinstance(layer, nn.ConvTranspose1d) else nn.Conv2d(4, 4, 1)
    net = nn.Sequential(before, nn.ReLU(), layer).eval()
    x = sample(layer, 16)
    program = oaq.quantize(net, [x], budget=None)
    ours = oaq.Session(oaq.plan(program)).run(x)
    assert sqnr_db(run_torch(net, x), ours) > 25
    oaq.export.onnx(program, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {session.get_inputs()[0].name: x})[0], ours)


def test_a_region_may_end_in_one(tmp_path: Path) -> None:
    """What interleaves its phases moves values only, and is part of the layer all the same."""
    x = sample(LAYERS["line, a decoder of sound"])
    net = LAYERS["line, a decoder of sound"]
    constants = {"w": net.weight.detach().numpy(), "one": np.ones(4, np.float32), "zero": np.zeros(4, np.float32)}
    nodes = [
        node("InstanceNormalization", ["x", "one", "zero"], "t"),
        node("ConvTranspose", ["t", "w"], "y", strides=[8]),
    ]
    onnx.save(model(nodes, {"x": (1, *x.shape[1:])}, ["y"], constants), tmp_path / "net.onnx")
    parts = split(read(tmp_path / "net.onnx", dequantize=True))
    assert [operator for operator in parts.floats.values() if "layer" in operator] == []
    assert [rules_of(step.op).name for step in parts.graph.nodes] == ["Conv2d", "Reshape"]
