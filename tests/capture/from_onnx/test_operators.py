"""Single operators in the forms that ONNX Runtime's quantizer does not show, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from benchmarks.import_equality import Seen, compare_with_onnxruntime, is_float_kind
from oaq import reference
from oaq.capture.from_onnx import import_quantized
from oaq.capture.from_onnx.resizing import WAY_OUT
from oaq.capture.imported import Imported
from oaq.numerics.formats import U8
from tests.capture.from_onnx.files import MICROSOFT, model, node

RNG = np.random.default_rng(11)
MAP = {
    "s": np.array(0.05, np.float32),
    "z": np.array(117, np.uint8),
    "t": np.array(0.11, np.float32),
    "zt": np.array(90, np.uint8),
}
QUANTIZE = node("QuantizeLinear", ["x", "s", "z"], "q")
QUANTIZE_RESULT = node("QuantizeLinear", ["f", "t", "zt"], "p")
DEQUANTIZE_RESULT = node("DequantizeLinear", ["p", "t", "zt"], "y")


def s8(*shape: int) -> NDArray[np.int8]:
    return RNG.integers(-127, 128, shape).astype(np.int8)


def u8(*shape: int) -> NDArray[np.uint8]:
    return RNG.integers(0, 256, shape).astype(np.uint8)


def f32(*shape: int) -> NDArray[np.float32]:
    return RNG.uniform(0.5, 1.5, shape).astype(np.float32)


def run(
    folder: Path, nodes: Sequence[onnx.NodeProto], shape: Sequence[int], constants: Mapping[str, NDArray[Any] | float]
) -> tuple[Imported, Seen]:
    """The import of nodes from "x" to "y", and what ONNX Runtime makes of them."""
    path = folder / "net.onnx"
    path.write_bytes(model(nodes, {"x": list(shape)}, ["y"], {**MAP, **constants}).SerializeToString())
    imported = import_quantized(path)
    feeds = [{"x": (scale * RNG.normal(0, 1, shape)).astype(np.float32)} for scale in (1.0, 3.0, 100.0)]
    seen = compare_with_onnxruntime(path, imported, feeds)
    for kind, most in seen.most.items():
        assert most <= (1 if is_float_kind(kind) else 0), kind
    return imported, seen


def kinds(imported: Imported) -> list[str]:
    return [type(one.op).__name__ for one in imported.program.nodes]


def integer(*middle: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Nodes from integers "q" to integers "p", with the quantizers around them."""
    return [QUANTIZE, *middle, DEQUANTIZE_RESULT]


