"""Shapes that ONNX infers, also of files whose sizes would end the process in its C++."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from oaq.mixed.inferred import LARGEST_VALUE, infer
from tests.mixed.nets import Net

Size = int | str | None


def shapes(model: onnx.ModelProto, *, data_prop: bool = False) -> dict[str, list[Size]]:
    known = {}
    for value in infer(model, data_prop=data_prop):
        if value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            known[value.name] = [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]
    return known


def cut(net: Net, x: str, begin: int, end: int, axis: int = 0, step: int = 1) -> str:
    numbers = [net.constant([number], np.int64) for number in (begin, end, axis, step)]
    return net.op("Slice", x, *numbers)


def test_slices_one_after_the_other_get_the_sizes_that_onnx_says() -> None:
    net = Net()
    y = net.input([20, 6])
    for _ in range(4):
        y = net.op("Relu", cut(net, y, 1, 100))
    net.output(net.op("Concat", y, cut(net, y, 3, 9), axis=0), kind=TensorProto.UNDEFINED)
    model = net.model()
    expected = {value.name: value for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
    for name, value in expected.items():
        assert shapes(model)[name] == [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    assert shapes(model)["y"] == [16 + 6, 6]


@pytest.mark.parametrize("size", [-1, -5, -(2**31), -(2**63)])
def test_a_slice_of_a_negative_size_is_survived_wherever_the_file_states_it(size: int) -> None:
    net = Net()
    net.output(cut(net, net.input([size, 6]), 0, 2), kind=TensorProto.UNDEFINED)
    assert shapes(net.model())["x"] == [None, 6]
    assert shapes(net.model())["y"][1] == 6
    inner = Net()
    middle = inner.op("Relu", inner.input([6]))
    inner.output(cut(inner, middle, 0, 2), kind=TensorProto.UNDEFINED)
    model = inner.model()
    model.graph.value_info.append(helper.make_tensor_value_info(middle, TensorProto.FLOAT, [size]))
    assert "y" in shapes(model)


def test_a_slice_of_a_negative_size_that_is_computed_is_survived() -> None:
    for slices in range(3):
        net = Net()
        y = net.input([4, 6])
        for _ in range(slices):
            y = cut(net, y, 0, 3)
        y = net.op("Pad", y, net.constant([-9, 0, 0, 0], np.int64))
        net.output(cut(net, y, 0, 2), kind=TensorProto.UNDEFINED)
        known = shapes(net.model())
        assert known["x"] == [4, 6]
        if slices:
            assert known["t0_0"] == [3, 6]


def test_a_slice_in_a_subgraph_is_never_shown() -> None:
    body = helper.make_graph(
        [
            helper.make_node("Pad", ["x", "pads"], ["padded"]),
            helper.make_node("Slice", ["padded", "zero", "one"], ["branch"]),
        ],
        "body",
        [],
        [helper.make_tensor_value_info("branch", TensorProto.FLOAT, None)],
    )
    net = Net()
    x = net.input([4])
    for name, numbers in (("pads", [-9, 0]), ("zero", [0]), ("one", [1])):
        net.constants.append(numpy_helper.from_array(np.array(numbers, np.int64), name))
    condition = net.constant(True, np.bool_)
    net.output(net.op("If", condition, then_branch=body, else_branch=body), kind=TensorProto.UNDEFINED)
    assert shapes(net.model())[x] == [4]


def test_large_constants_have_their_shapes_and_are_no_inputs() -> None:
    net = Net()
    weight = net.constant(np.zeros((LARGEST_VALUE, 3)))
    net.output(net.op("MatMul", net.input([2, LARGEST_VALUE]), weight), kind=TensorProto.UNDEFINED)
    known = shapes(net.model())
    assert known["y"] == [2, 3]
    assert weight not in known


def test_shapes_that_are_values_are_followed_if_asked_for() -> None:
    net = Net()
    x = net.input([4, 6])
    size = cut(net, net.op("Shape", x), 1, 2)
    target = net.op("Concat", size, net.constant([4], np.int64), axis=0)
    net.output(net.op("Reshape", x, target), kind=TensorProto.UNDEFINED)
    assert shapes(net.model(), data_prop=True)["y"] == [6, 4]


def test_the_file_stays_as_it_is_and_speaks_where_inference_fails() -> None:
    net = Net()
    net.output(cut(net, net.input([-3, 6]), 0, 2))
    model = net.model()
    before = model.SerializeToString()
    infer(model)
    assert model.SerializeToString() == before
    model.ir_version = 0
    del model.opset_import[:]
    assert {value.name for value in infer(model)} >= {"x", "y"}
