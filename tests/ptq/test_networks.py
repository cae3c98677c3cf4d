"""Networks as callers give them: the name of an ONNX file, sizes that it leaves open, images in either order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

import oaq
from oaq import operators as ops
from oaq.capture import graph as fg
from oaq.errors import CalibrationError, FormatError, ProgramError, UnsupportedOp
from oaq.ptq.execute import run_graph
from oaq.ptq.networks import graph_of
from oaq.reference import run
from tests.capture.from_onnx.files import model, node

RNG = np.random.default_rng(5)
WEIGHT = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)


def file_at(folder: Path, *, last: bool = False, sizes: tuple[int | str, int | str] = (8, 6)) -> Path:
    """One convolution with a ReLU; ``last`` takes and gives (H, W, C)."""
    nodes = [node("Conv", ["t" if last else "x", "w"], "c", strides=[2, 1]), node("Relu", ["c"], "r" if last else "y")]
    if last:
        nodes.insert(0, node("Transpose", ["x"], "t", perm=[0, 3, 1, 2]))
        nodes.append(node("Transpose", ["r"], "y", perm=[0, 2, 3, 1]))
    shape = ("n", *sizes, 3) if last else ("n", 3, *sizes)
    path = folder / f"net-{last}.onnx"
    onnx.save(model(nodes, {"x": shape}, ["y"], {"w": WEIGHT}), path)
    return path


def images(*shape: int) -> NDArray[np.float32]:
    return RNG.normal(size=shape).astype(np.float32)


def reals(program: oaq.IntProgram, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the program makes of (batch, H, W, C)."""
    read, written = program.tensors[program.inputs[0]], program.tensors[program.outputs[0]]
    return written.affine.dequantize(run(program, read.affine.quantize(x, read.range)).outputs[0])


def test_both_orders_of_axes_are_one_network(tmp_path: Path) -> None:
    x = images(6, 3, 8, 6)
    first = oaq.quantize(file_at(tmp_path), [x])
    other = oaq.quantize(str(file_at(tmp_path, last=True)), [np.ascontiguousarray(x.transpose(0, 2, 3, 1))])
    assert (first.metadata["input_layout"], other.metadata["input_layout"]) == ("NCHW", "NHWC")
    assert first.tensors["x"].affine == other.tensors["x"].affine
    np.testing.assert_array_equal(first.nodes[0].op.weight, other.nodes[0].op.weight)  # type: ignore[union-attr]
    exact = torch.relu(torch.conv2d(torch.from_numpy(x), torch.from_numpy(WEIGHT), stride=(2, 1)))
    got = reals(other, x.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(got, exact.numpy().transpose(0, 2, 3, 1), atol=0.05 * float(exact.max()))


@pytest.mark.parametrize("last", [False, True])
def test_a_file_and_its_program_take_and_give_the_same_shapes(tmp_path: Path, last: bool) -> None:
    shape = (5, 8, 6, 3) if last else (5, 3, 8, 6)
    path, x = file_at(tmp_path, last=last), images(*shape)
    session = oaq.Session(oaq.plan(oaq.quantize(path, [x])))
    onnxruntime = pytest.importorskip("onnxruntime")
    (wanted,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    got = session.run(x)
    assert isinstance(got, np.ndarray)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, atol=0.05 * float(wanted.max()))


def test_sizes_left_open_are_those_of_the_data(tmp_path: Path) -> None:
    path = file_at(tmp_path, sizes=("h", "w"))
    for batch in (images(2, 3, 9, 5), [images(2, 3, 9, 5)], {"x": images(2, 3, 9, 5)}):
        graph, batches = graph_of(path, iter([batch]))
        assert graph.shapes["x"] == (3, 9, 5)
        assert len(list(batches)) == 1


def test_what_is_no_network_or_does_not_fit_is_said(tmp_path: Path) -> None:
    path = file_at(tmp_path)
    with pytest.raises(FormatError, match=r"none\.onnx: cannot be read"):
        oaq.quantize(tmp_path / "none.onnx", [images(1, 3, 8, 6)])
    with pytest.raises(
        ProgramError, match=r"net\.txt: a network is a .*\.Module or the name of an \.onnx or \.tflite file"
    ):
        oaq.quantize("net.txt", [images(1, 3, 8, 6)])
    with pytest.raises(CalibrationError, match=r"batch 0, x: the shape is \(n, 3, 8, 6\), not \(1, 3, 6, 8\)"):
        oaq.quantize(path, [images(1, 3, 6, 8)])
    with pytest.raises(CalibrationError, match=r"the shape is \(n, 8, 6, 3\), not \(1, 3, 8, 6\)"):
        oaq.quantize(file_at(tmp_path, last=True), [images(1, 3, 8, 6)])
    with pytest.raises(CalibrationError, match="no calibration batches"):
        oaq.quantize(file_at(tmp_path, sizes=("h", "w")), [])


def test_what_no_program_can_compute_is_said_before_the_data_are_read(tmp_path: Path) -> None:
    nodes = [node("Softmax", ["x"], "r", axis=1), node("Relu", ["r"], "y")]
    onnx.save(model(nodes, {"x": ("n", 3, 8, 6)}, ["y"]), tmp_path / "soft.onnx")

    def data():
        raise AssertionError("the data are read")
        yield

    with pytest.raises(UnsupportedOp, match=r"it reads Softmax .*leaves in float at a network.s end only"):
        oaq.quantize(tmp_path / "soft.onnx", data())


def test_nearest_neighbours_are_exact_where_float32_is_not() -> None:
    resize = fg.FloatNode("y", ops.Resize(82, 3), ("x",), "y")
    graph = fg.FloatGraph("net", ("x",), ("y",), {"x": (1, 2, 3), "y": (1, 82, 3)}, (resize,))
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    got = run_graph(graph, x)["y"]
    assert torch.equal(got[0, 0, :, 0], x[0, 0, torch.arange(82) * 2 // 82, 0])


@pytest.mark.parametrize("form", [list, tuple, lambda parts: dict(zip(("a", "b"), parts, strict=True))])
def test_files_with_several_inputs_take_them_in_their_order_or_by_name(tmp_path: Path, form: Any) -> None:
    nodes = [node("Conv", ["a", "w"], "c"), node("GlobalAveragePool", ["c"], "p"), node("Flatten", ["p"], "f"),
             node("Add", ["f", "b"], "y")]  # fmt: skip
    made = model(nodes, {"a": ("n", 3, "h", "w"), "b": ("n", 4)}, ["y"], {"w": WEIGHT})
    onnx.save(made, tmp_path / "two.onnx")
    program = oaq.quantize(tmp_path / "two.onnx", [form([images(3, 3, 8, 6), images(3, 4)])])
    assert program.inputs == ("a", "b")
    assert program.tensors["a"].shape == (8, 6, 3)


def test_a_file_gets_piecewise_weights_like_a_module(tmp_path: Path) -> None:
    from oaq.program.codes import coded_layers

    program = oaq.quantize(file_at(tmp_path), [images(6, 3, 8, 6)], weights="piecewise")
    ((bits, step),) = coded_layers(program).values()
    assert (bits, len(step)) == (4, 4)
