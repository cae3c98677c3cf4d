"""One list of operators for both front ends: what torch may say, ONNX may, and both become the same graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import oaq  # noqa: E402
from oaq import operators as ops  # noqa: E402
from oaq.capture import from_float_onnx, from_torch  # noqa: E402
from oaq.capture.functions import FUNCTIONS  # noqa: E402
from oaq.capture.graph import FloatFunction, FloatGraph, rules_of  # noqa: E402
from oaq.errors import UnsupportedOp  # noqa: E402
from oaq.operators import LARGEST_WINDOW  # noqa: E402
from oaq.ptq.execute import float_outputs  # noqa: E402
from oaq.report.agreement import sqnr_db  # noqa: E402
from tests.capture.from_onnx.files import model, node  # noqa: E402

SHAPE = (4, 6, 5)
RNG = np.random.default_rng(3)


class Applied(nn.Module):
    """A function of its inputs as a module."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.function(*inputs)


def log_of_sigmoid() -> list[onnx.NodeProto]:
    return [node("Sigmoid", ["x"], "t"), node("Log", ["t"], "y")]


HALF = np.float32(0.5)
CURVES = {
    **{name: (getattr(torch, name), name.capitalize()) for name in ("sigmoid", "tanh", "erf", "exp", "abs")},
    **{name: (getattr(torch, name), name.capitalize()) for name in ("sin", "cos", "atan", "asinh", "sinh", "cosh")},
    "sqrt": (lambda x: torch.sqrt(torch.relu(x) + 0.1), None),
    "silu": (F.silu, None),
    "swish": (None, node("Swish", ["x"], "y", alpha=0.7)),
    "hardswish": (F.hardswish, "HardSwish"),
    "hardsigmoid": (F.hardsigmoid, node("HardSigmoid", ["x"], "y", alpha=1 / 6)),
    "gelu": (F.gelu, "Gelu"),
    "gelu_tanh": (lambda x: F.gelu(x, approximate="tanh"), node("Gelu", ["x"], "y", approximate="tanh")),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.5), node("LeakyRelu", ["x"], "y", alpha=0.5)),
    "elu": (lambda x: F.elu(x, 0.5), node("Elu", ["x"], "y", alpha=0.5)),
    "celu": (lambda x: F.celu(x, 0.5), node("Celu", ["x"], "y", alpha=0.5)),
    "selu": (F.selu, "Selu"),
    "clamp": (lambda x: torch.clamp(x, 0.5, 1.5), None),
    "softplus": (F.softplus, "Softplus"),
    "softsign": (F.softsign, "Softsign"),
    "mish": (F.mish, "Mish"),
    "logsigmoid": (F.logsigmoid, log_of_sigmoid()),
    "softshrink": (lambda x: F.softshrink(x, 0.5), node("Shrink", ["x"], "y", lambd=0.5, bias=0.5)),
    "power": (lambda x: x**3, None),
    "negate": (None, None),
    "polyline": (None, None),
    "window": (None, None),
}
"""By function: how torch writes it, how ONNX does (a node, nodes, or the name of an operator); None: it has no way of
its own, or one that a test of its own looks at."""


def functions_of(graph: FloatGraph) -> list[FloatFunction]:
    return [node.op for node in graph.nodes if isinstance(node.op, FloatFunction)]


def from_file(nodes: list[onnx.NodeProto], folder: Path, *, opset: int = 24, **constants: np.ndarray) -> FloatGraph:
    path = folder / "net.onnx"
    onnx.save(model(nodes, {"x": (1, *SHAPE)}, ["y"], constants, opset=opset), path)
    return from_float_onnx.normalize(path)


def test_every_function_has_a_row() -> None:
    assert set(CURVES) == set(FUNCTIONS)


@pytest.mark.parametrize("name", [name for name, (ours, theirs) in CURVES.items() if ours and theirs])
def test_both_front_ends_make_the_same_function(name: str, tmp_path: Path) -> None:
    written, kind = CURVES[name]
    x = RNG.normal(size=(2, *SHAPE)).astype(np.float32) * 3
    torch_graph = from_torch.normalize(Applied(written), torch.from_numpy(x))
    nodes = [node(kind, ["x"], "y")] if isinstance(kind, str) else kind if isinstance(kind, list) else [kind]
    file_graph = from_file(nodes, tmp_path)
    (ours,), (theirs,) = functions_of(torch_graph), functions_of(file_graph)
    assert ours.name == theirs.name == name
    np.testing.assert_allclose(ours.parameters, theirs.parameters, rtol=1e-6)
    exact = written(torch.from_numpy(x)).numpy()
    for graph in (torch_graph, file_graph):
        np.testing.assert_allclose(float_outputs(graph, x)[0], exact, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("exponent", [0.5, 1.5, 2, 3])
def test_powers_by_a_number(exponent: float, tmp_path: Path) -> None:
    x = np.abs(RNG.normal(size=(1, *SHAPE))).astype(np.float32)
    ours = from_torch.normalize(Applied(lambda value: value**exponent), torch.from_numpy(x))
    theirs = from_file([node("Pow", ["x", "e"], "y")], tmp_path, opset=20, e=np.float32(exponent))
    assert functions_of(ours) == functions_of(theirs)
    np.testing.assert_allclose(float_outputs(ours, x)[0], x**exponent, rtol=1e-5)


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 9.0])
def test_powers_with_a_pole_or_too_steep_are_refused(exponent: float, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOp, match="exponents above 0, up to 8"):
        from_torch.normalize(Applied(lambda value: value**exponent), torch.ones(1, *SHAPE))
    with pytest.raises(UnsupportedOp, match="exponents above 0, up to 8"):
        from_file([node("Pow", ["x", "e"], "y")], tmp_path, opset=20, e=np.float32(exponent))


