"""Float parts of dynamic files that our own loops compute: which are found, and that they are near ONNX Runtime's."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import oaq
from oaq.errors import ProgramError
from oaq.mixed.program import FusedBody
from tests import dynamic_files as files

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
node = files.helper.make_node
HEADS, COLUMNS = 3, 4
WIDTH = HEADS * COLUMNS


class Net:
    """A file with one float input ``x`` of (batch, tokens, WIDTH), written node by node."""

    def __init__(self) -> None:
        self.nodes = [node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"])]
        self.constants: dict[str, Any] = {"z": np.zeros((), np.int8), "s": np.float32(0.01)}
        self.rng = np.random.default_rng(0)

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def add(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(node(op, list(inputs), [output], output, **attributes))
        return output

    def layer(self, name: str, outputs: int = WIDTH) -> str:
        weight = self.constant(self.rng.integers(-127, 128, (WIDTH, outputs)).astype(np.int8))
        self.add("MatMulInteger", ["q", weight, "qz", "z"], f"{name}0")
        self.add("Cast", [f"{name}0"], f"{name}1", to=1)
        self.add("Mul", ["qs", "s"], f"{name}u")
        self.add("Mul", [f"{name}1", f"{name}u"], f"{name}2")
        return self.add("Add", [f"{name}2", self.constant(self.rng.normal(size=outputs).astype(np.float32))], name)

    def content(self, *outputs: str, axes: Sequence[str] = ("batch", "tokens")) -> bytes:
        return files.model(self.nodes, self.constants, (*axes, WIDTH), outputs)


def fused_of(content: bytes) -> list[str]:
    """What is computed together, by kind."""
    bodies = [region.body for region in oaq.InferenceSession(content).program.regions]
    return [type(step).__name__ for body in bodies if isinstance(body, FusedBody) for step in body.steps]


def is_near(
    content: bytes, isa: str | None = None, sizes: Sequence[tuple[int, int]] = ((1, 1), (2, 9), (3, 40))
) -> bool:
    """Within 1e-5 of each value and of the largest of its column: sums that cancel err by their terms."""
    session, rng = oaq.InferenceSession(content, isa=isa), np.random.default_rng(1)
    inputs = [rng.normal(size=(*size, WIDTH)).astype(np.float32) for size in sizes]
    ours = [session.run(None, {"x": x}) for x in inputs]
    theirs = [files.run(content, x) for x in inputs]
    return all(_near(mine, true) for mine, true in zip(zip(*ours, strict=True), zip(*theirs, strict=True), strict=True))


def _near(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> bool:
    """One output, for several inputs."""
    if theirs[0].shape[-1] == WIDTH:
        largest = np.max([np.abs(array).reshape(-1, WIDTH).max(axis=0) for array in theirs], axis=0)
    else:
        largest = np.max([np.abs(array).max() for array in theirs])
    return all(
        bool((np.abs(mine - true) <= 1e-5 * np.abs(true) + 1e-5 * largest).all())
        for mine, true in zip(ours, theirs, strict=True)
    )


def sizes_of(net: Net, name: str, place: int) -> str:
    """One size of a tensor, as a vector."""
    shape = net.add("Shape", [name], f"{name}_shape{place}{len(net.nodes)}")
    size = net.add("Gather", [shape, net.constant(np.int64(place))], f"{shape}_size", axis=0)
    return net.add("Unsqueeze", [size, net.constant(np.array([0]))], f"{shape}_sizes")


def attention(net: Net, *, shape: str, scale: str = "div", shift: str = "", swap: str = "at once") -> str:
    """Attention on q, k, v as exporters write it; ``shape``, ``scale``, ``shift``, ``swap`` say which way."""
    q, k, v = (net.layer(name) for name in ("query", "key", "value"))

    def split(x: str, order: Sequence[int]) -> str:
        tail = [net.constant(np.array([HEADS])), net.constant(np.array([COLUMNS if shape != "left open" else -1]))]
        if shape == "constants":
            sizes = net.constant(np.array([0, 0, HEADS, COLUMNS]))
        else:
            source = x if shape == "of the result" else "x"
            sizes = net.add("Concat", [sizes_of(net, source, 0), sizes_of(net, source, 1), *tail], f"{x}_sizes", axis=0)
        return net.add("Transpose", [net.add("Reshape", [x, sizes], f"{x}_split")], f"{x}_heads", perm=list(order))

    heads_first = (0, 2, 1, 3)
    q, v = split(q, heads_first), split(v, heads_first)
    k = split(k, (0, 2, 3, 1) if swap == "at once" else heads_first)
    if scale == "both":
        q, k = (net.add("Mul", [x, net.constant(np.float32(0.7))], f"{x}_scaled") for x in (q, k))
    k = k if swap == "at once" else net.add("Transpose", [k], "swapped", perm=[0, 1, 3, 2])
    scores = net.add("MatMul", [q, k], "scores")
    if scale == "div":
        scores = net.add("Div", [scores, net.constant(np.float32(2))], "scaled")
    if shift == "computed":
        mean = net.add("ReduceMean", ["x"], "mean", axes=[2], keepdims=0)
        shifts = net.add("Unsqueeze", [mean, net.constant(np.array([1, 2]))], "shifts")
        scores = net.add("Add", [scores, shifts], "shifted")
    if shift == "constant":
        scores = net.add(
            "Add", [net.constant(net.rng.normal(size=(HEADS, 1, 1)).astype(np.float32)), scores], "shifted"
        )
    mixed = net.add("MatMul", [net.add("Softmax", [scores], "parts", axis=-1), v], "mixed")
    joined = net.add("Transpose", [mixed], "joined", perm=list(heads_first))
    sizes = net.constant(np.array([0, 0, -1]))
    if shape != "constants":
        whole = net.constant(np.array([WIDTH]))
        sizes = net.add("Concat", [sizes_of(net, "x", 0), sizes_of(net, "x", 1), whole], "joined_sizes", axis=0)
    return net.add("Reshape", [joined, sizes], "y")


@pytest.mark.parametrize("shape", ["constants", "of the input", "of the result", "left open"])
@pytest.mark.parametrize("scale", ["none", "div", "both"])
@pytest.mark.parametrize("shift", ["", "computed", "constant"])
def test_attention_is_found_however_it_is_written_and_near_onnx_runtime(shape: str, scale: str, shift: str) -> None:
    net = Net()
    content = net.content(attention(net, shape=shape, scale=scale, shift=shift, swap=scale and "at once"))
    assert fused_of(content) == ["Attention"]
    assert is_near(content) and is_near(content, "scalar")


def test_keys_may_be_transposed_in_two_steps_and_the_result_have_factors() -> None:
    net = Net()
    y = attention(net, shape="of the input", scale="both", swap="twice")
    content = net.content(net.add("Mul", [y, net.constant(net.rng.normal(size=WIDTH).astype(np.float32))], "scaled"))
    assert fused_of(content) == ["Attention"] and is_near(content)


@pytest.mark.parametrize("outside", ["scores", "parts", "mixed", "query_split", "key_heads"])
def test_attention_whose_inside_something_else_reads_is_left_to_the_runtime(outside: str) -> None:
    net = Net()
    content = net.content(attention(net, shape="constants"), outside)
    assert "Attention" not in fused_of(content) and is_near(content)


@pytest.mark.parametrize("sizes", [(-1, 1, HEADS, COLUMNS), (1, -1, HEADS, COLUMNS), (0, -1, HEADS, COLUMNS)])
def test_heads_are_split_only_where_tokens_are_known_to_stay(sizes: tuple[int, ...]) -> None:
    net = Net()
    y = attention(net, shape="constants")
    name = next(member.input[1] for member in net.nodes if member.output[0] == "value_split")
    net.constants[name] = np.array(sizes)
    assert ("Attention" in fused_of(net.content(y))) == (sizes == (0, -1, HEADS, COLUMNS))


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4)])
def test_heads_of_tensors_of_other_ranks_are_left_to_the_runtime(shape: tuple[int, ...]) -> None:
    net = Net()
    y = attention(net, shape="constants")
    for name in ("query", "key", "value"):
        split = next(member for member in net.nodes if member.output[0] == f"{name}_split")
        net.constants[split.input[1]] = np.array([0, -1, HEADS, COLUMNS])
    content = net.content(y, axes=[f"axis{place}" for place in range(len(shape))])
    assert fused_of(content) == []
    x = net.rng.normal(size=(*shape, WIDTH)).astype(np.float32)
    assert np.array_equal(oaq.InferenceSession(content).run(None, {"x": x})[0], files.run(content, x)[0])


@pytest.mark.parametrize(
    ("opset", "axis", "found"), [(12, None, False), (12, -1, True), (12, 3, True), (13, None, True)]
)
def test_softmax_along_all_axes_from_one_is_left_to_the_runtime(opset: int, axis: int | None, *, found: bool) -> None:
    net = Net()
    y = attention(net, shape="constants")
    softmax = next(member for member in net.nodes if member.op_type == "Softmax")
    del softmax.attribute[:]
    if axis is not None:
        softmax.attribute.append(files.helper.make_attribute("axis", axis))
    model = files.onnx.load_from_string(net.content(y))
    model.opset_import[0].version = opset
    content = model.SerializeToString()
    assert ("Attention" in fused_of(content)) == found and is_near(content)


def test_a_gain_of_one_number_for_all_columns_is_left_to_the_runtime() -> None:
    net = Net()
    gain = net.constant(np.full(1, 3.0, np.float32))
    content = net.content(net.add("LayerNormalization", [net.layer("dense"), gain], "y"))
    assert fused_of(content) == [] and is_near(content)


def test_gelu_of_other_reals_is_left_to_the_runtime() -> None:
    net = Net()
    half = net.add("Cast", [net.layer("dense")], "half", to=files.TensorProto.FLOAT16)
    content = net.content(net.add("Cast", [net.add("Gelu", [half], "g", domain=files.MICROSOFT)], "y", to=1))
    assert fused_of(content) == [] and is_near(content)


def test_a_copy_of_a_session_has_buffers_of_its_own() -> None:
    net = Net()
    content = net.content(net.add("Gelu", [net.layer("dense")], "y", domain=files.MICROSOFT))
    session, x = oaq.InferenceSession(content), net.rng.normal(size=(2, 3, WIDTH)).astype(np.float32)
    copied = copy.deepcopy(session)
    assert np.array_equal(copied.run(None, {"x": x})[0], session.run(None, {"x": x})[0])


def test_a_shift_that_would_make_scores_larger_is_an_error_that_names_the_node() -> None:
    net = Net()
    y = attention(net, shape="constants", shift="constant")
    name = next(member.input[0] for member in net.nodes if member.output[0] == "shifted")
    net.constants[name] = np.zeros((2, HEADS, 1, 1), np.float32)
    session = oaq.InferenceSession(net.content(y))
    with pytest.raises(ProgramError, match=r"float32 of shape .2, 3, 1, 1. is added to scores of shape .1, 3, 5, 5."):
        session.run(None, {"x": np.ones((1, 5, WIDTH), np.float32)})


@pytest.mark.parametrize("way", ["half last", "half first", "operator", "factor"])
def test_gelu_is_found_however_it_is_written_and_near_onnx_runtime(way: str) -> None:
    net = Net()
    x = net.layer("up", 7)
    if way == "operator":
        y = net.nodes.append(node("Gelu", [x], ["y"], "y", domain=files.MICROSOFT)) or "y"
    else:
        root = net.constant(np.float32(np.sqrt(2)))
        erf = net.add("Erf", [net.add("Div", [x, root], "divided")], "erf")
        more = net.add("Add", [erf, net.constant(np.float32(1))], "more")
        half = net.constant(np.float32(0.5))
        if way == "half first":
            y = net.add("Mul", [net.add("Mul", [x, half], "half"), more], "y")
        else:
            y = net.add("Mul", [net.add("Mul", [x, more], "product"), half], "y")
    if way == "factor":
        y = net.add("Mul", [y, net.constant(np.exp2(np.arange(7)).astype(np.float32))], "scaled")
    content = net.content(y)
    assert fused_of(content) == ["Gelu"]
    assert is_near(content) and is_near(content, "scalar")


@pytest.mark.parametrize("wrong", [np.float32(1.5), np.float32(2)])
def test_what_is_not_gelu_is_not_taken_for_it(wrong: Any) -> None:
    net = Net()
    x = net.layer("up", 7)
    erf = net.add("Erf", [net.add("Div", [x, net.constant(wrong)], "divided")], "erf")
    product = net.add("Mul", [x, net.add("Add", [erf, net.constant(np.float32(1))], "more")], "product")
    content = net.content(net.add("Mul", [product, net.constant(np.float32(0.5))], "y"))
    assert fused_of(content) == [] and is_near(content)


@pytest.mark.parametrize("reads", ["one", "two", "broadcast"])
@pytest.mark.parametrize("further", ["", "sum", "scaled", "only scaled"])
def test_normalization_is_found_with_what_is_added_and_with_a_scaled_copy(reads: str, further: str) -> None:
    net = Net()
    x = net.layer("dense")
    if reads != "one":
        other = "x" if reads == "two" else net.add("ReduceMean", ["x"], "other", axes=[1], keepdims=1)
        x = net.add("Add", [x, other], "sum")
    gain, bias = (net.constant(net.rng.normal(size=WIDTH).astype(np.float32)) for _ in range(2))
    y = net.add("LayerNormalization", [x, gain, bias], "y", epsilon=1e-3)
    outputs = [y, *(["sum"] if further == "sum" and reads != "one" else [])]
    if "scaled" in further:
        factor = net.constant(np.exp2(np.arange(WIDTH) - 5).astype(np.float32))
        outputs = [*([y] if further == "scaled" else []), net.add("Mul", [factor, y], "scaled")]
    content = net.content(*outputs)
    assert fused_of(content) == ["Normalize"]
    assert is_near(content) and is_near(content, "scalar")


@pytest.mark.parametrize("square", ["Pow", "Mul"])
@pytest.mark.parametrize("reads", ["one", "two"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("outside", ["", "x", "inside"])
def test_normalization_written_out_is_found_unless_its_inside_is_read(
    square: str, reads: str, bias: bool, outside: str
) -> None:
    net = Net()
    x = net.layer("dense")
    x = net.add("Add", [x, "x"], "sum") if reads == "two" else x
    off = net.add("Sub", [x, net.add("ReduceMean", [x], "mean", axes=[-1])], "off")
    squares = net.add(square, [off, net.constant(np.float32(2)) if square == "Pow" else off], "squares")
    variance = net.add("ReduceMean", [squares], "variance", axes=[-1])
    root = net.add("Sqrt", [net.add("Add", [variance, net.constant(np.float32(1e-5))], "more")], "root")
    y = net.add("Div", [off, root], "quotient")
    y = net.add("Mul", [y, net.constant(net.rng.normal(size=WIDTH).astype(np.float32))], "product")
    if bias:
        y = net.add("Add", [y, net.constant(net.rng.normal(size=WIDTH).astype(np.float32))], "y")
    content = net.content(y, *{"": [], "x": [x], "inside": ["off"]}[outside])
    assert fused_of(content) == ([] if outside == "inside" else ["Normalize"])
    assert is_near(content)


@pytest.mark.parametrize("axes", [[1], [-2], [1, 2]])
def test_normalization_along_other_axes_is_left_to_the_runtime(axes: list[int]) -> None:
    net = Net()
    x = net.layer("dense")
    off = net.add("Sub", [x, net.add("ReduceMean", [x], "mean", axes=axes)], "off")
    variance = net.add("ReduceMean", [net.add("Mul", [off, off], "squares")], "variance", axes=axes)
    root = net.add("Sqrt", [net.add("Add", [variance, net.constant(np.float32(1e-5))], "more")], "root")
    y = net.add("Mul", [net.add("Div", [off, root], "quotient"), net.constant(np.ones(WIDTH, np.float32))], "y")
    assert fused_of(net.content(y)) == [] and is_near(net.content(y), sizes=[(2, 9)])


def test_a_report_says_that_fused_nodes_are_not_proved_and_who_ran_them() -> None:
    net = Net()
    session = oaq.InferenceSession(net.content(attention(net, shape="of the input")), isa="scalar")
    session.run(None, {"x": np.ones((1, 2, WIDTH), np.float32)})
    words = session.explain()
    assert "1 dynamic region, 3 layers proved; 1 float region, 12 nodes not proved" in words
    assert "ms by oaq's float loops, scalar" in words
