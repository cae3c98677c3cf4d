"""What a graph and its integers become: layouts, multipliers, tables, ranges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from oaq import operators as ops
from oaq.capture.from_torch import normalize
from oaq.capture.functions import FUNCTIONS
from oaq.capture.graph import (
    FloatFunction,
    FloatGraph,
    FloatLinear,
    FloatNode,
    FloatProducts,
    FloatReshape,
    LayerParams,
    TensorParams,
    Unquantized,
)
from oaq.capture.lower import clamp_range, lower, same_affine_groups
from oaq.errors import ProgramError, UnsupportedOp
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.ptq.execute import run_graph
from oaq.ptq.functions import FUNCTIONS as TORCH_FUNCTIONS
from oaq.ptq.functions import function
from oaq.reference import run

U8 = IntRange(0, 255)


def chosen(graph: FloatGraph, x: torch.Tensor) -> tuple[dict[str, TensorParams], dict[str, LayerParams]]:
    """Eight bits, from the range seen on ``x``."""
    values = run_graph(graph, {graph.inputs[0]: x})
    tensors: dict[str, TensorParams] = {}
    for group in same_affine_groups(graph):
        low = min(0.0, *(float(values[name].min()) for name in group))
        high = max(1e-3, *(float(values[name].max()) for name in group))
        scale = (high - low) / 255
        tensors |= dict.fromkeys(group, TensorParams(Affine(scale, round(-low / scale)), U8))
    layers = {}
    for node in graph.nodes:
        if isinstance(node.op, FloatProducts):
            rows = node.op.weight.reshape(len(node.op.weight), -1)
            scale = (np.abs(rows).max(1) / 127).astype(np.float32)
            weight = np.rint(rows / scale[:, None]).astype(np.int8).reshape(node.op.weight.shape)
            bias = np.rint(node.op.bias / (tensors[node.inputs[0]].affine.scale * scale)).astype(np.int32)
            layers[node.name] = LayerParams(weight, scale, bias)
    return tensors, layers


NETS: dict[str, nn.Module] = {
    "convolutions": nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU6(), nn.Conv2d(8, 8, (3, 1), groups=8), nn.Conv2d(8, 5, 1)
    ),
    "flatten": nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 5 * 4, 6)),
    "flatten, sigmoid": nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Sigmoid(), nn.Linear(4 * 10 * 8, 6)),
    "pools": nn.Sequential(nn.Conv2d(3, 4, 3), nn.AvgPool2d(2, 2, 1, count_include_pad=False), nn.AdaptiveAvgPool2d(1)),
    "resize": nn.Sequential(nn.Conv2d(3, 8, 1), nn.PixelShuffle(2), nn.Upsample(scale_factor=2, mode="bilinear")),
    "functions": nn.Sequential(nn.Conv2d(3, 4, 1), nn.SiLU(), nn.Conv2d(4, 4, 1), nn.Hardswish(), nn.LeakyReLU(0.1)),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("semantics", ["float32_half_even", "fixed_point"])
def test_the_integers_follow_the_float_network(name: str, semantics: str) -> None:
    torch.manual_seed(0)
    x = torch.rand(4, 3, 12, 10)
    graph = normalize(NETS[name].eval(), x, name)
    program = lower(graph, *chosen(graph, x), semantics)  # type: ignore[arg-type]
    spec = program.tensors[program.inputs[0]]
    integers = spec.affine.quantize(x.numpy().transpose(0, 2, 3, 1), spec.range)
    got = run(program, integers).outputs[0]
    output = program.tensors[program.outputs[0]]
    real = output.affine.dequantize(got)
    wanted = run_graph(graph, {graph.inputs[0]: x})[graph.outputs[0]].numpy()
    if wanted.ndim == 4:
        wanted = wanted.transpose(0, 2, 3, 1)
    assert 10 * np.log10(np.mean(wanted**2) / np.mean((wanted - real) ** 2)) > 25


def test_multipliers_are_float32_in_the_order_onnx_runtime_computes_them() -> None:
    graph = normalize(nn.Conv2d(3, 5, 1), torch.zeros(1, 3, 2, 2))
    tensors, layers = chosen(graph, torch.rand(1, 3, 2, 2))
    program = lower(graph, tensors, layers)
    s_x, s_y = (np.float32(tensors[name].affine.scale) for name in (graph.inputs[0], graph.outputs[0]))
    wanted = (s_x * layers[graph.nodes[0].name].weight_scale) / s_y
    assert wanted.dtype == np.float32
    np.testing.assert_array_equal(program.nodes[0].op.requantize.multiplier, wanted)  # type: ignore[union-attr]


PARAMETERS = {
    **dict.fromkeys(("leaky_relu", "elu", "celu", "swish", "softplus", "softshrink"), (0.7,)),
    "clamp": (-1.0, 2.0),
    "selu": (1.6732632, 1.0507010),
    "power": (1.5,),
    "window": (2.0, -1.0, 1.5),
    "polyline": (0.5, 2.0, -1.01, 0.22, 1.51, 0.03, 0.9, -0.4),
}


def test_torch_computes_every_function_that_a_table_may_hold() -> None:
    assert set(FUNCTIONS) == set(TORCH_FUNCTIONS)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_are_finite_wherever_an_integer_of_any_scale_may_lie(name: str) -> None:
    values = np.array([-1e30, -1e6, -1.0, 0.0, 1.0, 1e6, 1e30])
    assert np.all(np.isfinite(FUNCTIONS[name](values, *PARAMETERS.get(name, ()))))  # type: ignore[index]


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_tables_hold_the_function(name: str) -> None:
    parameters = PARAMETERS.get(name, ())
    node = FloatNode("f", FloatFunction(name, parameters), ("x",), "y")  # type: ignore[arg-type]
    graph = FloatGraph("f", ("x",), ("y",), {"x": (4,), "y": (4,)}, (node,))
    x, y = Affine(0.05, 120), Affine(0.03, 60)
    program = lower(graph, {"x": TensorParams(x, U8), "y": TensorParams(y, IntRange(10, 200))}, {})
    table = program.nodes[0].op.table  # type: ignore[union-attr]
    real = torch.tensor((np.arange(256) - 120.0) * x.scale, dtype=torch.float64)
    expected = function(FloatFunction(name, parameters), real)  # type: ignore[arg-type]
    steps = np.clip(np.rint(expected.numpy() / y.scale) + 60, 10, 200)
    assert np.abs(table.astype(int) - steps).max() <= 1
    assert np.mean(table != steps) < 0.02  # halves, where float64 rounds one way or the other


def test_movement_shares_an_affine_map_and_nothing_else_does() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.MaxPool2d(2), nn.ZeroPad2d(1), nn.Conv2d(4, 4, 1, padding=1), nn.Flatten()
    )
    graph = normalize(nn.Sequential(*net, nn.Linear(4 * 8 * 7, 2)), torch.zeros(1, 3, 8, 6))
    sizes = sorted(len(group) for group in same_affine_groups(graph))
    assert sizes == [1, 1, 2, 2]


def test_a_clamp_narrows_the_range_to_the_integers_it_leaves() -> None:
    params = TensorParams(Affine(0.05, 20), IntRange(0, 255))
    assert clamp_range((0.0, 6.0), params) == IntRange(20, 140)
    assert clamp_range((None, 1e30), params) == IntRange(0, 255)
    assert clamp_range((-0.5, None), params) == IntRange(10, 255)
    with pytest.raises(ProgramError, match="leaves no range"):
        clamp_range((1.0, 2.0), params)


def nhwc_array(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if x.ndim == 4 else x


def one(op: object, shapes: dict[str, tuple[int, ...]], inputs: tuple[str, ...] = ("x",)) -> FloatGraph:
    return FloatGraph("one", inputs, ("y",), shapes, (FloatNode("n", op, inputs, "y"),))  # type: ignore[arg-type]


def test_flattening_an_image_for_anything_but_a_linear_layer_is_refused() -> None:
    graph = one(FloatReshape((12,)), {"x": (3, 2, 2), "y": (12,)})
    tensors = dict.fromkeys(graph.shapes, TensorParams(Affine(0.1), U8))
    with pytest.raises(UnsupportedOp, match=r"n: flattens \(3, 2, 2\)"):
        lower(graph, tensors, {})
    square = one(FloatReshape((2, 3, 2)), {"x": (3, 2, 2), "y": (2, 3, 2)})
    with pytest.raises(UnsupportedOp, match="reshapes"):
        lower(square, tensors, {})
    back = one(FloatReshape((3, 2, 2)), {"x": (12,), "y": (3, 2, 2)})
    with pytest.raises(UnsupportedOp, match="reshapes"):
        lower(back, tensors, {})


@pytest.mark.parametrize(
    ("source", "target"),
    [((3, 1, 1), (3,)), ((3,), (3, 1, 1)), ((3, 2, 4), (3, 8, 1)), ((3, 2, 4), (3, 1, 8)), ((1, 2, 3), (6,)),
     ((6,), (1, 3, 2)), ((1, 2, 3), (6, 1, 1)), ((1, 4, 3), (1, 2, 6))],
)  # fmt: skip
def test_a_reshape_that_moves_nothing_with_channels_innermost_is_taken(
    source: tuple[int, ...], target: tuple[int, ...]
) -> None:
    graph = one(FloatReshape(target), {"x": source, "y": target})
    tensors = dict.fromkeys(graph.shapes, TensorParams(Affine(0.1), U8))
    x = np.arange(np.prod(source), dtype=np.uint8).reshape(1, *source)
    got = run(lower(graph, tensors, {}), nhwc_array(x)).outputs[0]
    np.testing.assert_array_equal(got, nhwc_array(x.reshape(1, *target)))


def test_missing_integers_are_named() -> None:
    graph = one(Unquantized(ops.GlobalAvgPool), {"x": (3, 2, 2), "y": (3, 1, 1)})
    with pytest.raises(ProgramError, match="no integers were chosen for the tensors y"):
        lower(graph, {"x": TensorParams(Affine(0.1), U8)}, {})
    layer = normalize(nn.Conv2d(3, 5, 1), torch.zeros(1, 3, 2, 2))
    tensors, _ = chosen(layer, torch.rand(1, 3, 2, 2))
    with pytest.raises(ProgramError, match="no weights were chosen"):
        lower(layer, tensors, {})


def test_integers_of_another_shape_are_refused_by_the_name_of_the_layer() -> None:
    graph = one(FloatLinear(np.ones((2, 4), np.float32), np.zeros(2, np.float32)), {"x": (4,), "y": (2,)})
    tensors = dict.fromkeys(graph.shapes, TensorParams(Affine(0.1), U8))
    fits = LayerParams(np.ones((2, 4), np.int8), np.ones(2, np.float32), np.zeros(2, np.int32))
    lower(graph, tensors, {"n": fits})
    for wrong in (
        replace(fits, weight=np.ones((2, 5), np.int8)),
        replace(fits, weight_scale=np.ones(3, np.float32)),
        replace(fits, bias=np.zeros(1, np.int32)),
    ):
        with pytest.raises(ProgramError, match=r"^n: weight, weight_scale and bias have the shapes \(2, 4\)"):
            lower(graph, tensors, {"n": wrong})
    with pytest.raises(ProgramError, match=r"^n: requantize multipliers are positive"):
        lower(graph, tensors, {"n": replace(fits, weight_scale=-np.ones(2, np.float32))})


def test_a_clamp_that_excludes_zero_says_what_to_do() -> None:
    graph = one(Unquantized(ops.Add), {"x": (4,), "z": (4,), "y": (4,)}, ("x", "z"))
    clamped = replace(graph, nodes=(replace(graph.nodes[0], clamp=(0.5, 2.0)),))
    with pytest.raises(ProgramError, match=r'^n: the clamp \(0\.5, 2\.0\).*FloatFunction\("clamp"\)'):
        lower(clamped, dict.fromkeys(graph.shapes, TensorParams(Affine(0.1), U8)), {})


def test_a_function_without_a_table_is_refused() -> None:
    graph = one(FloatFunction("rounded"), {"x": (4,), "y": (4,)})  # type: ignore[arg-type]
    with pytest.raises(UnsupportedOp, match=r"^n: no function 'rounded'; oaq knows abs, asinh"):
        lower(graph, dict.fromkeys(graph.shapes, TensorParams(Affine(0.1), U8)), {})


def test_the_two_multipliers_of_a_fixed_point_addition_share_their_shift() -> None:
    graph = one(Unquantized(ops.Add), {"a": (4,), "b": (4,), "y": (4,)}, ("a", "b"))
    scales = {"a": 0.001, "b": 0.7, "y": 0.1}
    tensors = {name: TensorParams(Affine(scale, 128), U8) for name, scale in scales.items()}
    op = lower(graph, tensors, {}, "fixed_point").nodes[0].op
    assert op.requantize.shift[0] == op.requantize.shift[1]  # type: ignore[union-attr]
    real = op.requantize.multiplier / 2.0**op.requantize.shift  # type: ignore[union-attr]
    np.testing.assert_allclose(real, [0.01, 7.0], rtol=1e-6)


def test_metadata_says_where_a_program_comes_from() -> None:
    graph = one(Unquantized(ops.GlobalAvgPool), {"x": (3, 2, 2), "y": (3, 1, 1)})
    tensors = dict.fromkeys(graph.shapes, TensorParams(Affine(0.1), U8))
    program = lower(replace(graph, metadata={"source": "here"}), tensors, {}, metadata={"more": "1"})
    assert dict(program.metadata) == {"input_layout": "NCHW", "source": "here", "more": "1"}
