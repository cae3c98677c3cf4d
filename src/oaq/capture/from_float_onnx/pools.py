"""Pools and resizing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from oaq import operators as ops
from oaq.capture.from_float_onnx.builder import Builder, site, unsupported
from oaq.capture.from_onnx import movement
from oaq.capture.from_onnx.attributes import integer, text
from oaq.capture.from_onnx.graph import OnnxNode
from oaq.capture.from_onnx.resizing import resizing
from oaq.capture.from_onnx.windows import Window, window
from oaq.capture.graph import (
    FloatAvgPool,
    FloatOp,
    Unquantized,
)
from oaq.capture.picking import pick
from oaq.capture.pools import why_no_integers, why_too_large
from oaq.operators.tensor import Shape
from oaq.operators.windows import Window as PoolWindow


def max_pool(build: Builder, node: OnnxNode) -> None:
    """MaxPool; where it rounds its size up, padding after each axis stands for what is missing."""
    if build.wants_more(node):
        raise unsupported(node, "its indices are wanted; oaq gives the values only")
    tensor, windows = _windows(build, node)
    op = ops.MaxPool(windows.kernel, windows.stride, windows.padding, windows.dilation)
    pool = PoolWindow(op.kernel, op.stride, op.padding, op.dilation)
    flaw = why_no_integers(pool, build.shapes[tensor][1:], windows.count)
    if flaw is not None:
        raise unsupported(node, flaw)
    build.emit(op, (tensor,), (build.shapes[tensor][0], *windows.count), node)


def average_pool(build: Builder, node: OnnxNode) -> None:
    """AveragePool, divided by what it counts."""
    tensor, windows = _windows(build, node)
    counted = bool(integer(node, "count_include_pad", 0))
    if max(windows.dilation) > 1:
        raise unsupported(node, f"dilations {windows.dilation}; oaq averages neighbours")
    if counted and any(windows.added):
        raise unsupported(node, "ceil_mode=1 makes windows that leave the padded image; use ceil_mode=0")
    op = FloatAvgPool(windows.kernel, windows.stride, windows.padding, counted or not any(windows.padding))
    build.emit(op, (tensor,), (build.shapes[tensor][0], *windows.count), node)


def _windows(build: Builder, node: OnnxNode) -> tuple[str, Window]:
    """The line or image and its windows, each of which holds a position of it."""
    tensor = _spatial(build, node)
    windows = window(node, build.shapes[tensor][1:])
    reach = [(size - 1) * step + 1 for size, step in zip(windows.kernel, windows.dilation, strict=True)]
    if any(max(b, a) >= r for b, a, r in zip(windows.before, windows.after, reach, strict=True)):
        raise unsupported(node, f"padding {windows.padding} as wide as its window {tuple(reach)}")
    if flaw := why_too_large(windows.kernel, windows.stride, windows.dilation):
        raise unsupported(node, flaw)
    return tensor, windows


def _image(build: Builder, node: OnnxNode) -> str:
    tensor = build.read(node.input_name(0), node)
    if len(build.shapes[tensor]) != 3:
        raise unsupported(node, f"on {build.shapes[tensor]}; oaq knows it of images (C, H, W)")
    return tensor


def _spatial(build: Builder, node: OnnxNode) -> str:
    tensor = build.read(node.input_name(0), node)
    if len(build.shapes[tensor]) < 2:
        raise unsupported(node, f"on {build.shapes[tensor]}; oaq knows it of lines (C, L) and images (C, H, W)")
    return tensor


def global_average(build: Builder, node: OnnxNode) -> None:
    """GlobalAveragePool."""
    tensor = _spatial(build, node)
    channels, *size = build.shapes[tensor]
    build.emit(Unquantized(ops.GlobalAvgPool), (tensor,), (channels, *(1,) * len(size)), node)


def global_max(build: Builder, node: OnnxNode) -> None:
    """GlobalMaxPool: one window as large as the line or image."""
    tensor = _spatial(build, node)
    channels, *size = build.shapes[tensor]
    build.emit(_greatest_of(node, tuple(size)), (tensor,), (channels, *(1,) * len(size)), node)


def _greatest_of(node: OnnxNode, size: Shape) -> ops.MaxPool:
    """One window over all positions."""
    if flaw := why_too_large(size, size):
        raise unsupported(node, flaw)
    return ops.MaxPool(size, size)


def mean(build: Builder, node: OnnxNode) -> None:
    """ReduceMean over all positions."""
    _over_positions(build, node, "averages", lambda _: Unquantized(ops.GlobalAvgPool))


def greatest(build: Builder, node: OnnxNode) -> None:
    """ReduceMax over all positions: one window as large as the image."""
    _over_positions(build, node, "takes the greatest", partial(_greatest_of, node))


def _over_positions(build: Builder, node: OnnxNode, verb: str, pool: Callable[[Shape], FloatOp]) -> None:
    """A number per channel, in whatever order the file counts its axes.

    Args:
        build: the graph.
        node: that reduces.
        verb: what it does, for the message.
        pool: from the sizes of all positions to the operator.
    """
    tensor, axes = build.counted(node.input_name(0), node)
    shape, stated_axes = build.shapes[tensor], movement.numbers_of(node, build.inputs_of(node), 1, "axes") or ()
    places = {movement.axis_of(node, axis, len(shape) + 1) for axis in stated_axes}
    positions = set(range(1, len(shape)))
    if not positions or 0 in places or {axes[place - 1] for place in places} != positions:
        full = build.file.shape(node.input_name(0))
        raise unsupported(node, f"over the axes {stated_axes} of {full}; oaq {verb} over height and width, or a line")
    build.emit(pool(shape[1:]), (tensor,), (shape[0], *(1,) * len(positions)), node, axes)
    if not integer(node, "keepdims", 1):
        build.recount(node.outputs[0], build.sample(node.outputs[0], node))


def resize(build: Builder, node: OnnxNode) -> None:
    """Resize and Upsample: nearest neighbours by any rule; bilinear by half-pixel centres, corners or first pixels."""
    tensor, axes = build.counted(node.input_name(0), node)
    shape = build.shapes[tensor]
    change = resizing(node, build.inputs_of(node), build.file.shape(node.input_name(0)))
    if change is None:
        raise unsupported(node, "its sizes or scales are computed while it runs")
    places = [1 + axes.index(axis) for axis in (1, 2)] if len(shape) == 3 else []
    flaw = change.flaw(places)
    if flaw:
        raise unsupported(node, flaw)
    picks = change.picks()
    if picks is not None and not (places and change.is_even(places)):
        build.write(node, pick(build, tensor, [(axes[axis - 1], index) for axis, index in picks], site(node)), axes)
        return
    if not places:
        raise unsupported(node, f"by {change.mode} on {shape}; oaq mixes pixels of images")
    tensor = pick(build, tensor, [(axes[axis - 1], index) for axis, index in change.alone(places)], site(node))
    height, width = (change.after[place] for place in places)
    op = ops.Resize(height, width, change.own_mode)
    build.emit(op, (tensor,), (shape[0], height, width), node, axes)


def depth_to_space(build: Builder, node: OnnxNode) -> None:
    """DepthToSpace in either mode."""
    tensor = _image(build, node)
    mode = "CRD" if text(node, "mode", "DCR") == "CRD" else "DCR"
    op = ops.DepthToSpace(integer(node, "blocksize", 0), mode)
    build.emit(op, (tensor,), build.sample(node.outputs[0], node), node)
