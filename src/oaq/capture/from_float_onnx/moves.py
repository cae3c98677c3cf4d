"""What only moves values: axes counted anew, zeros around an image, parts and joins."""

from __future__ import annotations

import numpy as np

from oaq import operators as ops
from oaq.capture.assembly import reshaped
from oaq.capture.from_float_onnx.builder import Builder, View, layout_of, site, unsupported
from oaq.capture.from_onnx import movement
from oaq.capture.from_onnx.attributes import integer, integers, text
from oaq.capture.from_onnx.graph import OnnxNode
from oaq.capture.graph import FloatSlice, Unquantized
from oaq.capture.picking import BORDERS, padded_index, pick, strided_index
from oaq.operators import LARGEST_WINDOW, Shape


def unchanged(build: Builder, node: OnnxNode) -> None:
    """Identity, Dropout in evaluation, Cast between float types."""
    if build.wants_more(node):
        raise unsupported(node, "more than its first result is wanted")
    if node.op == "Dropout" and node.input_name(2) and build.file.constant(node.input_name(2)) is None:
        raise unsupported(node, "whether it is training is computed while it runs")
    dtype = build.file.dtype(node.outputs[0])
    if dtype is not None and dtype.kind != "f":
        raise unsupported(node, f"to {dtype}; oaq keeps to float types")
    build.settle(node.outputs[0], build.view(node.input_name(0), node))


def reshape(build: Builder, node: OnnxNode) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze: the same values, their axes counted in another way."""
    view = build.view(node.input_name(0), node)
    shape = build.sample(node.outputs[0], node)
    if node.op == "Flatten" and integer(node, "axis", 1) % (len(view.layout.axes) + 2) == 0:
        raise unsupported(node, "axis 0 mixes samples")
    layout = view.layout.reshaped(shape)
    if layout is None:  # in the file's own order, any shape is one of the same memory
        name = node.input_name(0)
        view = View(build.read(name, node), layout_of(view.layout.shape))
        layout = reshaped(view.layout, shape)
    build.settle(node.outputs[0], View(view.tensor, layout))


def transpose(build: Builder, node: OnnxNode) -> None:
    """Transpose: nothing moves until a reader needs it to."""
    view = build.view(node.input_name(0), node)
    rank = len(view.layout.axes) + 1
    order = integers(node, "perm", rank) or tuple(reversed(range(rank)))
    if order[0] != 0:
        raise unsupported(node, f"perm {order} moves the batch")
    build.settle(node.outputs[0], View(view.tensor, view.layout.transposed([axis - 1 for axis in order[1:]])))


def pad(build: Builder, node: OnnxNode) -> None:
    """Zeros before and after the positions of a line, of tokens or of an image; or what an axis holds, repeated."""
    tensor, axes = build.counted(node.input_name(0), node)
    shape = build.shapes[tensor]
    amounts = movement.pads(node, build.inputs_of(node), len(axes) + 1)
    if amounts is None:
        raise unsupported(node, "its amounts are computed while it runs")
    if text(node, "mode", "constant") in BORDERS:
        build.write(node, _bordered(build, node, tensor, (axes, amounts)), axes)
        return
    value = build.scalar(node.input_name(2), node)
    value = node.attributes.get("value", 0.0) if value is None else value
    if text(node, "mode", "constant") != "constant" or value != 0:
        raise unsupported(
            node,
            f"mode {text(node, 'mode', 'constant')!r}, value {value}; oaq pads with zeros, or by reflect, edge or wrap",
        )
    before, after = ([side[1 + axes.index(axis)] for axis in range(len(shape))] for side in amounts)
    if not any((*before, *after, amounts[0][0], amounts[1][0])):
        build.write(node, tensor, axes)
        return
    sides = (*before, *after, amounts[0][0], amounts[1][0])
    if len(shape) < 2 or before[0] or after[0] or amounts[0][0] or amounts[1][0] or min(sides) < 0:
        raise unsupported(node, f"pads {amounts}; oaq pads positions (height and width), by 0 or more")
    if max(sides) > LARGEST_WINDOW:
        raise unsupported(node, f"pads {amounts} beyond {LARGEST_WINDOW}")
    op = ops.Pad(tuple(side for pair in zip(before[1:], after[1:], strict=True) for side in pair))
    result = tuple(sum(sizes) for sizes in zip(shape, before, after, strict=True))
    build.emit(op, (tensor,), result, node, axes)


def _bordered(
    build: Builder, node: OnnxNode, tensor: str, places: tuple[Shape, tuple[tuple[int, ...], tuple[int, ...]]]
) -> str:
    """Positions that repeat others; ``places``: which of our axes each of the file's is, and what is added to it."""
    axes, ((first, *before), (last, *after)) = places
    if first or last or min(*before, *after) < 0:
        raise unsupported(node, f"pads {places[1]}; oaq pads all axes but the batch, by 0 or more")
    picks = []
    for axis, left, right in zip(axes, before, after, strict=True):
        size, mode = build.shapes[tensor][axis], text(node, "mode", "constant")
        index = padded_index(size, left, right, mode)
        if index is None:
            raise unsupported(node, f"{size} by {left} and {right} in mode {mode}, more than there is to repeat")
        picks.append((axis, index))
    return pick(build, tensor, picks, site(node))


