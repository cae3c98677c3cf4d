"""Convolution, linear layer, batch norm, and arithmetic with constants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from torch import fx

from oaq.capture.folding import Floats, batch_norm_numbers, channel_numbers, narrowed
from oaq.capture.from_torch.builder import Arguments, Axes, TorchBuilder, base_name, sample_shape, site, unsupported
from oaq.capture.from_torch.functions import apply, softsign_of
from oaq.capture.graph import FloatConv2d, FloatFunction, FloatLinear, Parameter
from oaq.capture.transposed import Transposed, append_transposed
from oaq.errors import ProgramError

Numbers = tuple[int, ...]


def convolution(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """``aten.conv1d``, ``aten.conv2d``: padding as numbers, "same" or "valid"; zeros just before it become its own."""
    weight = narrowed(build.constant(arguments["weight"], node))
    rank = weight.ndim - 2
    if len(build.layout_of(arguments["input"], node)[1].axes) != rank + 1:
        raise ProgramError(
            f"{site(node).shown}: its weights {weight.shape} slide over {rank} axes, and it reads a batch of "
            f"samples {tuple(arguments['input'].meta['val'].shape[1:])}: give an example with a batch axis"
        )
    stride, dilation = per_axis(arguments["stride"], rank), per_axis(arguments["dilation"], rank)
    padding = _padding(arguments["padding"], weight.shape[2:], stride, dilation, node)
    before = build.foldable(arguments["input"], node)
    groups = int(arguments["groups"])
    x = arguments["input"]
    tensor, order = build.channels(x, node) if groups == 1 else (build.read(x, node), None)
    weight = weight if order is None else np.ascontiguousarray(weight[:, order])
    tensor, padding = build.join_padding(tensor, padding, before)
    bias = np.zeros(len(weight)) if arguments["bias"] is None else build.constant(arguments["bias"], node)
    # Not where channels are in another order, which may be the node's own.
    shared = Parameter(str(arguments["weight"]), weight, np.ones(len(weight))) if order is None else None
    op = FloatConv2d(weight, narrowed(bias), stride, padding, dilation, groups, shared=shared)
    return build.emit(op, (tensor,), sample_shape(node), node)


def transposed_convolution(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """``aten.conv_transpose1d``, ``aten.conv_transpose2d``."""
    weight = build.constant(arguments["weight"], node)
    rank, groups = weight.ndim - 2, int(arguments["groups"])
    outputs = weight.shape[1] * groups
    bias = np.zeros(outputs) if arguments["bias"] is None else build.constant(arguments["bias"], node)
    stride, dilation, begin = (per_axis(arguments[name], rank) for name in ("stride", "dilation", "padding"))
    layer = Transposed(weight, bias, stride, dilation, begin, sample_shape(node)[1:], groups)
    return append_transposed(build, build.read(arguments["input"], node), layer, site(node))


def _padding(padding: Any, kernel: Numbers, stride: Numbers, dilation: Numbers, node: fx.Node) -> Numbers:  # noqa: ANN401
    if padding == "same":
        if max(stride) > 1:
            raise unsupported(node, f'padding "same" with stride {stride}; torch refuses it too')
        total = [(size - 1) * step for size, step in zip(kernel, dilation, strict=True)]
        return tuple(side for missing in total for side in (missing // 2, missing - missing // 2))
    if padding == "valid":
        return (0, 0) * len(kernel)
    return both_sides(per_axis(padding, len(kernel)))


def linear(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """``aten.linear`` on vectors (C,), and at every position of tokens (T, C)."""
    tensor, axes = build.last_axis(arguments["input"], node)
    weight = narrowed(build.constant(arguments["weight"], node))
    bias = np.zeros(len(weight)) if arguments["bias"] is None else build.constant(arguments["bias"], node)
    build.keep_axes(node, axes)
    return build.emit(FloatLinear(weight, narrowed(bias)), (tensor,), (len(weight), *build.shapes[tensor][1:]), node)


def batch_norm(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """``aten.batch_norm`` in evaluation: a scale and a shift per channel."""
    if arguments["training"] or arguments["running_mean"] is None or arguments["running_var"] is None:
        raise unsupported(node, "it normalizes with the statistics of each batch; call eval(), or track statistics")
    mean, variance = (build.constant(arguments[key], node) for key in ("running_mean", "running_var"))
    weight, bias = (
        None if arguments[key] is None else build.constant(arguments[key], node) for key in ("weight", "bias")
    )
    scale, shift = batch_norm_numbers((mean, variance), float(arguments["eps"]), (weight, bias), site(node))
    build.read(arguments["input"], node)
    result = per_channel(build, node, arguments["input"], scale, shift)
    op = build.nodes[result].op if result in build.nodes else None
    if isinstance(op, FloatConv2d) and op.shared is not None:
        norms = [name for name in (op.shared.norm, str(arguments["running_mean"])) if name]
        parameter = replace(op.shared, norm="+".join(norms))
        build.change(result, replace(op, shared=parameter), site(node))
    build.note_norm(result, (shift + mean * scale, scale * np.sqrt(variance)))
    return result


def per_channel(build: TorchBuilder, node: fx.Node, value: object, scale: Floats, shift: Floats) -> str:
    """X * scale + shift, each a number or (C,): part of the layer before it, or a layer of its own."""
    tensor, axes = build.counted(value, node)
    build.keep_axes(node, axes)
    return build.scale_and_shift(tensor, (scale, shift), build.foldable(value, node), site(node))


def arithmetic(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """Add, subtract, multiply, divide, negate: two activations, or one and a constant per channel."""
    kind = base_name(node).rstrip("_")
    left, right = arguments["self"], arguments.get("other", -1.0)  # neg has no other: x * -1
    if arguments.get("rounding_mode") is not None:
        raise unsupported(node, f"rounding_mode={arguments['rounding_mode']!r}; oaq divides exactly")
    factor = float(arguments.get("alpha", 1))
    if kind == "rsub":
        kind, left, right = "sub", right, left
    if build.is_activation(left) and build.is_activation(right):
        return _of_two(build, node, kind, factor, (left, right))
    on_left = build.is_activation(left)
    x, constant = (left, right) if on_left else (right, left)
    tensor, axes = build.counted(x, node)
    if sample_shape(node) != build.seen_shape(tensor, axes):
        raise unsupported(node, f"the constant changes the shape to {sample_shape(node)}")
    number = channel_numbers(_channels_first(build.constant(constant, node), axes), build.shapes[tensor], site(node))
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


def _of_two(build: TorchBuilder, node: fx.Node, kind: str, factor: float, values: tuple[object, object]) -> str:
    if kind == "div" and (x := softsign_of(node)) is not None:
        return apply(build, node, x, FloatFunction("softsign"))
    (a, axes), (b, b_axes) = build.counted(values[0], node), build.counted(values[1], node)
    if axes != b_axes and len(axes) == len(b_axes):
        b = build.with_axes(values[1], node, axes)
    build.keep_axes(node, axes)
    gates = () if kind != "mul" else ((a, values[1]), (b, values[0]))
    for x, gate in gates:
        if (result := build.gate(x, build.foldable(gate, node), site(node))) is not None:
            return result
    if kind == "div" or factor != 1:
        raise unsupported(
            node,
            f"of two activations, alpha {factor}; oaq adds and subtracts equal shapes, alpha 1, and multiplies by "
            "channel",
        )
    if kind == "sub":
        result = build.subtract(a, b, build.foldable(values[1], node), site(node))
    else:
        result = (build.add if kind == "add" else build.multiply)(a, b, site(node))
    if build.seen_shape(result, axes) != sample_shape(node):
        raise unsupported(
            node,
            f"{build.shapes[a]} and {build.shapes[b]} make {sample_shape(node)}; oaq adds equal shapes",
        )
    return result


def extreme(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """``aten.maximum``, ``aten.minimum`` and ``max`` and ``min`` of two activations of one shape."""
    values = arguments["self"], arguments.get("other")
    if not all(map(build.is_activation, values)):
        raise unsupported(node, "of an activation and a tensor of numbers; oaq takes two activations, or clamp")
    a, axes = build.counted(values[0], node)
    if len(build.layout_of(values[1], node)[1].axes) != len(axes):
        raise unsupported(node, "of tensors of different ranks; oaq takes two of one shape")
    b = build.with_axes(values[1], node, axes)
    build.keep_axes(node, axes)
    return build.extreme(a, b, site(node), least=base_name(node).startswith(("min", "fmin")))


def _channels_first(number: Floats, axes: Axes) -> Floats:
    """A constant beside a value whose axes are counted as ``axes``, beside the tensor itself."""
    number = number[0] if number.ndim == len(axes) + 1 and len(number) == 1 else number
    if axes == tuple(range(len(axes))) or number.ndim > len(axes):
        return number
    wide = number.reshape((1,) * (len(axes) - number.ndim) + number.shape)
    return wide.transpose([axes.index(axis) for axis in range(len(axes))])


def per_axis(value: Any, rank: int) -> Numbers:  # noqa: ANN401
    """Torch's int, [int] or one int per axis as one per axis."""
    numbers = (value,) if isinstance(value, int) else tuple(int(number) for number in value)
    return numbers * rank if len(numbers) == 1 else numbers


def both_sides(padding: Numbers) -> Numbers:
    """Padding of each axis as (before, after), axis by axis."""
    return tuple(size for size in padding for _ in range(2))