def after_layer(*middle: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Nodes from reals "r" to reals "f", behind a convolution of (4, 8, 9) to (6, 6, 7)."""
    return [
        QUANTIZE,
        node("DequantizeLinear", ["q", "s", "z"], "d"),
        node("DequantizeLinear", ["w", "ws", "wz"], "wr", axis=0),
        node("DequantizeLinear", ["b", "bs"], "br", axis=0),
        node("Conv", ["d", "wr", "br"], "c"),
        node("QuantizeLinear", ["c", "t", "zt"], "qc"),
        node("DequantizeLinear", ["qc", "t", "zt"], "r"),
        *middle,
        QUANTIZE_RESULT,
        DEQUANTIZE_RESULT,
    ]


LINEAR = {"w": s8(12, 6), "ws": f32(6) * 0.002, "wz": np.zeros(6, np.int8)}
CONV = {"w": s8(6, 4, 3, 3), "ws": f32(6) * 0.002, "wz": np.zeros(6, np.int8), "b": np.arange(-3, 3, dtype=np.int32)}
CONV["bs"] = np.float32(0.05) * CONV["ws"]
SHAPE = (2, 4, 8, 9)


def test_qlinear_matmul_with_one_scale_per_column(tmp_path: Path) -> None:
    nodes = integer(node("QLinearMatMul", ["q", "s", "z", "w", "ws", "wz", "t", "zt"], "p"))
    imported, seen = run(tmp_path, nodes, (5, 12), LINEAR)
    assert kinds(imported) == ["Linear"]
    assert imported.sources["p"].scale_per_output
    assert seen.integers == {"Linear": 3 * 5 * 6}


@pytest.mark.parametrize("flip", [0, 1])
def test_qgemm_of_either_order_with_a_factor(flip: int, tmp_path: Path) -> None:
    names = ["q", "s", "z", "w", "ws", "wz", "b", "t", "zt"]
    nodes = integer(node("QGemm", names, "p", domain=MICROSOFT, transB=flip, alpha=0.5))
    weights = {"w": s8(6, 12) if flip else s8(12, 6), "ws": np.float32(0.004), "wz": np.int8(3), "b": CONV["b"]}
    imported, seen = run(tmp_path, nodes, (5, 12), weights)
    assert kinds(imported) == ["Linear"]
    assert seen.integers == {"Linear": 3 * 5 * 6}


def test_qgemm_without_a_scale_of_its_result_leaves_it_real(tmp_path: Path) -> None:
    names = ["q", "s", "z", "w", "ws", "wz", "b"]
    nodes = [QUANTIZE, node("QGemm", names, "y", domain=MICROSOFT)]
    weights = {"w": s8(12, 6), "ws": np.float32(0.004), "wz": np.int8(0), "b": CONV["b"]}
    imported, _ = run(tmp_path, nodes, (5, 12), weights)
    assert kinds(imported) == ["Linear"]
    assert imported.sources["y"].y_scale is None
    assert imported.program.outputs == ("y",)


def test_a_zero_point_of_weights_is_part_of_them(tmp_path: Path) -> None:
    names = ["q", "s", "z", "w", "ws", "wz", "t", "zt", "b"]
    nodes = integer(node("QLinearConv", names, "p", pads=[1, 0, 0, 1], strides=[2, 1]))
    weights = {**CONV, "w": u8(6, 4, 3, 3), "ws": np.float32(0.002), "wz": np.uint8(97)}
    imported, seen = run(tmp_path, nodes, (2, 4, 7, 7), weights)
    (layer,) = imported.program.summing_nodes()
    assert layer.op.weight.dtype == np.int16  # type: ignore[union-attr]
    assert list(seen.integers) == ["Conv2d"]


def test_conv_integer_with_its_scales_multiplied_later(tmp_path: Path) -> None:
    nodes = [
        QUANTIZE,
        node("ConvInteger", ["q", "w", "z", "wz0"], "sums", pads=[1, 1, 1, 1], group=2),
        node("Cast", ["sums"], "real", to=1),
        node("Mul", ["real", "factor"], "m"),
        node("Add", ["m", "bias"], "f"),
        QUANTIZE_RESULT,
        DEQUANTIZE_RESULT,
    ]
    constants = {
        "w": s8(6, 2, 3, 3),
        "wz0": np.int8(0),
        "factor": f32(1, 6, 1, 1) * 1e-4,
        "bias": f32(6, 1, 1),
    }
    imported, seen = run(tmp_path, nodes, (1, 4, 6, 6), constants)
    assert kinds(imported) == ["Conv2d"]
    np.testing.assert_allclose(
        imported.sources["sums"].scales * np.float32(0.05), constants["factor"].reshape(-1), rtol=1e-6
    )
    assert list(seen.integers) == ["Conv2d, in float"]
    assert any("real biases" in note for note in imported.notes)


MEANS = {
    "GlobalAveragePool": {},
    "ReduceMean": {"axes": [-1, 2], "keepdims": 1},
    "ReduceMean, axes dropped": {"axes": [2, 3], "keepdims": 0},
}


@pytest.mark.parametrize("name", MEANS)
def test_means_over_an_image(name: str, tmp_path: Path) -> None:
    mean = node(name.split(",")[0], ["r"], "f", **MEANS[name])
    imported, seen = run(tmp_path, after_layer(mean), SHAPE, CONV)
    assert kinds(imported)[:2] == ["Conv2d", "GlobalAvgPool"]
    assert seen.integers["GlobalAvgPool"] == 3 * 2 * 6


POOLS = {
    "MaxPool": [
        {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "strides": [2, 1]},
        {"kernel_shape": [2, 2], "dilations": [2, 2]},
        {"kernel_shape": [2, 1], "dilations": [7, 1], "pads": [1, 0, 1, 0]},  # steps over all six rows
    ],
    "AveragePool": [
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1},
        {"kernel_shape": [3, 2], "pads": [1, 1, 0, 0], "strides": [2, 2]},
    ],
}


@pytest.mark.parametrize(("op", "more"), [(op, more) for op, each in POOLS.items() for more in each])
def test_pools(op: str, more: dict[str, Any], tmp_path: Path) -> None:
    imported, seen = run(tmp_path, after_layer(node(op, ["r"], "f", **more)), SHAPE, CONV)
    ours = {"MaxPool": "MaxPool", "AveragePool": "AvgPool"}[op]
    assert kinds(imported) == ["Conv2d", ours]
    assert seen.integers[ours] > 100


MOVES: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], list[str]]] = {
    "a slice of rows, columns and channels": (
        [node("Slice", ["r", "begin", "end", "axes"], "f")],
        {"begin": np.array([1, 2, -3]), "end": np.array([4, 100, -1]), "axes": np.array([1, 2, 3])},
        ["Slice"],
    ),
    "padding by the integer that stands for zero": (
        [node("Pad", ["r", "pads"], "f")],
        {"pads": np.array([0, 0, 1, 2, 0, 0, 3, 0])},
        ["Pad"],
    ),
    "depth to space": (
        [node("Slice", ["r", "begin", "end"], "a"), node("DepthToSpace", ["a"], "f", blocksize=2)],
        {"begin": np.array([0, 0]), "end": np.array([2, 4])},
        ["Slice", "DepthToSpace"],
    ),
    "nearest resize": (
        [
            node(
                "Resize", ["r", "", "", "sizes"], "f", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
            )
        ],
        {"sizes": np.array([2, 6, 12, 14])},
        ["Resize"],
    ),
    "bilinear resize": (
        [node("Resize", ["r", "", "", "sizes"], "f", mode="linear")],
        {"sizes": np.array([2, 6, 9, 5])},
        ["Resize"],
    ),
    "there and back": (
        [node("Transpose", ["r"], "a", perm=[0, 2, 3, 1]), node("Transpose", ["a"], "f", perm=[0, 3, 1, 2])],
        {},
        [],
    ),
    "an axis more and one less": (
        [node("Unsqueeze", ["r", "two"], "a"), node("Squeeze", ["a", "two"], "f")],
        {"two": np.array([2])},
        [],
    ),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves(name: str, tmp_path: Path) -> None:
    nodes, constants, expected = MOVES[name]
    imported, _ = run(tmp_path, after_layer(*nodes), SHAPE, {**CONV, **constants})
    assert kinds(imported) == ["Conv2d", *expected]
    assert imported.islands == ()


REFUSED: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], str]] = {
    "padding by something else": (
        [node("Pad", ["r", "pads", "one"], "f")],
        {"pads": np.array([0, 0, 1, 2, 0, 0, 3, 0]), "one": np.float32(1)},
        "it pads with 1.0, not with the integer that stands for 0.0",
    ),
    "a cubic resize": (
        [node("Resize", ["r", "", "", "sizes"], "f", mode="cubic")],
        {"sizes": np.array([2, 6, 9, 5])},
        f"it resizes by cubic, half_pixel, which is not known; {WAY_OUT}",
    ),
    "a dilated window that hangs over the image": (
        [node("MaxPool", ["r"], "f", kernel_shape=[2, 2], dilations=[4, 2], strides=[3, 1], ceil_mode=1)],
        {},
        "its padding (0, 2, 0, 0) reaches the size of its kernel (2, 2)",
    ),
    "a softmax": ([node("Softmax", ["r"], "f", axis=1)], {}, "oaq has no integer operator for Softmax"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_integers_stays_outside_and_says_why(name: str, tmp_path: Path) -> None:
    nodes, constants, why = REFUSED[name]
    imported, seen = run(tmp_path, after_layer(*nodes), SHAPE, {**CONV, **constants})
    assert kinds(imported) == ["Conv2d"]
    assert list(seen.integers) == ["Conv2d"]
    (island,) = imported.islands
    assert (island.where, island.reads) == ("output", imported.program.outputs)
    assert island.why == f"f ({nodes[0].op_type}): {why}"


def batch_norm(gamma: NDArray[np.float32]) -> tuple[list[onnx.NodeProto], tuple[int, ...], dict[str, Any]]:
    nodes = [
        QUANTIZE,
        node("DequantizeLinear", ["q", "s", "z"], "d"),
        node("DequantizeLinear", ["w", "ws", "wz"], "wr", axis=0),
        node("Conv", ["d", "wr"], "c"),
        node("BatchNormalization", ["c", "gamma", "beta", "mean", "variance"], "n", epsilon=1e-3),
        node("Relu", ["n"], "f"),
        QUANTIZE_RESULT,
        DEQUANTIZE_RESULT,
    ]
    return nodes, SHAPE, {**CONV, "gamma": gamma, "beta": f32(6) - 1, "mean": f32(6) - 1, "variance": f32(6)}


def test_a_batch_norm_between_a_layer_and_its_quantizer_is_part_of_the_layer(tmp_path: Path) -> None:
    imported, seen = run(tmp_path, *batch_norm(f32(6)))
    assert kinds(imported) == ["Conv2d"]
    assert imported.islands == ()
    assert imported.sources["c"].nodes[-2:] == ("c", "n")
    assert list(seen.integers) == ["Conv2d, in float"]
    assert seen.differ["Conv2d, in float"] <= 20


def test_a_batch_norm_of_negative_factor_stays_outside(tmp_path: Path) -> None:
    imported, _ = run(tmp_path, *batch_norm(-f32(6)))
    (island,) = imported.islands
    assert island.why.startswith("n (BatchNormalization): its sums are multiplied by something that is not a positive")


def test_tokens_times_a_matrix_are_one_linear_layer_and_stay_tokens(tmp_path: Path) -> None:
    nodes = [
        QUANTIZE,
        node("DequantizeLinear", ["q", "s", "z"], "d"),
        node("DequantizeLinear", ["w", "ws", "wz"], "wr", axis=1),
        node("MatMul", ["d", "wr"], "f"),
        QUANTIZE_RESULT,
        DEQUANTIZE_RESULT,
    ]
    imported, seen = run(tmp_path, nodes, (2, 7, 12), LINEAR)
    (layer,) = imported.program.summing_nodes()
    assert layer.op.weight.shape == (6, 12)  # type: ignore[union-attr]
    assert imported.program.tensors[layer.output].shape == (7, 6)
    assert sum(seen.integers.values()) == 3 * 2 * 7 * 6


def test_a_convolution_along_one_axis_is_one_over_a_line(tmp_path: Path) -> None:
    nodes = [
        QUANTIZE,
        node("DequantizeLinear", ["q", "s", "z"], "d"),
        node("DequantizeLinear", ["w", "ws", "wz"], "wr", axis=0),
        node("Conv", ["d", "wr"], "f", pads=[2, 1], strides=[2], dilations=[2]),
        QUANTIZE_RESULT,
        DEQUANTIZE_RESULT,
    ]
    constants = {"w": s8(6, 4, 3), "ws": f32(6) * 0.002, "wz": np.zeros(6, np.int8)}
    path = tmp_path / "net.onnx"
    path.write_bytes(model(nodes, {"x": [2, 4, 15]}, ["y"], {**MAP, **constants}).SerializeToString())
    program = import_quantized(path).program
    (layer,) = program.summing_nodes()
    assert layer.op.weight.shape == (6, 3, 4)  # type: ignore[union-attr]
    x = RNG.normal(0, 1, (2, 4, 15)).astype(np.float32)
    (y,) = onnxruntime.InferenceSession(path).run(["y"], {"x": x})
    given = program.tensors[program.inputs[0]].affine.quantize(x.transpose(0, 2, 1), U8)
    (q,) = reference.run(program, given).outputs
    real = program.tensors[program.outputs[0]].affine.dequantize(q)
    np.testing.assert_array_equal(real.transpose(0, 2, 1), y)


def test_a_network_that_turns_channels_first_by_itself_is_given_images_channels_last(tmp_path: Path) -> None:
    nodes = [
        QUANTIZE,
        node("DequantizeLinear", ["q", "s", "z"], "d"),
        node("Transpose", ["d"], "first", perm=[0, 3, 1, 2]),
        node("DequantizeLinear", ["w", "ws", "wz"], "wr", axis=0),
        node("Conv", ["first", "wr"], "f"),
        QUANTIZE_RESULT,
        DEQUANTIZE_RESULT,
    ]
    imported, seen = run(tmp_path, nodes, (2, 8, 9, 4), CONV)
    assert kinds(imported) == ["Conv2d"]
    assert imported.program.metadata["input_layout"] == "NHWC"
    assert imported.program.tensors["x"].shape == (8, 9, 4)
    assert imported.tensors["x"].axes == (1, 2, 3)
    assert sum(seen.integers.values()) == 3 * 2 * 6 * 7 * 6


def test_an_image_flattened_before_a_linear_layer_keeps_its_order(tmp_path: Path) -> None:
    nodes = after_layer(
        node("Flatten", ["r"], "flat"),
        node("DequantizeLinear", ["lw", "lws"], "lwr"),
        node("Gemm", ["flat", "lwr"], "f", transB=1),
    )
    constants = {"lw": s8(5, 6 * 6 * 7), "lws": np.float32(0.001)}
    imported, seen = run(tmp_path, nodes, SHAPE, {**CONV, **constants})
    assert kinds(imported) == ["Conv2d", "Reshape", "Linear"]
    source = imported.sources["f"]
    assert source.columns is not None
    assert sorted(source.columns.tolist()) == list(range(6 * 6 * 7))
    assert any(kind.startswith("Linear") for kind in seen.integers)


def test_both_operands_of_a_product_computed_stay_outside(tmp_path: Path) -> None:
    nodes = after_layer(node("Transpose", ["r"], "turned", perm=[0, 1, 3, 2]), node("MatMul", ["r", "turned"], "f"))
    imported, _ = run(tmp_path, nodes, SHAPE, CONV)
    (island,) = imported.islands
    assert "sums of products of two activations have no fixed weights" in island.why
