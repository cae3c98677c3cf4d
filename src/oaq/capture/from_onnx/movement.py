"""Shapes of what only moves values; numbers that operators take as inputs in one opset, as attributes in another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from math import prod
from typing import Final

import numpy as np

from oaq.capture.from_onnx.attributes import described, integer, integers
from oaq.capture.from_onnx.graph import Array, OnnxNode, TensorType
from oaq.capture.from_onnx.inputs import Inputs, Shape, Types
from oaq.capture.from_onnx.resizing import resizing
from oaq.errors import FormatError

LARGEST_COUNT: Final = 1 << 40
"""Numbers that a range may be thought to have; no tensor has as many."""
LARGEST_LIST: Final = 64
"""Numbers in one list of sizes, axes or ends."""


def numbers(node: OnnxNode, array: Array, subject: str) -> tuple[int, ...]:
    """A constant input as integers.

    Raises:
        FormatError: it is not a short list of integers.
    """
    if array.dtype.kind not in "iu" or array.ndim > 1 or array.size > LARGEST_LIST:
        raise FormatError(f"{described(node)}: {subject} are integers, not {array.dtype} of shape {array.shape}")
    return tuple(int(value) for value in array.reshape(-1))


def numbers_of(node: OnnxNode, inputs: Inputs, index: int, attribute: str) -> tuple[int, ...] | None:
    """What newer opsets take as input ``index`` and older ones as an attribute.

    Returns:
        None if it is left out, or computed: ``is_computed`` tells which.
    """
    constant = inputs.constant(index)
    if constant is not None:
        return numbers(node, constant, attribute)
    return None if node.input_name(index) else integers(node, attribute)


def is_computed(node: OnnxNode, inputs: Inputs, index: int) -> bool:
    """The input is given, but not as a constant."""
    return bool(node.input_name(index)) and inputs.constant(index) is None


def axis_of(node: OnnxNode, axis: int, rank: int) -> int:
    """The axis counted from the front.

    Raises:
        FormatError: there is none.
    """
    if not -rank <= axis < rank:
        raise FormatError(f"{described(node)}: axis {axis} of a tensor of {rank} axes")
    return axis % rank


def reshaped(node: OnnxNode, x: Shape, target: tuple[int, ...]) -> Shape:
    """The shape that Reshape's ``target`` means: 0 copies, one -1 stands for the remaining elements.

    Raises:
        FormatError: the elements do not fit.
    """
    keep_zero = integer(node, "allowzero", 0)
    if len(target) > LARGEST_LIST or any(size == 0 and index >= len(x) for index, size in enumerate(target)):
        raise FormatError(f"{described(node)}: {x} cannot take the shape {target[:8]}")
    sizes = [x[index] if size == 0 and not keep_zero else size for index, size in enumerate(target)]
    if sizes.count(-1) == 1:
        product = prod(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = prod(x) // product if product > 0 else 0
    if min(sizes, default=0) < 0 or prod(sizes) != prod(x):
        raise FormatError(f"{described(node)}: {x} cannot take the shape {target}")
    return tuple(sizes)


def slices(node: OnnxNode, inputs: Inputs, x: Shape) -> list[tuple[int, int, int]] | None:
    """(start, end, step) on every axis, inside the tensor; None if they are computed.

    Raises:
        FormatError: they do not fit each other.
    """
    if any(is_computed(node, inputs, index) for index in (1, 2, 3, 4)):
        return None
    starts, ends = numbers_of(node, inputs, 1, "starts"), numbers_of(node, inputs, 2, "ends")
    if starts is None or ends is None:
        raise FormatError(f"{described(node)}: starts or ends are missing")
    axes = numbers_of(node, inputs, 3, "axes") or tuple(range(len(starts)))
    steps = numbers_of(node, inputs, 4, "steps") or (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise FormatError(f"{described(node)}: starts {starts}, ends {ends}, axes {axes}, steps {steps} do not fit")
    bounds = [(0, size, 1) for size in x]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = axis_of(node, axis, len(x))
        bounds[place] = slice(start, end, step).indices(x[place])
    return bounds


def parts(node: OnnxNode, inputs: Inputs, x: Shape) -> tuple[int, list[int]] | None:
    """Axis and sizes of a Split; None if they are computed.

    Raises:
        FormatError: they do not add up.
    """
    if is_computed(node, inputs, 1):
        return None
    axis, count = axis_of(node, integer(node, "axis", 0), len(x)), len(node.outputs)
    sizes = numbers_of(node, inputs, 1, "split")
    if sizes is None:
        part_size = -(-x[axis] // count)
        sizes = (*[part_size] * (count - 1), x[axis] - part_size * (count - 1))
    if len(sizes) != count or sum(sizes) != x[axis] or min(sizes) < 0:
        raise FormatError(f"{described(node)}: {x} cannot be split into {sizes} on axis {axis}")
    return axis, list(sizes)


def pads(node: OnnxNode, inputs: Inputs, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """What Pad adds (before, after) each axis; None if that is computed.

    Raises:
        FormatError: not two numbers per axis.
    """
    if is_computed(node, inputs, 1) or is_computed(node, inputs, 3):
        return None
    amounts = numbers_of(node, inputs, 1, "pads" if "pads" in node.attributes else "paddings")
    axes = numbers_of(node, inputs, 3, "axes")
    places = list(range(rank)) if axes is None else [axis_of(node, axis, rank) for axis in axes]
    if amounts is None or len(amounts) != 2 * len(places):
        raise FormatError(f"{described(node)}: pads {amounts} are two numbers for each of {len(places)} axes")
    before, after = [0] * rank, [0] * rank
    for index, place in enumerate(places):
        before[place], after[place] = amounts[index], amounts[index + len(places)]
    return tuple(before), tuple(after)


def concat(node: OnnxNode, inputs: Inputs) -> Types:
    """Side by side on one axis."""
    shapes = [tensor.shape for tensor in inputs.types]
    full = [shape for shape in shapes if shape is not None]
    if not shapes or len(full) < len(shapes):
        return [TensorType(inputs.dtype(0))]
    axis = axis_of(node, integer(node, "axis", 1 if inputs.opset < 4 else 0), len(full[0]))
    cross_sections = {(*shape[:axis], *shape[axis + 1 :], len(shape)) for shape in full}
    if len(cross_sections) != 1:
        raise FormatError(f"{described(node)}: {', '.join(map(str, full[:8]))} do not fit side by side on axis {axis}")
    total = sum(shape[axis] for shape in full)
    return [TensorType(inputs.dtype(0), (*full[0][:axis], total, *full[0][axis + 1 :]))]


def _moved(rule: Callable[[OnnxNode, Inputs, Shape], Shape | None]) -> Callable[[OnnxNode, Inputs], Types]:
    """A rule from shape to shape; the element type stays."""

    def typed(node: OnnxNode, inputs: Inputs) -> Types:
        x = inputs.shape(0)
        return [TensorType(inputs.dtype(0), None if x is None else rule(node, inputs, x))]

    return typed


def _reshape(node: OnnxNode, inputs: Inputs, x: Shape) -> Shape | None:
    target = numbers_of(node, inputs, 1, "shape")
    return None if target is None else reshaped(node, x, target)


def _flatten(node: OnnxNode, inputs: Inputs, x: Shape) -> Shape:
    axis = integer(node, "axis", 1)
    if not -len(x) <= axis <= len(x):
        raise FormatError(f"{described(node)}: axis {axis} of a tensor of {len(x)} axes")
    axis = axis + len(x) if axis < 0 else axis
    return (prod(x[:axis]), prod(x[axis:]))


def _transpose(node: OnnxNode, inputs: Inputs, x: Shape) -> Shape:
    order = integers(node, "perm", len(x)) or tuple(reversed(range(len(x))))
    if sorted(order) != list(range(len(x))):
        raise FormatError(f"{described(node)}: {order} is not an order of {len(x)} axes")
    return tuple(x[axis] for axis in order)


def _squeeze(node: OnnxNode, inputs: Inputs, x: Shape) -> Shape | None:
    if is_computed(node, inputs, 1):
        return None
    axes = numbers_of(node, inputs, 1, "axes")
    dropped = (
        {axis for axis, size in enumerate(x) if size == 1}
        if axes is None
        else {axis_of(node, axis, len(x)) for axis in axes}
    )
    if any(x[axis] != 1 for axis in dropped):
        raise FormatError(f"{described(node)}: axes {sorted(dropped)} of {x} are not all of size 1")
    return tuple(size for axis, size in enumerate(x) if axis not in dropped)


def _unsqueeze(node: OnnxNode, inputs: Inputs, x: Shape) -> Shape | None:
    axes = numbers_of(node, inputs, 1, "axes")
    if axes is None:
        return None
    rank = len(x) + len(axes)
    new = {axis_of(node, axis, rank) for axis in axes}
    if len(new) != len(axes):
        raise FormatError(f"{described(node)}: axes {axes} name one twice")
    sizes = iter(x)
    return tuple(1 if axis in new else next(sizes) for axis in range(rank))


def _slice(node: OnnxNode, inputs: Inputs, x: Shape) -> Shape | None:
    bounds = slices(node, inputs, x)
    return None if bounds is None else tuple(len(range(*bound)) for bound in bounds)


def _pad(node: OnnxNode, inputs: Inputs, x: Shape) -> Shape | None:
    amounts = pads(node, inputs, len(x))
    if amounts is None:
        return None
    return tuple(before + size + after for before, size, after in zip(amounts[0], x, amounts[1], strict=True))


def _split(node: OnnxNode, inputs: Inputs) -> Types:
    x = inputs.shape(0)
    split = None if x is None or not node.outputs else parts(node, inputs, x)
    if x is None or split is None:
        return [TensorType(inputs.dtype(0))] * len(node.outputs)
    axis, sizes = split
    return [TensorType(inputs.dtype(0), (*x[:axis], size, *x[axis + 1 :])) for size in sizes]


def _expand(node: OnnxNode, inputs: Inputs, x: Shape) -> Shape | None:
    target = numbers_of(node, inputs, 1, "shape")
    try:
        return None if target is None else np.broadcast_shapes(x, target)
    except ValueError as error:
        raise FormatError(f"{described(node)}: {x} does not expand to {target}") from error


def _tile(node: OnnxNode, inputs: Inputs, x: Shape) -> Shape | None:
    times = numbers_of(node, inputs, 1, "repeats")
    if times is not None and (len(times) != len(x) or min(times, default=0) < 0):
        raise FormatError(f"{described(node)}: {x} cannot be repeated {times} times")
    return None if times is None else tuple(size * count for size, count in zip(x, times, strict=True))


def _resize(node: OnnxNode, inputs: Inputs, x: Shape) -> Shape | None:
    change = resizing(node, inputs, x)
    return None if change is None else change.after


def _constant_of_shape(node: OnnxNode, inputs: Inputs) -> Types:
    shape, value = inputs.constant(0), node.attributes.get("value")
    dtype = value.dtype if isinstance(value, np.ndarray) else np.dtype(np.float32)
    return [TensorType(dtype, None if shape is None else numbers(node, shape, "its sizes"))]


def _shape(node: OnnxNode, inputs: Inputs) -> Types:
    x = inputs.shape(0)
    count = None if x is None else (len(range(len(x))[_ends(node)]),)
    return [TensorType(np.dtype(np.int64), count)]


def _ends(node: OnnxNode) -> slice:
    start = integer(node, "start", 0)
    return slice(start, integer(node, "end", 1 << 62))


def shape_slice(node: OnnxNode) -> slice:
    """Which axes a Shape node tells of."""
    return _ends(node)


def range_length(node: OnnxNode, inputs: Inputs) -> int | None:
    """How many numbers Range gives; None if that is computed.

    Raises:
        FormatError: its step is 0, or its ends are no numbers.
    """
    ends = [inputs.constant(index) for index in range(3)]
    if any(end is None for end in ends):
        return None
    finite_ends = [end for end in ends if end is not None and end.size == 1 and end.dtype.kind in "iuf"]
    if len(finite_ends) < 3 or not all(np.all(np.isfinite(end)) for end in finite_ends) or not finite_ends[2].all():
        raise FormatError(f"{described(node)}: start, limit and step are three numbers, the step is not 0")
    if finite_ends[0].dtype.kind == "f":
        start, limit, step = (float(end.reshape(())) for end in finite_ends)
        count = (limit - start) / step
        return max(math.ceil(count), 0) if abs(count) < LARGEST_COUNT else LARGEST_COUNT
    first, last, stride = (int(end.reshape(())) for end in finite_ends)
    return max(-((first - last) // stride), 0)


def _range(node: OnnxNode, inputs: Inputs) -> Types:
    count = range_length(node, inputs)
    return [TensorType(inputs.dtype(0), None if count is None else (count,))]


RULES: Final[Mapping[str, Callable[[OnnxNode, Inputs], Types]]] = {
    "Reshape": _moved(_reshape),
    "Flatten": _moved(_flatten),
    "Transpose": _moved(_transpose),
    "Squeeze": _moved(_squeeze),
    "Unsqueeze": _moved(_unsqueeze),
    "Slice": _moved(_slice),
    "Pad": _moved(_pad),
    "Expand": _moved(_expand),
    "Tile": _moved(_tile),
    "Resize": _moved(_resize),
    "Upsample": _moved(_resize),
    "Split": _split,
    "Concat": concat,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Shape": _shape,
    "Size": lambda node, inputs: [TensorType(np.dtype(np.int64), ())],
}