def test_a_root_is_a_table_where_its_argument_is_not_negative(tmp_path: Path) -> None:
    x = np.abs(RNG.normal(size=(1, *SHAPE))).astype(np.float32)
    for graph in (
        from_torch.normalize(Applied(torch.sqrt), torch.from_numpy(x)),
        from_file([node("Sqrt", ["x"], "y")], tmp_path),
    ):
        assert functions_of(graph) == [FloatFunction("sqrt")]
        np.testing.assert_allclose(float_outputs(graph, x)[0], np.sqrt(x), rtol=1e-6)


class Difference(nn.Module):
    """``a(x) - b(x)``."""

    def __init__(self, *, alike: bool = False, clamped: bool = False) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 3, 1), nn.Conv2d(4, 3, 1)
        self.alike, self.clamped = alike, clamped

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.a(x), self.b(x)
        b = torch.relu(b) if self.clamped else b
        return a - (a if self.alike else b)


def difference_nodes(*, alike: bool, clamped: bool) -> list[onnx.NodeProto]:
    second = "a" if alike else "r" if clamped else "b"
    nodes = [node("Conv", ["x", "wa", "ba"], "a"), node("Conv", ["x", "wb", "bb"], "b")]
    nodes += [node("Relu", ["b"], "r")] if clamped else []
    return [*nodes, node("Sub", ["a", second], "y")]


@pytest.mark.parametrize(("alike", "clamped", "kinds"), [
    (False, False, ["Conv2d", "Conv2d", "Add"]),
    (False, True, ["Conv2d", "Conv2d", "Lookup", "Add"]),
    (True, False, ["Conv2d", "Lookup", "Add"]),
])  # fmt: skip
def test_a_difference_is_a_sum_with_the_right_side_negated(
    alike: bool, clamped: bool, kinds: list[str], tmp_path: Path
) -> None:
    net = Difference(alike=alike, clamped=clamped).eval()
    x = RNG.normal(size=(1, *SHAPE)).astype(np.float32)
    numbers = {"wa": net.a.weight, "ba": net.a.bias, "wb": net.b.weight, "bb": net.b.bias}
    arrays = {name: value.detach().numpy() for name, value in numbers.items()}  # type: ignore[union-attr]
    graphs = (
        from_torch.normalize(net, torch.from_numpy(x)),
        from_file(difference_nodes(alike=alike, clamped=clamped), tmp_path, opset=20, **arrays),
    )
    with torch.inference_mode():
        expected = net(torch.from_numpy(x)).numpy()
    for graph in graphs:
        assert [rules_of(step.op).name for step in graph.nodes] == kinds
        np.testing.assert_allclose(float_outputs(graph, x)[0], expected, atol=1e-5)


GREATEST = {
    "adaptive pool of a line": (nn.AdaptiveMaxPool1d(1), (4, 9)),
    "adaptive pool of an image": (nn.AdaptiveMaxPool2d(1), SHAPE),
    "adaptive pool to a size that divides": (nn.AdaptiveMaxPool2d((3, 1)), SHAPE),
    "amax": (Applied(lambda x: x.amax((2, 3))), SHAPE),
    "amax, axes kept": (Applied(lambda x: x.amax((2, 3), keepdim=True)), SHAPE),
    "values of max": (Applied(lambda x: torch.max(x, 2)[0]), (4, 9)),
    "values of max, axis kept": (Applied(lambda x: x.max(2, keepdim=True).values), (4, 9)),
}


@pytest.mark.parametrize("name", GREATEST)
def test_the_greatest_of_all_positions_is_one_window(name: str) -> None:
    net, shape = GREATEST[name]
    x = RNG.normal(size=(2, *shape)).astype(np.float32)
    graph = from_torch.normalize(net, torch.from_numpy(x))
    assert rules_of(graph.nodes[0].op).name == "MaxPool"
    np.testing.assert_array_equal(float_outputs(graph, x)[0], net(torch.from_numpy(x)).numpy())


