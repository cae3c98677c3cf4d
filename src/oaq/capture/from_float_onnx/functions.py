"""Functions of one value: clamps, which become part of what they follow, and curves, which become tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from oaq.capture.from_float_onnx.builder import Builder, View, site, unsupported
from oaq.capture.from_float_onnx.layers import per_channel
from oaq.capture.from_onnx.attributes import real, text
from oaq.capture.from_onnx.graph import OnnxNode
from oaq.capture.graph import FloatChannelFunction, FloatClamp, FloatFunction, FunctionName
from oaq.capture.named_functions import leaky_relu_of, power_of

Handler = Callable[[Builder, OnnxNode], None]
NAMED: Final[tuple[FunctionName, ...]] = (
    *("softplus", "softsign", "mish", "erf", "exp", "abs", "sqrt"),
    *("sin", "cos", "atan", "asinh", "sinh", "cosh"),
)
"""Functions without attributes that ONNX calls alike, with a capital letter."""

FARTHEST = float(np.finfo(np.float32).max)
"""Bounds from here on are none: exporters write the largest float where they mean that."""


def clamped(lo: float | None, hi: float | None) -> Handler:
    """Relu and its like."""
    return lambda build, node: _clamp(build, node, node.input_name(0), (lo, hi))


def clip(build: Builder, node: OnnxNode) -> None:
    """Clip by attributes (before opset 11) or constants."""
    ends = []
    for index, name in ((1, "min"), (2, "max")):
        end = real(node, name, np.nan) if name in node.attributes else build.scalar(node.input_name(index), node)
        ends.append(None if end is None or abs(end) >= FARTHEST else end)
    _clamp(build, node, node.input_name(0), (ends[0], ends[1]))


def bounded(build: Builder, node: OnnxNode) -> None:
    """Min or Max of an activation and a number, or of activations of one shape."""
    activations = [name for name in node.inputs if build.is_activation(name)]
    if len(node.inputs) == len(activations):
        least, axes = node.op == "Min", build.counted(activations[0], node)[1]
        tensors = [build.with_axes(name, axes, node) for name in activations]
        result = tensors[0]
        for count, tensor in enumerate(tensors[1:]):
            place = site(node) if count == len(tensors) - 2 else site(node).under(f".{count}")
            result = build.extreme(result, tensor, place, least=least)
        build.write(node, result, axes)
        return
    if len(node.inputs) != 2 or len(activations) != 1:
        raise unsupported(node, f"of {len(node.inputs)} inputs; oaq takes activations, or one and a number")
    x = activations[0]
    end = build.scalar(next(name for name in node.inputs if name != x), node)
    _clamp(build, node, x, (end, None) if node.op == "Max" else (None, end))


def _clamp(build: Builder, node: OnnxNode, x: str, bounds: FloatClamp) -> None:
    if any(bound is not None and np.isnan(bound) for bound in bounds):
        raise unsupported(node, "its bounds are NaN")
    view = build.view(x, node)
    tensor = build.clamp(view.tensor, bounds, build.foldable(x, node), site(node))
    build.settle(node.outputs[0], View(tensor, view.layout))


def curve(name: FunctionName, **parameters: float) -> Handler:
    """A function of one value; ``parameters`` are its attributes with their defaults."""

    def take(build: Builder, node: OnnxNode) -> None:
        values = tuple(real(node, key, default) for key, default in parameters.items())
        apply(build, node, node.input_name(0), FloatFunction(name, values))

    return take


def gelu(build: Builder, node: OnnxNode) -> None:
    """Gelu by the error function, or approximated by tanh."""
    approximate = text(node, "approximate", "none")
    if approximate not in ("none", "tanh"):
        raise unsupported(node, f"approximate={approximate!r}; oaq knows 'none' and 'tanh'")
    apply(build, node, node.input_name(0), FloatFunction("gelu" if approximate == "none" else "gelu_tanh"))


def shrink(build: Builder, node: OnnxNode) -> None:
    """Shrink without a step: what lies in [-lambd, lambd] becomes 0, the rest moves towards 0 by as much."""
    width, bias = real(node, "lambd", 0.5), real(node, "bias", 0.0)
    if width != bias or width < 0:
        raise unsupported(
            node, f"lambd={width:g}, bias={bias:g}: it jumps, and 8 bits lose where; oaq takes equal ones"
        )
    apply(build, node, node.input_name(0), FloatFunction("softshrink", (width,)))


def power(build: Builder, node: OnnxNode) -> None:
    """Pow by one constant."""
    if not build.is_activation(node.input_name(0)):
        raise unsupported(node, "of a constant by an activation; oaq takes powers of activations")
    exponent = build.scalar(node.input_name(1), node)
    assert exponent is not None
    apply(build, node, node.input_name(0), power_of(exponent, site(node)))


def hard_sigmoid(build: Builder, node: OnnxNode) -> None:
    """clip(alpha * x + beta, 0, 1)."""
    alpha, beta = real(node, "alpha", 0.2), real(node, "beta", 0.5)
    apply(build, node, node.input_name(0), hard_sigmoid_of(alpha, beta))


def hard_sigmoid_of(alpha: float, beta: float) -> FloatFunction:
    """The plain function where the numbers are its own, to float32."""
    if np.float32(alpha) == np.float32(1 / 6) and beta == 0.5:
        return FloatFunction("hardsigmoid")
    return FloatFunction("hardsigmoid", (alpha, beta))


def parametric_relu(build: Builder, node: OnnxNode) -> None:
    """PRelu with one slope for all channels, or one for each, on whichever axis they are."""
    x, slopes = node.input_name(0), build.constant(node.input_name(1), node)
    if slopes.size > 1 and np.ptp(slopes) != 0:
        slopes = per_channel(build, node, x, slopes)
        tensor, axes = build.counted(x, node)
        op = leaky_relu_of(slopes, build.shapes[tensor][0], site(node))
        build.emit(op, (tensor,), build.shapes[tensor], node, axes)
        return
    apply(build, node, x, leaky_relu_of(slopes, 1, site(node)))


def apply(build: Builder, node: OnnxNode, x: str, op: FloatFunction | FloatChannelFunction) -> None:
    """``op`` of the file's ``x`` is what ``node`` writes."""
    view = build.view(x, node)
    tensor = build.append(op, (view.tensor,), build.shapes[view.tensor], site(node))
    build.settle(node.outputs[0], View(tensor, view.layout))
