"""Files that can be read, but whose integers contradict each other: an error that names the file, or an island."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchmarks.onnx_files import moving
from oaq.capture.from_onnx import decode, import_graph
from oaq.errors import FormatError, OaqError, UnsupportedOp
from tests.capture.from_onnx.files import graph_of, model, node

QONNX = "qonnx.custom_op.general"


def linear(**changed: object) -> onnx.ModelProto:
    """QuantizeLinear, DequantizeLinear twice, MatMul, QuantizeLinear, DequantizeLinear; constants as asked."""
    constants = {
        "s": np.array(0.5, np.float32),
        "z": np.array(3, np.uint8),
        "w": np.ones((4, 6), np.int8),
        "ws": np.full(6, 0.25, np.float32),
        "wz": np.zeros(6, np.int8),
        **changed,
    }
    return model(
        [
            node("QuantizeLinear", ["x", "s", "z"], "q"),
            node("DequantizeLinear", ["q", "s", "z"], "r"),
            node("DequantizeLinear", ["w", "ws", "wz"], "wr", axis=1),
            node("MatMul", ["r", "wr"], "m"),
            node("QuantizeLinear", ["m", "s", "z"], "p"),
            node("DequantizeLinear", ["p", "s", "z"], "y"),
        ],
        {"x": ("n", 4)},
        ["y"],
        constants,  # type: ignore[arg-type]
    )


def test_the_unbroken_file_is_a_linear_layer_and_nothing_else() -> None:
    imported = import_graph(graph_of(linear()))
    assert [type(one.op).__name__ for one in imported.program.nodes] == ["Linear"]
    assert imported.islands == ()
    assert (imported.program.inputs, imported.program.outputs) == (("x",), ("y",))


def test_one_zero_point_per_channel_beside_one_scale_for_all_must_fit_the_axis_too() -> None:
    imported = import_graph(graph_of(linear(ws=np.float32(0.25), wz=np.arange(6).astype(np.int8))))
    (layer,) = imported.program.summing_nodes()
    assert layer.op.weight[:, 0].tolist() == [1, 0, -1, -2, -3, -4]  # type: ignore[union-attr]
    with pytest.raises(FormatError, match=r"net\.onnx: node 'wr' \(DequantizeLinear\): 5 scales do not fit axis 1"):
        graph_of(linear(ws=np.float32(0.25), wz=np.zeros(5, np.int8)))


@pytest.mark.parametrize("is_quantized", [False, True])
def test_weights_without_numbers_stay_and_are_named(is_quantized: bool) -> None:
    made = linear(w=np.ones((4, 0), np.int8), ws=np.float32(0.25), wz=np.int8(0))
    if not is_quantized:  # the layer would have a scale of our own
        del made.graph.node[4:]
        made.graph.output[0].name = "m"
    with pytest.raises(OaqError, match=r"of shape \(0, 4\), hold no numbers"):
        import_graph(graph_of(made))


def test_a_scale_of_two_axes_is_told_apart_from_one_per_channel() -> None:
    graph = graph_of(linear(ws=np.full((2, 6), 0.25, np.float32), wz=np.zeros((2, 6), np.int8)))
    with pytest.raises(UnsupportedOp, match=r"net\.onnx: .* one scale per block"):
        import_graph(graph)


def test_errors_found_while_importing_name_the_file_too() -> None:
    made = model(
        [
            node("Quant", ["x", "s", "z", "bits"], "q", domain=QONNX, signed=1, rounding_mode=3),
            node("Relu", ["q"], "y"),
        ],
        {"x": ("n", 4)},
        ["y"],
        {"s": 0.5, "z": 0.0, "bits": 8.0},
    )
    with pytest.raises(FormatError, match=r"^net\.onnx: node 'q' .*Quant\): attribute 'rounding_mode' is a text"):
        import_graph(graph_of(made))


@pytest.mark.parametrize("bits", [0.0, -1.0, 33.0, 2.5, float("nan"), float("inf")])
def test_impossible_widths_of_quantizers_are_refused(bits: float) -> None:
    made = model(
        [node("Quant", ["x", "s", "z", "bits"], "y", domain=QONNX)],
        {"x": ("n", 4)},
        ["y"],
        {"s": 0.5, "z": 0.0, "bits": bits},
    )
    with pytest.raises(FormatError, match="scale or width is impossible"):
        import_graph(graph_of(made))


def test_a_constant_clip_of_one_number_is_folded() -> None:
    made = linear()
    made.graph.node.insert(0, node("Clip", ["z0", "", ""], "z"))
    (tensor,) = [one for one in made.graph.initializer if one.name == "z"]
    tensor.name = "z0"
    assert len(import_graph(graph_of(made)).program.nodes) == 1


def test_a_node_with_fewer_results_than_its_operator_has_is_read() -> None:
    made = model([node("DynamicQuantizeLinear", ["x"], "q")], {"x": ("n", 4)}, ["q"])
    assert graph_of(made).types["q"].dtype == np.uint8


def test_a_float_network_holds_no_layer_of_integers() -> None:
    made = model([node("Relu", ["x"], "y")], {"x": ("n", 4)}, ["y"])
    with pytest.raises(UnsupportedOp, match=r"^net\.onnx: holds no layer of 8-bit integers"):
        import_graph(graph_of(made))


def test_every_cut_of_a_file_ends_in_one_error() -> None:
    content = linear().SerializeToString()
    for length in range(len(content)):
        try:
            import_graph(decode(content[:length], "cut.onnx"))
        except OaqError as error:
            assert str(error).startswith("cut.onnx: ")


def test_a_cycle_through_integers_is_refused() -> None:
    made = linear()
    (first,) = [one for one in made.graph.node if one.output[0] == "r"]
    first.input[0] = "p"
    with pytest.raises(FormatError, match="waits, directly or not, for its own result"):
        graph_of(made)


def integer_sums(**changed: object) -> onnx.ModelProto:
    """QuantizeLinear, MatMulInteger, Cast, Mul: sums as ONNX's own integer operators leave them."""
    constants = {
        "s": np.array(0.5, np.float32),
        "z": np.array(3, np.uint8),
        "w": np.arange(24).reshape(4, 6).astype(np.uint8),
        "xz": np.array(3, np.uint8),
        "wz": np.array(10, np.uint8),
        "factor": np.array(0.01, np.float32),
        **changed,
    }
    return model(
        [
            node("QuantizeLinear", ["x", "s", "z"], "q"),
            node("MatMulInteger", ["q", "w", "xz", "wz"], "sums"),
            node("Cast", ["sums"], "real", to=1),
            node("Mul", ["real", "factor"], "m"),
            node("QuantizeLinear", ["m", "s", "z"], "p"),
            node("DequantizeLinear", ["p", "s", "z"], "y"),
        ],
        {"x": ("n", 4)},
        ["y"],
        constants,  # type: ignore[arg-type]
    )


