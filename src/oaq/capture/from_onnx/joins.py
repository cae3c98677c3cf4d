"""Rules for operators that join tensors (Add, Mul, Concat) or average one: done when their result is quantized."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Final

import numpy as np

from oaq import operators as ops
from oaq.capture.from_onnx import movement
from oaq.capture.from_onnx.attributes import integer, integers
from oaq.capture.from_onnx.curves import arithmetic, is_curve_work
from oaq.capture.from_onnx.draft import arrangement, order_of, spatial
from oaq.capture.from_onnx.graph import OnnxNode
from oaq.capture.from_onnx.lookups import index_by_channel
from oaq.capture.from_onnx.moves import inputs_of
from oaq.capture.from_onnx.values import Extreme, Integers, Meaning, Pending, Reals, Stays, View, arranged, settled
from oaq.capture.from_onnx.walk import Walk, multipliers
from oaq.capture.from_onnx.weights import real_constant
from oaq.capture.from_onnx.windows import window
from oaq.capture.layout import Layout
from oaq.numerics.affine import Affine


def add(walk: Walk, node: OnnxNode) -> None:
    """Two tensors; or a constant, or a function of one tensor, which ``curves`` knows; or an index by channel."""
    index = walk.values.get(node.input_name(0))
    if isinstance(index, Integers) and index.index:
        walk.values[node.outputs[0]] = index_by_channel(walk, node, index)
    elif is_curve_work(walk, node):
        arithmetic(walk, node)
    else:
        views = [walk.plain(node.input_name(index)) for index in (0, 1)]
        walk.values[node.outputs[0]] = sum_of(walk, node, views)


def mul(walk: Walk, node: OnnxNode) -> None:
    """See ``add``."""
    if is_curve_work(walk, node):
        arithmetic(walk, node)
    else:
        views = [walk.plain(node.input_name(index)) for index in (0, 1)]
        walk.values[node.outputs[0]] = product_of(walk, node, views)


def extreme(walk: Walk, node: OnnxNode) -> None:
    """Min or Max of several tensors of one shape; of one tensor and constants, which ``curves`` knows, a clamp."""
    if len(node.inputs) == 2 and any(real_constant(walk.graph, name) is not None for name in node.inputs):
        arithmetic(walk, node)
        return
    operands = tuple(walk.reals(name) for name in node.inputs)
    if len({reals.view.shape for reals in operands}) > 1:
        raise Stays(f"{' and '.join(str(reals.view.shape) for reals in operands)} are not of one shape")
    if len(operands) == 1:
        walk.values[node.outputs[0]] = operands[0]
        walk.transparent[node.name] = None
    elif len(operands) == 2 and operands[0].view == operands[1].view:
        arithmetic(walk, node)
    else:
        walk.values[node.outputs[0]] = Extreme(operands, node, node.op == "Min")


def extreme_of(walk: Walk, value: Extreme, meaning: Meaning, file: str) -> View:
    """The integers of an extreme: the operands' own, one above another, under a MaxPool as high as they are many.

    For the smaller one all are turned round before, and the result after: 255 - q.
    """
    draft, node = walk.draft, value.node
    aligned = _alike(walk, [_operand_at(walk, reals, meaning, node) for reals in value.operands])
    walk.absorb([*(member for reals in value.operands for member in reals.nodes), node])
    shape = draft.tensors[aligned[0].tensor].shape
    layout = aligned[0].layout
    inner = walk.result(meaning, file, layout)
    opposite = replace(inner, affine=Affine(meaning.affine.scale, 255 - meaning.affine.zero_point))
    emit, place = draft.emit_inner, f"{node.name}.{{}}".format
    vectors = [emit(place("vector"), ops.Reshape((prod(shape),)), [view.tensor], inner) for view in aligned]
    stack = emit(place("stacked"), ops.Concat(multipliers([np.float32(1)] * len(vectors))), vectors, inner)
    turned = ops.Lookup(np.arange(255, -1, -1).astype(np.uint8))
    if value.least:
        stack = emit(place("negated"), turned, [stack], opposite)
    count, positions = len(vectors), prod(shape[:-1])
    stack = emit(place("above"), ops.Reshape((count, positions, shape[-1])), [stack], inner)
    number = emit(node.name, ops.MaxPool((count, 1), (count, 1)), [stack], inner)
    if value.least:
        number = emit(place("back"), turned, [number], inner)
    return View(draft.emit(place("shaped"), ops.Reshape(shape), [number], inner), layout)


def _operand_at(walk: Walk, reals: Reals, meaning: Meaning, node: OnnxNode) -> View:
    """One operand's integers at that scale and zero point, which the file has under no name."""
    earlier = len(walk.draft.tensors)
    source = walk.draft.tensors[reals.view.tensor]
    named = (source.file, source.layout, source.offset, source.is_integer)
    view = walk.requantized(reals, meaning, source.file, node)
    if view.tensor >= earlier:
        tensor = walk.draft.tensors[view.tensor]
        tensor.file, tensor.is_integer, tensor.is_of_file = f"{node.name}.operand", False, False
    else:
        source.file, source.layout, source.offset, source.is_integer = named
    return view


