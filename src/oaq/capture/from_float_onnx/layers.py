"""Convolution, matrix product, batch norm, and arithmetic with constants and between activations."""

from __future__ import annotations

import numpy as np

from oaq.capture.folding import Floats, batch_norm_numbers, narrowed
from oaq.capture.from_float_onnx.builder import Builder, site, unsupported
from oaq.capture.from_onnx.attributes import integer, real
from oaq.capture.from_onnx.graph import OnnxNode
from oaq.capture.from_onnx.windows import transposed_window, window
from oaq.capture.graph import FloatConv2d, FloatLinear
from oaq.capture.transposed import Transposed, append_transposed


def convolution(build: Builder, node: OnnxNode) -> None:
    """Conv of lines, images and volumes, all ways of padding; zeros padded just before it become its own."""
    weight = build.constant(node.input_name(1), node)
    groups = integer(node, "group", 1)
    x = node.input_name(0)
    tensor, order = build.channels(x, node) if groups == 1 else (build.read(x, node), None)
    shape = build.shapes[tensor]
    if weight.ndim != len(shape) + 1 or weight.ndim not in (3, 4, 5):
        raise unsupported(node, f"on {shape} with weights {weight.shape}; oaq convolves lines, images and volumes")
    if order is not None and weight.shape[1] == len(order):
        weight = np.ascontiguousarray(weight[:, order])
    windows = window(node, shape[1:], weight.shape[2:])
    tensor, padding = build.join_padding(tensor, windows.padding, build.foldable(node.input_name(0), node))
    bias = build.constant(node.input_name(2), node).reshape(-1) if node.input_name(2) else np.zeros(len(weight))
    if len(bias) != len(weight):
        raise unsupported(node, f"it has {len(bias)} biases for {len(weight)} outputs")
    op = FloatConv2d(narrowed(weight), narrowed(bias), windows.stride, padding, windows.dilation, groups)
    build.emit(op, (tensor,), (len(weight), *windows.count), node)


def transposed_convolution(build: Builder, node: OnnxNode) -> None:
    """ConvTranspose of lines, images and volumes, wherever its result is said to begin and end."""
    weight = build.constant(node.input_name(1), node)
    tensor = build.read(node.input_name(0), node)
    shape, groups = build.shapes[tensor], integer(node, "group", 1)
    if weight.ndim != len(shape) + 1 or weight.ndim not in (3, 4, 5) or len(weight) != shape[0] or shape[0] % groups:
        raise unsupported(node, f"on {shape} with weights {weight.shape}; oaq knows it of lines, images and volumes")
    outputs = weight.shape[1] * groups
    bias = build.constant(node.input_name(2), node).reshape(-1) if node.input_name(2) else np.zeros(outputs)
    if len(bias) != outputs:
        raise unsupported(node, f"it has {len(bias)} biases for {outputs} outputs")
    windows = transposed_window(node, shape[1:], weight.shape[2:])
    layer = Transposed(weight, bias, windows.stride, windows.dilation, windows.begin, windows.count, groups)
    result = append_transposed(build, tensor, layer, site(node))
    build.write(node, result, tuple(range(len(shape))))


def gemm(build: Builder, node: OnnxNode) -> None:
    """Gemm of vectors: alpha * x @ weight + beta * bias."""
    if integer(node, "transA", 0):
        raise unsupported(node, "transA=1 mixes samples")
    if build.is_activation(node.input_name(1)):
        raise unsupported(node, "the product of two activations; oaq multiplies by constant weights")
    weight = build.constant(node.input_name(1), node)
    rows = (weight if integer(node, "transB", 0) else weight.T) * real(node, "alpha", 1.0)
    bias = np.zeros(len(rows))
    if node.input_name(2):
        offsets = build.constant(node.input_name(2), node) * real(node, "beta", 1.0)
        shape = offsets.shape
        if len(shape) > 2 or any(size != 1 for size in shape[:-1]) or (shape and shape[-1] not in (1, len(rows))):
            raise unsupported(node, f"its bias {shape} is not one number, or one for each of {len(rows)} columns")
        bias = np.broadcast_to(offsets.reshape(-1), (len(rows),))
    _linear(build, node, rows, bias)


def matmul(build: Builder, node: OnnxNode) -> None:
    """MatMul of vectors and tokens by constant weights."""
    if not build.is_activation(node.input_name(0)) or build.is_activation(node.input_name(1)):
        raise unsupported(node, "only activations times constant weights can be taken, in this order")
    weight = build.constant(node.input_name(1), node)
    if weight.ndim != 2:
        raise unsupported(node, f"by weights of shape {weight.shape}; oaq takes a matrix")
    _linear(build, node, weight.T, np.zeros(weight.shape[1]))


def _linear(build: Builder, node: OnnxNode, rows: Floats, bias: Floats) -> None:
    shape = build.sample(node.input_name(0), node)
    if len(shape) != 1:
        tensor, axes = build.last_axis(node.input_name(0), node)
        op = FloatLinear(narrowed(np.ascontiguousarray(rows)), narrowed(bias))
        build.emit(op, (tensor,), (len(rows), *build.shapes[tensor][1:]), node, axes)
        return
    tensor, order = build.vector(node.input_name(0), node)
    rows = np.ascontiguousarray(rows if order is None else rows[:, order])
    build.emit(FloatLinear(narrowed(rows), narrowed(bias)), (tensor,), (len(rows),), node)


