"""Reshape, pad, slice, join, and what changes nothing."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import torch
from torch import fx

from oaq import operators as ops
from oaq.capture.assembly import LARGEST_RANK, reshaped
from oaq.capture.from_torch.builder import TorchBuilder, rotated, sample_shape, site, unsupported
from oaq.capture.from_torch.layers import Arguments
from oaq.capture.from_torch.order import wants_channels_last
from oaq.capture.graph import FloatReshape, FloatSlice, Unquantized
from oaq.capture.layout import Layout
from oaq.program.layout import channels_first


def unchanged(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """Dropout in evaluation, clones, float types."""
    if arguments.get("train"):
        raise unsupported(node, "dropout in training; call eval()")
    before, after = next(iter(arguments.values())).meta["val"].dtype, node.meta["val"].dtype
    if after not in (before, torch.float32, torch.float64):
        raise unsupported(node, f"from {before} to {after}, which rounds; oaq keeps to float32")
    value = next(iter(arguments.values()))
    if value in build.layouts:
        tensor, build.layouts[node] = build.layout_of(value, node)
        return tensor
    tensor, axes = build.counted(value, node)
    build.keep_axes(node, axes)
    return tensor


def transpose(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """Transpose, permute: axes counted anew; nothing moves until a reader needs it to."""
    value = arguments["self"]
    tensor, layout = build.layout_of(value, node)
    order = list(range(1 + len(layout.axes)))
    if "dims" in arguments:
        order = [int(axis) % len(order) for axis in arguments["dims"]]
    else:
        first, second = (int(axis) % len(order) for axis in list(arguments.values())[1:3])
        order[first], order[second] = order[second], order[first]
    if order[0] != 0:
        raise unsupported(node, f"the order {order} moves the batch; a batch stays the first axis")
    if value in build.layouts:
        build.layouts[node] = layout.transposed([axis - 1 for axis in order[1:]])
        return tensor
    axes = build.counted(value, node)[1]
    build.keep_axes(node, tuple(axes[axis - 1] for axis in order[1:]))
    return tensor


def reshape(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """View, flatten, squeeze: the same values under another shape.

    Values whose channels come last keep them last: (T, C) becomes (T * C,) in that order. Where memory would have to
    move, and where there are more axes than oaq takes, axes are counted anew until a reader needs them.
    """
    value = next(iter(arguments.values()))
    tensor, layout = build.layout_of(value, node)
    shape, result = sample_shape(node), node.meta["val"]
    if not result.ndim or int(result.shape[0]) != build.batch or prod(shape) != prod(build.shapes[tensor]):
        raise unsupported(node, f"it mixes samples: {tuple(result.shape)} from a batch of {build.batch}")
    rank = len(layout.axes)
    lazy = layout.reshaped(shape)
    if value in build.layouts or len(shape) > LARGEST_RANK:
        if lazy is not None:
            build.layouts[node] = lazy
            return tensor
        tensor, layout = build.read(value, node), Layout.in_order(layout.shape, range(rank))
        if len(shape) > LARGEST_RANK:
            build.layouts[node] = reshaped(layout, shape)
            return tensor
    axes = build.counted(value, node)[1]
    if shape == build.seen_shape(tensor, axes):
        build.keep_axes(node, axes)
        return tensor
    last = (rank > 1 and axes == rotated(rank)) or (rank == 1 and wants_channels_last(node))
    if not last and axes != tuple(range(rank)) and lazy is not None:
        build.layouts[node] = lazy
        return tensor
    if not last:
        build.read(value, node)
        return _reshaped(build, value, shape, node)
    build.keep_axes(node, rotated(len(shape)))
    return build.emit(FloatReshape(channels_first(shape), True), (tensor,), channels_first(shape), node)


def _reshaped(build: TorchBuilder, value: object, shape: tuple[int, ...], node: fx.Node) -> str:
    """``value``, channels first, as ``shape``; (C, 1), met on the way from (C, 1, 1) to (C,), is left out."""
    tensor, before = build.read(value, node), build.foldable(value, node)
    if before is not None and before.op == FloatReshape(build.shapes[tensor]) and build.shapes[tensor][1:] == (1,):
        build.shapes[tensor] = shape
        build.nodes[tensor] = replace(before, op=FloatReshape(shape))
        return tensor
    return build.reshape(tensor, shape, before, site(node))


def pad(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """Zeros before and after the positions of a line, of tokens or of an image."""
    tensor, axes = build.counted(arguments["self"], node)
    shape, sides = build.shapes[tensor], [int(side) for side in arguments["pad"]]
    if arguments.get("mode", "constant") != "constant" or float(arguments.get("value") or 0) != 0:
        raise unsupported(node, f"mode {arguments.get('mode')!r}, value {arguments.get('value')}; oaq pads with zeros")
    pairs = {axes[-1 - place]: sides[2 * place : 2 * place + 2] for place in range(min(len(sides) // 2, len(axes)))}
    around = tuple(side for axis in range(1, len(shape)) for side in pairs.get(axis, (0, 0)))
    if len(shape) < 2 or any(pairs.get(0, ())) or len(sides) > 2 * len(axes) or min(sides, default=0) < 0:
        raise unsupported(node, f"{list(arguments['pad'])}; oaq pads positions (height and width), by 0 or more")
    build.keep_axes(node, axes)
    if not any(sides):
        return tensor
    grown = tuple(size + around[2 * axis] + around[2 * axis + 1] for axis, size in enumerate(shape[1:]))
    return build.emit(ops.Pad(around), (tensor,), (shape[0], *grown), node)


def concat(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """Side by side on the channel axis; on another one, as vectors in which that is the slowest."""
    parts = [build.counted(value, node) for value in arguments["tensors"]]
    axes = parts[0][1]
    axis = int(arguments.get("dim", 0)) % (1 + len(axes))
    if axis == 0:
        raise unsupported(node, "on axis 0; it joins samples")
    names = [tensor for tensor, _ in parts]
    if any(others != axes for _, others in parts):
        names = [build.read(value, node) for value in arguments["tensors"]]
        axes = tuple(range(len(axes)))
    build.keep_axes(node, axes)
    if axes[axis - 1] != 0:
        return names[0] if len(names) == 1 else build.join_positions(names, axes[axis - 1], site(node))
    shape = (sum(build.shapes[name][0] for name in names), *build.shapes[names[0]][1:])
    return build.emit(Unquantized(ops.Concat), names, shape, node)


def slice_(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """``aten.slice`` by steps of one."""
    tensor, axes = build.counted(arguments["self"], node)
    if int(arguments.get("step", 1)) != 1:
        raise unsupported(node, f"step {arguments['step']}; oaq takes every element")
    axis = int(arguments.get("dim", 0)) % (len(axes) + 1)
    start = 0 if arguments.get("start") is None else int(arguments["start"])
    build.keep_axes(node, axes)
    if axis == 0:
        if tuple(node.meta["val"].shape) == (build.batch, *build.seen_shape(tensor, axes)):
            return tensor
        raise unsupported(node, "it takes part of the batch")
    size = build.shapes[tensor][axes[axis - 1]]
    begin = max(start + size, 0) if start < 0 else min(start, size)
    return cut(build, node, tensor, axes[axis - 1], (begin, begin + sample_shape(node)[axis - 1]))


def select(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """``aten.select``: one position of a line or of tokens, such as the last one."""
    tensor, axes = build.counted(arguments["self"], node)
    place = int(arguments["dim"]) % (len(axes) + 1)
    if place == 0 or axes[place - 1] == 0:
        raise unsupported(node, f"of {build.seen_shape(tensor, axes)} on axis {place}; oaq takes one of its positions")
    axis = axes[place - 1]
    index = int(arguments["index"]) % build.shapes[tensor][axis]
    part = cut(build, node, tensor, axis, (index, index + 1))
    rest = tuple(size for other, size in enumerate(build.shapes[part]) if other != axis)
    build.keep_axes(node, tuple(other - (other > axis) for other in axes if other != axis))
    return build.emit(FloatReshape(rest), (part,), rest, node, ".flatten")


def cut(build: TorchBuilder, node: fx.Node, tensor: str, axis: int, ends: tuple[int, int]) -> str:
    """Part of one axis of the tensor."""
    shape = build.shapes[tensor]
    begin, end = [0] * len(shape), list(shape)
    begin[axis], end[axis] = ends
    if tuple(end) == shape and not any(begin):
        return tensor
    result = tuple(high - low for low, high in zip(begin, end, strict=True))
    return build.emit(FloatSlice(tuple(begin), tuple(end)), (tensor,), result, node)


def split(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> tuple[str, ...]:
    """Chunk and split: one slice per part."""
    tensor, axes = build.counted(arguments["self"], node)
    axis = int(arguments.get("dim", 0)) % (len(axes) + 1)
    build.keep_axes(node, axes)
    if axis == 0:
        raise unsupported(node, "it cuts the batch")
    parts, at = [], 0
    for value in node.meta["val"]:
        size = int(value.shape[axis])
        parts.append(cut(build, node, tensor, axes[axis - 1], (at, at + size)))
        at += size
    return tuple(parts)