def concat(walk: Walk, node: OnnxNode) -> None:
    """Dequantized tensors side by side."""
    views = [walk.plain(name) for name in node.inputs]
    walk.values[node.outputs[0]] = side_by_side(walk, node, views)


def sum_of(walk: Walk, node: OnnxNode, views: Sequence[View]) -> Pending:
    """An Add that waits for its output's scale."""
    a, b = _alike(walk, views)
    s_a, s_b = (scale_of(walk, view) for view in (a, b))

    def make(s_y: float) -> ops.Add:
        return ops.Add(multipliers([s_a / np.float32(s_y), s_b / np.float32(s_y)]))

    return Pending(node.name, make, (a.tensor, b.tensor), a.layout, (node,))


def product_of(walk: Walk, node: OnnxNode, views: Sequence[View]) -> Pending:
    """A Mul that waits for its output's scale; one side may be one number per channel."""
    a, b = views
    if a.shape != b.shape:
        if prod(a.shape) < prod(b.shape):
            a, b = b, a
        a = arranged(walk.draft, a)
        order = order_of(a.layout, walk.draft.tensors[a.tensor].shape)
        channels = a.shape[order[-1]]
        unit_axes = (1,) * (len(order) - 1)
        if b.shape != tuple(channels if axis == order[-1] else 1 for axis in sorted(order)) or not unit_axes:
            raise Stays(f"{a.shape} times {b.shape}: one number per channel is all that is known")
        b = settled(walk.draft, b)
        if walk.draft.tensors[b.tensor].shape not in ((channels,), (*unit_axes, channels)):
            b = arranged(walk.draft, b, order)
    else:
        a, b = _alike(walk, views)
    s_a, s_b = (scale_of(walk, view) for view in (a, b))

    def make(s_y: float) -> ops.Mul:
        return ops.Mul(multipliers([s_a * s_b / np.float32(s_y)]))

    return Pending(node.name, make, (a.tensor, b.tensor), a.layout, (node,))


def side_by_side(walk: Walk, node: OnnxNode, views: Sequence[View]) -> Pending:
    """A Concat that waits for its output's scale.

    On the innermost axis of memory it is our Concat. On the outermost one each tensor is one stretch of memory, so it
    is our Concat of vectors. Where memory has them on another axis, they are moved so that it is the outermost.
    """
    rank = len(views[0].shape)
    axis = movement.axis_of(node, integer(node, "axis", 0), rank + 1) - 1
    if axis < 0 or any(len(view.shape) != rank for view in views):
        raise Stays("it joins samples of the batch")
    order = order_of(views[0].layout, walk.draft.tensors[views[0].tensor].shape)
    shape = list(views[0].shape)
    shape[axis] = sum(view.shape[axis] for view in views)
    natural = tuple(range(rank))
    if rank <= 4 and order[-1] == axis and all(view.layout.is_in(order) for view in views):
        ready = [arranged(walk.draft, view, order) for view in views]
        layout = Layout.in_order(tuple(shape), order)
    elif prod(shape[:axis]) == 1 and all(view.layout.is_in(natural) for view in views):
        ready = [_vector(walk, view) for view in views]
        vector = Layout((prod(shape),), ((0,),)).reshaped(tuple(shape))
        assert vector is not None
        layout = vector
    else:
        outermost = (axis, *(other for other in order if other != axis))
        ready = [_vector(walk, arranged(walk.draft, view, outermost)) for view in views]
        layout = Layout.in_order(tuple(shape), outermost)
    scales = [scale_of(walk, view) for view in ready]

    def make(s_y: float) -> ops.Concat:
        return ops.Concat(multipliers([scale / np.float32(s_y) for scale in scales]))

    return Pending(node.name, make, tuple(view.tensor for view in ready), layout, (node,))


def _vector(walk: Walk, view: View) -> View:
    """All of a view in memory's order."""
    return arranged(walk.draft, View(view.tensor, Layout.in_order((prod(view.shape),), (0,)), view.reshaped), (0,))


def _alike(walk: Walk, views: Sequence[View]) -> list[View]:
    """Tensors of one shape whose elements lie in one order."""
    views = [settled(walk.draft, view) for view in views]
    first = views[0]
    if any(view.shape != first.shape for view in views):
        raise Stays(f"{' and '.join(str(view.shape) for view in views)} are not of one shape")
    shapes = {walk.draft.tensors[view.tensor].shape for view in views}
    order = tuple(range(len(first.shape)))
    if len(shapes) == 1 and all(np.array_equal(_order(first), _order(view)) for view in views):
        return views
    orders = dict.fromkeys((arrangement(len(first.shape)), order, spatial(len(first.shape))))
    target = next((o for o in orders if all(view.layout.is_in(o) for view in views)), arrangement(len(first.shape)))
    return [arranged(walk.draft, view, target) for view in views]


