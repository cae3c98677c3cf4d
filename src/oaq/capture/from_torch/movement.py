"""Reshape, pad, slice, join, and what changes nothing."""

from __future__ import annotations

from math import prod

import torch
from torch import fx

from oaq.capture.from_torch.builder import Builder, sample_shape, unsupported, vector_shape
from oaq.capture.from_torch.layers import Arguments
from oaq.capture.graph import FloatConcat, FloatPad, FloatReshape, FloatSlice


def unchanged(build: Builder, node: fx.Node, given: Arguments) -> str:
    """Dropout in evaluation, clones, float types."""
    if given.get("train"):
        raise unsupported(node, "dropout in training; call eval()")
    before, after = next(iter(given.values())).meta["val"].dtype, node.meta["val"].dtype
    if after not in (before, torch.float32, torch.float64):
        raise unsupported(node, f"from {before} to {after}, which rounds; oaq keeps to float32")
    return build.read(next(iter(given.values())), node)


def reshape(build: Builder, node: fx.Node, given: Arguments) -> str:
    """View, flatten, squeeze: the same values under another shape."""
    tensor = build.read(next(iter(given.values())), node)
    shape, value = vector_shape(node), node.meta["val"]
    if not value.ndim or int(value.shape[0]) != build.batch or prod(shape) != prod(build.shapes[tensor]):
        raise unsupported(node, f"it mixes samples: {tuple(value.shape)} from a batch of {build.batch}")
    if shape == build.shapes[tensor]:
        return tensor
    return build.emit(FloatReshape(shape), (tensor,), shape, node)


def pad(build: Builder, node: fx.Node, given: Arguments) -> str:
    """Zeros around the image."""
    tensor = build.read(given["self"], node)
    sides = [int(side) for side in given["pad"]]
    if given.get("mode", "constant") != "constant" or float(given.get("value") or 0) != 0:
        raise unsupported(node, f"mode {given.get('mode')!r}, value {given.get('value')}; oaq pads with zeros")
    sides += [0] * (6 - len(sides))
    if len(build.shapes[tensor]) != 3 or any(sides[4:]) or min(sides) < 0:
        raise unsupported(node, f"{list(given['pad'])}; oaq pads height and width of an image, by 0 or more")
    left, right, top, bottom = sides[:4]
    if not any(sides):
        return tensor
    return build.emit(FloatPad((top, bottom, left, right)), (tensor,), sample_shape(node), node)


def concat(build: Builder, node: fx.Node, given: Arguments) -> str:
    """Side by side on the channel axis."""
    names = [build.read(value, node) for value in given["tensors"]]
    rank = len(build.shapes[names[0]]) + 1
    if int(given.get("dim", 0)) % rank != 1:
        raise unsupported(node, f"on axis {given.get('dim', 0)}; oaq joins on the channel axis, 1")
    return build.emit(FloatConcat(), names, sample_shape(node), node)


def slice_(build: Builder, node: fx.Node, given: Arguments) -> str:
    """``aten.slice`` by steps of one."""
    tensor = build.read(given["self"], node)
    if int(given.get("step", 1)) != 1:
        raise unsupported(node, f"step {given['step']}; oaq takes every element")
    axis = int(given.get("dim", 0)) % (len(build.shapes[tensor]) + 1)
    start = 0 if given.get("start") is None else int(given["start"])
    if axis == 0:
        if tuple(node.meta["val"].shape) == (build.batch, *build.shapes[tensor]):
            return tensor
        raise unsupported(node, "it takes part of the batch")
    size = build.shapes[tensor][axis - 1]
    begin = max(start + size, 0) if start < 0 else min(start, size)
    return cut(build, node, tensor, axis, (begin, begin + sample_shape(node)[axis - 1]))


def cut(build: Builder, node: fx.Node, tensor: str, axis: int, ends: tuple[int, int]) -> str:
    """Part of one axis, counted with the batch."""
    shape = build.shapes[tensor]
    begin, end = [0] * len(shape), list(shape)
    begin[axis - 1], end[axis - 1] = ends
    if tuple(end) == shape and not any(begin):
        return tensor
    result = tuple(high - low for low, high in zip(begin, end, strict=True))
    return build.emit(FloatSlice(tuple(begin), tuple(end)), (tensor,), result, node)


def split(build: Builder, node: fx.Node, given: Arguments) -> tuple[str, ...]:
    """Chunk and split: one slice per part."""
    tensor = build.read(given["self"], node)
    axis = int(given.get("dim", 0)) % (len(build.shapes[tensor]) + 1)
    if axis == 0:
        raise unsupported(node, "it cuts the batch")
    parts, at = [], 0
    for value in node.meta["val"]:
        size = int(value.shape[axis])
        parts.append(cut(build, node, tensor, axis, (at, at + size)))
        at += size
    return tuple(parts)
