"""The checker's own reading of exported ONNX: the program comes back whole, and any other graph is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from oaq import operators as ops
from oaq.checker.onnx_model import OnnxModel, metadata, read
from oaq.checker.onnx_qdq import arrays_of, float_defined
from oaq.checker.protobuf import MESSAGES, fields
from oaq.checker.rounding import divide, dyadic, is_normal, times
from oaq.errors import FormatError, UnsupportedOp
from oaq.export.onnx_qdq.model import build
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.program.int_program import IntProgram
from oaq.program.plain import to_plain
from tests.strategies import OPERATORS, Builder, conv2d, linear, programs, ratios


def network() -> IntProgram:
    """Ranges to clip to, multipliers that scales only imply, a table, and integers that move."""
    rng = np.random.default_rng(0)
    builder, s = Builder("net"), 0.05
    x = builder.input((6, 6, 3), Affine(s, 100), IntRange(0, 240))
    x = builder.add(conv2d(rng, (8, 3, 3, 3), padding=(1, 0, 1, 2)), [x], Affine(s, 0), IntRange(0, 200), name="stem")
    y = builder.add(conv2d(rng, (8, 1, 1, 8), kind="wide"), [x], Affine(s, 9), name="point")
    x = builder.add(ops.Add(Requantize(ratios([s, s], 0.08))), [x, y], Affine(0.08, 3), name="add")
    x = builder.add(ops.Lookup(rng.permutation(256).astype(np.uint8)), [x], Affine(0.08, 3), name="curve")
    x = builder.add(ops.MaxPool((2, 2), (1, 1), (0, 1, 0, 1)), [x], name="pool")
    x = builder.add(ops.Reshape((builder.tensors[x].shape[0] * builder.tensors[x].shape[1] * 8,)), [x], name="flat")
    k = builder.tensors[x].shape[0]
    builder.add(linear(rng, (10, k), scales=(0.08, s)), [x], Affine(s, 128), name="fc")
    return builder.finish()


def stored(program: IntProgram) -> dict[str, np.ndarray]:
    """The arrays a graph has no place for."""
    _, arrays = to_plain(program)
    sums = [f"nodes/{i}/" for i, node in enumerate(program.nodes) if isinstance(node.op, ops.Products)]
    return {k: v for k, v in arrays.items() if k.endswith("multiplier") and not k.startswith(tuple(sums))}


def arrays_read(program: IntProgram, model: OnnxModel) -> dict[str, np.ndarray]:
    return arrays_of(model, to_plain(program)[0], stored(program), "f")


def read_back(model: onnx.ModelProto) -> OnnxModel:
    return read(model.SerializeToString(), "f")


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_array_of_every_operator_is_read_off_the_graph(operator: str) -> None:
    @settings(max_examples=15, deadline=None)
    @given(programs((operator,), max_nodes=2, semantics="float32_half_even"))
    def check(program: IntProgram) -> None:
        try:
            model = build(program)
        except UnsupportedOp:  # zero points per channel; tests/export says so
            return
        found, wanted = arrays_read(program, read_back(model)), to_plain(program)[1]
        assert set(found) == set(wanted)
        for key, value in wanted.items():
            assert found[key].dtype == value.dtype
            np.testing.assert_array_equal(found[key], value)

    check()


def node(model: onnx.ModelProto, kind: str, which: int = 0) -> onnx.NodeProto:
    return [one for one in model.graph.node if one.op_type == kind][which]


def constant(model: onnx.ModelProto, end: str) -> onnx.TensorProto:
    return next(one for one in model.graph.initializer if one.name.endswith(end))


def set_constant(model: onnx.ModelProto, end: str, value: np.ndarray) -> None:
    tensor = constant(model, end)
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def renamed_kind(model: onnx.ModelProto) -> None:
    node(model, "MaxPool").op_type = "AveragePool"


def without_clip(model: onnx.ModelProto) -> None:
    """What used the clipped integers uses those before it."""
    clip = node(model, "Clip", 1)
    for one in model.graph.node:
        one.input[:] = [clip.input[0] if name == clip.output[0] else name for name in one.input]
    model.graph.node.remove(clip)


def attribute(kind: str, name: str, value: object) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        one = node(model, kind)
        kept = [each for each in one.attribute if each.name != name]
        del one.attribute[:]
        one.attribute.extend([*kept, helper.make_attribute(name, value)])

    return edit


def scaled(end: str) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        value = numpy_helper.to_array(constant(model, end)).copy()
        set_constant(model, end, value * value.dtype.type(2))

    return edit


def crossed(model: onnx.ModelProto) -> None:
    one = node(model, "Add")
    one.input[0], one.input[1] = one.input[1], one.input[0]


def extra(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Relu", [model.graph.output[0].name], ["more"]))


def fed_weights(model: onnx.ModelProto) -> None:
    """An initializer that callers may override."""
    tensor = constant(model, "stem.weight")
    model.graph.input.append(helper.make_tensor_value_info(tensor.name, onnx.TensorProto.FLOAT, tensor.dims))


def other_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = node(model, "DequantizeLinear", 3).output[0]


GRAPH_EDITS: dict[str, Callable[[onnx.ModelProto], None]] = {
    "another operator": renamed_kind,
    "a Clip left out": without_clip,
    "a wider Clip": lambda model: set_constant(model, "u8_200", np.array(255, np.uint8)),
    "another stride": attribute("Conv", "strides", [2, 2]),
    "another padding": attribute("Conv", "pads", [0, 0, 0, 0]),
    "other groups": attribute("Conv", "group", 2),
    "an attribute more": attribute("Conv", "auto_pad", "SAME_UPPER"),
    "transposed weights": attribute("Gemm", "transB", 1),
    "another axis": attribute("DequantizeLinear", "axis", 1),
    "a tensor's scale": scaled("t2_scale"),
    "a bias's scale": scaled("stem.bias_scale"),
    "inputs crossed": crossed,
    "a node more": extra,
    "weights that callers may replace": fed_weights,
    "another output": other_output,
    "another size": lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[2], "dim_value", 7),
    "another element type": lambda model: setattr(model.graph.input[0].type.tensor_type, "elem_type", 11),
    "an open channel": lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[1], "dim_param", "n"),
    "other versions of operators": lambda model: setattr(model.opset_import[0], "version", 18),
    "operators of another domain": lambda model: setattr(node(model, "Add"), "domain", "com.microsoft"),
    "a reshape to another shape": lambda model: set_constant(model, "flat.shape", np.array([-1, 288, 1])),
    "a function": lambda model: model.functions.append(onnx.FunctionProto(name="Conv")),
    "a sparse constant": lambda model: model.graph.sparse_initializer.add(),
    "external data": lambda model: setattr(constant(model, "stem.weight"), "data_location", 1),
    "a constant not finite": lambda model: set_constant(model, "stem.weight_scale", np.full(8, np.inf, np.float32)),
    "a constant negative": lambda model: set_constant(model, "stem.weight_scale", np.full(8, -1, np.float32)),
    "no constant": lambda model: model.graph.initializer.remove(constant(model, "fc.bias")),
}


@pytest.mark.parametrize("what", GRAPH_EDITS)
def test_a_graph_that_is_another_is_refused(what: str) -> None:
    program = network()
    model = build(program)
    assert arrays_read(program, read_back(model))
    GRAPH_EDITS[what](model)
    with pytest.raises(FormatError, match=r"^f: "):
        arrays_read(program, read_back(model))


def test_other_weights_are_read_as_they_are() -> None:
    program = network()
    model = build(program)
    weight = numpy_helper.to_array(constant(model, "stem.weight")).copy()
    weight[0, 0, 0, 0] ^= 1
    set_constant(model, "stem.weight", weight)
    found = arrays_read(program, read_back(model))["nodes/0/weight"]
    assert (found != to_plain(program)[1]["nodes/0/weight"]).sum() == 1
    np.testing.assert_array_equal(found, weight.transpose(0, 2, 3, 1))


def test_a_header_is_trusted_in_nothing() -> None:
    program = network()
    model, (header, _) = read_back(build(program)), to_plain(program)
    for field, value in (("requantize", "fixed_point"), ("outputs", []), ("outputs", ["t0"]), ("inputs", ["t1"])):
        with pytest.raises(FormatError, match=r"^f: |reads what nothing wrote"):
            arrays_of(model, {**header, field: value}, stored(program), "f")
    for scale in (0.0, -1.0, float("nan"), 1, None, 0.1):
        tensors = [{**header["tensors"][0], "scale": scale}, *header["tensors"][1:]]
        with pytest.raises(FormatError, match="f: "):
            arrays_of(model, {**header, "tensors": tensors}, stored(program), "f")
    for place, message in ((0, r"input t0: Clip"), (1, "stem: Clip"), (2, "point: has")):
        tensors = [dict(one) for one in header["tensors"]]
        tensors[place]["range"] = [tensors[place]["zero_point"], 150]
        with pytest.raises(FormatError, match=message):
            arrays_of(model, {**header, "tensors": tensors}, stored(program), "f")
    for kept in (
        {},
        {key: 2 * value for key, value in stored(program).items()},
        {**stored(program), "more": np.ones(1)},
    ):
        with pytest.raises(FormatError, match=r"multiplier|holds arrays that no node uses"):
            arrays_of(model, header, kept, "f")


def test_a_window_as_large_as_a_number_can_say_is_refused_at_once() -> None:
    builder = Builder("mean")
    mean = ops.AvgPool((2, 2), (2, 2), Requantize(ratios([0.05], 0.2) / np.arange(1, 5, dtype=np.float32)))
    builder.add(mean, [builder.input((4, 4, 1), Affine(0.05, 0))], Affine(0.2, 0), name="mean")
    program = builder.finish()
    header = to_plain(program)[0]
    header["nodes"][0]["kernel"] = [2**31, 2**31]
    with pytest.raises(FormatError, match="4611686018427387904 multipliers belong here, not 4"):
        arrays_of(read_back(build(program)), header, stored(program), "f")


def test_nodes_that_onnx_leaves_to_float_are_named() -> None:
    assert float_defined(to_plain(network())[0]) == ["add"]


def test_an_empty_constant_of_any_shape_is_read_or_refused() -> None:
    model = build(network())
    (constant,) = [tensor for tensor in model.graph.initializer if tensor.name == "stem.weight"]
    constant.raw_data = b""
    constant.dims[:] = [0, 1 << 40, 1 << 40, 3]
    with pytest.raises(FormatError, match="are not a constant"):
        read_back(model)


def test_the_beginning_of_a_file_is_no_file() -> None:
    content = build(network()).SerializeToString()
    for size in [*range(400), *range(400, len(content), 97)]:
        with pytest.raises(FormatError, match=r"^f: "):
            read(content[:size], "f")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_bytes_end_in_one_error_or_a_model(data: st.DataObject) -> None:
    content = bytearray(build(network()).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read(bytes(content), "f")
    except FormatError as error:
        assert str(error).startswith("f: ")
    else:
        assert found.nodes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x08", "no varint at byte"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "no varint at byte"),
        (b"\x3a\x05ab", "leaves the file"),
        (b"\x00\x00", "leaves the file"),
        (b"\x0b", "no field at byte"),
        (b"\x08\x01\x08\x01", "holds ir_version twice"),
        (b"\x0a\x00", "is int, not of wire type 2"),
        (b"\x12\x01\xff", "is not valid UTF-8"),
        (b"\xa2\x01\x00", "is none that oaq writes"),
        (b"", "is written in"),
    ],
)
def test_bytes_that_are_no_model_are_named(content: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read(content, "f")


def test_two_graphs_are_refused_though_protobuf_would_merge_them() -> None:
    content = build(network()).SerializeToString()
    hidden = onnx.ModelProto(graph=onnx.GraphProto(node=[helper.make_node("Relu", ["a"], ["b"])]))
    with pytest.raises(FormatError, match="holds graph twice"):
        read(content + hidden.SerializeToString(), "f")


def test_two_certificates_are_refused() -> None:
    model = onnx.ModelProto()
    for value in "ab":
        model.metadata_props.add(key="oaq", value=value)
    with pytest.raises(FormatError, match="holds two certificates"):
        metadata(model.SerializeToString(), "f")


def test_the_hash_of_the_rest_leaves_our_entry_out_and_nothing_else() -> None:
    model = build(network())
    bare = read_back(model).digest
    helper.set_model_props(model, {"oaq": "x"})
    assert read_back(model).digest == bare
    helper.set_model_props(model, {"oaq": "y", "other": "x"})
    assert read_back(model).digest != bare


def test_every_message_the_reader_knows_is_onnxs_own() -> None:
    """Field numbers and names against the onnx package's descriptors."""
    own = {"TensorTypeProto": onnx.TypeProto.Tensor, "DimensionProto": onnx.TensorShapeProto.Dimension}
    for name, known in MESSAGES.items():
        descriptor = own.get(name, getattr(onnx, name, None)).DESCRIPTOR  # type: ignore[union-attr]
        for number, field in known.items():
            assert descriptor.fields_by_number[number].name == field.name


def test_fields_lie_one_after_the_other() -> None:
    content = build(network()).SerializeToString()
    ends = [(begin, end) for *_, begin, end in fields(memoryview(content), "f")]
    assert [begin for begin, _ in ends] == [0, *(end for _, end in ends[:-1])]
    assert ends[-1][1] == len(content)


positive = st.floats(np.float32(2.0**-60), np.float32(2.0**60), width=32)


@settings(max_examples=500)
@given(positive, positive, positive)
def test_products_and_quotients_in_integers_are_float32s(a: float, b: float, c: float) -> None:
    product, quotient = times(dyadic(a), dyadic(b)), divide(times(dyadic(a), dyadic(b)), dyadic(c))
    theirs = np.float32(a) * np.float32(b)
    assert np.ldexp(float(product[0]), product[1]) == theirs
    assert not is_normal(quotient) or np.ldexp(float(quotient[0]), quotient[1]) == theirs / np.float32(c)


def test_what_float32_cannot_hold_is_not_normal() -> None:
    for value, normal in ((2.0**-126, True), (2.0**-127, False), (float(np.finfo(np.float32).max), True)):
        assert is_normal(dyadic(value)) == normal
    assert not is_normal(times(dyadic(2.0**100), dyadic(2.0**28)))
