"""The ONNX export in ONNX Runtime: its integers against the reference's, node by node, optimized and not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings

from oaq import operators as ops
from oaq.errors import AccumulatorOverflow, FormatError, UnsupportedOp
from oaq.export import onnx as export_onnx
from oaq.export.onnx_qdq.model import build
from oaq.export.onnx_qdq.scales import weight_scales
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.program.files import Part
from oaq.program.int_program import IntProgram, Node
from oaq.program.plain import fingerprint
from oaq.reference import compute, run
from oaq.seal.parts import sealed_parts
from oaq.seal.signature import signature_part
from oaq.seal.text import KEY, from_text
from tests.strategies import OPERATORS, Builder, conv2d, linear, programs_with_inputs, ratios
from tests.weights import NARROW_KINDS

OPTIMIZED = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
AS_WRITTEN = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
TIE = 1e-3
"""Beyond what float32 may be off by where numbers of steps are below 512."""
EXACT_WHEN_OPTIMIZED = {
    "Conv2d",
    "Depthwise",
    "Linear",
    "Lookup",
    "MaxPool",
    "Reshape",
    "Pad",
    "Slice",
    "DepthToSpace",
    "Transpose",
}
WRITTEN = (*NARROW_KINDS, "wide")
"""Kinds of weights that ONNX holds with one zero point."""
onnxruntime.set_default_logger_severity(3)


def nchw(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, -1, 1)


def nhwc(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, 1, -1)


def tapped(
    program: IntProgram, inputs: tuple[np.ndarray, ...], level: object, optimized_to: Path | None = None
) -> dict[str, np.ndarray]:
    """Every u8 tensor as ONNX Runtime has it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    if optimized_to is not None:
        options.optimized_model_filepath = str(optimized_to)
    names = list(program.tensors)
    model = build(program, taps=names).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {
        name: nchw(program.tensors[name].affine.dequantize(x)) for name, x in zip(program.inputs, inputs, strict=True)
    }
    values = session.run(None, feed)[len(program.outputs) :]
    return dict(zip(names, map(nhwc, values), strict=True))


def differences(program: IntProgram, tensors: dict[str, np.ndarray], *, beside_ties: bool = True) -> dict[str, int]:
    """Largest difference per node from the reference, given the very integers ONNX Runtime gave that node.

    Without ``beside_ties``, sums that are scaled to within ``TIE`` of a tie may be one step off.
    """
    result = {}
    for node in program.nodes:
        inputs = [tensors[name] for name in node.inputs]
        law, sums = compute(node, inputs, program.specs(node), program.tensors[node.output])
        steps = np.abs(law.astype(int) - tensors[node.output].astype(int))
        if sums is not None and not beside_ties:
            real = sums * node.op.requantize.multiplier.astype(np.float64)  # type: ignore[union-attr]
            steps[(steps == 1) & (np.abs(real - np.floor(real) - 0.5) < TIE)] = 0
        result[node.name] = int(steps.max(initial=0))
    return result


