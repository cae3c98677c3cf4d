"""Convolution, linear layer, batch norm, and arithmetic with constants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from torch import fx

from oaq.capture.from_torch.builder import Builder, Floats, base_name, sample_shape, unsupported
from oaq.capture.graph import FloatAdd, FloatConv2d, FloatLinear, FloatMul, FloatPad
from oaq.program.ops import LARGEST_WINDOW, Padding, Pair

Arguments = dict[str, Any]


def conv2d(build: Builder, node: fx.Node, given: Arguments) -> str:
    """``aten.conv2d``, padding as numbers, "same" or "valid"; zeros padded just before it become its own."""
    weight = build.constant(given["weight"], node).astype(np.float32)
    stride, dilation = pair(given["stride"]), pair(given["dilation"])
    tensor, value = build.read(given["input"], node), given["input"]
    padding = _padding(given["padding"], weight.shape[2:], stride, dilation, node)
    before = build.foldable(value, node)
    if before is not None and isinstance(before.op, FloatPad):
        joined = tuple(a + b for a, b in zip(padding, before.op.padding, strict=True))
        if max(joined) <= LARGEST_WINDOW:
            padding, tensor = joined, build.remove(tensor)
    bias = np.zeros(len(weight)) if given["bias"] is None else build.constant(given["bias"], node)
    op = FloatConv2d(weight, bias.astype(np.float32), stride, padding, dilation, int(given["groups"]))  # type: ignore[arg-type]
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
    weight = build.constant(given["weight"], node).astype(np.float32)
    bias = np.zeros(len(weight)) if given["bias"] is None else build.constant(given["bias"], node)
    return build.emit(FloatLinear(weight, bias.astype(np.float32)), (tensor,), sample_shape(node), node)


def batch_norm(build: Builder, node: fx.Node, given: Arguments) -> str:
    """``aten.batch_norm`` in evaluation: a scale and a shift per channel."""
    if given["training"] or given["running_mean"] is None or given["running_var"] is None:
        raise unsupported(node, "it normalizes with the statistics of each batch; call eval(), or track statistics")
    mean, variance = (build.constant(given[key], node) for key in ("running_mean", "running_var"))
    scale = 1.0 / np.sqrt(variance + float(given["eps"]))
    if given["weight"] is not None:
        scale = scale * build.constant(given["weight"], node)
    shift = -mean * scale
    if given["bias"] is not None:
        shift = shift + build.constant(given["bias"], node)
    return per_channel(build, node, given["input"], scale, shift)


def per_channel(build: Builder, node: fx.Node, value: object, scale: Floats, shift: Floats) -> str:
    """X * scale + shift, each a number or (C,): part of the layer before it, or a 1x1 depthwise convolution."""
    tensor = build.read(value, node)
    shape = build.shapes[tensor]
    scale, shift = (np.broadcast_to(each, (shape[0],)) for each in (scale, shift))
    before = build.foldable(value, node)
    if before is not None and before.clamp is None and isinstance(before.op, FloatConv2d | FloatLinear):
        weight, bias = before.op.weight.astype(np.float64), before.op.bias.astype(np.float64)
        rows = scale.reshape(-1, *(1,) * (weight.ndim - 1))
        build.change(
            tensor,
            replace(
                before.op,
                weight=(weight * rows).astype(np.float32),
                bias=(bias * scale + shift).astype(np.float32),
            ),
        )
        return tensor
    if len(shape) == 1:
        return build.emit(
            FloatLinear(np.diag(scale).astype(np.float32), shift.astype(np.float32)), (tensor,), shape, node
        )
    weight = scale.reshape(-1, 1, 1, 1).astype(np.float32)
    return build.emit(FloatConv2d(weight, shift.astype(np.float32), groups=shape[0]), (tensor,), shape, node)


def arithmetic(build: Builder, node: fx.Node, given: Arguments) -> str:
    """Add, subtract, multiply, divide: two activations, or one and a constant per channel."""
    kind = base_name(node).rstrip("_")
    left, right = given["self"], given["other"]
    factor = float(given.get("alpha", 1))
    if build.is_activation(left) and build.is_activation(right):
        return _of_two(build, node, kind, factor, (left, right))
    if kind in ("add", "mul") and build.is_activation(right):
        left, right = right, left
        if factor != 1:
            raise unsupported(node, f"alpha={factor} on the activation")
    if not build.is_activation(left):
        raise unsupported(node, "a constant minus, or divided by, an activation")
    number = _channels(build, node, left, right)
    match kind:
        case "add":
            return per_channel(build, node, left, np.asarray(1.0), factor * number)
        case "sub":
            return per_channel(build, node, left, np.asarray(1.0), -factor * number)
        case "mul":
            return per_channel(build, node, left, number, np.asarray(0.0))
        case _:
            if np.any(number == 0):
                raise unsupported(node, "it divides by zero")
            return per_channel(build, node, left, 1.0 / number, np.asarray(0.0))


def _channels(build: Builder, node: fx.Node, activation: object, constant: object) -> Floats:
    """A constant that is one number, or one per channel, as () or (C,)."""
    number = build.constant(constant, node)
    if not np.all(np.isfinite(number)):
        raise unsupported(node, "the constant holds NaN or infinity")
    if number.size == 1:
        return number.reshape(())
    shape = build.shapes[build.read(activation, node)]
    wanted = (shape[0], *(1,) * (len(shape) - 1))
    if number.size == shape[0] and number.shape[-len(wanted) :] == wanted:
        return number.reshape(-1)
    raise unsupported(node, f"a constant of shape {number.shape}; one number or one per channel can be taken")


def _of_two(build: Builder, node: fx.Node, kind: str, factor: float, values: tuple[object, object]) -> str:
    names = build.read(values[0], node), build.read(values[1], node)
    a, b = (build.shapes[name] for name in names)
    if kind == "add" and factor == 1 and a == b:
        return build.emit(FloatAdd(), names, a, node)
    if kind == "mul":
        if len(a) == 3 and b in ((a[0],), (a[0], 1, 1), a):
            return build.emit(FloatMul(), names, a, node)
        if len(b) == 3 and a in ((b[0],), (b[0], 1, 1)):
            return build.emit(FloatMul(), names[::-1], b, node)
        if a == b:
            return build.emit(FloatMul(), names, a, node)
    raise unsupported(node, f"of shapes {a} and {b} (alpha {factor}); oaq adds equal shapes and multiplies by channel")


def pair(value: Any) -> Pair:  # noqa: ANN401
    """Torch's int, [int] or [int, int] as two."""
    numbers = [value] if isinstance(value, int) else [int(each) for each in value]
    return (numbers[0], numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])
