"""What is read of an ONNX file. Broken files: ``test_broken_files``."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from oaq.capture.from_onnx import OnnxNode, TensorType
from oaq.capture.from_onnx.windows import window
from oaq.errors import FormatError, UnsupportedOp
from tests.capture.from_onnx.files import chain, graph_of, model, node


def test_nodes_constants_types_and_all_that_the_file_says_of_itself_are_read() -> None:
    made = model(
        [node("Conv", ["x", "w", "b"], "y", strides=[2, 2], pads=[1, 1, 0, 0], auto_pad="NOTSET")],
        {"x": ("batch", 3, 9, 8)},
        ["y"],
        {"w": np.ones((4, 3, 3, 3), np.float32), "b": np.zeros(4, np.float32)},
    )
    made.metadata_props.add(key="a", value="b")
    made.producer_version = "7"
    graph = graph_of(made)
    (conv,) = graph.nodes
    assert (conv.name, conv.op, conv.domain, conv.inputs, conv.outputs) == ("y", "Conv", "", ("x", "w", "b"), ("y",))
    assert conv.attributes == {"strides": (2, 2), "pads": (1, 1, 0, 0), "auto_pad": "NOTSET"}
    assert (graph.where, graph.inputs, graph.outputs, graph.batch) == ("net.onnx", ("x",), ("y",), 1)
    assert graph.types["x"] == TensorType(np.dtype(np.float32), (1, 3, 9, 8))
    assert graph.types["y"] == TensorType(np.dtype(np.float32), (1, 4, 4, 4))
    assert (graph.producer, graph.metadata, graph.opset) == ("hand 7", {"a": "b"}, 17)
    assert graph.initializers == {"w", "b"}
    assert graph.producers["y"] is conv
    assert graph.consumers["w"] == (conv,)
    with pytest.raises(ValueError, match="read-only"):
        graph.constants["w"][0] = 1


def test_reading_loads_onnx_only_when_a_file_is_read() -> None:
    code = (
        "import sys, oaq.capture.from_onnx, oaq.capture.imported; assert 'onnx' not in sys.modules;"
        "\ntry: oaq.capture.from_onnx.decode(b'x')\nexcept oaq.OaqError: assert 'onnx' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nodes_are_put_in_order_and_names_made_unique() -> None:
    made = chain(4)
    shuffled = [made.graph.node[index] for index in (3, 0, 2, 1)]
    del made.graph.node[:]
    made.graph.node.extend(shuffled)
    for one in made.graph.node:
        one.name = "same"
    made.graph.node[0].name = ""
    graph = graph_of(made)
    assert [one.outputs[0] for one in graph.nodes] == ["t0", "t1", "t2", "t3"]
    assert [one.name for one in graph.nodes] == ["same", "same_2", "same_1", "Relu_t3"]


def test_shapes_that_are_computed_become_constants_and_their_nodes_vanish() -> None:
    made = model(
        [
            node("Shape", ["x"], "shape"),
            node("Gather", ["shape", "zero"], "batch", axis=0),
            node("Unsqueeze", ["batch", "first"], "batch1"),
            node("Constant", [], "rest", value=numpy_helper.from_array(np.array([-1], np.int64))),
            node("Concat", ["batch1", "rest"], "wanted", axis=0),
            node("Reshape", ["x", "wanted"], "y"),
            node("ConstantOfShape", ["wanted_fill"], "fill", value=numpy_helper.from_array(np.array([7], np.int64))),
            node("Relu", ["y"], "z"),
        ],
        {"x": ("batch", 3, 2, 2)},
        ["z"],
        {"zero": np.array(0), "first": np.array([0]), "wanted_fill": np.array([2])},
    )
    graph = graph_of(made)
    assert [one.op for one in graph.nodes] == ["Reshape", "Relu"]
    assert graph.constants["wanted"].tolist() == [1, -1]
    assert graph.types["y"].shape == (1, 12)
    assert graph.folded["wanted"].op == "Concat"
    assert set(graph.constants) == {"wanted"}


def test_identity_dropout_and_casts_to_the_same_type_vanish_and_outputs_keep_their_names() -> None:
    made = model(
        [
            node("Identity", ["x"], "a"),
            node("Relu", ["a"], "b"),
            node("Dropout", ["b"], "c"),
            node("Cast", ["c"], "d", to=TensorProto.FLOAT),
            node("Relu", ["d"], "e"),
            node("Identity", ["e"], "y"),
            node("Identity", ["x"], "z"),
            node("Cast", ["b"], "i", to=TensorProto.INT32),
        ],
        {"x": (2, 4)},
        ["y", "z", "i"],
    )
    graph = graph_of(made)
    assert [(one.op, one.inputs, one.outputs) for one in graph.nodes] == [
        ("Relu", ("x",), ("b",)),
        ("Relu", ("b",), ("y",)),
        ("Identity", ("x",), ("z",)),
        ("Cast", ("b",), ("i",)),
    ]
    assert graph.types["y"] == TensorType(np.dtype(np.float32), (2, 4))
    assert graph.batch == 2


def test_what_nobody_ever_read_stays() -> None:
    made = model([node("Relu", ["x"], "y"), node("Relu", ["x"], "unused")], {"x": (1, 4)}, ["y"])
    assert [one.outputs[0] for one in graph_of(made).nodes] == ["y", "unused"]


def test_constants_are_quantized_beforehand_but_dequantized_only_on_request() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 3)).astype(np.float32)
    scale = np.abs(weight).max(axis=0) / np.float32(127)
    made = model(
        [
            node("QuantizeLinear", ["w", "s", "z"], "wq", axis=1),
            node("DequantizeLinear", ["wq", "s", "z"], "wr", axis=1),
            node("MatMul", ["x", "wr"], "y"),
        ],
        {"x": ("n", 4)},
        ["y"],
        {"w": weight, "s": scale, "z": np.zeros(3, np.int8)},
    )
    graph = graph_of(made)
    wanted = np.clip(np.rint(weight / scale), -128, 127).astype(np.int8)
    np.testing.assert_array_equal(graph.constants["wq"], wanted)
    assert [one.op for one in graph.nodes] == ["DequantizeLinear", "MatMul"]
    assert (graph.folded["wq"].op, graph.folded["wq"].inputs[0]) == ("QuantizeLinear", "w")
    graph = graph_of(made, dequantize=True)
    np.testing.assert_array_equal(graph.constants["wr"], wanted.astype(np.float32) * scale)
    assert [one.op for one in graph.nodes] == ["MatMul"]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (np.array([1.5, -2], np.float16), TensorProto.FLOAT16, np.float16),
        (np.array([1.5, -2], np.float64), TensorProto.DOUBLE, np.float64),
        (np.array([True, False]), TensorProto.BOOL, np.bool_),
        (np.array([1, 65535], np.uint16), TensorProto.UINT16, np.uint16),
        (np.array([1, 2**63], np.uint64), TensorProto.UINT64, np.uint64),
        (np.array([-128, 127], np.int8), TensorProto.INT8, np.int8),
    ],
)
def test_every_element_type_is_read_from_bytes_and_from_typed_fields(
    values: np.ndarray, kind: int, expected: type
) -> None:
    typed = values.view(np.uint16) if kind == TensorProto.FLOAT16 else values
    for raw in (True, False):
        made = chain()
        data = values.tobytes() if raw else values.tolist()
        tensor = helper.make_tensor("c", kind, values.shape, data, raw=raw)
        assert tensor.HasField("raw_data") == raw, typed
        made.graph.initializer.append(tensor)
        made.graph.node.append(node("Add", ["x", "c"], "z"))
        made.graph.output.add(name="z")
        made.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2
        found = graph_of(made).constants["c"]
        assert found.dtype == expected
        np.testing.assert_array_equal(found, values)


def test_nibbles_and_bfloat16_are_widened() -> None:
    made = chain()
    made.graph.initializer.append(helper.make_tensor("i4", TensorProto.INT4, (3,), b"\xf8\x07", raw=True))
    made.graph.initializer.append(helper.make_tensor("u4", TensorProto.UINT4, (3,), [8, 15, 7]))
    made.graph.initializer.append(helper.make_tensor("bf", TensorProto.BFLOAT16, (2,), [1.5, -256.0]))
    for name in ("i4", "u4", "bf"):
        made.graph.output.add(name=name)
    constants = graph_of(made).constants
    assert constants["i4"].tolist() == [-8, -1, 7]
    assert constants["u4"].tolist() == [8, 15, 7]
    assert constants["bf"].tolist() == [1.5, -256.0]
    assert (constants["i4"].dtype, constants["u4"].dtype, constants["bf"].dtype) == (np.int8, np.uint8, np.float32)


def test_sizes_left_open_can_be_given_and_only_the_batch_needs_not() -> None:
    made = model([node("Relu", ["x"], "y")], {"x": ("n", 3, "h", "w")}, ["y"])
    with pytest.raises(
        UnsupportedOp, match=r"input 'x': its size on axis 2, called 'h', is left open.*make_dynamic_shape_fixed"
    ):
        graph_of(made)
    assert graph_of(made, input_shapes={"x": (1, 3, 8, 9)}).types["y"].shape == (1, 3, 8, 9)
    with pytest.raises(FormatError, match=r"the shape \(1, 4, 8, 9\) was asked for"):
        graph_of(made, input_shapes={"x": (1, 4, 8, 9)})
    with pytest.raises(FormatError, match="no input is called 'q'"):
        graph_of(made, input_shapes={"q": (1,)})


def test_functions_of_the_file_are_written_out() -> None:
    made = chain(1)
    made.opset_import.append(helper.make_opsetid("own", 1))
    body = [node("Relu", ["a"], "m"), node("Sigmoid", ["m"], "b")]
    made.functions.append(helper.make_function("own", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))
    made.graph.node.append(node("Twice", ["t0"], "out", domain="own"))
    made.graph.output.add(name="out")
    assert [one.op for one in graph_of(made).nodes] == ["Relu", "Relu", "Sigmoid"]


@pytest.mark.parametrize(
    ("attributes", "size", "count", "before", "after", "added"),
    [
        ({"kernel_shape": (3, 3), "auto_pad": "SAME_UPPER", "strides": (2, 2)}, (8, 7), (4, 4), (0, 1), (1, 1), (0, 0)),
        ({"kernel_shape": (2, 2), "auto_pad": "SAME_LOWER"}, (4, 4), (4, 4), (1, 1), (0, 0), (0, 0)),
        ({"kernel_shape": (2, 2), "auto_pad": "VALID", "pads": (9, 9, 9, 9)}, (4, 5), (3, 4), (0, 0), (0, 0), (0, 0)),
        ({"kernel_shape": (3, 2), "dilations": (2, 1)}, (6, 6), (2, 5), (0, 0), (0, 0), (0, 0)),
        ({"kernel_shape": (3, 3), "strides": (2, 2), "ceil_mode": 1}, (6, 7), (3, 3), (0, 0), (1, 0), (1, 0)),
        # A window that would begin behind the image and its front padding is not taken.
        (
            {"kernel_shape": (2, 2), "strides": (3, 3), "ceil_mode": 1, "pads": (0, 0, 1, 1)},
            (5, 5),
            (2, 2),
            (0, 0),
            (1, 1),
            (0, 0),
        ),
    ],
)
def test_windows_lie_where_onnx_says(
    attributes: dict, size: tuple, count: tuple, before: tuple, after: tuple, added: tuple
) -> None:
    found = window(OnnxNode("p", "MaxPool", "", ("x",), ("y",), attributes), size)
    assert (found.count, found.before, found.after, found.added) == (count, before, after, added)
