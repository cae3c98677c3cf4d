"""Rules for operators that move integers: some only change how axes are counted, others are operators of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from oaq import operators as ops
from oaq.capture.from_onnx import movement
from oaq.capture.from_onnx.attributes import integer, integers, text
from oaq.capture.from_onnx.draft import full, order_of, spatial
from oaq.capture.from_onnx.graph import OnnxNode, TensorType
from oaq.capture.from_onnx.inputs import Inputs
from oaq.capture.from_onnx.lookups import look_up
from oaq.capture.from_onnx.resizing import resizing
from oaq.capture.from_onnx.values import Gathered, Integers, Pending, Reals, Stays, View, arranged, extended
from oaq.capture.from_onnx.walk import Walk
from oaq.capture.from_onnx.windows import window
from oaq.capture.layout import Layout
from oaq.capture.picking import BORDERS, Index, gathers, padded_index, strided_index
from oaq.capture.pools import wider_than_padding
from oaq.numerics.ranges import IntRange
from oaq.operators import Shape

COUNTED: Final = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")
"""Operators that only count axes in another way."""
IMAGE: Final = (1, 2, 0)


def inputs_of(walk: Walk, node: OnnxNode) -> Inputs:
    """What is known of a node's inputs."""
    types = [walk.graph.types.get(name, TensorType()) for name in node.inputs]
    return Inputs(types, [walk.graph.constant(name) for name in node.inputs], walk.graph.opset)


def move(walk: Walk, node: OnnxNode) -> None:
    """Any operator that moves: on integers, on reals that stand for some, or on a result not quantized yet."""
    value = walk.values.get(node.input_name(0))
    counted = node.op in COUNTED
    match value:
        case Integers(index=False):
            walk.values[node.outputs[0]] = replace(value, view=moved(walk, node, value.view, value.offset))
        case Reals(curve=None):
            walk.values[node.outputs[0]] = Reals(moved(walk, node, value.view, None))
        case Reals() if counted:
            view = moved(walk, node, value.view, None)
            walk.values[node.outputs[0]] = replace(value, view=view, axis=_axis_after(node, value, view))
        case Pending() if not (node.op in ("Resize", "Upsample") and text(node, "mode", "nearest") != "nearest"):
            walk.values[node.outputs[0]] = replace(value, moves=extended(value.moves, node))
            return
        case _:
            raise Stays(f"its input {node.input_name(0)!r} is not quantized")
    if counted:
        walk.transparent[node.name] = None
    else:
        walk.absorb([node])


def _axis_after(node: OnnxNode, reals: Reals, view: View) -> int | None:
    """The axis whose places have a function each, as the result of a node that counts axes anew has it.

    Raises:
        Stays: it is no axis of its own any more.
    """
    if reals.axis is None:
        return None
    before, after = reals.view.shape, view.shape
    if node.op == "Transpose":
        order = integers(node, "perm", len(before) + 1) or tuple(reversed(range(len(before) + 1)))
        return order.index(reals.axis + 1) - 1
    wide = [[axis for axis, size in enumerate(shape) if size > 1] for shape in (before, after)]
    if [before[axis] for axis in wide[0]] != [after[axis] for axis in wide[1]]:
        raise Stays("it reshapes what has a function of its own for each place of an axis; quantize before it")
    return wide[1][wide[0].index(reals.axis)]


def moved(walk: Walk, node: OnnxNode, view: View, offset: int | None) -> View:
    """The result of one moving node.

    Args:
        walk: the import.
        node: that moves.
        view: what it moves.
        offset: the program's integer minus the file's, where the file moves integers; None where it moves reals.

    Raises:
        Stays: memory cannot be moved that way.
    """
    if len(node.outputs) != 1 and any(node.outputs[1:]):
        raise Stays("more than its first result is wanted")
    if node.op in COUNTED:
        return _counted(walk, node, view)
    order = _order_for(walk, node, view)
    steps = MOVES[node.op](walk, node, view, offset)
    *before, op = steps if isinstance(steps, list) else [steps]
    ready = arranged(walk.draft, view, order)
    source = walk.draft.tensors[ready.tensor]
    layout = Layout.in_order(walk.sample(node.outputs[0]), order)
    result = full(source.affine, node.outputs[0], layout)
    result.offset, result.is_integer = offset or 0, offset is not None
    number = ready.tensor
    for index, inner in enumerate(before):
        number = walk.draft.emit_inner(f"{node.name}.{index}", inner, [number], result)
    number = walk.draft.emit(node.name, op, [number], result)
    if isinstance(op, ops.MaxPool) and max(op.dilation) > 1 and max(op.padding) > 0:
        # A window may hold nothing but padding; quantizing the least float there gives 0.
        tensor = walk.draft.tensors[number]
        tensor.range = IntRange(0, tensor.range.hi)
    return View(number, layout)


