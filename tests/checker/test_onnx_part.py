"""Some of a file's nodes, read among others of any kind."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from oaq.checker.onnx_model import read_part
from oaq.errors import FormatError


def content(*first_results: str) -> bytes:
    """A quantizer of ``x`` called ``q``, and a Dropout for each of ``first_results``, whose masks are read."""
    constants = [numpy_helper.from_array(np.float32(0.5), "scale"), numpy_helper.from_array(np.uint8(3), "zero")]
    nodes = [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"])]
    masks = [f"mask{index}" for index in range(len(first_results))]
    nodes += [helper.make_node("Dropout", ["x"], [name, mask]) for name, mask in zip(first_results, masks, strict=True)]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    outputs = [helper.make_tensor_value_info(name, TensorProto.BOOL, ["n", 4]) for name in masks]
    graph = helper.make_graph(nodes, "net", [x], outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_every_other_node_is_counted_also_where_its_first_result_is_left_out() -> None:
    part = read_part(content("a", "", ""), "net.onnx", ["q"])
    assert [node.output for node in part.nodes] == ["q"] and set(part.constants) == {"scale", "zero"}
    assert part.others == ("Dropout",) * 3


@pytest.mark.parametrize(("names", "words"), [
    (["q", "q"], "missing, or named twice"),
    (["p"], r"missing, or named twice: \['p'\]"),
])  # fmt: skip
def test_nodes_are_named_once_and_are_there(names: list[str], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        read_part(content(), "net.onnx", names)


def test_no_name_is_written_twice() -> None:
    with pytest.raises(FormatError, match="a name is written twice, or is empty"):
        read_part(content("q"), "net.onnx", ["q"])
