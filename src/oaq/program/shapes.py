"""The shape of an operator's result from the shapes of its inputs; one sample, NHWC."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from oaq.errors import ProgramError
from oaq.program import ops

Shape = tuple[int, ...]


def output_shape(op: ops.Op, inputs: Sequence[Shape]) -> Shape:
    """The result's shape.

    Raises:
        ProgramError: the inputs do not fit the operator; the message names the operator and the shapes.
    """
    _check_arity(op, inputs)
    match op:
        case ops.Conv2d():
            return _conv2d(op, inputs[0])
        case ops.Linear():
            return _linear(op, inputs[0])
        case ops.Add():
            return _same(op, inputs)
        case ops.Mul():
            return _mul(op, inputs)
        case ops.Concat():
            return _concat(op, inputs)
        case ops.MaxPool() | ops.AvgPool():
            height, width, channels = _image(op, inputs[0])
            dilation = op.dilation if isinstance(op, ops.MaxPool) else (1, 1)
            rows, columns = window_count((height, width), op.kernel, op.stride, op.padding, dilation)
            return _positive(op, (rows, columns, channels), inputs)
        case ops.GlobalAvgPool():
            return (1, 1, _image(op, inputs[0])[2])
        case ops.Resize():
            return (op.height, op.width, _image(op, inputs[0])[2])
        case ops.Lookup():
            return inputs[0]
        case _:
            return _movement(op, inputs[0])


def window_count(
    size: tuple[int, int], kernel: ops.Pair, stride: ops.Pair, padding: ops.Padding, dilation: ops.Pair
) -> tuple[int, int]:
    """How many windows fit, rows and columns; 0 or less if none does."""
    rows = (size[0] + padding[0] + padding[1] - (kernel[0] - 1) * dilation[0] - 1) // stride[0] + 1
    columns = (size[1] + padding[2] + padding[3] - (kernel[1] - 1) * dilation[1] - 1) // stride[1] + 1
    return rows, columns


def inputs_per_window(size: int, count: int, taps: tuple[int, int, int, int]) -> list[int]:
    """How many positions of the input each of ``count`` windows holds along one axis; 0 is a window without input.

    Args:
        size: of the axis.
        count: of windows.
        taps: kernel, stride, dilation of the window along the axis, and the padding before the input.
    """
    kernel, stride, dilation, before = taps
    starts = range(-before, count * stride - before, stride)
    return [max(0, min(kernel, -((start - size) // dilation)) - max(0, -(start // dilation))) for start in starts]


def _conv2d(op: ops.Conv2d, x: Shape) -> Shape:
    height, width, channels = _image(op, x)
    outputs, _, _, per_group = op.weight.shape
    if channels != per_group * op.groups:
        raise ProgramError(
            f"Conv2d: weights of shape {op.weight.shape} in {op.groups} groups take {per_group * op.groups} channels, "
            f"the input {x} has {channels}"
        )
    rows, columns = window_count((height, width), op.kernel, op.stride, op.padding, op.dilation)
    return _positive(op, (rows, columns, outputs), [x])


def _linear(op: ops.Linear, x: Shape) -> Shape:
    if len(x) != 1 or x[0] != op.weight.shape[1]:
        raise ProgramError(f"Linear: weights of shape {op.weight.shape} take ({op.weight.shape[1]},), the input is {x}")
    return (op.weight.shape[0],)


def _same(op: ops.Op, inputs: Sequence[Shape]) -> Shape:
    if inputs[0] != inputs[1]:
        raise ProgramError(f"{type(op).__name__}: the inputs have one shape, not {inputs[0]} and {inputs[1]}")
    return inputs[0]


def _mul(op: ops.Mul, inputs: Sequence[Shape]) -> Shape:
    a, b = inputs
    if a == b or (len(a) == 3 and b in ((a[2],), (1, 1, a[2]))):
        return a
    raise ProgramError(f"Mul: {b} neither equals nor broadcasts over the channels of {a}")


def _concat(op: ops.Concat, inputs: Sequence[Shape]) -> Shape:
    if len({shape[:-1] for shape in inputs}) != 1:
        raise ProgramError(f"Concat: the inputs differ outside the channel axis: {list(inputs)}")
    return (*inputs[0][:-1], sum(shape[-1] for shape in inputs))


def _movement(op: ops.Op, x: Shape) -> Shape:
    match op:
        case ops.DepthToSpace():
            height, width, channels = _image(op, x)
            if channels % op.block**2:
                raise ProgramError(
                    f"DepthToSpace: block {op.block} needs a multiple of {op.block**2} channels, has {channels}"
                )
            return (height * op.block, width * op.block, channels // op.block**2)
        case ops.Reshape():
            if prod(op.shape) != prod(x) or min(op.shape, default=0) < 1 or len(op.shape) not in (1, 3):
                raise ProgramError(f"Reshape: {x} does not fill {op.shape}")
            return op.shape
        case ops.Pad():
            height, width, channels = _image(op, x)
            return (height + op.padding[0] + op.padding[1], width + op.padding[2] + op.padding[3], channels)
        case ops.Slice():
            fits = len(op.begin) == len(op.end) == len(x)
            if not fits or any(not 0 <= b < e <= s for b, e, s in zip(op.begin, op.end, x, strict=True)):
                raise ProgramError(f"Slice: [{op.begin}, {op.end}) does not lie inside {x}")
            return tuple(e - b for b, e in zip(op.begin, op.end, strict=True))
    raise ProgramError(f"{type(op).__name__} is not an operator of an IntProgram")


def _check_arity(op: ops.Op, inputs: Sequence[Shape]) -> None:
    two = 2 if isinstance(op, ops.Add | ops.Mul) else 1
    wanted = len(op.requantize) if isinstance(op, ops.Concat) else two
    if len(inputs) != wanted:
        raise ProgramError(f"{type(op).__name__}: takes {wanted} inputs, got {len(inputs)}")


def _image(op: ops.Op, x: Shape) -> tuple[int, int, int]:
    if len(x) != 3:
        raise ProgramError(f"{type(op).__name__}: needs a (H, W, C) input, got {x}")
    return x[0], x[1], x[2]


def _positive(op: ops.Op, shape: Shape, inputs: Sequence[Shape]) -> Shape:
    if min(shape) < 1:
        raise ProgramError(f"{type(op).__name__}: no window fits the input {inputs[0]} (the result would be {shape})")
    return shape