def _order_for(walk: Walk, node: OnnxNode, view: View) -> tuple[int, ...]:
    """In which order ``node`` needs ``view``: a slice takes lines and tokens as they lie, others slide over lines."""
    rank = len(view.shape)
    if rank == 2 and node.op != "Slice":
        return spatial(rank)
    if rank == 4 and node.op in ("MaxPool", "Pad"):
        return spatial(rank)
    return order_of(view.layout, walk.draft.tensors[view.tensor].shape)


def split(walk: Walk, node: OnnxNode) -> None:
    """One Slice per part."""
    value = walk.values.get(node.input_name(0))
    if not (isinstance(value, Integers) and not value.index) and not (isinstance(value, Reals) and value.curve is None):
        raise Stays(f"its input {node.input_name(0)!r} is not quantized")
    sections = movement.parts(node, inputs_of(walk, node), walk.graph.shape(node.input_name(0)))
    if sections is None:
        raise Stays("it splits by sizes computed while it runs")
    if sections[0] == 0:
        raise Stays("it splits the batch")
    axis, sizes = sections
    begin = 0
    for name, size in zip(node.outputs, sizes, strict=True):
        if name:
            order = order_of(value.view.layout, walk.draft.tensors[value.view.tensor].shape)
            ready = arranged(walk.draft, value.view, order)
            op = _slice_of(value.view.shape, order, axis - 1, (begin, begin + size))
            layout = Layout.in_order(walk.sample(name), order)
            result = full(walk.draft.tensors[ready.tensor].affine, name, layout)
            result.offset, result.is_integer = (value.offset, True) if isinstance(value, Integers) else (0, False)
            number = walk.draft.emit(f"{node.name}.{name}", op, [ready.tensor], result)
            walk.values[name] = replace(value, view=View(number, layout))
        begin += size
    walk.absorb([node])


def gather(walk: Walk, node: OnnxNode) -> None:
    """A table looked up by integers; rows and columns of an image; one stretch of an axis."""
    index = walk.values.get(node.input_name(1))
    if isinstance(index, Integers) and index.index:
        look_up(walk, node, index)
        return
    value = walk.values.get(node.input_name(0))
    indices = walk.constant(node.input_name(1), "index")
    shape = walk.graph.shape(node.input_name(0))
    axis = movement.axis_of(node, integer(node, "axis", 0), len(shape))
    if axis == 0:
        raise Stays("it picks samples of the batch")
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise Stays(f"its index is of shape {indices.shape}; rows and columns of images are picked by lists")
    rows = tuple(int(row) for row in indices)
    if isinstance(value, Gathered) and axis == 3:
        _resize_by_index(walk, node, value, rows)
    elif isinstance(value, Reals) and value.curve is None and len(shape) == 4 and axis == 2 and _repeats(walk, node):
        walk.values[node.outputs[0]] = Gathered(value.view, rows, node)
    else:
        move(walk, node)


def _repeats(walk: Walk, node: OnnxNode) -> bool:
    """Whether rows are picked as in a resize, and the one reader picks columns so."""
    readers = walk.graph.consumers.get(node.outputs[0], ())
    if len(readers) != 1 or readers[0].op != "Gather" or node.outputs[0] in walk.graph.outputs:
        return False
    rank = len(walk.graph.shape(node.input_name(0)))
    for picker, axis in ((node, 2), (readers[0], 3)):
        index, size = walk.graph.constant(picker.input_name(1)), walk.graph.shape(picker.input_name(0))[axis]
        if index is None or index.ndim != 1 or movement.axis_of(picker, integer(picker, "axis", 0), rank) != axis:
            return False
        if tuple(index.tolist()) != _nearest(size, index.size):
            return False
    return True


def _picked(view: View, order: tuple[int, ...], picks: Iterable[tuple[int, Index]]) -> list[ops.Op]:
    """What picks entries of axes of the file, the batch being axis 0; a Reshape to what it is if that is nothing."""
    moves = gathers(((axis - 1, index) for axis, index in picks), view.shape, order.index)
    return moves or [ops.Reshape(tuple(view.shape[axis] for axis in order))]


