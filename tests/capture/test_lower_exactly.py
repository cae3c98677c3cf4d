"""A lowered program's integers against the plainest computation there is, in (C, H, W) and without oaq's operators."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oaq import operators as ops
from oaq.capture import graph as fg
from oaq.capture.graph import FloatGraph, FloatNode, LayerParams, TensorParams
from oaq.capture.lower import lower, same_affine_groups
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.reference import run

Tensors = dict[str, TensorParams]
Layers = dict[str, LayerParams]


def plain(graph: FloatGraph, tensors: Tensors, layers: Layers, x: np.ndarray) -> np.ndarray:
    """The output's integers of one sample ``x`` (C, H, W), by loops over the float graph's own layout."""
    values = {graph.inputs[0]: x.astype(np.int64)}
    for node in graph.nodes:
        a, affine = values[node.inputs[0]], tensors[node.inputs[0]].affine
        y = tensors[node.output]
        if isinstance(node.op, fg.FloatProducts):
            layer = layers[node.name]
            sums = (convolved if isinstance(node.op, fg.FloatConv2d) else multiplied)(node.op, layer, a, affine)
            ratio = np.float32(affine.scale) * layer.weight_scale / np.float32(y.affine.scale)
            steps = sums.astype(np.float32) * ratio.reshape(-1, *(1,) * (sums.ndim - 1))
        elif node.op == fg.Unquantized(ops.Add):
            steps = np.float32(0)
            for name in node.inputs:
                ratio = np.float32(tensors[name].affine.scale) / np.float32(y.affine.scale)
                steps = steps + (values[name] - tensors[name].affine.zero_point).astype(np.float32) * ratio
        elif isinstance(node.op, ops.MaxPool):
            values[node.output] = largest(node.op, a)
            continue
        else:
            assert isinstance(node.op, fg.FloatReshape)
            values[node.output] = a.reshape(node.op.shape)
            continue
        lo, hi = y.range.lo, y.range.hi
        if node.clamp is not None and node.clamp[0] is not None:
            lo = max(lo, y.affine.zero_point + round(node.clamp[0] / y.affine.scale))
        if node.clamp is not None and node.clamp[1] is not None:
            hi = min(hi, y.affine.zero_point + round(node.clamp[1] / y.affine.scale))
        values[node.output] = np.clip(np.rint(steps) + y.affine.zero_point, lo, hi).astype(np.int64)
    return values[graph.outputs[0]]


def convolved(op: fg.FloatConv2d, layer: LayerParams, x: np.ndarray, affine: Affine) -> np.ndarray:
    top, bottom, left, right = op.padding
    x = np.pad(x - affine.zero_point, ((0, 0), (top, bottom), (left, right)))
    outputs, per_group, kernel_h, kernel_w = layer.weight.shape
    height = (x.shape[1] - (kernel_h - 1) * op.dilation[0] - 1) // op.stride[0] + 1
    width = (x.shape[2] - (kernel_w - 1) * op.dilation[1] - 1) // op.stride[1] + 1
    result = np.zeros((outputs, height, width), np.int64)
    for n, row, column in itertools.product(range(outputs), range(height), range(width)):
        first = n // (outputs // op.groups) * per_group
        total = int(layer.bias[n])
        for c, i, j in itertools.product(range(per_group), range(kernel_h), range(kernel_w)):
            at = row * op.stride[0] + i * op.dilation[0], column * op.stride[1] + j * op.dilation[1]
            total += int(layer.weight[n, c, i, j]) * int(x[first + c, *at])
        result[n, row, column] = total
    return result


def multiplied(op: fg.FloatLinear, layer: LayerParams, x: np.ndarray, affine: Affine) -> np.ndarray:
    return layer.weight.astype(np.int64) @ (x - affine.zero_point) + layer.bias


def largest(op: ops.MaxPool, x: np.ndarray) -> np.ndarray:
    height, width = (x.shape[1] - op.kernel[0]) // op.stride[0] + 1, (x.shape[2] - op.kernel[1]) // op.stride[1] + 1
    result = np.zeros((len(x), height, width), np.int64)
    for row, column in itertools.product(range(height), range(width)):
        top, left = row * op.stride[0], column * op.stride[1]
        result[:, row, column] = x[:, top : top + op.kernel[0], left : left + op.kernel[1]].max((1, 2))
    return result


class Net:
    """A graph under construction, with integers drawn for it; what it computes does not matter, only how."""

    def __init__(self, shape: tuple[int, int, int], rng: np.random.Generator) -> None:
        self.rng, self.nodes, self.shapes = rng, [], {"x": shape}
        self.layers: Layers = {}

    def add(self, op: object, shape: tuple[int, ...], inputs: tuple[str, ...], clamp: fg.FloatClamp | None) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(FloatNode(name, op, inputs, name, clamp))  # type: ignore[arg-type]
        self.shapes[name] = shape
        return name

    def layer(self, op: object, weight: np.ndarray, shape: tuple[int, ...], x: str, clamp: fg.FloatClamp | None) -> str:
        name, outputs = self.add(op, shape, (x,), clamp), len(weight)
        integers = self.rng.integers(-127, 128, weight.shape).astype(np.int8)
        scale = (2.0 ** self.rng.uniform(-12, -8, outputs)).astype(np.float32)
        self.layers[name] = LayerParams(integers, scale, self.rng.integers(-5000, 5000, outputs).astype(np.int32))
        return name

    def conv(self, x: str, outputs: int, op: fg.FloatConv2d, clamp: fg.FloatClamp | None = None) -> str:
        channels, *size = self.shapes[x]
        kernel = op.weight.shape[2:]
        around = op.padding[0] + op.padding[1], op.padding[2] + op.padding[3]
        height, width = (
            (size[k] + around[k] - (kernel[k] - 1) * op.dilation[k] - 1) // op.stride[k] + 1 for k in (0, 1)
        )
        weight = np.zeros((outputs, channels // op.groups, *kernel), np.float32)
        made = fg.FloatConv2d(weight, np.zeros(outputs, np.float32), op.stride, op.padding, op.dilation, op.groups)
        return self.layer(made, weight, (outputs, height, width), x, clamp)

    def finish(self, output: str) -> tuple[FloatGraph, Tensors]:
        graph = FloatGraph("net", ("x",), (output,), self.shapes, tuple(self.nodes))
        tensors: Tensors = {}
        for group in same_affine_groups(graph):
            zero = int(self.rng.integers(0, 200))
            params = TensorParams(Affine(float(2.0 ** self.rng.uniform(-6, -3)), zero), IntRange(0, 255))
            tensors |= dict.fromkeys(group, params)
        return graph, tensors


def same_integers(net: Net, output: str) -> None:
    graph, tensors = net.finish(output)
    x = net.rng.integers(0, 256, (2, *net.shapes["x"])).astype(np.uint8)
    got = run(lower(graph, tensors, net.layers), np.ascontiguousarray(x.transpose(0, 2, 3, 1))).outputs[0]
    wanted = np.stack([plain(graph, tensors, net.layers, sample) for sample in x])
    np.testing.assert_array_equal(got, wanted.transpose(0, 2, 3, 1) if wanted.ndim == 4 else wanted)


def shaped(kernel: tuple[int, int], **how: object) -> fg.FloatConv2d:
    return fg.FloatConv2d(np.zeros((1, 1, *kernel), np.float32), np.zeros(1, np.float32), **how)  # type: ignore[arg-type]


def test_a_small_network_computes_what_its_integers_say() -> None:
    net = Net((3, 7, 6), np.random.default_rng(0))
    wide = net.conv("x", 4, shaped((3, 2), stride=(2, 1), padding=(1, 0, 0, 1)), (0.0, 6.0))
    deep = net.conv(wide, 4, shaped((3, 3), padding=(1, 1, 1, 1), groups=4), (0.0, None))
    both = net.add(fg.Unquantized(ops.Add), net.shapes[wide], (wide, deep), (-1.0, 2.0))
    channels, height, width = net.shapes[both]
    pooled = net.add(ops.MaxPool((2, 2), (1, 2)), (channels, height - 1, width // 2), (both,), None)
    flat = net.add(fg.FloatReshape((channels * (height - 1) * (width // 2),)), (), (pooled,), None)
    net.shapes[flat] = net.nodes[-1].op.shape
    weight = np.zeros((5, *net.shapes[flat]), np.float32)
    same_integers(net, net.layer(fg.FloatLinear(weight, np.zeros(5, np.float32)), weight, (5,), flat, None))


@pytest.mark.parametrize("clamp", [None, (0.0, None), (None, 0.0), (-0.3, 0.7)])
def test_clamps_are_the_nearest_integers(clamp: fg.FloatClamp | None) -> None:
    net = Net((2, 3, 3), np.random.default_rng(1))
    same_integers(net, net.conv("x", 3, shaped((2, 2)), clamp))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_stacks_of_layers_compute_what_their_integers_say(data: st.DataObject) -> None:
    draw = data.draw
    net = Net((draw(st.integers(1, 4)), 6, 5), np.random.default_rng(draw(st.integers(0, 2**16))))
    x = "x"
    for _ in range(draw(st.integers(1, 3))):
        channels = net.shapes[x][0]
        groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
        pad = st.integers(0, 2)
        how = shaped(
            (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
            stride=(draw(st.integers(1, 2)), draw(st.integers(1, 2))),
            padding=(draw(pad), 2, 2, draw(pad)),
            dilation=(draw(st.integers(1, 2)), 1),
            groups=groups,
        )
        clamp = draw(st.sampled_from([None, (0.0, None), (0.0, 1.5)]))
        x = net.conv(x, groups * draw(st.integers(1, 2)), how, clamp)
        assume(min(net.shapes[x]) > 0)  # a window fits
    if draw(st.booleans()):
        elements = int(np.prod(net.shapes[x]))
        flat = net.add(fg.FloatReshape((elements,)), (elements,), (x,), None)
        weight = np.zeros((3, elements), np.float32)
        x = net.layer(fg.FloatLinear(weight, np.zeros(3, np.float32)), weight, (3,), flat, None)
    same_integers(net, x)