def batch_norm(build: Builder, node: OnnxNode) -> None:
    """BatchNormalization in evaluation: a scale and a shift per channel."""
    if build.wants_more(node):
        raise unsupported(node, "it normalizes with the statistics of each batch; export the network in evaluation")
    tensor, axes = build.counted(node.input_name(0), node)
    channels = build.shapes[tensor][0]
    statistics = [build.constant(node.input_name(index), node) for index in range(1, 5)]
    if axes[0] != 0 or any(array.shape != (channels,) for array in statistics):
        shapes = ", ".join(str(array.shape) for array in statistics)
        raise unsupported(node, f"its numbers {shapes} are not one for each of {channels} channels, which come first")
    weight, bias, mean, variance = statistics
    epsilon = float(str(np.float32(real(node, "epsilon", 1e-5))))  # the decimal that the exporter has narrowed
    scale, shift = batch_norm_numbers((mean, variance), epsilon, (weight, bias), site(node))
    result = build.scale_and_shift(tensor, (scale, shift), build.foldable(node.input_name(0), node), site(node))
    build.note_norm(result, (shift + mean * scale, scale * np.sqrt(variance)))
    build.write(node, result, axes)


def arithmetic(build: Builder, node: OnnxNode) -> None:
    """Add, Sub, Mul, Div: two activations, or one and a constant per channel."""
    left, right = node.input_name(0), node.input_name(1)
    if build.is_activation(left) and build.is_activation(right):
        _of_two(build, node)
        return
    if node.op == "Div" and not build.is_activation(left):
        raise unsupported(node, "a constant divided by an activation")
    x, constant = (left, right) if build.is_activation(left) else (right, left)
    number = per_channel(build, node, x, build.constant(constant, node))
    unit, zero = np.asarray(1.0), np.asarray(0.0)
    match node.op:
        case "Add":
            numbers = unit, number
        case "Sub":
            numbers = (unit, -number) if x == left else (-unit, number)
        case "Mul":
            numbers = number, zero
        case _:
            if np.any(number == 0):
                raise unsupported(node, "it divides by zero")
            numbers = 1.0 / number, zero
    _scaled(build, node, x, numbers)


def negated(build: Builder, node: OnnxNode) -> None:
    """Neg."""
    _scaled(build, node, node.input_name(0), (np.asarray(-1.0), np.asarray(0.0)))


def summed(build: Builder, node: OnnxNode) -> None:
    """Sum of two."""
    if len(node.inputs) != 2 or not all(build.is_activation(name) for name in node.inputs):
        raise unsupported(node, f"of {len(node.inputs)} inputs; oaq adds two activations")
    _of_two(build, node)


def _scaled(build: Builder, node: OnnxNode, x: str, numbers: tuple[Floats, Floats]) -> None:
    tensor, axes = build.counted(x, node)
    build.write(node, build.scale_and_shift(tensor, numbers, build.foldable(x, node), site(node)), axes)


def per_channel(build: Builder, node: OnnxNode, x: str, number: Floats) -> Floats:
    """A constant that is one number, or one per channel, as () or (C,).

    Raises:
        UnsupportedOp: it is something else, is not finite, or changes the shape.
    """
    if not np.all(np.isfinite(number)):
        raise unsupported(node, "the constant holds NaN or infinity")
    if build.sample(node.outputs[0], node) != build.sample(x, node):
        raise unsupported(node, f"the constant {number.shape} changes the shape of {build.sample(x, node)}")
    if number.size == 1:
        return number.reshape(())
    _, axes = build.counted(x, node)
    rank = 1 + len(axes)
    shape = (1,) * (rank - number.ndim) + number.shape
    wide = [axis for axis, size in enumerate(shape) if size > 1]
    if len(wide) == 1 and wide[0] > 0 and axes[wide[0] - 1] == 0:
        return number.reshape(-1)
    raise unsupported(node, f"a constant of shape {number.shape}; one number or one per channel can be taken")


def _of_two(build: Builder, node: OnnxNode) -> None:
    if node.op not in ("Add", "Sub", "Sum", "Mul"):
        raise unsupported(node, "of two activations; oaq adds and subtracts equal shapes and multiplies by channel")
    if node.op == "Mul" and _gated(build, node):
        return
    (a, axes), (b, b_axes) = (build.counted(node.input_name(index), node) for index in (0, 1))
    if axes != b_axes and len(axes) == len(b_axes):
        b = build.with_axes(node.input_name(1), axes, node)
    elif axes != b_axes:
        a, b = (build.read(node.input_name(index), node) for index in (0, 1))
        axes = tuple(range(len(build.shapes[a])))
    if node.op == "Sub":
        result = build.subtract(a, b, build.foldable(node.input_name(1), node), site(node))
    else:
        result = (build.multiply if node.op == "Mul" else build.add)(a, b, site(node))
    build.write(node, result, axes)
    if build.sample(node.outputs[0], node) != build.shape_of(node.outputs[0]):
        raise unsupported(node, f"it widens {build.shape_of(node.outputs[0])} to {build.sample(node.outputs[0], node)}")


def _gated(build: Builder, node: OnnxNode) -> bool:
    """Positions times one number per channel, whatever order the file counts its axes in."""
    for image, gate in ((0, 1), (1, 0)):
        tensor, axes = build.counted(node.input_name(image), node)
        shape = build.shapes[tensor]
        channels = axes.index(0)
        expected = tuple(shape[0] if axis == channels else 1 for axis in range(len(axes)))
        if max(shape[1:], default=1) > 1 and build.sample(node.input_name(gate), node) == expected:
            factor = build.as_channels(node.input_name(gate), len(shape), node)
            build.write(node, build.multiply(tensor, factor, site(node)), axes)
            return True
    return False