def gather(build: Builder, node: OnnxNode) -> None:
    """Gather by a constant list on any axis but the batch."""
    tensor, axes = build.counted(node.input_name(0), node)
    index = build.file.constant(node.input_name(1))
    axis = movement.axis_of(node, integer(node, "axis", 0), len(axes) + 1)
    if index is None or index.ndim != 1 or index.dtype.kind not in "iu" or axis == 0:
        raise unsupported(node, "its index is no constant list, or it picks samples; oaq picks entries of other axes")
    size = build.shapes[tensor][axes[axis - 1]]
    if not index.size or index.min() < -size or index.max() >= size:
        raise unsupported(node, f"entries {index.tolist()[:8]} of {size}")
    entries = np.where(index < 0, index + size, index).astype(np.int32)
    build.write(node, pick(build, tensor, [(axes[axis - 1], entries)], site(node)), axes)


def concat(build: Builder, node: OnnxNode) -> None:
    """Side by side on the channel axis; on another one, as vectors in which that is the slowest."""
    if not all(build.is_activation(name) for name in node.inputs):
        raise unsupported(node, "it joins constants to activations; oaq joins activations")
    parts = [build.counted(name, node) for name in node.inputs]
    if len({axes for _, axes in parts}) != 1:
        parts = [(build.read(name, node), ()) for name in node.inputs]
    tensors = [tensor for tensor, _ in parts]
    rank = len(build.shapes[tensors[0]])
    axes = parts[0][1] or tuple(range(rank))
    axis = movement.axis_of(node, integer(node, "axis", 1), rank + 1)
    if axis == 0:
        raise unsupported(node, "on axis 0; it joins samples")
    if len(tensors) == 1:
        build.write(node, tensors[0], axes)
        return
    if axes[axis - 1] != 0:
        build.write(node, build.join_positions(tensors, axes[axis - 1], site(node)), axes)
        return
    shapes = [build.shapes[tensor] for tensor in tensors]
    build.emit(Unquantized(ops.Concat), tensors, (sum(shape[0] for shape in shapes), *shapes[0][1:]), node, axes)


def cut(build: Builder, node: OnnxNode) -> None:
    """Slice; what it leaves out between is picked."""
    tensor, axes = build.counted(node.input_name(0), node)
    bounds = movement.slices(node, build.inputs_of(node), build.file.shape(node.input_name(0)))
    if bounds is None:
        raise unsupported(node, "its ends are computed while it runs")
    if bounds[0] != (0, build.file.batch, 1):
        raise unsupported(node, "it takes part of the batch")
    if any(not len(range(*span)) for span in bounds):
        raise unsupported(node, "it leaves nothing")
    spans = [bounds[1 + axes.index(axis)] for axis in range(len(axes))]
    sizes = build.shapes[tensor]
    ends = [span[:2] if span[2] == 1 else (0, size) for span, size in zip(spans, sizes, strict=True)]
    tensor = _sliced(build, node, tensor, ends)
    picks = [(axis, strided_index(*span)) for axis, span in enumerate(spans) if span[2] != 1]
    build.write(node, pick(build, tensor, picks, site(node)), axes)


def split(build: Builder, node: OnnxNode) -> None:
    """One slice per part."""
    tensor, axes = build.counted(node.input_name(0), node)
    shape = build.shapes[tensor]
    sections = movement.parts(node, build.inputs_of(node), build.file.shape(node.input_name(0)))
    if sections is None or sections[0] == 0:
        raise unsupported(node, "it splits the batch, or by sizes computed while it runs")
    axis, sizes = axes[sections[0] - 1], sections[1]
    begin = 0
    for name, size in zip(node.outputs, sizes, strict=True):
        if name and size < 1:
            raise unsupported(node, "one of its parts is empty")
        if name:
            ends = [(begin, begin + size) if dim == axis else (0, shape[dim]) for dim in range(len(shape))]
            part = _sliced(build, node, tensor, ends)
            build.settle(name, View(part, layout_of(build.shapes[part], axes)))
        begin += size


def _sliced(build: Builder, node: OnnxNode, tensor: str, ends: list[tuple[int, int]]) -> str:
    shape = build.shapes[tensor]
    begin, end = tuple(low for low, _ in ends), tuple(high for _, high in ends)
    if end == shape and not any(begin):
        return tensor
    result = tuple(high - low for low, high in ends)
    return build.append(FloatSlice(begin, end), (tensor,), result, site(node))
