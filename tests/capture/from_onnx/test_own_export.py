"""What ``oaq.export.onnx`` writes comes back as the same program, names included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import oaq
from oaq import operators as ops
from oaq.capture.from_onnx import decode, import_graph, import_quantized
from oaq.capture.imported import weight_from_file
from oaq.export.onnx_qdq.model import build
from oaq.numerics.affine import Affine
from oaq.numerics.formats import U8
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec
from oaq.program.int_program import IntProgram, Node
from oaq.program.plain import fingerprint

S = 0.1
F32 = np.float32


def chain(*links: tuple[str, ops.Op, tuple[int, ...], IntRange]) -> IntProgram:
    """(name, operator, result's shape, range) after one another, from an input (8, 6, 4); all of one affine map."""
    affine = Affine(S, 100)
    specs = [TensorSpec("x", (8, 6, 4), affine, IntRange(3, 250))]
    nodes = []
    for name, op, shape, reach in links:
        nodes.append(Node(name, op, (specs[-1].name,), f"{name}.out"))
        specs.append(TensorSpec(f"{name}.out", shape, affine, reach))
    tensors = {spec.name: spec for spec in specs}
    return IntProgram("chain", ("x",), (specs[-1].name,), tensors, tuple(nodes))


def again(program: IntProgram) -> IntProgram:
    """Exported and imported."""
    imported = import_graph(decode(build(program).SerializeToString()))
    assert imported.islands == ()
    assert imported.notes == ()
    return imported.program


def conv(outputs: int, channels: int, **how: object) -> ops.Conv2d:
    rng = np.random.default_rng(outputs)
    groups = int(how.get("groups", 1))  # type: ignore[call-overload]
    weight = rng.integers(-127, 128, (outputs, 3, 2, channels // groups)).astype(np.int8)
    scales = rng.uniform(1e-4, 1e-3, outputs).astype(np.float32)
    return ops.Conv2d(
        weight,
        rng.integers(-5000, 5000, outputs).astype(np.int32),
        Requantize(F32(S) * scales / F32(S)),
        **how,  # type: ignore[arg-type]
    )


def linear(outputs: int, terms: int) -> ops.Linear:
    rng = np.random.default_rng(outputs)
    scales = rng.uniform(1e-4, 1e-3, outputs).astype(np.float32)
    weight = rng.integers(-127, 128, (outputs, terms)).astype(np.int8)
    return ops.Linear(weight, np.zeros(outputs, np.int32), Requantize(F32(S) * scales / F32(S)))


def table(reach: IntRange = U8) -> ops.Lookup:
    return ops.Lookup(np.clip(255 - np.arange(256), reach.lo, reach.hi).astype(np.uint8))


IN = IntRange(3, 250)
PROGRAMS = {
    "strides, dilation, padding, groups": chain(
        ("a", conv(4, 4, stride=(2, 1), padding=(1, 2, 0, 1)), (5, 6, 4), U8),
        ("b", conv(8, 4, groups=2, dilation=(2, 3)), (1, 3, 8), IntRange(100, 200)),
        ("c", conv(8, 8, groups=8, padding=(1, 1, 1, 0)), (1, 3, 8), U8),
    ),
    "movement": chain(
        ("pad", ops.Pad((1, 0, 2, 0)), (9, 8, 4), IN),
        ("slice", ops.Slice((1, 0, 0), (9, 8, 4)), (8, 8, 4), IN),
        ("pool", ops.MaxPool((2, 2), (2, 2)), (4, 4, 4), IN),
        ("nearest", ops.Resize(8, 8, "nearest"), (8, 8, 4), IN),
        ("odd", ops.Resize(7, 3, "nearest"), (7, 3, 4), IN),
        ("bilinear", ops.Resize(14, 5, "bilinear"), (14, 5, 4), IN),
        ("shuffle", ops.DepthToSpace(2, "DCR"), (28, 10, 1), IN),
        ("conv", conv(4, 1), (26, 9, 4), U8),
        ("crd", ops.DepthToSpace(2, "CRD"), (52, 18, 1), U8),
    ),
    "tables of channels": chain(
        ("bent", ops.ChannelLookup((np.arange(1024) * 37 % 256).reshape(4, 256).astype(np.uint8)), (8, 6, 4), U8),
        ("conv", conv(6, 4), (6, 5, 6), U8),
        ("wild", ops.ChannelLookup((np.arange(1536) * 5 % 256).reshape(6, 256).astype(np.uint8)), (6, 5, 6), U8),
        ("turned", ops.Transpose.joining((30, 2, 3), (0, 2, 1), (30, 6)), (30, 6), U8),
        ("again", ops.ChannelLookup((np.arange(1536) * 3 % 256).reshape(6, 256).astype(np.uint8)), (30, 6), U8),
        ("flat", ops.Reshape((180,)), (180,), U8),
        ("dot", linear(10, 180), (10,), U8),
    ),
    "transposes": chain(
        ("turned", ops.Transpose.joining((48, 4), (1, 0), (4, 6, 8)), (4, 6, 8), IN),
        ("back", ops.Transpose.joining((4, 48), (1, 0), (8, 6, 4)), (8, 6, 4), IN),
        ("conv", conv(6, 4), (6, 5, 6), U8),
        ("shuffled", ops.Transpose.joining((30, 2, 3), (0, 2, 1), (6, 5, 6)), (6, 5, 6), U8),
        ("grouped", conv(4, 6, groups=2), (4, 4, 4), U8),
        ("heads", ops.Transpose.joining((16, 2, 2), (1, 0, 2), (32, 2)), (32, 2), U8),
        ("vector", ops.Transpose.joining((32, 2), (1, 0), (64,)), (64,), U8),
        ("dot", linear(10, 64), (10,), U8),
    ),
    "reshapes": chain(
        ("conv", conv(6, 4), (6, 5, 6), U8),
        ("flat", ops.Reshape((180,)), (180,), U8),
        ("image", ops.Reshape((3, 10, 6)), (3, 10, 6), U8),
        ("tall", ops.Reshape((30, 2, 3)), (30, 2, 3), U8),
        ("again", ops.Reshape((180,)), (180,), U8),
        ("dot", linear(10, 180), (10,), U8),
        ("pixel", ops.Reshape((1, 1, 10)), (1, 1, 10), U8),
        ("vector", ops.Reshape((10,)), (10,), U8),
        ("head", linear(3, 10), (3,), IntRange(100, 255)),
    ),
    "lookups and averages": chain(
        ("negate", table(), (8, 6, 4), U8),
        ("conv", conv(4, 4), (6, 5, 4), U8),
        ("back", table(), (6, 5, 4), U8),
        (
            "mean",
            ops.AvgPool((2, 2), (2, 1), Requantize(F32(1) / np.arange(1, 5, dtype=F32)), (0, 1, 1, 0), False),
            (3, 5, 4),
            U8,
        ),
        ("all", ops.GlobalAvgPool(Requantize(np.array([1], F32) / F32(15))), (1, 1, 4), U8),
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_chain_comes_back_as_it_was(name: str) -> None:
    program = PROGRAMS[name]
    found = again(program)
    assert [node.name for node in found.nodes] == [node.name for node in program.nodes]
    assert found.tensors == program.tensors
    assert fingerprint(found) == fingerprint(program)


def test_joins_come_back_as_they_were() -> None:
    a, b, y = Affine(0.1, 3), Affine(0.3, 9), Affine(0.2, 40)
    image = (4, 5, 8)
    specs = [
        TensorSpec("a", image, a, IntRange(0, 200)),
        TensorSpec("b", image, b),
        TensorSpec("gate", (8,), b),
        TensorSpec("sum", image, y, IntRange(10, 250)),
        TensorSpec("product", image, y),
        TensorSpec("gated", image, y),
        TensorSpec("joined", (4, 5, 16), y, IntRange(0, 100)),
        TensorSpec("out", (2, 4, 4), y),
    ]
    one, other, third = F32(a.scale), F32(b.scale), F32(y.scale)
    add = ops.Add(Requantize(np.array([one / third, other / third], F32)))
    mul = ops.Mul(Requantize(np.array([one * other / third], F32)))
    again_mul = ops.Mul(Requantize(np.array([third * other / third], F32)))
    concat = ops.Concat(Requantize(np.array([third / third, third / third], F32)))
    nodes = (
        Node("add", add, ("a", "b"), "sum"),
        Node("mul", mul, ("a", "b"), "product"),
        Node("scale", again_mul, ("product", "gate"), "gated"),
        Node("concat", concat, ("sum", "gated"), "joined"),
        Node("conv", conv(4, 16), ("joined",), "out"),
    )
    program = IntProgram("joins", ("a", "b", "gate"), ("out", "sum"), {s.name: s for s in specs}, nodes)
    assert fingerprint(again(program)) == fingerprint(program)


def test_a_node_called_like_the_output_keeps_its_name() -> None:
    program = chain(("y", conv(4, 4), (6, 5, 4), U8))
    renamed = IntProgram(
        program.name,
        program.inputs,
        ("y",),
        {"x": program.tensors["x"], "y": TensorSpec("y", (6, 5, 4), Affine(S, 100))},
        (Node("y", program.nodes[0].op, ("x",), "y"),),
    )
    assert again(renamed).nodes[0].name == "y"
    assert fingerprint(again(renamed)) == fingerprint(renamed)


def test_a_saved_file_with_its_certificate_comes_back_too(tmp_path: Path) -> None:
    program = PROGRAMS["reshapes"]
    oaq.export.onnx(program, tmp_path / "net.onnx")
    assert fingerprint(import_quantized(tmp_path / "net.onnx").program) == fingerprint(program)


def test_files_of_others_keep_their_own_names() -> None:
    made = build(PROGRAMS["reshapes"])
    made.producer_name = "pytorch"
    imported = import_graph(decode(made.SerializeToString()))
    assert "conv.out_q" in imported.program.tensors
    assert "flat.reshaped" in imported.program.by_name


def test_where_layers_and_tensors_stand_in_the_file_is_told() -> None:
    made = build(PROGRAMS["reshapes"])
    imported = import_graph(decode(made.SerializeToString()))
    source = imported.sources["dot"]
    assert (source.weight.name, source.weight.shape, source.weight.form) == ("dot.weight", (180, 10), "integers")
    assert (source.bias.name if source.bias else "", source.scale_per_output) == ("dot.bias", True)
    assert imported.tensors["conv.out"].name == "conv.out_q"
    assert imported.tensors["conv.out"].axes == (2, 3, 1)
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in made.graph.initializer}
    weights = weight_from_file(source, stored["dot.weight"], (10, 180))
    np.testing.assert_array_equal(weights, imported.program.by_name["dot"].op.weight)  # type: ignore[union-attr]
