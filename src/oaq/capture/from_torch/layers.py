"""Convolution, linear layer, batch norm, and arithmetic with constants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from torch import fx

from oaq.capture.from_torch.builder import (
    Builder,
    Floats,
    base_name,
    narrowed,
    sample_shape,
    unsupported,
    vector_shape,
    where,
)
from oaq.capture.graph import FloatAdd, FloatConv2d, FloatLinear, FloatMul, FloatPad
from oaq.errors import ProgramError
from oaq.program.ops import LARGEST_WINDOW, Padding, Pair

Arguments = dict[str, Any]

WIDEST_DIAGONAL = 4096
"""A scale per element of a longer vector is refused: as a matrix it would be almost nothing but zeros."""


def conv2d(build: Builder, node: fx.Node, given: Arguments) -> str:
    """``aten.conv2d``, padding as numbers, "same" or "valid"; zeros padded just before it become its own."""
    weight = narrowed(build.constant(given["weight"], node))
    stride, dilation = pair(given["stride"]), pair(given["dilation"])
    tensor, value = build.read(given["input"], node), given["input"]
    padding = _padding(given["padding"], weight.shape[2:], stride, dilation, node)
    before = build.foldable(value, node)
    if before is not None and isinstance(before.op, FloatPad):
        joined = tuple(a + b for a, b in zip(padding, before.op.padding, strict=True))
        if max(joined) <= LARGEST_WINDOW:
            padding, tensor = joined, build.remove(tensor)
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
    variance = variance + float(given["eps"])
    if np.any(variance <= 0):
        raise ProgramError(
            f"{where(node)}: {node.target}: {int((variance <= 0).sum())} of {variance.size} running variances, with "
            f"eps {given['eps']}, are not positive (least {variance.min()}); the file of weights is damaged"
        )
    scale = 1.0 / np.sqrt(variance)
    if given["weight"] is not None:
        scale = scale * build.constant(given["weight"], node)
    shift = -mean * scale
    if given["bias"] is not None:
        shift = shift + build.constant(given["bias"], node)
    return per_channel(build, node, given["input"], scale, shift)


def per_channel(build: Builder, node: fx.Node, value: object, scale: Floats, shift: Floats) -> str:
    """X * scale + shift, each a number or (C,): part of the layer before it, or a 1x1 depthwise convolution.

    A vector that no layer computes is multiplied by a diagonal matrix.
    """
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
                weight=narrowed(weight * rows),
                bias=narrowed(bias * scale + shift),
            ),
            node,
        )
        return tensor
    if len(shape) == 1:
        if shape[0] > WIDEST_DIAGONAL:
            raise unsupported(node, f"on {shape[0]} elements that no layer computes; put it after a layer")
        return build.emit(FloatLinear(narrowed(np.diag(scale)), narrowed(shift)), (tensor,), shape, node)
    weight = narrowed(scale.reshape(-1, 1, 1, 1))
    return build.emit(FloatConv2d(weight, narrowed(shift), groups=shape[0]), (tensor,), shape, node)


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
    number = _channels(build, node, x, constant)
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
    result = vector_shape(node)
    if kind == "add" and factor == 1 and a == b == result:
        return build.emit(FloatAdd(), names, a, node)
    if kind == "mul" and a == result and b in (a, (a[0], 1, 1)):
        return build.emit(FloatMul(), names, a, node)
    if kind == "mul" and b == result and a == (b[0], 1, 1):
        return build.emit(FloatMul(), names[::-1], b, node)
    raise unsupported(node, f"of shapes {a} and {b} (alpha {factor}); oaq adds equal shapes and multiplies by channel")


def pair(value: Any) -> Pair:  # noqa: ANN401
    """Torch's int, [int] or [int, int] as two."""
    numbers = [value] if isinstance(value, int) else [int(each) for each in value]
    return (numbers[0], numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])