def test_statistics_of_images_are_refused_by_name(tmp_path: Path) -> None:
    levels = np.array([4], np.uint8)
    op = ops.Coarsen(levels, np.array([335], np.int32), np.array([17], np.uint8), np.array([0], np.uint8))
    builder = Builder("levels")
    builder.add(op, [builder.input((4, 4, 1), Affine(0.1, 8))], Affine(0.1, 8), name="thin")
    with pytest.raises(UnsupportedOp, match="thin: Coarsen takes exact statistics of more than 64 bits"):
        export_onnx(builder.finish(), tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


@pytest.mark.parametrize("operator", [operator for operator in OPERATORS if operator != "Coarsen"])
def test_every_operator_equals_the_reference_node_by_node(operator: str) -> None:
    @settings(max_examples=12, deadline=None)
    @given(programs_with_inputs((operator,), max_nodes=2, semantics="float32_half_even", weights=WRITTEN))
    def check(case: tuple[IntProgram, tuple[np.ndarray, ...]]) -> None:
        program, inputs = case
        for level in (OPTIMIZED, AS_WRITTEN):
            tensors = tapped(program, inputs, level)
            for name, x in zip(program.inputs, inputs, strict=True):
                np.testing.assert_array_equal(tensors[name], x)
            # As written, sums are float32: exact here too, because small layers stay below 2**24. Then they are scaled
            # in float32, which takes some ties the other way.
            steps = differences(program, tensors, beside_ties=level == OPTIMIZED)
            assert max(steps.values()) <= (0 if operator in EXACT_WHEN_OPTIMIZED else 1)

    check()


def network(rng: np.random.Generator) -> IntProgram:
    """One of each operator that ONNX Runtime has an integer kernel for."""
    builder = Builder("net")
    s, t = 0.02, float(np.float32(0.0317))
    x = builder.input((20, 20, 3), Affine(s, 128))
    stem = conv2d(rng, (32, 3, 3, 3), scales=(s, s), stride=(2, 2), padding=(0, 1, 0, 1))
    x = builder.add(stem, [x], Affine(s, 0), IntRange(0, 180))
    wide = conv2d(rng, (32, 3, 3, 1), scales=(s, s), groups=32, padding=(1, 1, 1, 1))
    y = builder.add(wide, [x], Affine(s, 3))
    z = builder.add(ops.Add(Requantize(ratios([s, s], t))), [x, y], Affine(t, 7), IntRange(0, 200))
    z = builder.add(ops.MaxPool((3, 3), (2, 2), (1, 1, 1, 1)), [z])
    mean = Requantize(ratios([t], 0.05) / np.arange(1, 5, dtype=np.float32))
    z = builder.add(ops.AvgPool((2, 2), (2, 2), mean, (1, 1, 0, 0), False), [z], Affine(0.05, 9))
    z = builder.add(conv2d(rng, (64, 1, 1, 32), scales=(0.05, 0.21)), [z], Affine(0.21, 100), IntRange(40, 190))
    height, width, channels = builder.tensors[z].shape
    pool = ops.GlobalAvgPool(Requantize(ratios([0.21], 0.17) / np.float32(height * width)))
    z = builder.add(ops.Reshape((channels,)), [builder.add(pool, [z], Affine(0.17, 11))])
    builder.add(linear(rng, (10, channels), scales=(0.17, 0.1)), [z], Affine(0.1, 128))
    return builder.finish()


def test_onnx_runtime_computes_a_whole_network_on_integers_equal_to_ours(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    program = network(rng)
    x = rng.integers(0, 256, (8, 20, 20, 3)).astype(np.uint8)
    tensors = tapped(program, (x,), OPTIMIZED, tmp_path / "optimized.onnx")
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert kinds["QLinearConv"] == 3  # a Clip on floats would have left Conv + Clip behind
    assert kinds["QGemm"] == 1
    assert kinds["Conv"] == kinds["Gemm"] == 0
    assert kinds["QuantizeLinear"] == kinds["DequantizeLinear"] == 1
    assert set(differences(program, tensors).values()) == {0}
    for name, value in run(program, x).tensors.items():
        np.testing.assert_array_equal(tensors[name], value)


def test_add_differs_by_one_step_only_at_ties_with_an_odd_zero_point() -> None:
    """ONNX Runtime adds the zero point z before it rounds: at a tie v + z goes to another integer if z is odd."""
    both = np.arange(256).astype(np.uint8)
    a, b = np.repeat(both, 256).reshape(1, 256, 256, 1), np.tile(both, 256).reshape(1, 256, 256, 1)
    seen = {}
    for zero in (100, 101):
        builder = Builder("tie")
        x = [builder.input((256, 256, 1), Affine(0.25, 10)), builder.input((256, 256, 1), Affine(0.25, 20))]
        builder.add(ops.Add(Requantize(np.float32([0.5, 0.5]))), x, Affine(0.5, zero))
        program = builder.finish()
        seen[zero] = max(differences(program, tapped(program, (a, b), OPTIMIZED)).values())
        assert set(differences(program, tapped(program, (a, b), AS_WRITTEN)).values()) == {0}
    assert seen == {100: 0, 101: 1}


@pytest.mark.parametrize("seed", range(4))
def test_float_defined_operators_stay_within_one_step(seed: int) -> None:
    rng = np.random.default_rng(seed)
    s_a, s_b = (float(np.float32(value)) for value in np.exp(rng.uniform(-5, 1, 2)))
    zero = int(rng.integers(256))
    builder = Builder("float")
    x, y = builder.input((16, 16, 4), Affine(s_a, 3)), builder.input((16, 16, 4), Affine(s_b, 250))
    s_y = float(np.float32(max(s_a, s_b) * 1.3))
    builder.add(ops.Add(Requantize(ratios([s_a, s_b], s_y))), [x, y], Affine(s_y, zero))
    builder.add(ops.Concat(Requantize(ratios([s_a, s_b], s_y))), [x, y], Affine(s_y, zero))
    product = float(np.float32(s_a) * np.float32(s_b))
    s_m = float(np.float32(product * 80))
    builder.add(ops.Mul(Requantize(ratios([product], s_m))), [x, y], Affine(s_m, zero))
    builder.add(ops.Resize(23, 9, "bilinear"), [x])
    pool = ops.AvgPool(
        (3, 3), (1, 1), Requantize(ratios([s_a], s_y) / np.arange(1, 10, dtype=np.float32)), (1, 1, 1, 1)
    )
    builder.add(pool, [x], Affine(s_y, zero))
    program = builder.finish()
    inputs = tuple(rng.integers(0, 256, (4, 16, 16, 4)).astype(np.uint8) for _ in range(2))
    for level in (OPTIMIZED, AS_WRITTEN):
        assert max(differences(program, tapped(program, inputs, level)).values()) <= 1


def test_weight_scales_reproduce_every_multiplier_or_say_which_they_cannot() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        s_x, s_y = (float(np.float32(value)) for value in np.exp(rng.uniform(-8, 2, 2)))
        s_w = np.exp(rng.uniform(-10, 1, 200)).astype(np.float32)
        wanted = np.float32(s_x) * s_w / np.float32(s_y)
        found = weight_scales(wanted, s_x, s_y, "node")
        np.testing.assert_array_equal(np.float32(s_x) * found / np.float32(s_y), wanted)
    unreachable = np.float32([1.9999999])  # s_w in steps of 2**-23 times 1.5 skips every second quotient just below 2
    with pytest.raises(UnsupportedOp, match=r"fc, output 0: no weight scale s_w gives the multiplier 1\.99"):
        for step in range(64):
            weight_scales(unreachable - np.float32(step * 2.0**-23), 1.9, 1.0, "fc")


def test_fixed_point_and_multipliers_without_scales_are_refused_by_name() -> None:
    rng = np.random.default_rng(0)
    builder = Builder("fixed", "fixed_point")
    x = builder.input((2, 2, 3))
    builder.add(conv2d(rng, (2, 1, 1, 3), semantics="fixed_point"), [x], name="conv")
    with pytest.raises(UnsupportedOp, match="conv: requantizes by fixed_point"):
        build(builder.finish())
    builder = Builder("free")
    x = builder.input((2, 2, 3))
    builder.add(ops.Add(Requantize(np.float32([0.5, 0.7]))), [x, x], Affine(0.1, 0), name="add")
    with pytest.raises(UnsupportedOp, match=r"add: multiplier 1 is 0\.69.* the tensors' scales give 0\.5"):
        build(builder.finish())


@pytest.mark.parametrize(("low", "high", "zero"), [(-255, 0, 255), (0, 255, 0), (-100, 155, 100), (-3, 130, 125)])
def test_weights_beyond_int8_are_stored_as_uint8_with_the_zero_point_nearest_the_middle(
    low: int, high: int, zero: int
) -> None:
    builder, weight = Builder(), np.array([[low, high], [high, low]], np.int16)
    requantize = Requantize(np.full(2, 0.001, np.float32))
    builder.add(ops.Linear(weight, np.zeros(2, np.int32), requantize), [builder.input((2,))], name="fc")
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in build(builder.finish()).graph.initializer}
    assert stored["fc.weight"].dtype == np.uint8
    np.testing.assert_array_equal(stored["fc.weight"].T.astype(int) - zero, weight)
    assert stored["fc.weight_zero_point"].tolist() == [zero, zero]


def test_weights_that_no_single_zero_point_covers_are_refused_by_name() -> None:
    builder, weight = Builder(), np.array([[-128, 128]], np.int16)
    requantize = Requantize(np.full(1, 0.001, np.float32))
    builder.add(ops.Linear(weight, np.zeros(1, np.int32), requantize), [builder.input((2,))], name="fc")
    with pytest.raises(UnsupportedOp, match=r"fc: weights reach \[-128, 128\], more than one uint8 zero point covers"):
        build(builder.finish())


def test_names_that_meet_the_exports_own_are_kept_apart() -> None:
    builder = Builder("names")
    x = builder.input((2, 2, 1))
    rng = np.random.default_rng(0)
    op = conv2d(rng, (1, 1, 1, 1))
    spec = builder.tensors["t0"]
    tensors = {name: replace(spec, name=name) for name in ("t0", "t0_q", "conv", "t0_real", "conv.weight")}
    nodes = (
        Node("t0", op, (x,), "t0_q"),
        Node("conv", op, ("t0_q",), "conv"),
        Node("conv.weight", op, ("conv",), "t0_real"),
        Node("t0_q", op, ("t0_real",), "conv.weight"),
    )
    program = IntProgram("names", ("t0",), ("conv.weight", "t0"), tensors, nodes)
    inputs = (rng.integers(0, 256, (1, 2, 2, 1)).astype(np.uint8),)
    assert set(differences(program, tapped(program, inputs, OPTIMIZED)).values()) == {0}


def test_the_file_carries_the_certificate_under_one_key_and_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    program = network(np.random.default_rng(0))
    export_onnx(program, tmp_path / "net.onnx", {"evidence": Part({"seen": 1}, {"bounds": np.arange(6)})})
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [entry.key for entry in model.metadata_props] == [KEY]
    _, parts = from_text(model.metadata_props[0].value, "net.onnx")
    assert set(parts) == {"program", "certificate", "signature", "evidence"}
    assert parts["certificate"].content["program"] == fingerprint(program)
    assert parts["signature"].content == signature_part(program).content
    assert parts["evidence"].content == {"seen": 1}
    assert all(opset.version >= 13 for opset in model.opset_import)
    assert [value.name for value in model.graph.input] == list(program.inputs)
    assert [value.name for value in model.graph.output] == list(program.outputs)
    with pytest.raises(FormatError, match="cannot be written"):
        export_onnx(program, tmp_path / "missing" / "net.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_a_certificate_at_hand_is_taken_as_it_is(tmp_path: Path) -> None:
    parts = sealed_parts(network(np.random.default_rng(0)), table=())
    export_onnx(network(np.random.default_rng(0)), tmp_path / "net.onnx", parts)
    _, found = from_text(onnx.load(tmp_path / "net.onnx").metadata_props[0].value, "net.onnx")
    assert [node["schedules"] for node in found["certificate"].content["nodes"]] == [[]] * 4


def test_a_program_that_cannot_be_proved_is_not_exported(tmp_path: Path) -> None:
    builder = Builder("heavy")
    op = ops.Linear(np.array([[127]], np.int8), np.array([2**31 - 1], np.int32), Requantize(np.float32([1e-8])))
    builder.add(op, [builder.input((1,), Affine(1.0, 0))], Affine(1e8, 0), name="fc")
    with pytest.raises(AccumulatorOverflow, match="fc"):
        export_onnx(builder.finish(), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())