def _gather(walk: Walk, node: OnnxNode, view: View, offset: int | None) -> list[ops.Op]:
    rank = len(view.shape) + 1
    axis = movement.axis_of(node, integer(node, "axis", 0), rank)
    size, index = view.shape[axis - 1], walk.constant(node.input_name(1), "index").astype(np.int64)
    if not index.size or index.min() < -size or index.max() >= size:
        raise Stays(f"it picks entries {index.tolist()[:8]} of {size}")
    return _picked(view, _order_for(walk, node, view), [(axis, np.where(index < 0, index + size, index))])


def _resize_by_index(walk: Walk, node: OnnxNode, value: Gathered, columns: tuple[int, ...]) -> None:
    _, height, width = value.view.shape
    if value.rows != _nearest(height, len(value.rows)) or columns != _nearest(width, len(columns)):
        raise Stays(f"its {len(value.rows)} rows and {len(columns)} columns of {height} x {width} do not repeat evenly")
    ready = arranged(walk.draft, value.view, IMAGE)
    shape = walk.sample(node.outputs[0])
    layout = Layout.in_order(shape, IMAGE)
    result = full(walk.draft.tensors[ready.tensor].affine, node.outputs[0], layout)
    op = ops.Resize(len(value.rows), len(columns), "nearest")
    number = walk.draft.emit(value.node.name, op, [ready.tensor], result)
    walk.values[node.outputs[0]] = Reals(View(number, layout))
    walk.absorb([value.node, node])