def _order(view: View) -> np.ndarray:
    return view.layout.order_of_elements()


def scale_of(walk: Walk, view: View) -> np.float32:
    """The scale of a tensor."""
    return np.float32(walk.draft.tensors[view.tensor].affine.scale)


def average_pool(walk: Walk, node: OnnxNode) -> None:
    """A dequantized image, averaged under a window."""
    walk.values[node.outputs[0]] = mean_of_windows(walk, node, walk.plain(node.input_name(0)))


def global_average_pool(walk: Walk, node: OnnxNode) -> None:
    """A dequantized image or line, averaged over its positions."""
    walk.values[node.outputs[0]] = mean_of_image(walk, node, walk.plain(node.input_name(0)))


def reduce_mean(walk: Walk, node: OnnxNode) -> None:
    """ReduceMean over all positions."""
    walk.values[node.outputs[0]] = mean_over_axes(walk, node, walk.plain(node.input_name(0)))


def mean_of_windows(walk: Walk, node: OnnxNode, x: View) -> Pending:
    """An AvgPool that waits for its output's scale."""
    order = spatial(len(x.shape))
    _check_pooled(node, len(x.shape))
    windows = window(node, x.shape[1:])
    include = bool(integer(node, "count_include_pad", 0))
    if max(windows.dilation) > 1:
        raise Stays(f"its windows are dilated by {windows.dilation}; neighbours are averaged here")
    if include and any(windows.added):
        raise Stays("its last windows, of ceil_mode, hang over the padding that they count")
    ready = arranged(walk.draft, x, order)
    ratio, count = scale_of(walk, ready), prod(windows.kernel)
    if count > 1 << 16:
        raise Stays(f"its window has {count} positions")

    def make(s_y: float) -> ops.AvgPool:
        counts = np.arange(1, count + 1, dtype=np.float32)
        return ops.AvgPool(
            windows.kernel, windows.stride, multipliers(ratio / np.float32(s_y) / counts), windows.padding, include
        )

    layout = Layout.in_order((x.shape[0], *windows.count), order)
    return Pending(node.name, make, (ready.tensor,), layout, (node,))


def _check_pooled(node: OnnxNode, rank: int) -> None:
    if rank not in (2, 3, 4):
        raise Stays(f"it pools a sample of {rank} axes; lines, images and volumes are known")
    if integer(node, "channels_last", 0):
        raise Stays("its channels are last; they come first in what is known")


def mean_of_image(walk: Walk, node: OnnxNode, x: View) -> Pending:
    """A GlobalAvgPool that waits for its output's scale."""
    rank = len(x.shape)
    _check_pooled(node, rank)
    order = spatial(rank)
    layout = Layout.in_order((x.shape[0], *(1,) * (rank - 1)), order)
    return _mean(walk, node, arranged(walk.draft, x, order), layout)


def mean_over_axes(walk: Walk, node: OnnxNode, x: View) -> Pending:
    """A GlobalAvgPool for a ReduceMean over all axes that are not channels."""
    stated_axes = movement.numbers_of(node, inputs_of(walk, node), 1, "axes")
    if stated_axes is None:
        stated_axes = integers(node, "axes") or ()
    rank = len(x.shape) + 1
    axes = sorted({movement.axis_of(node, axis, rank) for axis in stated_axes})
    if rank not in (3, 4, 5) or len(axes) != rank - 2 or axes[0] == 0:
        raise Stays(
            f"it averages over the axes {axes} of {rank}; all positions of a line, an image or a volume are known"
        )
    (channel_axis,) = set(range(1, rank)) - set(axes)
    order = (*(axis - 1 for axis in axes), channel_axis - 1)
    ready = arranged(walk.draft, x, order)
    shape = tuple(size if axis == channel_axis - 1 else 1 for axis, size in enumerate(x.shape))
    layout = Layout.in_order(shape, order)
    if not integer(node, "keepdims", 1):
        layout = replace(layout, axes=(layout.axes[channel_axis - 1],))
    return _mean(walk, node, ready, layout)


def _mean(walk: Walk, node: OnnxNode, ready: View, layout: Layout) -> Pending:
    ratio = scale_of(walk, ready)
    positions = prod(walk.draft.tensors[ready.tensor].shape[:-1])

    def make(s_y: float) -> ops.GlobalAvgPool:
        return ops.GlobalAvgPool(multipliers([ratio / np.float32(s_y) / np.float32(positions)]))

    return Pending(node.name, make, (ready.tensor,), layout, (node,))


RULES: Final[Mapping[str, Callable[[Walk, OnnxNode], None]]] = {
    "Add": add,
    "Mul": mul,
    **dict.fromkeys(("Min", "Max"), extreme),
    "Concat": concat,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "ReduceMean": reduce_mean,
}
"""Rules by operator."""
