"""Parts that stay in float: where they lie, what they read and write, and why."""

from __future__ import annotations

import numpy as np
import onnx

from oaq.capture.from_onnx import import_graph
from oaq.capture.imported import Imported
from tests.capture.from_onnx.files import graph_of, model, node

CONSTANTS = {
    "s": np.array(0.05, np.float32),
    "z": np.array(117, np.uint8),
    "w": np.ones((4, 4, 1, 1), np.int8),
    "ws": np.full(4, 0.01, np.float32),
    "mean": np.full((1, 4, 1, 1), 0.5, np.float32),
}


def quantized(source: str, name: str) -> list[onnx.NodeProto]:
    """From "source" by "name_q" to "name"."""
    return [
        node("QuantizeLinear", [source, "s", "z"], f"{name}_q"),
        node("DequantizeLinear", [f"{name}_q", "s", "z"], name),
    ]


def layer(source: str, name: str) -> list[onnx.NodeProto]:
    """A convolution with quantizers behind it."""
    return [node("Conv", [source, "wr"], f"{name}_c"), *quantized(f"{name}_c", name)]


def imported(
    nodes: list[onnx.NodeProto], outputs: tuple[str, ...] = ("y",), inputs: tuple[str, ...] = ("x",)
) -> Imported:
    weights = node("DequantizeLinear", ["w", "ws"], "wr", axis=0)
    made = model([weights, *nodes], dict.fromkeys(inputs, ("n", 4, 5, 6)), list(outputs), CONSTANTS)
    return import_graph(graph_of(made))


def test_what_is_done_to_images_before_they_are_quantized_is_an_island_at_the_input() -> None:
    found = imported([node("Sub", ["x", "mean"], "centred"), *quantized("centred", "a"), *layer("a", "y")])
    (island,) = found.islands
    assert (island.where, island.nodes, island.reads) == ("input", (("centred", "Sub"),), ())
    assert island.writes == found.program.inputs
    assert not found.is_whole
    assert found.tensors[found.program.inputs[0]].name == "a_q"


def test_what_is_done_to_results_is_an_island_at_the_output() -> None:
    found = imported([*quantized("x", "a"), *layer("a", "b"), node("Softmax", ["b"], "y", axis=1)])
    (island,) = found.islands
    assert (island.where, island.writes) == ("output", ())
    assert island.reads == found.program.outputs == ("b_q",)
    assert island.why == "y (Softmax): oaq has no integer operator for Softmax"
    assert found.is_whole


def test_an_island_inside_cuts_the_program_in_two_that_are_one() -> None:
    found = imported(
        [
            *quantized("x", "a"),
            *layer("a", "b"),
            node("Softmax", ["b"], "c", axis=1),
            *quantized("c", "d"),
            *layer("d", "y"),
        ]
    )
    (island,) = found.islands
    assert (island.where, island.reads, island.writes) == ("inside", ("b_q",), ("d_q",))
    assert found.program.inputs == ("x", "d_q")
    assert set(found.program.outputs) == {"y", "b_q"}
    assert len(found.sources) == 2
    assert "d_q: computed by 1 float operators inside the network" in found.notes[0]


def test_parts_that_touch_nowhere_are_islands_of_their_own() -> None:
    found = imported(
        [
            *quantized("x", "a"),
            *layer("a", "b"),
            node("Softmax", ["b"], "y", axis=1),
            node("Softmax", ["b"], "y2", axis=2),
            node("Sin", ["y2"], "y3"),
        ],
        ("y", "y3"),
    )
    assert [[kind for _, kind in island.nodes] for island in found.islands] == [["Softmax"], ["Softmax", "Sin"]]
    assert {island.reads for island in found.islands} == {("b_q",)}


def test_a_result_read_by_integers_and_floats_is_one_tensor_for_both() -> None:
    found = imported([*quantized("x", "a"), *layer("a", "b"), *layer("b", "y"), node("Sin", ["b"], "y2")], ("y", "y2"))
    (island,) = found.islands
    assert island.reads == ("b_q",)
    assert set(found.program.outputs) == {"y", "b_q"}


def test_what_only_floats_read_of_the_input_needs_no_program() -> None:
    found = imported([*quantized("x", "a"), *layer("a", "y"), node("Sin", ["a"], "y2")], ("y", "y2"))
    (island,) = found.islands
    assert [kind for _, kind in island.nodes] == ["QuantizeLinear", "DequantizeLinear", "Sin"]
    assert (island.reads, island.writes, island.where) == ((), (), "output")
    assert found.program.outputs == ("y",)


def test_nodes_that_cost_nothing_belong_to_the_island_that_reads_them() -> None:
    found = imported(
        [
            *quantized("x", "a"),
            *layer("a", "b"),
            node("Transpose", ["b"], "t", perm=[0, 2, 3, 1]),
            node("Sin", ["t"], "y"),
        ]
    )
    (island,) = found.islands
    assert [kind for _, kind in island.nodes] == ["Transpose", "Sin"]
    assert island.reads == ("b_q",)


def test_two_inputs_meet() -> None:
    found = imported(
        [
            *quantized("x", "a"),
            *quantized("u", "b"),
            node("Add", ["a", "b"], "c"),
            *quantized("c", "d"),
            *layer("d", "y"),
        ],
        inputs=("x", "u"),
    )
    assert found.program.inputs == ("x", "u")
    assert [type(one.op).__name__ for one in found.program.nodes] == ["Add", "Conv2d"]
    assert found.islands == ()


def test_a_layer_that_no_output_depends_on_is_no_part_of_the_program() -> None:
    found = imported([*quantized("x", "a"), *layer("a", "y"), *layer("a", "unread")])
    assert list(found.sources) == ["y_c"]
