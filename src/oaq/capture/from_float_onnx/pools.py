"""Pools and resizing."""

from __future__ import annotations

from oaq import operators as ops
from oaq.capture.from_float_onnx.builder import Builder, unsupported
from oaq.capture.from_onnx import movement
from oaq.capture.from_onnx.attributes import integer, text
from oaq.capture.from_onnx.graph import OnnxNode
from oaq.capture.from_onnx.moves import nearest_places
from oaq.capture.from_onnx.windows import Window, window
from oaq.capture.graph import (
    FloatAvgPool,
    Unquantized,
)
from oaq.capture.pools import why_no_integers
from oaq.operators import LARGEST_WINDOW
from oaq.operators.windows import Window as PoolWindow

Shape = tuple[int, ...]


def max_pool(build: Builder, node: OnnxNode) -> None:
    """MaxPool; where it rounds its size up, padding after each axis stands for what is missing."""
    if build.wants_more(node):
        raise unsupported(node, "its indices are wanted; oaq gives the values only")
    tensor, found = _windows(build, node)
    op = ops.MaxPool(found.kernel, found.stride, found.padding, found.dilation)
    pool = PoolWindow(op.kernel, op.stride, op.padding, op.dilation)
    flaw = why_no_integers(pool, build.shapes[tensor][1:], found.count)
    if flaw is not None:
        raise unsupported(node, flaw)
    build.emit(op, (tensor,), (build.shapes[tensor][0], *found.count), node)


def average_pool(build: Builder, node: OnnxNode) -> None:
    """AveragePool, divided by what it counts."""
    tensor, found = _windows(build, node)
    counted = bool(integer(node, "count_include_pad", 0))
    if max(found.dilation) > 1:
        raise unsupported(node, f"dilations {found.dilation}; oaq averages neighbours")
    if counted and any(found.added):
        raise unsupported(node, "ceil_mode=1 makes windows that leave the padded image; use ceil_mode=0")
    op = FloatAvgPool(found.kernel, found.stride, found.padding, counted or not any(found.padding))
    build.emit(op, (tensor,), (build.shapes[tensor][0], *found.count), node)


def _windows(build: Builder, node: OnnxNode) -> tuple[str, Window]:
    """The line or image and its windows, each of which holds a position of it."""
    tensor = _spatial(build, node)
    found = window(node, build.shapes[tensor][1:])
    reach = [(size - 1) * step + 1 for size, step in zip(found.kernel, found.dilation, strict=True)]
    if any(max(b, a) >= r for b, a, r in zip(found.before, found.after, reach, strict=True)):
        raise unsupported(node, f"padding {found.padding} as wide as its window {tuple(reach)}")
    if max(*found.kernel, *found.stride, *found.dilation) > LARGEST_WINDOW:
        raise unsupported(node, f"a window {found.kernel} or stride {found.stride} beyond {LARGEST_WINDOW}")
    return tensor, found


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
    if max(size) > LARGEST_WINDOW:
        raise unsupported(node, f"a window {tuple(size)} beyond {LARGEST_WINDOW}")
    build.emit(ops.MaxPool(tuple(size), tuple(size)), (tensor,), (channels, *(1,) * len(size)), node)


def mean(build: Builder, node: OnnxNode) -> None:
    """ReduceMean over all positions, in whatever order the file counts its axes."""
    tensor, axes = build.counted(node.input_name(0), node)
    shape, given = build.shapes[tensor], movement.numbers_of(node, build.inputs_of(node), 1, "axes") or ()
    places = {movement.axis_of(node, axis, len(shape) + 1) for axis in given}
    positions = set(range(1, len(shape)))
    if not positions or 0 in places or {axes[place - 1] for place in places} != positions:
        whole = build.file.shape(node.input_name(0))
        raise unsupported(node, f"over the axes {given} of {whole}; oaq averages over height and width, or a line")
    build.emit(Unquantized(ops.GlobalAvgPool), (tensor,), (shape[0], *(1,) * len(positions)), node, axes)
    if not integer(node, "keepdims", 1):
        build.recount(node.outputs[0], build.sample(node.outputs[0], node))


def resize(build: Builder, node: OnnxNode) -> None:
    """Resize and Upsample by nearest neighbours that are floor(i * H / height), or bilinear with half-pixel centres."""
    tensor, axes = build.counted(node.input_name(0), node)
    shape, wanted = build.shapes[tensor], build.sample(node.outputs[0], node)
    ours = tuple(wanted[axes.index(axis)] for axis in range(len(shape)))
    if len(shape) != 3 or ours[0] != shape[0]:
        raise unsupported(node, f"{build.sample(node.input_name(0), node)} to {wanted}; oaq resizes height and width")
    mode = text(node, "mode", "nearest")
    how = text(node, "coordinate_transformation_mode", "half_pixel" if build.file.opset > 10 else "asymmetric")
    if mode == "nearest":
        _check_nearest(build, node, how, (shape[1:], ours[1:]))
        build.emit(ops.Resize(ours[1], ours[2], "nearest"), (tensor,), ours, node, axes)
        return
    plain = mode == "linear" and not integer(node, "antialias", 0) and not integer(node, "exclude_outside", 0)
    if not plain or not (how == "half_pixel" or (how == "pytorch_half_pixel" and min(ours[1:]) > 1)):
        raise unsupported(node, f"mode {mode!r}, {how}; oaq knows nearest, and linear with half_pixel")
    if not _whole_factors(build, node, axes, (shape, ours)):
        raise unsupported(node, f"its scales do not give a whole size of {shape[1:]}")
    build.emit(ops.Resize(ours[1], ours[2], "bilinear"), (tensor,), ours, node, axes)


def _check_nearest(build: Builder, node: OnnxNode, how: str, sizes: tuple[Shape, Shape]) -> None:
    rule = text(node, "nearest_mode", "round_prefer_floor") if build.file.opset > 10 else "floor"
    for size, wanted in zip(*sizes, strict=True):
        if nearest_places(size, wanted, how, rule) != tuple(index * size // wanted for index in range(wanted)):
            raise unsupported(node, f"its nearest pixels ({how}, {rule}) are not floor(i * {size} / {wanted})")


def _whole_factors(build: Builder, node: OnnxNode, axes: Shape, shapes: tuple[Shape, Shape]) -> bool:
    """Scales, where the file gives those instead of sizes, that are the quotients of the sizes."""
    scales = build.file.constant(node.input_name(2 if node.op == "Resize" and build.file.opset > 10 else 1))
    if scales is None or scales.dtype.kind != "f" or scales.size != len(axes) + 1 or "axes" in node.attributes:
        return not (scales is not None and scales.size and "axes" in node.attributes)
    before, after = shapes
    return all(float(scales[1 + place]) * before[axis] == after[axis] for place, axis in enumerate(axes))


def depth_to_space(build: Builder, node: OnnxNode) -> None:
    """DepthToSpace in either mode."""
    tensor = _image(build, node)
    mode = "CRD" if text(node, "mode", "DCR") == "CRD" else "DCR"
    op = ops.DepthToSpace(integer(node, "blocksize", 0), mode)
    build.emit(op, (tensor,), build.sample(node.outputs[0], node), node)
