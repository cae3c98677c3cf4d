"""Whole files: what is refused and in which words, what is left in float, axes in another order, torch's own files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from benchmarks.file_mutations import mutate, pick
from oaq.capture.from_float_onnx import normalize
from oaq.capture.graph import FloatConv2d, FloatGraph, FloatProducts
from oaq.errors import FormatError, OaqError, ProgramError, UnsupportedOp
from tests.capture.from_onnx.files import model, node

RNG = np.random.default_rng(3)
W = RNG.normal(size=(4, 6, 3, 3)).astype(np.float32)


def capture(
    folder: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = ("y",),
    *,
    inputs: Mapping[str, Any] | None = None,
    **how: Any,
) -> FloatGraph:
    path = folder / "net.onnx"
    opset = how.pop("opset", 17)
    onnx.save(model(nodes, inputs or {"x": ("n", 6, 9, 8)}, outputs, constants, opset=opset), path)
    return normalize(path, **how)


IMAGES = {"x": ("n", 6, 9, 8)}
LONG = {"x": ("n", 5000)}
SCALES = {"s": np.array([1, 1, 2, 2], np.float32)}
REFUSED: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], str]] = {
    "unknown": (
        [node("LRN", ["x"], "y", size=3)],
        {},
        r"net\.onnx: node 'y' \(LRN\): oaq has no operator for it in float files$",
    ),
    "of another domain": ([node("Relu", ["x"], "y", domain="com.example")], {}, r"\(com\.example\.Relu\): oaq"),
    "quantized": ([node("QuantizeLinear", ["x", "s"], "y")], {"s": 0.5}, "`oaq doctor` looks at such files"),
    "softmax inside": ([node("Softmax", ["x"], "t", axis=1), node("Relu", ["t"], "y")], {}, "at a network's end only"),
    "a product of one": ([node("Sigmoid", ["x"], "t"), node("Mul", ["t"], "y")], {}, "not a constant number"),
    "weights computed": ([node("Relu", ["x"], "t"), node("Conv", ["x", "t"], "y")], {}, "is not a constant number"),
    "samples mixed": ([node("Reshape", ["x", "s"], "y")], {"s": np.array([-1, 8])}, "mixes samples"),
    "batch moved": ([node("Transpose", ["x"], "y", perm=[1, 0, 2, 3])], {}, "moves the batch"),
    "batch averaged": ([node("ReduceMean", ["x"], "y", axes=[0, 2, 3])], {}, "averages over height and width"),
    "channels averaged": ([node("ReduceMean", ["x"], "y", axes=[1])], {}, "averages over height and width"),
    "joined to a constant": (
        [node("Concat", ["x", "c"], "y", axis=1)], {"c": np.ones((1, 1, 9, 8), np.float32)}, "joins constants"),
    "padded by more than there is": (
        [node("Pad", ["x", "p"], "y", mode="reflect")], {"p": np.array([0, 0, 9, 0, 0, 0, 0, 0])}, "to repeat"),
    "picked by a computed list": ([node("Gather", ["x", "i"], "y", axis=1)], {"i": np.array(1)}, "no constant list"),
    "padded by ones": ([node("Pad", ["x", "p", "v"], "y")], {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "v": 1.0},
                       "oaq pads with zeros"),
    "channels padded": ([node("Pad", ["x", "p"], "y")], {"p": np.array([0, 1, 0, 0, 0, 0, 0, 0])}, "height and width"),
    "shape widened": ([node("GlobalAveragePool", ["x"], "t"), node("Add", ["t", "c"], "y")],
                      {"c": np.ones((1, 6, 4, 4), np.float32)}, "changes the shape"),
    "a constant per pixel": ([node("Add", ["x", "c"], "y")], {"c": np.ones((9, 8), np.float32)}, "one per channel"),
    "NaN": ([node("Add", ["x", "c"], "y")], {"c": np.float32(np.nan)}, "NaN or infinity"),
    "an empty constant": ([node("Add", ["x", "c"], "y")], {"c": np.ones((6, 9, 0), np.float32)}, "do not fit"),
    "divided by zero": ([node("Div", ["x", "c"], "y")], {"c": 0.0}, "divides by zero"),
    "two divided": ([node("Exp", ["x"], "t"), node("Div", ["x", "t"], "y")], {}, "adds and subtracts equal shapes"),
    "a mean subtracted": ([node("GlobalAveragePool", ["x"], "t"), node("Sub", ["x", "t"], "y")], {}, "subtracts equal"),
    "added by channel": ([node("GlobalAveragePool", ["x"], "t"), node("Add", ["x", "t"], "y")], {}, "equal shapes"),
    "slopes that differ": ([node("PRelu", ["x", "s"], "y")], {"s": np.arange(72, dtype=np.float32).reshape(1, 9, 8)},
                           "one number or one per channel"),
    "a step": ([node("Shrink", ["x"], "y", lambd=0.5)], {}, "it jumps"),
    "indices wanted": ([node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2]), node("Relu", ["i"], "z")], {},
                       "indices are wanted"),
    "counted beyond the edge": (
        [node("AveragePool", ["x"], "y", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, count_include_pad=1)], {},
        "ceil_mode=1"),
    "cubic": ([node("Resize", ["x", "", "s"], "y", mode="cubic")], SCALES, "linear with half_pixel"),
    "norm in training": (
        [node("BatchNormalization", ["x", "o", "o", "o", "o"], ["y", "m", "v"], training_mode=1)],
        {"o": np.ones(6, np.float32)}, "in evaluation"),
    "nothing computed": ([node("Identity", ["x"], "y")], {}, "there is nothing to compute"),
    "nothing depends on the input": ([node("Identity", ["c"], "y")], {"c": np.ones(3, np.float32)}, "does not depend"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_is_refused_by_name(name: str, tmp_path: Path) -> None:
    nodes, constants, words = REFUSED[name]
    with pytest.raises((UnsupportedOp, FormatError), match=words):
        capture(tmp_path, nodes, constants)


def test_inputs_that_are_no_float_images_or_vectors_are_refused(tmp_path: Path) -> None:
    relu = [node("Relu", ["x"], "y")]
    for inputs, words in (
        ({"x": (("n", 3, 8, 8), TensorProto.UINT8)}, r"input 'x': is of type uint8"),
        ({"x": ("n", 3, 8, 8, 8, 8)}, r"input 'x': is of shape \(1, 3, 8, 8, 8, 8\)"),
        ({"x": ("n", 3, "h", "w")}, "its size on axis 2, called 'h', is left open"),
    ):
        with pytest.raises(UnsupportedOp, match=words):
            capture(tmp_path, relu, inputs=inputs)


def test_sizes_left_open_are_given_by_name(tmp_path: Path) -> None:
    conv, open_net = [node("Conv", ["x", "w"], "y")], {"x": ("n", 6, "h", "w")}
    graph = capture(tmp_path, conv, {"w": W}, inputs=open_net, input_shapes={"x": (6, 5, 7)})
    assert graph.shapes == {"x": (6, 5, 7), "y": (4, 3, 5)}
    with pytest.raises(FormatError, match="was asked for"):
        capture(tmp_path, conv, {"w": W}, inputs=open_net, input_shapes={"x": (5, 5, 7)})


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ProgramError, match=r"node 'y' \(Conv\): 216 of its 220 weights and biases become NaN or infinite"
    ):
        capture(tmp_path, [node("Conv", ["x", "w"], "y")], {"w": W * np.inf})


@pytest.mark.parametrize("end", [np.nan, np.inf])
def test_functions_that_are_not_finite_are_refused(tmp_path: Path, end: float) -> None:
    with pytest.raises(ProgramError, match=r"node 'y' \(LeakyRelu\): its parameters \((nan|inf),\) are not finite"):
        capture(tmp_path, [node("LeakyRelu", ["x"], "y", alpha=end)])


def test_numbers_of_a_norm_are_one_per_channel(tmp_path: Path) -> None:
    nodes = [node("BatchNormalization", ["x", "o", "o", "m", "o"], "y")]
    six, five = np.ones(6, np.float32), np.ones(5, np.float32)
    with pytest.raises(UnsupportedOp, match=r"its numbers \(6,\), \(6,\), \(5,\), \(6,\) are not one for each of 6"):
        capture(tmp_path, nodes, {"o": six, "m": five})


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    half = {"x": (("n", 6, 9, 8), TensorProto.FLOAT16)}
    nodes = [node("Conv", ["x", "w"], "t"), node("Cast", ["t"], "u", to=1), node("Relu", ["u"], "y")]
    (made,) = capture(tmp_path, nodes, {"w": W.astype(np.float16)}, inputs=half).nodes
    assert isinstance(made.op, FloatConv2d)
    assert made.clamp == (0.0, None)
    np.testing.assert_array_equal(made.op.weight, W.astype(np.float16).astype(np.float32))


def test_softmax_at_the_end_stays_in_float_and_is_named(tmp_path: Path) -> None:
    nodes = [
        node("GlobalAveragePool", ["x"], "p"),
        node("Flatten", ["p"], "logits"),
        node("Softmax", ["logits"], "y", name="prob"),
        node("ArgMax", ["y"], "best"),
    ]
    graph = capture(tmp_path, nodes, outputs=["logits", "best", "y"])
    assert graph.outputs == ("logits",)
    assert graph.metadata["float_edge"] == (
        "'best' is ArgMax 'best' of Softmax 'prob' of 'logits', left in float; "
        "'y' is Softmax 'prob' of 'logits', left in float"
    )


def test_an_image_in_the_other_order_is_the_callers_affair(tmp_path: Path) -> None:
    nodes = [
        node("Sub", ["x", "c"], "s"),
        node("Transpose", ["s"], "t", perm=[0, 3, 1, 2]),
        node("Conv", ["t", "w"], "u"),
        node("Transpose", ["u"], "y", perm=[0, 2, 3, 1]),
    ]
    graph = capture(tmp_path, nodes, {"c": np.ones(6, np.float32), "w": W}, inputs={"x": ("n", 9, 8, 6)})
    assert graph.metadata["input_layout"] == "NHWC"
    assert graph.shapes["x"] == (6, 9, 8)
    assert graph.caller_shape("x") == (9, 8, 6)
    assert graph.caller_shape("y") == (7, 6, 4)
    assert "float_edge" not in graph.metadata


def test_names_are_the_files(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], "t", name="stem"), node("Relu", ["t"], "y", name="act")]
    graph = capture(tmp_path, nodes, {"w": W})
    assert [(each.name, each.output) for each in graph.nodes] == [("stem", "y")]


def test_damaged_files_are_one_error(tmp_path: Path) -> None:
    from tests.capture.from_float_onnx.test_operators import ALL

    path, rng = tmp_path / "net.onnx", np.random.default_rng(0)
    files = [
        model(case.nodes, {"x": ("n", *case.sample)}, ["y"], case.constants, opset=case.opset).SerializeToString()
        for case in ALL.values()
    ]
    outcomes = {"captured": 0, "refused": 0}
    for _ in range(800):
        path.write_bytes(mutate(pick(rng, files), files, rng))
        try:
            normalize(path)
            outcomes["captured"] += 1
        except OaqError as error:
            assert str(error).startswith(str(path))
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 100, outcomes


def test_a_network_that_torch_writes_is_the_network_that_torch_captures(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from oaq.capture import from_torch
    from oaq.ptq.quantize import quantize
    from tests.capture.from_float_onnx.twin import Block, file_of

    torch.manual_seed(0)
    net = Block().eval()
    x = torch.randn(1, 3, 16, 16)
    onnx.save(file_of(net), tmp_path / "net.onnx")
    ours, torchs = normalize(tmp_path / "net.onnx"), from_torch.normalize(net, x)
    assert [type(each.op) for each in ours.nodes] == [type(each.op) for each in torchs.nodes]
    for a, b in zip(ours.nodes, torchs.nodes, strict=True):
        assert a.clamp == b.clamp
        for key, value in vars(a.op).items():
            np.testing.assert_array_equal(value, getattr(b.op, key), err_msg=f"{a.name}, {key}")
    assert sum(isinstance(each.op, FloatProducts) for each in ours.nodes) == 6
    data = [np.random.default_rng(0).normal(size=(8, 3, 16, 16)).astype(np.float32)]
    of_file, of_module = quantize(tmp_path / "net.onnx", data), quantize(net, data)
    for a, b in zip(of_file.nodes, of_module.nodes, strict=True):
        assert of_file.tensors[a.output].affine == of_module.tensors[b.output].affine
        assert of_file.tensors[a.output].range == of_module.tensors[b.output].range
        for key, value in vars(a.op).items():
            wanted = getattr(b.op, key)
            if key == "requantize":
                value, wanted = value.multiplier, wanted.multiplier
            np.testing.assert_array_equal(value, wanted, err_msg=f"{a.name}, {key}")


@pytest.mark.parametrize("name", ["densenet121", "inception_v2", "squeezenet"])
def test_architectures_that_the_onnx_package_brings_compute_what_onnx_runtime_does(name: str) -> None:
    """Its files have weights that are one number each, and the operators of an old exporter."""
    pytest.importorskip("torch")
    onnxruntime = pytest.importorskip("onnxruntime")
    from oaq.ptq.execute import float_outputs

    path = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"
    graph = normalize(path)
    x = np.random.default_rng(0).normal(size=(1, *graph.shapes[graph.inputs[0]])).astype(np.float32)
    (wanted,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {graph.inputs[0]: x})
    (got,) = float_outputs(graph, x)
    if "float_edge" in graph.metadata:
        shifted = np.exp(got - got.max(axis=1, keepdims=True))
        got = shifted / shifted.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5 * float(np.abs(wanted).max()))


def test_a_refusal_names_the_cut_before_it_and_the_cut_can_be_quantized(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], "a", pads=[1] * 4),
        node("Relu", ["a"], "b"),
        node("LRN", ["b"], "c", size=3),
        node("Add", ["c", "a"], "y"),
    ]
    path = tmp_path / "net.onnx"
    made = model(nodes, {"x": (1, 3, 6, 6)}, ["y"], {"w": np.ones((4, 3, 3, 3), np.float32)})
    onnx.save(onnx.shape_inference.infer_shapes(made), path)
    with pytest.raises(UnsupportedOp) as raised:
        normalize(path)
    text = str(raised.value)
    assert "node 'c' (LRN): oaq has no operator for it in float files. What comes before it" in text
    assert text.endswith("'before.onnx', ['x'], ['b', 'a'])")
    onnx.utils.extract_model(path, tmp_path / "before.onnx", ["x"], ["b", "a"])
    assert set(normalize(tmp_path / "before.onnx").outputs) == {"b", "a"}


def test_a_channel_shuffle_becomes_the_columns_of_the_convolution_that_reads_it(tmp_path: Path) -> None:
    """Nothing is moved: channel 2 of the convolution lies where channel 1 of the file is."""
    nodes = [
        node("Conv", ["x", "w"], "a"),
        node("Reshape", ["a", "five"], "b"),
        node("Transpose", ["b"], "shuffle", perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["shuffle", "four"], "c"),
        node("Conv", ["c", "v"], "y"),
    ]
    constants = {
        "w": np.ones((8, 3, 1, 1), np.float32),
        "v": np.arange(32, dtype=np.float32).reshape(4, 8, 1, 1),
        "five": np.array([1, 2, 4, 6, 6]),
        "four": np.array([1, 8, 6, 6]),
    }
    onnx.save(model(nodes, {"x": (1, 3, 6, 6)}, ["y"], constants), tmp_path / "net.onnx")
    graph = normalize(tmp_path / "net.onnx")
    assert [type(node.op) for node in graph.nodes] == [FloatConv2d, FloatConv2d]
    read = graph.nodes[1].op
    assert isinstance(read, FloatConv2d)
    assert read.weight[0, :, 0, 0].tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
