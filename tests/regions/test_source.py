"""Float files made ready to be split: damaged ones are refused, and never end the process."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from oaq.errors import FormatError
from oaq.regions.source import open_float, split_file

OWN = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]


def network(
    nodes: Sequence[onnx.NodeProto],
    functions: Sequence[onnx.FunctionProto] = (),
    opset: int = 17,
    **numbers: Sequence[int],
) -> bytes:
    """A product of ``x``, (n, 4), by constants, called ``h``, and further nodes that end in ``y``, of unknown shape."""
    weight = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    constants = [numpy_helper.from_array(weight, "w")]
    constants += [numpy_helper.from_array(np.array(values, np.int64), name) for name, values in numbers.items()]
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", ["n", 4]), ("y", None))
    )
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["h"]), *nodes], "net", [x], [y], constants)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=imports, functions=functions, ir_version=8).SerializeToString()


def function(name: str, *calls: str) -> onnx.FunctionProto:
    """A function that applies others of the file one after the other."""
    tensors = ["a", *(f"t{index}" for index in range(1, len(calls))), "b"]
    nodes = [
        helper.make_node(call, [tensors[index]], [tensors[index + 1]], domain="own") for index, call in enumerate(calls)
    ]
    return helper.make_function("own", name, ["a"], ["b"], nodes, OWN)


@pytest.mark.parametrize("opset", [13, 17])
def test_a_slice_of_a_negative_size_is_refused(opset: int) -> None:
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["padded"]),
        helper.make_node("Slice", ["padded", "begin", "end"], ["cut"]),
        helper.make_node("Add", ["h", "cut"], ["y"]),
    ]
    content = network(nodes, opset=opset, pads=[-50, 0, -3, 0], begin=[0], end=[3])
    with pytest.raises(FormatError, match=r"would be of shape \(-52, 4\)"):
        split_file(open_float(content), {"x": (1, 4)})


def test_functions_that_call_themselves_or_grow_without_end_are_refused_before_they_are_written_out() -> None:
    with pytest.raises(FormatError, match="'F' calls itself"):
        open_float(network([helper.make_node("F", ["h"], ["y"], domain="own")], [function("F", "F")]))
    doubling = [function("F0"), *(function(f"F{level}", *[f"F{level - 1}"] * 2) for level in range(1, 40))]
    doubling[0].node.append(helper.make_node("Relu", ["a"], ["b"]))
    with pytest.raises(FormatError, match=r"its functions write out to [0-9]+ nodes"):
        open_float(network([helper.make_node("F39", ["h"], ["y"], domain="own")], doubling))


def test_functions_are_written_out() -> None:
    relu = function("F")
    relu.node.append(helper.make_node("Relu", ["a"], ["b"]))
    file = open_float(network([helper.make_node("F", ["h"], ["y"], domain="own")], [relu]))
    assert [node.op_type for node in file.model.graph.node] == ["MatMul", "Relu"]
    assert split_file(file, {"x": (1, 4)}).float_kinds == {}


def test_types_are_those_of_the_sizes_that_were_chosen() -> None:
    content = network([helper.make_node("Softmax", ["h"], ["y"])])
    model = onnx.load_from_string(content)
    model.graph.value_info.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, [9, 4]))
    split = split_file(open_float(model.SerializeToString()), {"x": (3, 4)})
    assert split.file.shape("h") == split.file.shape("y") == (3, 4)