@pytest.mark.parametrize(("axes", "keepdims"), [((2, 3), 1), ((-1, -2), 0)])
def test_reduce_max_over_all_positions_is_one_window(axes: tuple[int, ...], keepdims: int, tmp_path: Path) -> None:
    x = RNG.normal(size=(1, *SHAPE)).astype(np.float32)
    graph = from_file([node("ReduceMax", ["x"], "y", axes=axes, keepdims=keepdims)], tmp_path, opset=17)
    np.testing.assert_array_equal(float_outputs(graph, x)[0], x.max((2, 3), keepdims=bool(keepdims)))


@pytest.mark.parametrize(("function", "words"), [
    (lambda x: F.adaptive_max_pool2d(x, 1, return_indices=True)[1].float(), "indices are wanted"),
    (lambda x: x.amax(1), "takes the greatest over all positions"),
    (lambda x: F.adaptive_max_pool2d(x, 4), "windows of unequal size"),
])  # fmt: skip
def test_what_is_not_the_greatest_of_all_positions_is_refused(
    function: Callable[..., torch.Tensor], words: str
) -> None:
    with pytest.raises(UnsupportedOp, match=words):
        from_torch.normalize(Applied(function), torch.ones(1, *SHAPE))


@pytest.mark.parametrize("pool", [
    nn.MaxPool1d(LARGEST_WINDOW + 1),
    nn.AvgPool1d(LARGEST_WINDOW + 1),
    nn.AdaptiveMaxPool1d(2),
    nn.AdaptiveAvgPool1d(2),
    Applied(lambda x: x.amax(2)),
])  # fmt: skip
def test_a_window_larger_than_any_is_refused_by_name_and_one_as_large_is_taken(pool: nn.Module) -> None:
    parts = 2 if isinstance(pool, nn.AdaptiveMaxPool1d | nn.AdaptiveAvgPool1d) else 1
    with pytest.raises(UnsupportedOp, match=r"aten.*: a window \(32768,\) beyond 32767"):
        from_torch.normalize(pool, torch.ones(1, 1, parts * (LARGEST_WINDOW + 1)))
    if not isinstance(pool, nn.MaxPool1d | nn.AvgPool1d):
        from_torch.normalize(pool, torch.ones(1, 1, parts * LARGEST_WINDOW))


class Decoder(nn.Module):
    """A vector that becomes an image, clamped or bent before."""

    def __init__(self, *, bent: bool = False) -> None:
        super().__init__()
        self.linear, self.up = nn.Linear(4 * 6 * 5, 3 * 4 * 2), nn.ConvTranspose2d(3, 2, 2, 2)
        self.bent = bent

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x.flatten(1))
        y = torch.sigmoid(y) if self.bent else torch.relu(y)
        return self.up(y.view(len(x), 3, 4, 2))


def decoder_file(net: Decoder, folder: Path) -> FloatGraph:
    bend = "Sigmoid" if net.bent else "Relu"
    nodes = [
        node("Flatten", ["x"], "f"),
        node("Gemm", ["f", "w", "b"], "l", transB=1),
        node(bend, ["l"], "r"),
        node("Reshape", ["r", "shape"], "v"),
        node("ConvTranspose", ["v", "u", "c"], "y", strides=[2, 2]),
    ]
    numbers = {"w": net.linear.weight, "b": net.linear.bias, "u": net.up.weight, "c": net.up.bias}
    arrays = {name: value.detach().numpy() for name, value in numbers.items()}  # type: ignore[union-attr]
    return from_file(nodes, folder, opset=17, shape=np.array([1, 3, 4, 2]), **arrays)


def test_rows_of_a_linear_layer_are_put_in_the_order_of_the_image_that_its_vector_becomes(tmp_path: Path) -> None:
    net, x = Decoder().eval(), RNG.normal(size=(16, *SHAPE)).astype(np.float32)
    with torch.inference_mode():
        expected = net(torch.from_numpy(x)).numpy()
    for graph in (from_torch.normalize(net, torch.from_numpy(x)), decoder_file(net, tmp_path)):
        np.testing.assert_allclose(float_outputs(graph, x)[0], expected, atol=1e-5)
        program = oaq.quantize(graph, [x], budget=None)
        assert sqnr_db(expected, oaq.Session(oaq.plan(program)).run(x)) > 25


def test_a_vector_that_no_linear_layer_computes_is_moved_to_become_an_image(tmp_path: Path) -> None:
    net, x = Decoder(bent=True).eval(), np.random.default_rng(2).normal(0, 1, (3, *SHAPE)).astype(np.float32)
    expected = net(torch.from_numpy(x)).detach().numpy()
    for graph in (from_torch.normalize(net, torch.from_numpy(x)), decoder_file(net, tmp_path)):
        assert any(isinstance(node.op, ops.Transpose) for node in graph.nodes)
        np.testing.assert_allclose(float_outputs(graph, x)[0], expected, atol=1e-5)
        program = oaq.quantize(graph, [x], budget=None)
        assert sqnr_db(expected, oaq.Session(oaq.plan(program)).run(x)) > 25
