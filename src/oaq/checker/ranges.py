"""Ranges of tensors, derived for all channels of one at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from math import gcd, prod

import numpy as np
from numpy.typing import NDArray

from oaq.checker.dyadics import add, requantize
from oaq.checker.program import LARGEST, Node, Tensor
from oaq.checker.stretches import stretches
from oaq.errors import FormatError

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Range:
    """Least and most of each channel, int64 (C,)."""

    lo: Ints
    hi: Ints

    def less(self, zero: int) -> Range:
        """With a zero point taken off."""
        return Range(self.lo - zero, self.hi - zero)


def declared(tensor: Tensor) -> Range:
    """What a program input is assumed to hold."""
    channels = tensor.shape[-1]
    return Range(np.full(channels, tensor.lo, np.int64), np.full(channels, tensor.hi, np.int64))


def after_requantize(sums: Range, node: Node, y: Tensor, factor_index: Ints | int, count: int) -> Range:
    """Image of each channel's sums; channel c uses multiplier ``factor_index[c]`` of ``count``."""
    factors, shifts = node.multipliers(count)
    factors, shifts = (
        np.atleast_1d(factors[factor_index]),
        None if shifts is None else np.atleast_1d(shifts[factor_index]),
    )
    bits = node.second_roundings(count)
    bits = None if bits is None else np.atleast_1d(bits[factor_index])
    ends = requantize(np.stack([sums.lo, sums.hi]), factors, shifts, bits) + y.zero
    return Range(*_clamp(ends, y))


def _clamp(values: Ints, y: Tensor) -> Ints:
    """Into the effective range of ``y``."""
    return np.clip(values, y.lo, y.hi)


def image(node: Node, inputs: list[Range], specs: list[Tensor], y: Tensor) -> Range:
    """The range of what ``node`` writes; any operator but Conv2d and Linear.

    Raises:
        FormatError: an unknown operator or arrays that do not fit it.
    """
    rule = _RULES.get(node.kind)
    if rule is None:
        raise FormatError(f"{node.name}: the checker knows no operator {node.kind!r}")
    output_range = rule(node, inputs, specs, y)
    if len(output_range.lo) != y.shape[-1]:
        raise FormatError(f"{node.name}: {len(output_range.lo)} channels for a tensor of shape {y.shape}")
    return output_range


def _add(node: Node, inputs: list[Range], specs: list[Tensor], y: Tensor) -> Range:
    factors, shifts = node.multipliers(2)
    if node.second_roundings(2) is not None:
        raise FormatError(f"{node.name}: a sum of two is rounded once")
    if shifts is not None and shifts[0] != shifts[1]:
        raise FormatError(f"{node.name}: two shifts")
    if len(inputs) != 2 or len(inputs[0].lo) != len(inputs[1].lo):
        raise FormatError(f"{node.name}: adds two tensors of as many channels")
    a, b = (x.less(spec.zero) for x, spec in zip(inputs, specs, strict=True))
    shift = None if shifts is None else int(shifts[0])
    ends = add(np.stack([a.lo, a.hi]), np.stack([b.lo, b.hi]), factors, shift) + y.zero
    return Range(*_clamp(ends, y))


def _mul(node: Node, inputs: list[Range], specs: list[Tensor], y: Tensor) -> Range:
    if len(inputs) != 2 or len(inputs[0].lo) != len(inputs[1].lo):
        raise FormatError(f"{node.name}: multiplies two tensors of as many channels")
    a, b = (x.less(spec.zero) for x, spec in zip(inputs, specs, strict=True))
    corners = np.stack([p * q for p, q in product((a.lo, a.hi), (b.lo, b.hi))])
    return after_requantize(Range(corners.min(axis=0), corners.max(axis=0)), node, y, 0, 1)


def _concat(node: Node, inputs: list[Range], specs: list[Tensor], y: Tensor) -> Range:
    parts = [x.less(spec.zero) for x, spec in zip(inputs, specs, strict=True)]
    factor_index = np.repeat(np.arange(len(parts)), [len(part.lo) for part in parts])
    sums = Range(np.concatenate([part.lo for part in parts]), np.concatenate([part.hi for part in parts]))
    return after_requantize(sums, node, y, factor_index, len(inputs))