def _nearest(size: int, target: int) -> tuple[int, ...]:
    return tuple(index * size // target for index in range(target))


def _counted(walk: Walk, node: OnnxNode, view: View) -> View:
    if node.op == "Identity":
        return view
    shape = walk.sample(node.outputs[0])
    if node.op == "Transpose":
        rank = len(view.shape) + 1
        order = integers(node, "perm", rank) or tuple(reversed(range(rank)))
        if order[0] != 0:
            raise Stays("it moves the batch")
        return replace(view, layout=view.layout.transposed([axis - 1 for axis in order[1:]]), turned=node.name)
    layout = view.layout.reshaped(shape)
    if layout is None:  # in the file's own order, any shape is one of the same memory
        view = arranged(walk.draft, view, tuple(range(len(view.shape))))
        layout = view.layout.reshaped(shape)
        assert layout is not None
    reshaped = view.reshaped or (node.name if node.op in ("Reshape", "Flatten") else "")
    return View(view.tensor, layout, reshaped, view.turned)


def _max_pool(walk: Walk, node: OnnxNode, view: View, offset: int | None) -> ops.Op:
    if len(view.shape) not in (2, 3, 4):
        raise Stays(f"it pools a sample of {len(view.shape)} axes; lines, images and volumes are known")
    windows = window(node, view.shape[1:])
    if not wider_than_padding(windows.kernel, windows.padding):
        raise Stays(f"its padding {windows.padding} reaches the size of its kernel {windows.kernel}")
    return ops.MaxPool(windows.kernel, windows.stride, windows.padding, windows.dilation)


def _pad(walk: Walk, node: OnnxNode, view: View, offset: int | None) -> ops.Op | list[ops.Op]:
    amounts = movement.pads(node, inputs_of(walk, node), len(view.shape) + 1)
    mode = text(node, "mode", "constant")
    if amounts is None:
        raise Stays("it pads by amounts computed while it runs")
    if mode in BORDERS:
        return _bordered(walk, node, view, amounts, mode)
    if mode != "constant":
        raise Stays(f"its mode is {mode[:20]}; constant, reflect, edge and wrap are known")
    if len(view.shape) not in (2, 3, 4):
        raise Stays(f"it pads a sample of {len(view.shape)} axes; lines, images and volumes are known")
    before, after = amounts
    if min(*before, *after) < 0:
        raise Stays(f"it cuts off: pads {amounts} are negative")
    if any((*before[:2], *after[:2])):
        raise Stays(f"its pads {amounts} are not of positions alone")
    value = walk.constant(node.input_name(2), "value").reshape(-1) if node.input_name(2) else None
    fill = node.attributes.get("value", 0.0) if value is None else (value[0] if value.size == 1 else np.nan)
    zero = walk.draft.tensors[view.tensor].affine.zero_point
    expected = 0.0 if offset is None else zero - offset
    if float(fill) != float(expected):  # type: ignore[arg-type]
        raise Stays(f"it pads with {fill}, not with the integer that stands for 0.0")
    return ops.Pad(tuple(side for pair in zip(before[2:], after[2:], strict=True) for side in pair))


def _bordered(walk: Walk, node: OnnxNode, view: View, amounts: tuple[Shape, Shape], mode: str) -> list[ops.Op]:
    """Positions that repeat others."""
    (first, *before), (last, *after) = amounts
    if first or last:
        raise Stays("it pads the batch")
    if min(*before, *after) < 0:
        raise Stays(f"it cuts off: pads {amounts} are negative")
    picks = []
    for axis, (size, left, right) in enumerate(zip(view.shape, before, after, strict=True)):
        index = padded_index(size, left, right, mode)
        if index is None:
            raise Stays(f"it pads {size} by {left} and {right} in mode {mode}, more than there is to repeat")
        picks.append((axis + 1, index))
    return _picked(view, _order_for(walk, node, view), picks)


def _slice(walk: Walk, node: OnnxNode, view: View, offset: int | None) -> ops.Op | list[ops.Op]:
    bounds = movement.slices(node, inputs_of(walk, node), walk.graph.shape(node.input_name(0)))
    if bounds is None:
        raise Stays("its ends are computed while it runs")
    first, *inner = bounds
    if first != (0, walk.graph.batch, 1):
        raise Stays("it cuts the batch")
    if any(not len(range(*span)) for span in inner):
        raise Stays("it leaves nothing")
    order = order_of(view.layout, walk.draft.tensors[view.tensor].shape)
    spans = [span[:2] if span[2] == 1 else (0, size) for span, size in zip(inner, view.shape, strict=True)]
    cut = ops.Slice(tuple(spans[axis][0] for axis in order), tuple(spans[axis][1] for axis in order))
    picks = [(axis, strided_index(*span)) for axis, span in enumerate(inner) if span[2] != 1]
    if not picks:
        return cut
    begins = any(cut.begin) or any(end != view.shape[axis] for axis, (_, end) in enumerate(spans))
    shape = tuple(high - low for low, high in spans)
    return ([cut] if begins else []) + (
        gathers(picks, shape, order.index) or [ops.Reshape(tuple(shape[a] for a in order))]
    )


def _slice_of(shape: tuple[int, ...], order: tuple[int, ...], axis: int, span: tuple[int, int]) -> ops.Slice:
    if not len(shape) >= 1 or span[1] <= span[0]:
        raise Stays("one of its parts is empty")
    ends = [span if place == axis else (0, shape[place]) for place in order]
    return ops.Slice(tuple(low for low, _ in ends), tuple(high for _, high in ends))


def _depth_to_space(walk: Walk, node: OnnxNode, view: View, offset: int | None) -> ops.Op:
    mode = text(node, "mode", "DCR")
    return ops.DepthToSpace(integer(node, "blocksize", 0), "CRD" if mode == "CRD" else "DCR")


def _resize(walk: Walk, node: OnnxNode, view: View, offset: int | None) -> ops.Op | list[ops.Op]:
    change = resizing(node, inputs_of(walk, node), (walk.graph.batch, *view.shape))
    if change is None:
        raise Stays("its sizes or scales are computed while it runs")
    if offset is not None and change.mode != "nearest":
        raise Stays("it mixes integers of the file itself")
    flaw = change.flaw((2, 3))
    if flaw:
        raise Stays(flaw)
    order, picks = _order_for(walk, node, view), change.picks()
    if picks is not None and (len(view.shape) != 3 or order != IMAGE or not change.is_even((2, 3))):
        return _picked(view, order, picks)
    if len(view.shape) != 3:
        raise Stays("it mixes values of what is no image")
    _, _, height, width = change.after
    alone = gathers(((axis - 1, index) for axis, index in change.alone((2, 3))), view.shape, order.index)
    return [*alone, ops.Resize(height, width, change.own_mode)]


Moving = Callable[[Walk, OnnxNode, View, "int | None"], "ops.Op | list[ops.Op]"]
MOVES: Final[Mapping[str, Moving]] = {
    "MaxPool": _max_pool,
    "Pad": _pad,
    "Slice": _slice,
    "Gather": _gather,
    "DepthToSpace": _depth_to_space,
    "Resize": _resize,
    "Upsample": _resize,
}
RULES: Final[Mapping[str, Callable[[Walk, OnnxNode], None]]] = {
    **dict.fromkeys((*COUNTED, *MOVES), move),
    "Split": split,
    "Gather": gather,
}
"""Handlers by operator."""
