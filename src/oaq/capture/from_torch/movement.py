"""Reshape, pad, slice, join, and what changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import prod

import numpy as np
import torch
from torch import fx

from oaq import operators as ops
from oaq.capture.assembly import LARGEST_RESHAPED, reshaped
from oaq.capture.from_torch.builder import (
    Axes,
    TorchBuilder,
    base_name,
    rotated,
    sample_shape,
    site,
    unsupported,
)
from oaq.capture.from_torch.layers import Arguments
from oaq.capture.from_torch.order import wants_channels_last
from oaq.capture.graph import FloatReshape, FloatSlice, Unquantized
from oaq.capture.layout import Layout
from oaq.capture.picking import BORDERS, padded_index, pick, strided_index
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
    most = max(LARGEST_RESHAPED, len(build.shapes[tensor]))
    lazy = layout.reshaped(shape)
    if value in build.layouts or len(shape) > most:
        if lazy is not None:
            build.layouts[node] = lazy
            return tensor
        tensor, layout = build.read(value, node), Layout.in_order(layout.shape, range(rank))
        if len(shape) > most:
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
    """Zeros before and after the positions of a line, of tokens or of an image; or what an axis holds, repeated."""
    tensor, axes = build.counted(arguments["self"], node)
    shape, sides, mode = build.shapes[tensor], _sides(arguments), _border_of(node, arguments)
    if mode in BORDERS:
        return _bordered(build, node, tensor, (axes, sides, mode))
    if mode != "constant" or float(arguments.get("value") or 0) != 0:
        raise unsupported(
            node, f"mode {mode!r}, value {arguments.get('value')}; oaq pads with zeros, or reflect, replicate, circular"
        )
    pairs = {axes[-1 - place]: sides[2 * place : 2 * place + 2] for place in range(min(len(sides) // 2, len(axes)))}
    around = tuple(side for axis in range(1, len(shape)) for side in pairs.get(axis, (0, 0)))
    if len(shape) < 2 or any(pairs.get(0, ())) or len(sides) > 2 * len(axes) or min(sides, default=0) < 0:
        raise unsupported(node, f"{list(arguments['pad'])}; oaq pads positions (height and width), by 0 or more")
    build.keep_axes(node, axes)
    if not any(sides):
        return tensor
    grown = tuple(size + around[2 * axis] + around[2 * axis + 1] for axis, size in enumerate(shape[1:]))
    return build.emit(ops.Pad(around), (tensor,), (shape[0], *grown), node)


def _sides(arguments: Arguments) -> list[int]:
    return [int(side) for side in (arguments["pad"] if "pad" in arguments else arguments["padding"])]


def _border_of(node: fx.Node, arguments: Arguments) -> str:
    """The mode by the names of ``F.pad``; calls of their own have it in their name."""
    name = base_name(node)
    own_names = {"reflection": "reflect", "replication": "replicate"}
    return next(
        (mode for start, mode in own_names.items() if name.startswith(start)), arguments.get("mode", "constant")
    )


def _bordered(build: TorchBuilder, node: fx.Node, tensor: str, amounts: tuple[Axes, list[int], str]) -> str:
    """Positions that repeat others; ``amounts``: how torch counts our axes, sides of the last axis first, the mode."""
    axes, sides, mode = amounts
    if min(sides, default=0) < 0 or len(sides) > 2 * len(axes):
        raise unsupported(node, f"{sides}; oaq pads all axes but the batch, by 0 or more")
    picks = []
    for place in range(len(sides) // 2):
        axis, (before, after) = axes[-1 - place], sides[2 * place : 2 * place + 2]
        index = padded_index(build.shapes[tensor][axis], before, after, mode)
        if index is None:
            raise unsupported(node, f"{build.shapes[tensor][axis]} by {before}, {after}: more than there is to repeat")
        picks.append((axis, index))
    build.keep_axes(node, axes)
    return pick(build, tensor, picks, site(node))


def flip(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """``aten.flip``: axes read backwards."""
    tensor, axes = build.counted(arguments["self"], node)
    return _picked(build, node, tensor, axes, dict.fromkeys(_dims(arguments["dims"], axes, node), _backwards))


def roll(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """``aten.roll``: axes read from another entry on, around the end."""
    tensor, axes = build.counted(arguments["self"], node)
    dims = _dims(arguments.get("dims") or [], axes, node)
    if not dims:
        raise unsupported(node, "of all elements as one list; oaq rolls axes")
    shifts = [int(shift) for shift in arguments["shifts"]]
    return _picked(
        build, node, tensor, axes, {axis: partial(_rolled, shift) for axis, shift in zip(dims, shifts, strict=True)}
    )


def index_select(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """``aten.index_select`` by a constant list."""
    tensor, axes = build.counted(arguments["self"], node)
    (axis,) = _dims([arguments["dim"]], axes, node)
    index = build.constant(arguments["index"], node).astype(np.int64)
    if index.ndim != 1 or not index.size:
        raise unsupported(node, f"by an index of shape {index.shape}; oaq takes a list")
    return _picked(build, node, tensor, axes, {axis: lambda _size: index})


def _dims(dims: Sequence[object], axes: Axes, node: fx.Node) -> list[int]:
    """Our axes for torch's."""
    places = [int(dim) % (len(axes) + 1) for dim in dims]  # type: ignore[call-overload]
    if 0 in places:
        raise unsupported(node, "along the batch; a batch stays as it is")
    return [axes[place - 1] for place in places]


def _backwards(size: int) -> np.ndarray:
    return np.arange(size)[::-1]


def _rolled(shift: int, size: int) -> np.ndarray:
    return np.roll(np.arange(size), shift)


def _picked(
    build: TorchBuilder, node: fx.Node, tensor: str, axes: Axes, entries: Mapping[int, Callable[[int], np.ndarray]]
) -> str:
    """Entries of our axes, from their sizes."""
    sizes = build.shapes[tensor]
    build.keep_axes(node, axes)
    return pick(build, tensor, [(axis, of_size(sizes[axis])) for axis, of_size in entries.items()], site(node))


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
    """``aten.slice``; what it leaves out between is picked."""
    tensor, axes = build.counted(arguments["self"], node)
    axis, step = int(arguments.get("dim", 0)) % (len(axes) + 1), int(arguments.get("step", 1))
    start = 0 if arguments.get("start") is None else int(arguments["start"])
    build.keep_axes(node, axes)
    if axis == 0:
        if tuple(node.meta["val"].shape) == (build.batch, *build.seen_shape(tensor, axes)):
            return tensor
        raise unsupported(node, "it takes part of the batch")
    size = build.shapes[tensor][axes[axis - 1]]
    begin = max(start + size, 0) if start < 0 else min(start, size)
    if step != 1:
        index = strided_index(begin, begin + step * sample_shape(node)[axis - 1], step)
        return pick(build, tensor, [(axes[axis - 1], index)], site(node))
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
