"""Damaged ONNX files through every verb that runs or mends float parts and dynamic layers: one error, never another."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import oaq
from benchmarks.file_mutations import mutate
from oaq.capture.from_dynamic_onnx import decode_dynamic
from oaq.errors import FormatError, MemoryLimit, OaqError
from oaq.mixed import execute
from tests import dynamic_files as files
from tests.mixed.nets import Net

Change = Callable[[onnx.GraphProto], object]
WEIGHT = np.random.default_rng(0).integers(-127, 128, (6, 5)).astype(np.int8)
PER_OUTPUT = np.full(5, 0.01, np.float32)
DRAWN = 150


def dynamic() -> bytes:
    return files.matmul_integer(WEIGHT, np.float32(0.01), bias=np.ones(5, np.float32))


def node(graph: onnx.GraphProto, kind: str) -> onnx.NodeProto:
    return next(member for member in graph.node if member.op_type == kind)


def through_every_verb(content: bytes, folder: Path) -> None:
    """Opened and run by ONNX Runtime and by our own operators, looked at by the doctor, repaired."""
    session = oaq.InferenceSession(content)
    feed = {}
    for port in session.get_inputs():
        shape = [size if isinstance(size, int) else 2 for size in port.shape]
        if np.prod(shape, dtype=object) >= 1 << 24:
            raise OaqError("its input is too large to be made here")
        feed[port.name] = np.ones(shape, np.float32)
    session.run(None, feed)
    session.explain()
    path = folder / "broken.onnx"
    path.write_bytes(content)
    oaq.diagnose(oaq.import_model(path).program)
    oaq.repair.repair(path)


REFUSED: dict[str, tuple[Change, str]] = {
    "a tensor that nothing writes": (lambda g: node(g, "Cast").input.__setitem__(0, "nowhere"), "'nowhere', which no"),
    "nodes that wait for each other": (
        lambda g: node(g, "DynamicQuantizeLinear").input.__setitem__(0, "y"),
        "own resu",
    ),
    "two writers": (lambda g: node(g, "Cast").output.__setitem__(0, "sums"), "writes 'sums', which something else"),
    "a type that ONNX does not have": (
        lambda g: setattr(g.input[0].type.tensor_type, "elem_type", 255),
        "'x' is of the type 255",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_dynamic_file_that_contradicts_itself_is_refused_with_the_reason(name: str) -> None:
    change, words = REFUSED[name]
    model = onnx.load_from_string(dynamic())
    change(model.graph)
    with pytest.raises(FormatError, match=words):
        oaq.InferenceSession(model.SerializeToString()).run(None, {"x": np.ones((1, 2, 6), np.float32)})


LEFT_ALONE: dict[str, Change] = {
    "a product by one tensor only": lambda g: node(g, "Mul").input.pop(),
    "a product of three": lambda g: node(g, "Mul").input.append("w_scale"),
    "a conversion without a result": lambda g: node(g, "Cast").output.pop(),
    "sums without a name": lambda g: node(g, "MatMulInteger").output.__setitem__(0, ""),
    "a quantizer of nothing": lambda g: node(g, "DynamicQuantizeLinear").input.pop(),
    "a product of nothing": lambda g: node(g, "MatMulInteger").input.__setitem__(0, ""),
    "a bias added to nothing": lambda g: node(g, "Add").input.pop(),
}


@pytest.mark.parametrize("name", LEFT_ALONE)
@pytest.mark.parametrize("scale", [np.float32(0.01), PER_OUTPUT])
def test_nodes_that_lack_operands_are_no_layer_and_no_accident(name: str, scale: np.ndarray, tmp_path: Path) -> None:
    model = onnx.load_from_string(files.matmul_integer(WEIGHT, scale, bias=np.ones(5, np.float32)))
    LEFT_ALONE[name](model.graph)
    content = model.SerializeToString()
    with pytest.raises(OaqError):
        through_every_verb(content, tmp_path)
    try:
        products = decode_dynamic(content).products
    except FormatError:
        return
    assert all(product.output for product in products)


@pytest.mark.parametrize("kind", ["DynamicQuantizeMatMul", "MatMulIntegerToFloat"])
def test_a_fused_product_of_nothing_is_no_layer(kind: str, tmp_path: Path) -> None:
    model = onnx.load_from_string(files.fused(kind, WEIGHT, PER_OUTPUT))
    node(model.graph, kind).input[0] = ""
    content = model.SerializeToString()
    (name, reason) = decode_dynamic(content).skipped[0]
    assert (name, reason) == ("dense", f"com.microsoft.{kind} multiplies nothing")
    with pytest.raises(OaqError):
        through_every_verb(content, tmp_path)


@pytest.mark.parametrize("pad", [1 << 20, 1 << 31, (1 << 63) - 1])
def test_padding_of_a_dynamic_convolution_is_compared_with_the_memory_limit(pad: int) -> None:
    model = onnx.load_from_string(files.conv_integer(np.ones((3, 2, 3, 3), np.int8), np.float32(0.01)))
    convolution = node(model.graph, "ConvInteger")
    for attribute in convolution.attribute:
        if attribute.name == "pads":
            attribute.ints[:] = [pad, 0, 0, pad]
    session = oaq.InferenceSession(model.SerializeToString(), memory_limit=1 << 30)
    with pytest.raises(MemoryLimit, match="every window laid out, needs"):
        session.run(None, {"x": np.ones((1, 2, 5, 5), np.float32)})


def test_a_dynamic_convolution_runs_up_to_its_memory_limit() -> None:
    content = files.conv_integer(np.ones((3, 2, 3, 3), np.int8), np.float32(0.01))
    needed = 2 * (9 * 9 + 7 * 7 * 9)
    x = {"x": np.ones((1, 2, 7, 7), np.float32)}
    assert oaq.InferenceSession(content, memory_limit=needed).run(None, x)[0].shape == (1, 3, 7, 7)
    with pytest.raises(MemoryLimit, match=r"padded to \(9, 9\)"):
        oaq.InferenceSession(content, memory_limit=needed - 1).run(None, x)


def test_a_constant_that_is_quantized_stays_in_float() -> None:
    constants = {"c": np.linspace(-1, 1, 12, dtype=np.float32).reshape(2, 6), "w": WEIGHT, "s": np.float32(0.01)}
    constants["z"] = np.zeros((), np.int8)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["c"], ["q", "qs", "qz"]),
        helper.make_node("MatMulInteger", ["q", "w", "qz", "z"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["reals"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["qs", "s"], ["unit"]),
        helper.make_node("Mul", ["reals", "unit"], ["t"]),
        helper.make_node("Add", ["t", "x"], ["y"]),
    ]
    content = files.model(nodes, constants, (2, 5), ["y"])
    x = np.ones((2, 5), np.float32)
    runtime = pytest.importorskip("onnxruntime").InferenceSession(content, providers=["CPUExecutionProvider"])
    (expected,) = runtime.run(None, {"x": x})
    np.testing.assert_allclose(oaq.InferenceSession(content).run(None, {"x": x})[0], expected, atol=1e-6)


@pytest.mark.parametrize("owner", ["ONNX Runtime", "oaq's float operators"])
def test_drawn_files_end_in_an_error_of_oaq_or_run(owner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if owner != "ONNX Runtime":
        monkeypatch.setattr(execute, "runtime_version", lambda: None)
        monkeypatch.setattr("oaq.mixed.inference.runtime_version", lambda: None)
    net = Net()
    net.output(net.op("Softmax", net.conv(net.qdq(net.input([1, 4, 6, 6])))))
    intact = sorted([dynamic(), files.matmul_integer(WEIGHT, PER_OUTPUT), net.model().SerializeToString()], key=len)
    seed = secrets.randbits(32)
    for index in range(DRAWN):
        rng = np.random.default_rng([seed, index])
        content = mutate(intact[int(rng.integers(3))], intact, rng)
        try:
            through_every_verb(content, tmp_path)
        except OaqError:
            continue
        except Exception as error:
            raise AssertionError(f"seed {seed}, file {index}: {type(error).__name__}: {error}") from error


def test_sizes_that_are_values_are_compared_with_the_memory_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "runtime_version", lambda: None)
    monkeypatch.setattr("oaq.mixed.inference.runtime_version", lambda: None)
    for last, error in ((1e12, FormatError), (1e9, MemoryLimit)):
        net = Net()
        first = net.op("ReduceMean", net.conv(net.qdq(net.input([1, 4, 6, 6]))), keepdims=0)
        net.output(net.op("Range", first, net.constant(last), net.constant(1.0)))
        session = oaq.InferenceSession(net.model().SerializeToString(), memory_limit=1 << 30)
        with pytest.raises(error, match="Range"):
            session.run(None, {"x": np.ones((1, 4, 6, 6), np.float32)})
