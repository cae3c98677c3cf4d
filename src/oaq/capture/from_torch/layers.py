"""Convolution, linear layer, batch norm, and arithmetic with constants."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import fx

from oaq.capture.assembly import Floats, batch_norm_numbers, channel_numbers, narrowed
from oaq.capture.from_torch.builder import Builder, base_name, sample_shape, site, unsupported, vector_shape
from oaq.capture.graph import FloatConv2d, FloatLinear
from oaq.operators import Padding, Pair

Arguments = dict[str, Any]


def conv2d(build: Builder, node: fx.Node, given: Arguments) -> str:
    """``aten.conv2d``, padding as numbers, "same" or "valid"; zeros padded just before it become its own."""
    weight = narrowed(build.constant(given["weight"], node))
    stride, dilation = pair(given["stride"]), pair(given["dilation"])
    padding = _padding(given["padding"], weight.shape[2:], stride, dilation, node)
    before = build.foldable(given["input"], node)
    tensor, padding = build.join_padding(build.read(given["input"], node), padding, before)
    bias = np.zeros(len(weight)) if given["bias"] is None else build.constant(given["bias"], node)
    op = FloatConv2d(weight, narrowed(bias), stride, padding, dilation, int(given["groups"]))  # type: ignore[arg-type]
    return build.emit(op, (tensor,), sample_shape(node), node)


def _padding(padding: Any, kernel: tuple[int, ...], stride: Pair, dilation: Pair, node: fx.Node) -> Padding:  # noqa: ANN401
    if padding == "same":
        if stride != (1, 1):
            raise unsupported(node, f'padding "same" with stride {stride}; torch refuses it too')
        total = [(size - 1) * step for size, step in zip(kernel, dilation, strict=True)]
        return total[0] // 2, total[0] - total[0] // 2, total[1] // 2, total[1] - total[1] // 2
    if padding == "valid":
        return 0, 0, 0, 0
    rows, columns = pair(padding)
    return rows, rows, columns, columns


def linear(build: Builder, node: fx.Node, given: Arguments) -> str:
    """``aten.linear`` on vectors."""
    tensor = build.read(given["input"], node)
    if len(build.shapes[tensor]) != 1:
        raise unsupported(node, f"on {build.shapes[tensor]}; oaq applies it to vectors (C,): flatten first")
    weight = narrowed(build.constant(given["weight"], node))
    bias = np.zeros(len(weight)) if given["bias"] is None else build.constant(given["bias"], node)
    return build.emit(FloatLinear(weight, narrowed(bias)), (tensor,), sample_shape(node), node)


def batch_norm(build: Builder, node: fx.Node, given: Arguments) -> str:
    """``aten.batch_norm`` in evaluation: a scale and a shift per channel."""
    if given["training"] or given["running_mean"] is None or given["running_var"] is None:
        raise unsupported(node, "it normalizes with the statistics of each batch; call eval(), or track statistics")
    mean, variance = (build.constant(given[key], node) for key in ("running_mean", "running_var"))
    weight, bias = (None if given[key] is None else build.constant(given[key], node) for key in ("weight", "bias"))
    scale, shift = batch_norm_numbers((mean, variance), float(given["eps"]), (weight, bias), site(node))
    return per_channel(build, node, given["input"], scale, shift)


def per_channel(build: Builder, node: fx.Node, value: object, scale: Floats, shift: Floats) -> str:
    """X * scale + shift, each a number or (C,): part of the layer before it, or a layer of its own."""
    return build.scale_and_shift(build.read(value, node), (scale, shift), build.foldable(value, node), site(node))


def arithmetic(build: Builder, node: fx.Node, given: Arguments) -> str:
    """Add, subtract, multiply, divide, negate: two activations, or one and a constant per channel."""
    kind = base_name(node).rstrip("_")
    left, right = given["self"], given.get("other", -1.0)  # neg has no other: x * -1
    if given.get("rounding_mode") is not None:
        raise unsupported(node, f"rounding_mode={given['rounding_mode']!r}; oaq divides exactly")
    factor = float(given.get("alpha", 1))
    if kind == "rsub":
        kind, left, right = "sub", right, left
    if build.is_activation(left) and build.is_activation(right):
        return _of_two(build, node, kind, factor, (left, right))
    on_left = build.is_activation(left)
    x, constant = (left, right) if on_left else (right, left)
    if vector_shape(node) != build.shapes[build.read(x, node)]:
        raise unsupported(node, f"the constant changes the shape to {sample_shape(node)}")
    number = channel_numbers(build.constant(constant, node), build.shapes[build.read(x, node)], site(node))
    if kind in ("add", "sub"):
        factor = -factor if kind == "sub" else factor  # of the right operand
        scale, shift = (1.0, factor * number) if on_left else (factor, number)
        return per_channel(build, node, x, np.asarray(scale), shift)
    if kind in ("mul", "neg"):
        return per_channel(build, node, x, number, np.asarray(0.0))
    if not on_left:
        raise unsupported(node, "a constant divided by an activation")
    if np.any(number == 0):
        raise unsupported(node, "it divides by zero")
    return per_channel(build, node, x, 1.0 / number, np.asarray(0.0))


def _of_two(build: Builder, node: fx.Node, kind: str, factor: float, values: tuple[object, object]) -> str:
    a, b = build.read(values[0], node), build.read(values[1], node)
    gates = () if kind != "mul" else ((a, values[1]), (b, values[0]))
    for x, gate in gates:
        if (made := build.gate(x, build.foldable(gate, node), site(node))) is not None:
            return made
    if kind not in ("add", "mul") or (kind == "add" and factor != 1):
        raise unsupported(
            node, f"of two activations, alpha {factor}; oaq adds equal shapes, alpha 1, and multiplies by channel"
        )
    made = (build.add if kind == "add" else build.multiply)(a, b, site(node))
    if build.shapes[made] != vector_shape(node):
        raise unsupported(
            node,
            f"{build.shapes[a]} and {build.shapes[b]} make {sample_shape(node)}; oaq adds equal shapes",
        )
    return made


def pair(value: Any) -> Pair:  # noqa: ANN401
    """Torch's int, [int] or [int, int] as two."""
    numbers = [value] if isinstance(value, int) else [int(each) for each in value]
    return (numbers[0], numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])
