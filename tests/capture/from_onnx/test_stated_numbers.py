"""Numbers that a file states are read, never derived from others: scales, axes of constants, widths, sizes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.import_equality import Seen, compare_with_onnxruntime, is_float_kind
from oaq import operators as ops
from oaq.capture.from_float_onnx import normalize
from oaq.capture.from_onnx import import_graph, import_quantized
from oaq.capture.imported import Imported
from oaq.errors import FormatError, UnsupportedOp
from oaq.numerics.ranges import IntRange
from tests.capture.from_onnx.files import graph_of, model, node

MAP: Mapping[str, Any] = {
    "s": np.array(0.02, np.float32),
    "z": np.array(128, np.uint8),
    "t": np.array(0.15, np.float32),
    "zt": np.array(128, np.uint8),
    "sw": np.array(0.004, np.float32),
}
READ = [node("QuantizeLinear", ["x", "s", "z"], "q"), node("DequantizeLinear", ["q", "s", "z"], "d")]
LAYER = [
    node("DequantizeLinear", ["w", "sw"], "wd"),
    node("Conv", ["d", "wd"], "c", pads=[1] * 4),
    node("QuantizeLinear", ["c", "t", "zt"], "p"),
    node("DequantizeLinear", ["p", "t", "zt"], "r"),
]
END = [node("QuantizeLinear", ["f", "t", "zt"], "e"), node("DequantizeLinear", ["e", "t", "zt"], "y")]


def weights(*shape: int) -> NDArray[np.int8]:
    return np.random.default_rng(3).integers(-127, 128, shape).astype(np.int8)


def compared(folder: Path, made: onnx.ModelProto, shape: tuple[int, ...], spread: float = 2.0) -> tuple[Imported, Seen]:
    """The import, and each of its integers beside ONNX Runtime's."""
    path = folder / "net.onnx"
    path.write_bytes(made.SerializeToString())
    imported = import_quantized(path)
    rng = np.random.default_rng(5)
    feeds = [{"x": rng.uniform(-spread, spread, shape).astype(np.float32)} for _ in range(3)]
    seen = compare_with_onnxruntime(path, imported, feeds)
    for kind, most in seen.most.items():
        assert most <= (1 if is_float_kind(kind) else 0), kind
    return imported, seen


