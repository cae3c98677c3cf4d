"""That every broken file ends in one error which says what is wrong, where, and what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from oaq.capture.from_onnx import decode, read
from oaq.errors import FormatError, OaqError, UnsupportedOp
from tests.capture.from_onnx.files import chain, graph_of, model, node

Change = Callable[[onnx.ModelProto], None]


def conv_model() -> onnx.ModelProto:
    """QuantizeLinear, DequantizeLinear, Conv on one image: something to break."""
    return model(
        [
            node("QuantizeLinear", ["x", "s", "z"], "q"),
            node("DequantizeLinear", ["q", "s", "z"], "r"),
            node("DequantizeLinear", ["w", "ws", "wz"], "wr", axis=0),
            node("Conv", ["r", "wr"], "y", kernel_shape=[3, 3]),
        ],
        {"x": ("n", 2, 6, 6)},
        ["y"],
        {
            "s": 0.5,
            "z": np.array(3, np.uint8),
            "w": np.ones((4, 2, 3, 3), np.int8),
            "ws": np.full(4, 0.25, np.float32),
            "wz": np.zeros(4, np.int8),
        },
    )


def put(name: str, value: object) -> Change:
    """Give an initializer another value."""

    def change(made: onnx.ModelProto) -> None:
        (tensor,) = [one for one in made.graph.initializer if one.name == name]
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), name))

    return change


def edit(code: str) -> Change:
    """Run a statement on ``m`` (the model) and ``g`` (its graph)."""
    return lambda made: exec(code, {"m": made, "g": made.graph, "helper": helper, "T": TensorProto, "node": node})


BROKEN: list[tuple[Change, type[OaqError], str]] = [
    (put("s", np.float32(0)), FormatError, r"node 'q' \(QuantizeLinear\): the scale 's' is 0\.0 at 0"),
    (put("s", np.float32(-1)), FormatError, r"the scale 's' is -1\.0"),
    (put("s", np.float32("nan")), FormatError, "the scale 's' is nan"),
    (put("s", np.float32("inf")), FormatError, "the scale 's' is inf"),
    (put("s", np.float16(0)), FormatError, r"the scale 's' is 0\.0"),
    (put("s", np.int32(1)), FormatError, "the scale 's' is int32"),
    (put("s", np.zeros(0, np.float32)), FormatError, r"the scale 's' is float32 \(0,\)"),
    (put("ws", np.array([1, 1, np.nan, 1], np.float32)), FormatError, "the scale 'ws' is nan at 2"),
    (put("ws", np.ones(3, np.float32)), FormatError, "3 scales and 4 zero points do not fit"),
    (
        edit("g.initializer[3].dims[0] = 5"),
        FormatError,
        "initializer 'ws': FLOAT of shape .5,. is 20 bytes, the file holds 16",
    ),
    (put("wz", np.zeros(4, np.uint8)), FormatError, "the zero point 'wz' is uint8, its tensor int8"),
    (put("z", np.float32(3)), FormatError, "the zero point 'z' is float32"),
    (
        put("w", np.ones((4, 3, 3, 3), np.int8)),
        FormatError,
        r"weights of shape \(4, 3, 3, 3\) in 1 groups do not fit an input \(1, 2, 6, 6\)",
    ),
    (edit("g.node[3].attribute[0].ints[0] = 2"), FormatError, r"'kernel_shape' is \(2, 3\), its weights are \(3, 3\)"),
    (edit("g.node[3].attribute.append(helper.make_attribute('strides', [0, 1]))"), FormatError, "at least 1 each"),
    (edit("g.node[3].attribute.append(helper.make_attribute('strides', [1]))"), FormatError, "'strides' is 2 integers"),
    (
        edit("g.node[3].attribute.append(helper.make_attribute('strides', 1.5))"),
        FormatError,
        "'strides' is integers, not 1.5",
    ),
    (
        edit("g.node[3].attribute.append(helper.make_attribute('kernel_shape', [3, 3]))"),
        FormatError,
        "attribute is called 'kernel_shape', like another",
    ),
    (edit("g.node[3].attribute.append(helper.make_attribute('pads', [-9] * 4))"), FormatError, "no window of"),
    (
        edit("g.node[3].attribute.append(helper.make_attribute('auto_pad', 'WIDE'))"),
        FormatError,
        "'auto_pad' is 'WIDE'",
    ),
    (edit("g.node[3].attribute.append(helper.make_attribute('group', 0))"), FormatError, "in 0 groups"),
    (edit("g.node[3].op_type = ''"), FormatError, "node 'y' has no operator"),
    (edit("g.node[3].input[0] = 'nothing'"), FormatError, "reads 'nothing', which no node writes"),
    (edit("g.node[0].input[0] = 'y'"), FormatError, "waits, directly or not, for its own result"),
    (edit("g.node[1].output[0] = 'q'"), FormatError, "writes 'q', which something else writes too"),
    (edit("g.node[1].output[0] = 'w'"), FormatError, "writes 'w', which something else writes too"),
    (edit("g.node[1].output[0] = 'x'"), FormatError, "writes 'x', which something else writes too"),
    (edit("g.output[0].name = 'missing'"), FormatError, "nothing writes the output 'missing'"),
    (edit("g.output.add(name='y')"), FormatError, "two outputs are called 'y'"),
    (edit("del g.output[:]"), FormatError, "it has no outputs"),
    (
        edit("g.initializer.add(name='w', data_type=1, dims=[0])"),
        FormatError,
        "an initializer is called 'w', like another",
    ),
    (edit("g.initializer.add(name='', data_type=1, dims=[0])"), FormatError, "an initializer is called ''"),
    (edit("del g.initializer[2]"), FormatError, "reads 'w', which no node writes"),
    (edit("g.initializer[2].dims[0] = -4"), FormatError, r"initializer 'w': \(-4, 2, 3, 3\) is not a shape"),
    (edit("g.initializer[2].dims[0] = 1 << 60"), FormatError, "is 20752587082923245568 bytes, the file holds 72"),
    (
        edit("g.initializer[2].raw_data = b''; g.initializer[2].dims[:] = [0, 1 << 40, 1 << 40, 3]"),
        FormatError,
        r"\(0, 1099511627776, 1099511627776, 3\) is not a shape",
    ),
    (edit("g.initializer[2].raw_data = b'123'"), FormatError, "is 72 bytes, the file holds 3"),
    (edit("g.initializer[2].data_type = T.STRING"), UnsupportedOp, "element type STRING is not read"),
    (edit("g.initializer[2].data_type = T.FLOAT8E5M2"), UnsupportedOp, "element type FLOAT8E5M2 is not read"),
    (edit("g.initializer[2].data_type = 999"), UnsupportedOp, "element type 999 is not read"),
    (edit("g.initializer[2].segment.begin = 1"), UnsupportedOp, "comes in segments"),
    (edit("g.sparse_initializer.add()"), UnsupportedOp, "sparse initializers"),
    (
        edit("g.initializer[2].ClearField('raw_data'); g.initializer[2].int32_data.extend([300] * 72)"),
        FormatError,
        "holds 300..300, which int8 does not",
    ),
    (
        edit("g.initializer[2].ClearField('raw_data'); g.initializer[2].int32_data.extend([1] * 71)"),
        FormatError,
        "is 72 numbers, the file holds 71",
    ),
    (edit("g.input[0].type.tensor_type.shape.dim[1].dim_value = 0"), FormatError, "input 'x': has size 0 on axis 1"),
    (edit("g.input[0].type.tensor_type.shape.dim[0].dim_value = -2"), FormatError, "input 'x': has size -2 on axis 0"),
    (
        edit("[setattr(d, 'dim_value', 1 << 30) for d in g.input[0].type.tensor_type.shape.dim]"),
        FormatError,
        "holds 2..31 numbers or more",
    ),
    (edit("g.input[0].type.tensor_type.elem_type = T.STRING"), UnsupportedOp, "input 'x': element type STRING"),
    (edit("g.input[0].type.tensor_type.ClearField('shape')"), UnsupportedOp, "says nothing of its shape"),
    (
        edit("g.input[0].type.sequence_type.elem_type.tensor_type.elem_type = 1"),
        UnsupportedOp,
        "input 'x': is not a tensor",
    ),
    (edit("g.input.append(g.input[0])"), FormatError, "two inputs are called 'x'"),
    (edit("g.node[3].attribute.add(name='b', type=5).g.name = 'sub'"), UnsupportedOp, "holds a subgraph"),
    (edit("g.node[3].attribute.add(name='b', type=11)"), UnsupportedOp, "is of type 11, which is not read"),
    (edit("g.node[3].attribute.add(name='b', type=3).s = b'\\xff'"), FormatError, "attribute 'b': is not valid UTF-8"),
    (
        edit("g.node[3].attribute.add(name='b', type=2, ref_attr_name='c')"),
        FormatError,
        "refers to the attribute of a function",
    ),
    (edit("m.opset_import[0].version = 6"), UnsupportedOp, "opset 6; at least 7"),
    (edit("m.opset_import.append(helper.make_opsetid('ai.onnx', 12))"), FormatError, "two versions of the operators"),
    (
        edit(
            "m.functions.append(helper.make_function('d', 'F', ['a'], ['b'], [node('F', ['a'], 'b', domain='d')], []))"
        ),
        FormatError,
        "the function 'F' calls itself",
    ),
]


@pytest.mark.parametrize(
    ("change", "kind", "message"), BROKEN, ids=[f"{index} {message[:40]}" for index, (*_, message) in enumerate(BROKEN)]
)
def test_a_broken_file_is_one_error_that_says_what_and_where(
    change: Change, kind: type[OaqError], message: str
) -> None:
    made = conv_model()
    graph_of(made)
    change(made)
    with pytest.raises(kind, match=message) as raised:
        graph_of(made)
    assert str(raised.value).startswith("net.onnx: ")


def external(made: onnx.ModelProto, location: str, **more: str) -> None:
    """Move the weights to ``location``."""
    (tensor,) = [one for one in made.graph.initializer if one.name == "w"]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=value)


def test_external_data_inside_the_models_folder_is_read(tmp_path: Path) -> None:
    made = conv_model()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "weights.bin").write_bytes(b"\xff" * 5 + b"\x02" * 72)
    external(made, "deep/weights.bin", offset="5", length="72")
    onnx.save(made, tmp_path / "net.onnx")
    assert np.all(read(tmp_path / "net.onnx").constants["w"] == 2)
    with pytest.raises(FormatError, match="the model was given as bytes"):
        graph_of(made)


@pytest.mark.parametrize(
    ("location", "more", "message"),
    [
        ("/etc/passwd", {}, "outside the model's folder"),
        ("../secret.bin", {}, "outside the model's folder"),
        ("a/../../secret.bin", {}, "outside the model's folder"),
        ("C:\\windows\\w.bin", {}, "outside the model's folder"),
        ("..\\secret.bin", {}, "outside the model's folder"),
        ("", {}, "outside the model's folder"),
        ("link.bin", {}, "is a link out of the model's folder"),
        ("linked/secret.bin", {}, "is a link out of the model's folder"),
        ("missing.bin", {}, "is not a file in"),
        (".", {}, "is not a file in"),
        ("a" * 5000, {}, "cannot be read"),
        ("short.bin", {}, "bytes 0 to 72 of 'short.bin', which has 10"),
        ("good.bin", {"offset": "1"}, "bytes 1 to 73 of 'good.bin', which has 72"),
        ("good.bin", {"offset": "-1"}, "'-1' is not a place in a file"),
        ("good.bin", {"offset": "9" * 30}, "is not a place in a file"),
        ("good.bin", {"length": "71"}, "needs 72 bytes of 'good.bin', its external data says 71"),
        ("good.bin", {"size": "71"}, "described by 'size'"),
    ],
)
def test_external_data_anywhere_else_is_not_followed(
    tmp_path: Path, location: str, more: dict[str, str], message: str
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(b"\x01" * 72)
    (folder / "good.bin").write_bytes(b"\x01" * 72)
    (folder / "short.bin").write_bytes(b"\x01" * 10)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "linked").symlink_to(tmp_path)
    made = conv_model()
    external(made, location, **more)
    (folder / "net.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(FormatError, match=message):
        read(folder / "net.onnx")


def test_a_file_that_is_missing_or_a_pipe_or_garbage_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read: No such file"):
        read(tmp_path / "no.onnx")
    with pytest.raises(FormatError, match="cannot be read: Is a directory"):
        read(tmp_path)
    with pytest.raises(FormatError, match="cannot be read"):
        read("nul\0l")
    for content in (b"", b"garbage", b"\x08\x08", os.urandom(1000)):
        with pytest.raises(FormatError, match="is not an ONNX model"):
            decode(content)


def test_a_file_cut_off_anywhere_is_one_error() -> None:
    content = conv_model().SerializeToString()
    for end in range(len(content)):
        with pytest.raises(OaqError):
            decode(content[:end])


def test_functions_that_would_write_out_to_a_huge_graph_are_refused() -> None:
    made = chain(1)
    made.opset_import.append(helper.make_opsetid("d", 1))
    for level in range(40):
        inside = f"F{level - 1}" if level else "Relu"
        domain = "d" if level else ""
        body = [node(inside, ["a"], "m", domain=domain), node(inside, ["m"], "b", domain=domain)]
        made.functions.append(helper.make_function("d", f"F{level}", ["a"], ["b"], body, []))
    made.graph.node.append(node("F39", ["t0"], "out", domain="d"))
    with pytest.raises(FormatError, match="write out to 1099511627777 nodes"):
        graph_of(made)


def test_folding_never_makes_large_arrays_of_small_ones() -> None:
    sizes = np.array([1 << 15, 1 << 15])
    made = model(
        [
            node("ConstantOfShape", ["sizes"], "a"),
            node("Expand", ["one", "sizes"], "b"),
            node("Add", ["row", "column"], "c"),
            node("Add", ["a", "b"], "d"),
            node("Add", ["c", "x"], "y"),
            node("Reshape", ["d", "flat"], "z"),
        ],
        {"x": (1, 1)},
        ["y", "z"],
        {
            "sizes": sizes,
            "one": 1.0,
            "row": np.ones((1, 1 << 15)),
            "column": np.ones((1 << 15, 1)),
            "flat": np.array([-1]),
        },
    )
    graph = graph_of(made)
    assert [one.op for one in graph.nodes] == ["ConstantOfShape", "Expand", "Add", "Add", "Add", "Reshape"]
    assert graph.types["z"].shape == (1 << 30,)
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(sizes * 4, "sizes"))
    with pytest.raises(FormatError, match="its result would be of shape"):
        graph_of(made)


def test_a_text_that_is_no_text_is_named() -> None:
    content = chain().SerializeToString().replace(b"Relu", b"Re\xffu")
    with pytest.raises(FormatError, match=r"b'Re\\xffu' is not valid UTF-8"):
        decode(content, "net.onnx")
