"""Rules for operators that take integers, scales and zero points side by side: QLinearConv and its relatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from oaq.capture.from_onnx import curves, joins, layers
from oaq.capture.from_onnx.attribute_table import MICROSOFT
from oaq.capture.from_onnx.attributes import integer, real
from oaq.capture.from_onnx.graph import OnnxNode
from oaq.capture.from_onnx.layers import Bias
from oaq.capture.from_onnx.values import Integers, Meaning, Pending, Reals, Stays, View, curve_of
from oaq.capture.from_onnx.walk import Walk
from oaq.capture.from_onnx.weights import stored_or_none


def qlinear_conv(walk: Walk, node: OnnxNode) -> None:
    """x, s_x, z_x, w, s_w, z_w, s_y, z_y, bias."""
    x = operand(walk, node, 0)
    weight = layers.integer_weights(walk, node.input_name(3), node.input_name(4), node.input_name(5), 0)
    finish(walk, node, layers.convolution(walk, node, x, weight, _steps(walk, node.input_name(8))), 6)


def qlinear_matmul(walk: Walk, node: OnnxNode) -> None:
    """a, s_a, z_a, b, s_b, z_b, s_y, z_y."""
    x = operand(walk, node, 0)
    if node.input_name(3) not in walk.graph.constants:
        raise Stays("both its operands are computed; sums of products of two activations have no fixed weights")
    weight = layers.integer_weights(walk, node.input_name(3), node.input_name(4), node.input_name(5), 1)
    if weight.values.ndim != 2:
        raise Stays("its weights are not a matrix")
    finish(walk, node, layers.product(walk, node, x, weight.transposed((1, 0)), (Bias(), 1.0)), 6)


def qgemm(walk: Walk, node: OnnxNode) -> None:
    """a, s_a, z_a, b, s_b, z_b, bias, s_y, z_y; real where s_y is left out."""
    if integer(node, "transA", 0):
        raise Stays("it transposes its input")
    flip = integer(node, "transB", 0)
    weight = layers.integer_weights(walk, node.input_name(3), node.input_name(4), node.input_name(5), 0 if flip else 1)
    if weight.values.ndim != 2:
        raise Stays("its weights are not a matrix")
    if not flip:
        weight = weight.transposed((1, 0))
    x = operand(walk, node, 0)
    bias = layers.along_columns(_steps(walk, node.input_name(6)), weight.values.shape[0])
    pending = layers.product(walk, node, x, weight, (bias, real(node, "alpha", 1.0)))
    if node.input_name(7):
        finish(walk, node, pending, 7)
    else:
        walk.values[node.outputs[0]] = pending


def qlinear_add(walk: Walk, node: OnnxNode) -> None:
    """a, s_a, z_a, b, s_b, z_b, s_y, z_y."""
    finish(walk, node, joins.sum_of(walk, node, [operand(walk, node, 0), operand(walk, node, 3)]), 6)


def qlinear_mul(walk: Walk, node: OnnxNode) -> None:
    """a, s_a, z_a, b, s_b, z_b, s_y, z_y."""
    finish(walk, node, joins.product_of(walk, node, [operand(walk, node, 0), operand(walk, node, 3)]), 6)


def qlinear_concat(walk: Walk, node: OnnxNode) -> None:
    """s_y, z_y, then (tensor, scale, zero point) of each."""
    views = [operand(walk, node, index) for index in range(2, len(node.inputs) - 2, 3)]
    if not views:
        raise Stays("it joins nothing")
    finish(walk, node, joins.side_by_side(walk, node, views), 0)


def qlinear_average_pool(walk: Walk, node: OnnxNode) -> None:
    """x, s_x, z_x, s_y, z_y."""
    finish(walk, node, joins.mean_of_windows(walk, node, operand(walk, node, 0)), 3)


def qlinear_global_average_pool(walk: Walk, node: OnnxNode) -> None:
    """x, s_x, z_x, s_y, z_y."""
    finish(walk, node, joins.mean_of_image(walk, node, operand(walk, node, 0)), 3)


def qlinear_reduce_mean(walk: Walk, node: OnnxNode) -> None:
    """x, s_x, z_x, s_y, z_y; axes are an attribute."""
    alone = replace(node, inputs=node.inputs[:1])
    finish(walk, node, replace(joins.mean_over_axes(walk, alone, operand(walk, node, 0)), nodes=(node,)), 3)


def qlinear_function(walk: Walk, node: OnnxNode) -> None:
    """x, s_x, z_x, s_y, z_y: a function of one value."""
    reals = Reals(operand(walk, node, 0))
    values = curve_of(walk.draft, reals).astype(np.float64)
    images = curves.FUNCTIONS[node.op.removeprefix("QLinear")](values, node).astype(np.float32)
    if not np.all(np.isfinite(images)):
        raise Stays("it is not finite everywhere")
    meaning, name = _result(walk, node, 3), node.outputs[0]
    view = walk.requantized(Reals(reals.view, images, (node,)), meaning, name, node)
    walk.values[name] = Integers(view, meaning.offset)
    walk.absorb([node])


def operand(walk: Walk, node: OnnxNode, index: int) -> View:
    """An integer input with the scale and zero point that follow it."""
    name = node.input_name(index)
    signed = walk.graph.dtype(name) == np.int8
    return walk.integers(name, walk.meaning(node.input_name(index + 1), node.input_name(index + 2), signed))


def finish(walk: Walk, node: OnnxNode, pending: Pending, index: int) -> None:
    """Quantize the result with the scale and zero point at ``index``."""
    meaning, name = _result(walk, node, index), node.outputs[0]
    walk.values[name] = Integers(walk.materialized(pending, meaning, name), meaning.offset)


def _result(walk: Walk, node: OnnxNode, index: int) -> Meaning:
    zero = node.input_name(index + 1)
    return walk.meaning(node.input_name(index), zero, bool(zero) and walk.graph.dtype(zero) == np.int8)


def _steps(walk: Walk, name: str) -> Bias:
    """A bias that is int32 at s_x * s_w by definition."""
    if not name:
        return Bias()
    value = walk.constant(name, "bias")
    if value.dtype != np.int32:
        raise Stays(f"its bias is {value.dtype}, not int32")
    return Bias(value, None, True, (stored_or_none(walk.graph, name, walk.readers), None))


RULES: Final[Mapping[tuple[str, str], Callable[[Walk, OnnxNode], None]]] = {
    ("", "QLinearConv"): qlinear_conv,
    ("", "QLinearMatMul"): qlinear_matmul,
    (MICROSOFT, "QGemm"): qgemm,
    (MICROSOFT, "QLinearAdd"): qlinear_add,
    (MICROSOFT, "QLinearMul"): qlinear_mul,
    (MICROSOFT, "QLinearConcat"): qlinear_concat,
    (MICROSOFT, "QLinearAveragePool"): qlinear_average_pool,
    (MICROSOFT, "QLinearGlobalAveragePool"): qlinear_global_average_pool,
    (MICROSOFT, "QLinearReduceMean"): qlinear_reduce_mean,
    (MICROSOFT, "QLinearSigmoid"): qlinear_function,
    (MICROSOFT, "QLinearLeakyRelu"): qlinear_function,
}
"""Handlers by domain and operator."""