def test_integer_sums_are_of_what_the_operator_itself_says_is_zero() -> None:
    program = import_graph(graph_of(integer_sums())).program
    (layer,) = program.summing_nodes()
    assert layer.op.weight[5].tolist() == [-5, 1, 7, 13]  # type: ignore[union-attr]
    assert program.tensors[layer.inputs[0]].affine.zero_point == 3
    other = import_graph(graph_of(integer_sums(xz=np.array(7, np.uint8)))).program
    (layer,) = other.summing_nodes()
    assert other.tensors[layer.inputs[0]].affine.zero_point == 7


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"wz": np.zeros(0, np.uint8)}, "1 scales and 0 zero points do not fit"),
        ({"wz": np.zeros(5, np.uint8)}, "1 scales and 5 zero points do not fit"),
        ({"xz": np.zeros(2, np.uint8)}, "its input has more than one zero point"),
        ({"w": np.ones((1, 4, 6), np.uint8)}, "its weights are not a matrix"),
    ],
)
def test_integer_sums_of_other_shapes_stay_outside(changed: dict[str, object], why: str) -> None:
    with pytest.raises(UnsupportedOp, match=f"holds no layer of 8-bit integers: sums .MatMulInteger.: {why}"):
        import_graph(graph_of(integer_sums(**changed)))


def test_a_node_whose_result_nobody_can_name_is_passed_over() -> None:
    made = linear()
    made.graph.node.append(node("DequantizeLinear", ["q", "s", "z"], [], name="nothing"))
    made.graph.node.append(node("DequantizeLinear", ["q", "s", "z"], [""], name="unnamed"))
    assert len(import_graph(graph_of(made)).program.nodes) == 1


def test_words_of_a_file_stay_on_one_line() -> None:
    made = integer_sums(xz=np.zeros(2, np.uint8))
    made.graph.node[1].name = "two\nlines"
    with pytest.raises(UnsupportedOp, match=r"two\?lines \(MatMulInteger\): its input has more"):
        import_graph(graph_of(made))


def test_a_bias_of_reals_with_a_scale_of_integers_stays_outside() -> None:
    made = linear()
    made.graph.node[3].CopyFrom(node("Gemm", ["r", "wr", "br"], "m"))
    made.graph.node.insert(0, node("DequantizeLinear", ["b", "bs"], "br"))
    made.graph.initializer.extend(
        [
            numpy_helper.from_array(np.full(6, np.nan, np.float32), "b"),
            numpy_helper.from_array(np.array(0.1, np.float32), "bs"),
        ]
    )
    with pytest.raises(UnsupportedOp, match="its bias has a scale, but is not integers"):
        import_graph(graph_of(made))


def test_a_tensor_without_numbers_is_not_resized() -> None:
    broken = moving()
    cuts = {"axes": [0, 3], "begin": [1, 1], "end": [1, 9]}  # of a batch of one, the second
    for tensor in broken.graph.initializer:
        if tensor.name in cuts:
            tensor.CopyFrom(numpy_helper.from_array(np.array(cuts[tensor.name]), tensor.name))
    with pytest.raises(OaqError, match="nothing to resize"), np.errstate(all="raise"):
        import_graph(graph_of(broken))