RESIZES = {
    "a scale of 1.3": ({"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}, [1, 1, 1.3, 1.3]),
    "a scale of 1.5": ({"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}, [1, 1, 1.5, 1.5]),
    "whole": ({"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}, [1, 1, 2, 3]),
    "whole, halves": ({}, [1, 1, 2, 3]),
    "down": ({"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}, [1, 1, 0.6, 0.45]),
    "symmetric": ({"coordinate_transformation_mode": "half_pixel_symmetric"}, [1, 1, 1.3, 2]),
    "corners": ({"coordinate_transformation_mode": "align_corners"}, [1, 1, 1.9, 2]),
    "ceil": ({"nearest_mode": "ceil", "coordinate_transformation_mode": "asymmetric"}, [1, 1, 1.7, 2]),
    "linear": ({"mode": "linear"}, [1, 1, 2, 3]),
    "linear, corners": ({"mode": "linear", "coordinate_transformation_mode": "align_corners"}, [1, 1, 2.2, 3]),
    "linear, a scale of 1.3": ({"mode": "linear"}, [1, 1, 1.3, 1.3]),
    "linear, a scale of 1.2": ({"mode": "linear"}, [1, 1, 1.2, 1.2]),
    "channels that keep their number": ({"nearest_mode": "floor"}, [1, 1.1, 2, 2]),
}
MOVED = {"Resize", "Gather"}
"""Kinds of nodes that show other pixels."""
TAKEN = ("whole", "whole, halves", "linear", "linear, a scale of 1.2", "linear, corners")


@pytest.mark.parametrize("name", RESIZES)
def test_a_resize_by_scales_shows_the_pixels_that_the_scales_say_or_is_refused_by_name(
    name: str, tmp_path: Path
) -> None:
    attributes, scales = RESIZES[name]
    resize = node("Resize", ["r", "", "sc"], "f", **{"mode": "nearest", **attributes})
    constants = {**MAP, "w": weights(6, 4, 3, 3), "sc": np.array(scales, np.float32)}
    made = model([*READ, *LAYER, resize, *END], {"x": (1, 4, 5, 5)}, ["y"], constants)
    imported, seen = compared(tmp_path, made, (1, 4, 5, 5))
    if name in TAKEN:
        assert "Resize" in seen.integers
    else:
        is_taken = MOVED.intersection(seen.integers)
        assert is_taken or ("f", "Resize") in imported.islands[0].nodes
        assert is_taken or imported.islands[0].why.startswith("f (Resize): it")


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
@pytest.mark.parametrize("sizes", [(16, 12), (16, 16), (11, 13), (4, 8)])
def test_a_resize_that_keeps_the_aspect_ratio_has_the_size_that_onnx_gives_it(
    policy: str, sizes: tuple[int, int], tmp_path: Path
) -> None:
    resize = node("Resize", ["r", "", "", "sz"], "f", mode="linear", axes=[2, 3], keep_aspect_ratio_policy=policy)
    constants = {**MAP, "w": weights(6, 4, 3, 3), "sz": np.array(sizes)}
    made = model([*READ, *LAYER, resize, *END], {"x": (1, 4, 8, 8)}, ["y"], constants, opset=18)
    imported, seen = compared(tmp_path, made, (1, 4, 8, 8))
    assert "Resize" in seen.integers or ("f", "Resize") in imported.islands[0].nodes


@pytest.mark.parametrize("scale", [0.5, 0.75, 0.9, 1.0, 1.5, 3.0])
def test_nearest_before_opset_11_shows_the_pixels_that_onnxruntime_shows_or_is_refused(
    scale: float, tmp_path: Path
) -> None:
    """ONNX left the rule open; ONNX Runtime takes floor, and ceil where the image shrinks."""
    resize = node("Resize", ["r", "sc"], "f", mode="nearest")
    constants = {**MAP, "w": weights(6, 4, 3, 3), "sc": np.array([1, 1, 2, scale], np.float32)}
    made = model([*READ, *LAYER, resize, *END], {"x": (1, 4, 5, 6)}, ["y"], constants, opset=10)
    imported, seen = compared(tmp_path, made, (1, 4, 5, 6))
    assert MOVED.intersection(seen.integers) or imported.islands[0].why.startswith("f (Resize): its nearest pixels")


def test_rules_of_resize_before_opset_11_are_those_of_that_opset(tmp_path: Path) -> None:
    """Linear was asymmetric then; nearest was floor."""
    for mode in ("nearest", "linear"):
        resize = node("Resize", ["r", "sc"], "f", mode=mode)
        constants = {**MAP, "w": weights(6, 4, 3, 3), "sc": np.array([1, 1, 2, 2], np.float32)}
        made = model([*READ, *LAYER, resize, *END], {"x": (1, 4, 5, 5)}, ["y"], constants, opset=10)
        imported, seen = compared(tmp_path, made, (1, 4, 5, 5))
        (resized,) = (one.op for one in imported.program.nodes if isinstance(one.op, ops.Resize))
        assert resized.mode == ("nearest" if mode == "nearest" else "bilinear_asymmetric")
        assert "Resize" in seen.integers


SHAPES = {(): True, (1,): True, (4,): True, (1, 1): True, (1, 4): True, (4, 1): False, (4, 4): False}


@pytest.mark.parametrize("beta", [1.0, 0.5, -2.0, 0.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_bias_of_a_gemm_is_added_along_its_own_axes(shape: tuple[int, ...], beta: float, tmp_path: Path) -> None:
    bias = np.random.default_rng(1).uniform(-3, 3, shape).astype(np.float32)
    gemm = node("Gemm", ["d", "wd", "b"], "f", transB=1, alpha=1.5, beta=beta)
    constants = {**MAP, "w": weights(4, 32), "b": bias}
    made = model([*READ, LAYER[0], gemm, *END], {"x": (4, 32)}, ["y"], constants)
    if SHAPES[shape]:
        assert compared(tmp_path, made, (4, 32))[1].integers
    else:
        (tmp_path / "net.onnx").write_bytes(made.SerializeToString())
        with pytest.raises(UnsupportedOp, match=r"f \(Gemm\): its bias of shape .* is not one number, or one for each"):
            import_quantized(tmp_path / "net.onnx")
    plain = model([node("Gemm", ["x", "w", "b"], "y", transB=1, beta=beta)], {"x": (4, 32)}, ["y"], {
        "w": weights(4, 32).astype(np.float32), "b": bias})  # fmt: skip
    (tmp_path / "float.onnx").write_bytes(plain.SerializeToString())
    if SHAPES[shape]:
        assert len(normalize(tmp_path / "float.onnx").nodes) == 1
    else:
        with pytest.raises(UnsupportedOp, match="its bias"):
            normalize(tmp_path / "float.onnx")


NARROW = {"INT4": (22, -8, 7), "UINT4": (21, 0, 15), "INT2": (26, -2, 1), "UINT2": (25, 0, 3)}
FORMS = ("initializer", "Constant", "Identity", "output_dtype")


def narrow_file(kind: str, form: str) -> onnx.ModelProto:
    """x quantized to few bits, and a convolution of that; the zero point stands in the file as ``form`` says."""
    number = NARROW[kind][0]
    zero = helper.make_tensor("n", number, [], np.array([0], np.uint8).tobytes(), raw=True)
    quantize = node("QuantizeLinear", ["x", "sn", *["n"] * (form != "output_dtype")], "q")
    if form == "output_dtype":
        quantize.attribute.append(helper.make_attribute("output_dtype", number))
    nodes = [
        quantize,
        node("DequantizeLinear", ["q", "sn"], "d"),
        *LAYER[:3],
        node("DequantizeLinear", ["p", "t", "zt"], "y"),
    ]
    if form == "Constant":
        nodes.insert(0, node("Constant", [], "n", value=zero))
    if form == "Identity":
        nodes.insert(0, node("Identity", ["n0"], "n"))
        zero.name = "n0"
    constants = {**MAP, "w": weights(6, 4, 3, 3), "sn": np.array(0.2, np.float32)}
    made = model(nodes, {"x": (1, 4, 6, 6)}, ["y"], constants, opset=25 if kind.endswith("2") else 21)
    made.ir_version = 13 if kind.endswith("2") else 10
    if form in ("initializer", "Identity"):
        made.graph.initializer.append(zero)
    return made


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", NARROW)
def test_integers_of_fewer_bits_keep_their_range(kind: str, form: str, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(narrow_file(kind, form).SerializeToString())
    imported = import_quantized(tmp_path / "net.onnx")
    _, lo, hi = NARROW[kind]
    offset = 128 if lo < 0 else 0
    (name,) = imported.program.inputs
    assert imported.program.tensors[name].range == IntRange(lo + offset, hi + offset)


def test_a_narrow_reader_does_not_narrow_what_others_read(tmp_path: Path) -> None:
    """int8, and of that int4 with the same scale: the other reader of the int8 has all of it."""
    zero = helper.make_tensor("n", TensorProto.INT4, [], np.array([0], np.uint8).tobytes(), raw=True)
    nodes = [
        node("QuantizeLinear", ["x", "sn", "z8"], "q"),
        node("DequantizeLinear", ["q", "sn", "z8"], "d8"),
        node("QuantizeLinear", ["d8", "sn", "n"], "q4"),
        node("DequantizeLinear", ["q4", "sn", "n"], "d"),
        *LAYER,
        node("Conv", ["d8", "wd"], "f", pads=[1] * 4),
        *END,
    ]
    constants = {**MAP, "w": weights(6, 4, 3, 3), "sn": np.array(0.2, np.float32), "z8": np.array(0, np.int8)}
    made = model(nodes, {"x": (1, 4, 6, 6)}, ["y", "r"], constants, opset=21)
    made.ir_version = 10
    made.graph.initializer.append(zero)
    imported, _ = compared(tmp_path, made, (1, 4, 6, 6), spread=20.0)
    ranges = {imported.program.tensors[layer.inputs[0]].range for layer in imported.program.summing_nodes()}
    assert ranges == {IntRange(120, 135), IntRange(0, 255)}


@pytest.mark.parametrize("kind", [np.int16, np.uint16])
def test_activations_of_16_bits_are_refused_by_name(kind: type, tmp_path: Path) -> None:
    nodes = [node("QuantizeLinear", ["x", "s", "z"], "q"), node("DequantizeLinear", ["q", "s", "z"], "d"), *LAYER]
    constants = {**MAP, "w": weights(6, 4, 3, 3), "z": np.array(0, kind)}
    made = model(nodes, {"x": (1, 4, 6, 6)}, ["r"], constants, opset=21)
    (tmp_path / "net.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(UnsupportedOp, match=f"q \\(QuantizeLinear\\): it quantizes to {np.dtype(kind)}, not to 8 bits"):
        import_quantized(tmp_path / "net.onnx")


def test_a_zero_point_per_row_is_the_reason_that_is_told(tmp_path: Path) -> None:
    nodes = [
        node("MatMulInteger", ["x", "w", "zx"], "m"),
        node("Cast", ["m"], "f32", to=TensorProto.FLOAT),
        node("Mul", ["f32", "sw"], "f"),
        *END,
    ]
    constants = {**MAP, "w": weights(16, 5), "zx": np.array([1, 2, 3], np.uint8)}
    made = model(nodes, {"x": ((3, 16), TensorProto.UINT8)}, ["y"], constants)
    (tmp_path / "net.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(UnsupportedOp, match=r"m \(MatMulInteger\): its input has more than one zero point"):
        import_quantized(tmp_path / "net.onnx")


@pytest.mark.parametrize("dims", [("N", 3, "h", "w"), (-1, 3, -1, -1), (None, 3, None, None), ("N", 3, -1, "w")])
def test_an_open_size_is_one_that_is_named_or_left_out_or_minus_one(dims: tuple[Any, ...]) -> None:
    made = model([node("Relu", ["x"], "y")], {"x": dims}, ["y"])
    assert graph_of(made, input_shapes={"x": (2, 3, 8, 6)}).types["y"].shape == (2, 3, 8, 6)
    with pytest.raises(UnsupportedOp, match="is left open; only the batch may be"):
        graph_of(made)


@pytest.mark.parametrize("infer", [False, True])
def test_an_open_size_of_an_inner_value_is_not_the_batch(infer: bool) -> None:
    """Range over a width: its length is open in value_info, under a name that no input has."""
    nodes = [
        node("Shape", ["x"], "shape"),
        node("Gather", ["shape", "three"], "width"),
        node("Range", ["zero", "width", "one"], "places"),
        node("Cast", ["places"], "reals", to=1),
        node("Concat", ["reals", "reals"], "twice", axis=0),
        node("Concat", ["x", "x"], "wide", axis=3),
        node("Sub", ["twice", "wide"], "y"),
    ]
    constants = {"three": np.array(3), "zero": np.array(0), "one": np.array(1)}
    made = model(nodes, {"x": ("N", 3, "h", "w")}, ["y"], constants)
    if infer:
        made = onnx.shape_inference.infer_shapes(made)
    graph = graph_of(made, input_shapes={"x": (1, 3, 8, 6)})
    np.testing.assert_array_equal(graph.constants["twice"], [*range(6), *range(6)])
    assert [one.op for one in graph.nodes] == ["Concat", "Sub"]


SHAPE_CHAINS: Mapping[str, list[onnx.NodeProto]] = {
    "Identity": [node("Shape", ["x"], "a"), node("Identity", ["a"], "b"), node("Slice", ["b", "m1", "m9", "a0"], "w")],
    "Cast": [
        node("Shape", ["x"], "a"),
        node("Cast", ["a"], "b", to=TensorProto.FLOAT),
        node("Slice", ["b", "m1", "m9", "a0"], "c"),
        node("Cast", ["c"], "w", to=TensorProto.INT64),
    ],
    "start": [node("Shape", ["x"], "w", start=-1)],
    "start and end": [node("Shape", ["x"], "w", start=3, end=9)],
    "Gather": [node("Shape", ["x"], "a"), node("Gather", ["a", "m1"], "w")],
    "Size": [node("Size", ["x"], "a"), node("Div", ["a", "n"], "b"), node("Unsqueeze", ["b", "a0"], "w")],
    "Range": [node("Range", ["six", "nine", "seven"], "w")],
    "Expand": [node("Shape", ["x"], "a"), node("Gather", ["a", "three"], "b"), node("Expand", ["b", "m1n"], "w")],
    "ConstantOfShape": [node("ConstantOfShape", ["a1"], "w", value=numpy_helper.from_array(np.array([6])))],
    "ReduceMax, no axes": [node("ReduceMax", ["sixes"], "a", keepdims=0), node("Unsqueeze", ["a", "a0"], "w")],
    "Mod": [node("Mod", ["sixes", "nines"], "w")],
    "Tile": [node("Tile", ["sixes", "a1"], "w")],
}


@pytest.mark.parametrize("name", SHAPE_CHAINS)
def test_sizes_computed_from_shapes_are_computed_beforehand(name: str) -> None:
    constants = {
        "m1": np.array([-1]), "m9": np.array([1 << 60]), "a0": np.array([0]), "three": np.array(3), "n": np.array(24),
        "six": np.array(6), "seven": np.array(7), "nine": np.array(9), "m1n": np.array([1]), "a1": np.array([1]),
        "sixes": np.array([6]), "nines": np.array([9]),
    }  # fmt: skip
    made = model([*SHAPE_CHAINS[name], node("Reshape", ["x", "w2"], "y"), node("Concat", ["k", "w"], "w2", axis=0)], {
        "x": (1, 3, 8, 6)}, ["y"], {**constants, "k": np.array([1, 3, 8])})  # fmt: skip
    graph = graph_of(made)
    np.testing.assert_array_equal(graph.constants["w2"], [1, 3, 8, 6])
    assert [one.op for one in graph.nodes] == ["Reshape"]


@pytest.mark.parametrize("form", ["number last", "number first", "one per channel"])
@pytest.mark.parametrize("op", ["Min", "Max", "Pow", "Sub", "Div"])
def test_what_meets_sums_is_computed_as_that_operator_or_refused_by_name(op: str, form: str, tmp_path: Path) -> None:
    """Min and Max of sums were divisions by the constant."""
    inputs = ["v", "c"] if form == "number first" else ["c", "v"]
    layer = [*LAYER[:2], node(op, inputs, "f")]
    shape = (6, 1, 1) if form == "one per channel" else ()
    value = np.full(shape, 2.0 if op == "Pow" else 0.7, np.float32)
    made = model([*READ, *layer, *END], {"x": (1, 4, 6, 6)}, ["y"], {**MAP, "w": weights(6, 4, 3, 3), "v": value})
    taken = (op in ("Min", "Max") and not shape) or (op in ("Sub", "Div") and form != "number first")
    if taken:
        kinds = {kind.split(",")[0] for kind in compared(tmp_path, made, (1, 4, 6, 6))[1].integers}
        assert kinds & {"Conv2d", "Lookup"}
    else:
        (tmp_path / "net.onnx").write_bytes(made.SerializeToString())
        imported = import_quantized(tmp_path / "net.onnx")
        assert next(island for island in imported.islands if ("f", op) in island.nodes).why.startswith(f"f ({op}): ")


def test_clipping_an_integer_tensor_under_another_name_does_not_clip_what_others_read(tmp_path: Path) -> None:
    nodes = [
        *READ,
        *LAYER[:3],
        node("Transpose", ["p"], "turned", perm=[0, 2, 3, 1]),
        node("Clip", ["turned", "least", "most"], "cut"),
        node("DequantizeLinear", ["cut", "t", "zt"], "y"),
        node("DequantizeLinear", ["p", "t", "zt"], "r"),
    ]
    ends = {"least": np.array(120, np.uint8), "most": np.array(140, np.uint8)}
    made = model(nodes, {"x": (1, 4, 6, 6)}, ["y", "r"], {**MAP, **ends, "w": weights(6, 4, 3, 3)})
    imported, _ = compared(tmp_path, made, (1, 4, 6, 6), spread=20.0)
    (layer,) = imported.program.summing_nodes()
    assert imported.program.tensors[layer.output].range == IntRange(0, 255)


def test_what_an_island_writes_is_an_input_of_the_program_and_the_island_is_told(tmp_path: Path) -> None:
    """Axes of size 1 lie in any order, so the entry looked like a result of the program."""
    nodes = [
        *READ,
        *LAYER,
        node("Softmax", ["r"], "f", axis=2),
        node("QuantizeLinear", ["f", "t", "zt"], "e"),
        node("DequantizeLinear", ["e", "t", "zt"], "g"),
        node("DequantizeLinear", ["v", "sw"], "vd"),
        node("MatMul", ["g", "vd"], "m"),
        node("QuantizeLinear", ["m", "t", "zt"], "n"),
        node("DequantizeLinear", ["n", "t", "zt"], "y"),
    ]
    constants = {**MAP, "w": weights(1, 4, 3, 3), "v": weights(6, 5)}
    made = model(nodes, {"x": (1, 4, 4, 6)}, ["y"], constants)
    imported, _ = compared(tmp_path, made, (1, 4, 4, 6))
    (island,) = imported.islands
    assert island.where == "inside"
    assert set(island.writes) < set(imported.program.inputs)
    assert len(imported.program.outputs) == 2


@pytest.mark.parametrize(
    ("start", "limit", "step"),
    [(0.0, 1e38, 1e-38), (0.0, 1.0, 0.0), (0.0, float("inf"), 1.0), (float("nan"), 1.0, 1.0)],
)
def test_a_range_that_no_tensor_holds_is_one_error(start: float, limit: float, step: float) -> None:
    made = model(
        [node("Range", ["a", "b", "c"], "r"), node("Add", ["x", "r"], "y")],
        {"x": (1, 4)},
        ["y"],
        {"a": start, "b": limit, "c": step},
    )
    with pytest.raises(FormatError, match="node 'r' \\(Range\\)"):
        graph_of(made)


@pytest.mark.parametrize(
    "scales", [["a", "b", "c", "d"], [1.0, 1.0], [1.0, 1.0, -2.0, 2.0], [1.0, 1.0, 1e30, 2.0], 2.0]
)
def test_scales_that_are_none_are_one_error(scales: Any) -> None:
    made = model([node("Upsample", ["x"], "y", scales=scales)], {"x": (1, 2, 4, 4)}, ["y"], opset=8)
    with pytest.raises(FormatError, match="node 'y' \\(Upsample\\)"):
        graph_of(made)


@pytest.mark.parametrize("kind", ["INT4", "UINT4"])
def test_an_input_of_four_bits_has_their_range(kind: str) -> None:
    number, lo, hi = NARROW[kind]
    zero = helper.make_tensor("n", number, [], np.array([0], np.uint8).tobytes(), raw=True)
    nodes = [node("DequantizeLinear", ["x", "sn", "n"], "d"), *LAYER]
    constants = {**MAP, "w": weights(6, 4, 3, 3), "sn": np.array(0.2, np.float32)}
    made = model(nodes, {"x": ((1, 4, 6, 6), number)}, ["r"], constants, opset=21)
    made.ir_version = 10
    made.graph.initializer.append(zero)
    program = import_graph(graph_of(made)).program
    offset = 128 if lo < 0 else 0
    assert program.tensors["x"].range == IntRange(lo + offset, hi + offset)