def _lookup(node: Node, inputs: list[Range], _specs: list[Tensor], _y: Tensor) -> Range:
    table = node.array("table", np.uint8, 1).astype(np.int64)
    if len(table) != 256:
        raise FormatError(f"{node.name}: a table has 256 entries")
    ends, pair_index = np.unique(np.stack([inputs[0].lo, inputs[0].hi], axis=1), axis=0, return_inverse=True)
    images = [table[low : high + 1] for low, high in ends.tolist()]
    image_ends = np.array([(image.min(), image.max()) for image in images])[pair_index.reshape(-1)]
    return Range(image_ends[:, 0], image_ends[:, 1])


def _channel_lookup(node: Node, inputs: list[Range], _specs: list[Tensor], _y: Tensor) -> Range:
    """Entries out of reach are put beyond any integer, so that the least and the most of a row are those in reach."""
    tables = node.array("tables", np.uint8, 2).astype(np.int64)
    if tables.shape != (len(inputs[0].lo), 256):
        raise FormatError(f"{node.name}: tables of shape {tables.shape} for {len(inputs[0].lo)} channels")
    entry = np.arange(256)
    inside = (entry >= inputs[0].lo[:, None]) & (entry <= inputs[0].hi[:, None])
    return Range(np.where(inside, tables, 256).min(axis=1), np.where(inside, tables, -1).max(axis=1))


def _avg_pool(node: Node, inputs: list[Range], specs: list[Tensor], y: Tensor) -> Range:
    axes = _axes(node, specs[0], y)
    kernel, stride, padding = node.numbers("kernel", axes), node.numbers("stride", axes), _sides(node, axes)
    full, origin = prod(kernel), pool_origin(node, specs[0], y)
    x, y = inputs[0].less(specs[0].zero if origin is None else origin), y if origin is None else replace(y, zero=origin)
    if full * 255 >= 1 << 31:
        raise FormatError(f"{node.name}: a window of {full} positions has no 32-bit sum")
    counts = [_windows(specs[0].shape[axis], kernel[axis], stride[axis], *padding[axis]) for axis in range(axes)]
    parts = []
    for inside in sorted({prod(covered) for covered in product(*counts)}):
        if inside:
            divisor = full if node.fields.get("count_include_pad") is True else inside
            parts.append(after_requantize(_times(x, inside), node, y, divisor - 1, full))
    if not parts:
        raise FormatError(f"{node.name}: no window meets the image")
    return Range(np.min([part.lo for part in parts], axis=0), np.max([part.hi for part in parts], axis=0))


def pool_origin(node: Node, x: Tensor, y: Tensor) -> int | None:
    """What an AvgPool takes off its inputs and counts results from instead of zero points; None: those.

    Zero points of both sides are one then: a runtime divides the sum of stored integers, and what is stored for 0 is
    the same before and after.
    """
    if "origin" not in node.fields:
        return None
    origin = node.number("origin")
    if not 0 <= origin <= 255 or x.zero != y.zero or node.fields.get("count_include_pad") is not False:
        raise FormatError(f"{node.name}: averages about {origin} from zero point {x.zero} to {y.zero}")
    return origin


def _windows(size: int, kernel: int, stride: int, before: int, after: int) -> set[int]:
    """How many positions of the image each window along an axis covers."""
    if min(kernel, stride) < 1 or min(before, after) < 0 or max(before, after) > LARGEST:
        raise FormatError("a window has a size and a stride of at least 1")
    starts = range(-before, size + after - kernel + 1, stride)
    return {max(0, min(start + kernel, size) - max(start, 0)) for start in starts}


def _max_pool(node: Node, inputs: list[Range], specs: list[Tensor], y: Tensor) -> Range:
    """The largest of what lies under each window, the least integer of ``y`` where nothing does."""
    axes = _axes(node, specs[0], y)
    kernel, stride, dilation = (node.numbers(key, axes) for key in ("kernel", "stride", "dilation"))
    meets = [
        _meets(specs[0].shape[axis], (kernel[axis], stride[axis], dilation[axis]), around, y.shape[axis])
        for axis, around in enumerate(_sides(node, axes))
    ]
    lo, hi = inputs[0].lo, inputs[0].hi
    if not all(axis.any() for axis in meets):
        lo = hi = np.full_like(lo, y.lo)
    elif not all(axis.all() for axis in meets):
        lo, hi = np.minimum(lo, y.lo), np.maximum(hi, y.lo)
    return Range(*_clamp(np.stack([lo, hi]), y))


def _axes(node: Node, x: Tensor, y: Tensor) -> int:
    """How many axes a window slides over: all of its input but the channels, 1 to 3."""
    axes = len(x.shape) - 1
    if not 1 <= axes <= 3 or len(y.shape) != len(x.shape):
        raise FormatError(f"{node.name}: a window over {axes} axes of {x.shape}, declared {y.shape}")
    return axes


def _sides(node: Node, axes: int) -> list[tuple[int, int]]:
    """Padding (before, after) of each axis."""
    padding = node.numbers("padding", 2 * axes)
    return list(zip(padding[::2], padding[1::2], strict=True))


def _meets(size: int, window: tuple[int, int, int], around: tuple[int, int], count: int) -> NDArray[np.bool_]:
    """(count,) whether each window along an axis has a tap on the image.

    The first tap that is not before the image either lies on it, or none does.
    """
    kernel, stride, dilation = window
    if min(window) < 1 or min(around) < 0 or max(*window, *around) > LARGEST:
        raise FormatError(f"a window {window} with padding {around} is none")
    start = np.arange(-around[0], size + around[1] - (kernel - 1) * dilation, stride, dtype=np.int64)
    if len(start) != count:
        raise FormatError(f"{len(start)} windows along an axis, declared {count}")
    tap = np.where(start < 0, (dilation - 1 - start) // dilation, 0)
    return (tap < kernel) & (start + tap * dilation < size)


def _global_avg_pool(node: Node, inputs: list[Range], specs: list[Tensor], y: Tensor) -> Range:
    count = prod(specs[0].shape[:-1])
    if count * 255 >= 1 << 31:
        raise FormatError(f"{node.name}: {count} positions have no 32-bit sum")
    return after_requantize(_times(inputs[0].less(specs[0].zero), count), node, y, 0, 1)


def _times(x: Range, count: int) -> Range:
    """Sums over ``count`` positions, less than 2**31 in magnitude."""
    return Range(count * x.lo, count * x.hi)


def _unchanged(_node: Node, inputs: list[Range], _specs: list[Tensor], _y: Tensor) -> Range:
    return inputs[0]


def _pad(node: Node, inputs: list[Range], specs: list[Tensor], _y: Tensor) -> Range:
    if not any(node.numbers("padding", 2 * len(specs[0].shape) - 2)):
        return inputs[0]
    return Range(np.minimum(inputs[0].lo, specs[0].zero), np.maximum(inputs[0].hi, specs[0].zero))


def _slice(node: Node, inputs: list[Range], specs: list[Tensor], _y: Tensor) -> Range:
    rank = len(specs[0].shape)
    begin, end = node.numbers("begin", rank), node.numbers("end", rank)
    channels = slice(begin[-1], end[-1])
    return Range(inputs[0].lo[channels], inputs[0].hi[channels])


def _gather(node: Node, inputs: list[Range], _specs: list[Tensor], _y: Tensor) -> Range:
    """Channels that are picked; where positions are, each channel may still hold all it held."""
    index = node.array("index", np.int32, 1)
    if node.number("axis") != 0:
        return inputs[0]
    if not len(index) or int(index.min()) < 0 or int(index.max()) >= len(inputs[0].lo):
        raise FormatError(f"{node.name}: picks channels that are none of {len(inputs[0].lo)}")
    return Range(inputs[0].lo[index], inputs[0].hi[index])


def _coarsen(node: Node, inputs: list[Range], specs: list[Tensor], y: Tensor) -> Range:
    """Half a step beyond both ends, of the largest step that a spread of so many integers can ask for.

    No deviation is more than half of the spread; with the mean it is no more than 5 quarters of what is positive.
    """
    bits, factors, limits, is_rectified = (
        node.array(name, dtype, 1).astype(np.int64)
        for name, dtype in (("bits", np.uint8), ("factors", np.int32), ("limits", np.uint8), ("rectified", np.uint8))
    )
    channels = {len(part) for part in (bits, factors, limits, is_rectified, inputs[0].lo)}
    if len(channels) != 1 or bits.min() < 1 or bits.max() > 7 or prod(specs[0].shape[:-1]) > 1 << 24:
        raise FormatError(f"{node.name}: levels of {bits.min()} to {bits.max()} bits for {specs[0].shape}")
    levels = (1 << bits) - 1
    if factors.min() < 1 or factors.max() > 4000 or limits.min() < 1 or (limits * levels > 255).any():
        raise FormatError(f"{node.name}: steps of 1 to 255 in all, of a factor of 1 to 4000, are coarsened by")
    x, positive = inputs[0], Range(*np.maximum(np.stack([inputs[0].lo, inputs[0].hi]) - specs[0].zero, 0))
    spread = np.where(is_rectified == 0, x.hi - x.lo, positive.hi)
    step = (factors * spread + 1000) // 2000
    step = np.where(is_rectified == 0, step, np.maximum(step, (5 * spread + 4 * levels - 1) // (4 * levels)))
    step = np.minimum(np.maximum(step, 1), limits)
    above, below = step // 2, (step - 1) // 2
    least = np.clip(positive.lo - below, 0, levels * limits) + specs[0].zero
    most = positive.hi + np.where(positive.hi > 0, above, 0) + specs[0].zero
    lo, hi = np.where(is_rectified == 0, x.lo - below, least), np.where(is_rectified == 0, x.hi + above, most)
    return Range(*_clamp(np.stack([lo, hi]), y))


def _reshape(_node: Node, inputs: list[Range], specs: list[Tensor], y: Tensor) -> Range:
    if prod(specs[0].shape) != prod(y.shape):
        raise FormatError(f"{y.name}: {specs[0].shape} does not fill {y.shape}")
    # Element e of memory has channel e mod C before and e mod C' after, and e runs over a multiple of both: channel c'
    # meets exactly the channels c that are c' modulo the greatest common divisor.
    before, after = specs[0].shape[-1], y.shape[-1]
    shared = gcd(before, after)
    lo, hi = inputs[0].lo.reshape(-1, shared).min(axis=0), inputs[0].hi.reshape(-1, shared).max(axis=0)
    return Range(np.tile(lo, after // shared), np.tile(hi, after // shared))


def _transpose(node: Node, inputs: list[Range], specs: list[Tensor], y: Tensor) -> Range:
    """Channels before and after meet where they agree in every stretch of memory that is of channels on both sides."""
    source, target, kinds = np.zeros(specs[0].shape[-1], np.int64), np.zeros(y.shape[-1], np.int64), 1
    for part in stretches(node, specs[0].shape, y.shape):
        if part.before < len(source) and part.after < len(target):
            source += np.arange(len(source)) // part.before % part.size * kinds
            target += np.arange(len(target)) // part.after % part.size * kinds
            kinds *= part.size
    lo, hi = np.full(kinds, 255, np.int64), np.zeros(kinds, np.int64)
    np.minimum.at(lo, source, inputs[0].lo)
    np.maximum.at(hi, source, inputs[0].hi)
    return Range(lo[target], hi[target])


def _depth_to_space(node: Node, inputs: list[Range], _specs: list[Tensor], y: Tensor) -> Range:
    square, channels, x = node.number("block") ** 2, y.shape[-1], inputs[0]
    order = node.fields.get("mode")
    if square * channels != len(x.lo) or order not in ("DCR", "CRD"):
        raise FormatError(f"{node.name}: {len(x.lo)} channels do not make {channels} in blocks of {square}")
    shape, places = ((square, channels), 0) if order == "DCR" else ((channels, square), 1)
    return Range(x.lo.reshape(shape).min(axis=places), x.hi.reshape(shape).max(axis=places))


_RULES = {
    "Add": _add,
    "Mul": _mul,
    "Concat": _concat,
    "Lookup": _lookup,
    "ChannelLookup": _channel_lookup,
    "AvgPool": _avg_pool,
    "GlobalAvgPool": _global_avg_pool,
    "MaxPool": _max_pool,
    "Resize": _unchanged,
    "Pad": _pad,
    "Slice": _slice,
    "Reshape": _reshape,
    "DepthToSpace": _depth_to_space,
    "Transpose": _transpose,
    "Gather": _gather,
    "Coarsen": _coarsen,
}
