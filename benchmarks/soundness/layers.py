"""Append one node of each kind to a draft."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import prod
from random import Random
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from benchmarks.soundness.draft import Draft, Plain, Shape
from benchmarks.soundness.numbers import Draws, bias, interval, multipliers, residues, weights, zero_point

Append = Callable[[Draws, Draft, str], str | None]
"""(random numbers, draft, tensor to read) to the tensor written; None where the kind does not fit."""
OUTPUTS: Final = (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 31, 32, 33, 40, 48, 63, 64, 65)
"""Numbers of outputs around the tiles of 8, 16, 32 and 64."""
PRODUCTS: Final = 150_000
"""Most products of one layer and sample: programs stay small."""
ELEMENTS: Final = 3_000
"""Most integers of one tensor and sample."""
WRAPPING: Final = 0.12
"""Share of layers whose sums count modulo a power of two."""
WINDOWED: Final = (2, 3, 4)
"""Ranks that windows slide over: lines, images and volumes, with their channels."""


def conv2d(draws: Draws, draft: Draft, x: str) -> str | None:
    """A convolution, in groups now and then."""
    shape = draft.shape(x)
    if len(shape) not in WINDOWED:
        return None
    choose, channels = draws.choose, shape[-1]
    groups = choose.choice([g for g in range(1, channels + 1) if channels % g == 0]) if choose.random() < 0.4 else 1
    outputs = groups * choose.choice((1, 1, 2, 3)) if groups > 1 else _outputs(choose)
    return _convolution(draws, draft, x, (groups, outputs))


def depthwise(draws: Draws, draft: Draft, x: str) -> str | None:
    """A convolution with one channel per group."""
    shape = draft.shape(x)
    return _convolution(draws, draft, x, (shape[-1], shape[-1])) if len(shape) in WINDOWED else None


def linear(draws: Draws, draft: Draft, x: str) -> str | None:
    """A matrix product; what has positions is flattened first."""
    shape = draft.shape(x)
    if len(shape) > 1:
        x = _reshape(draft, x, (prod(shape),))
    terms = draft.shape(x)[0]
    outputs = min(_outputs(draws.choose), max(1, PRODUCTS // terms))
    weight = weights(draws, (outputs, terms))
    return _summed(draws, draft, x, ({"op": "Linear"}, weight, (outputs,)))


def add(draws: Draws, draft: Draft, x: str) -> str | None:
    """A sum of two tensors of one shape."""
    partner = _partner(draws, draft, x, [draft.shape(x)])
    numbers = multipliers(draws, [0.5, 0.5])
    if draws.fixed:
        numbers.pop("requantize.then", None)  # a sum is rounded once
        numbers["requantize.shift"][1] = numbers["requantize.shift"][0]
    inputs = [x, partner] if draws.choose.random() < 0.5 else [partner, x]
    return draft.node({"op": "Add"}, numbers, inputs, _written(draws, draft, draft.shape(x)))


def mul(draws: Draws, draft: Draft, x: str) -> str | None:
    """A product, of whole tensors or channel by channel."""
    shape = draft.shape(x)
    channels = shape[-1:]
    shapes = [shape, channels, (*[1] * (len(shape) - 1), *channels)] if len(shape) > 1 else [shape]
    partner = _partner(draws, draft, x, [draws.choose.choice(shapes)])
    numbers = multipliers(draws, [1 / 128])
    return draft.node({"op": "Mul"}, numbers, [x, partner], _written(draws, draft, shape))


def concat(draws: Draws, draft: Draft, x: str) -> str | None:
    """One to three tensors side by side."""
    shape = draft.shape(x)
    inputs = [x]
    for _ in range(draws.choose.randrange(3)):
        channels = draws.choose.choice((1, 2, 5, shape[-1]))
        inputs.append(_partner(draws, draft, x, [(*shape[:-1], channels)]))
    draws.choose.shuffle(inputs)
    channels = sum(draft.shape(name)[-1] for name in inputs)
    numbers = multipliers(draws, [1.0] * len(inputs))
    return draft.node({"op": "Concat"}, numbers, inputs, _written(draws, draft, (*shape[:-1], channels)))


def max_pool(draws: Draws, draft: Draft, x: str) -> str | None:
    """A maximum; with dilation and padding some windows hold no input."""
    shape = draft.shape(x)
    if len(shape) not in WINDOWED:
        return None
    window = _window(draws.choose, shape, dilated=draws.choose.random() < 0.5)
    window["padding"] = [min(pad, window["kernel"][index // 2] - 1) for index, pad in enumerate(window["padding"])]
    result = _windows(shape, window, window["kernel"])
    return _moved(draws, draft, x, {"op": "MaxPool", **window}, result) if result else None


def avg_pool(draws: Draws, draft: Draft, x: str) -> str | None:
    """A mean, over the window or over what of it lies inside."""
    shape = draft.shape(x)
    if len(shape) not in WINDOWED:
        return None
    window = _window(draws.choose, shape, dilated=False)
    kernel = window["kernel"]
    window["padding"] = [min(pad, kernel[index // 2] - 1) for index, pad in enumerate(window["padding"])]
    result = _windows(shape, window, kernel)
    if not result:
        return None
    del window["dilation"]
    numbers = multipliers(draws, [1 / count for count in range(1, prod(kernel) + 1)])
    fields = {"op": "AvgPool", **window, "count_include_pad": draws.choose.random() < 0.5}
    if draws.choose.random() < 0.25:  # halves from a stored 0
        fields |= {"count_include_pad": False, "origin": draws.choose.choice((0, 128, 255))}
        return draft.node(fields, numbers, [x], draft.tensor(result, draft.range_of(x), draft.zero_of(x)))
    return draft.node(fields, numbers, [x], _written(draws, draft, result))


def global_avg_pool(draws: Draws, draft: Draft, x: str) -> str | None:
    """A mean over all positions."""
    *positions, channels = draft.shape(x)
    if not positions:
        return None
    numbers = multipliers(draws, [1 / prod(positions)])
    return draft.node({"op": "GlobalAvgPool"}, numbers, [x], _written(draws, draft, (*[1] * len(positions), channels)))


RESIZES: Final = ("nearest", "bilinear", "bilinear_corners", "bilinear_asymmetric")


def resize(draws: Draws, draft: Draft, x: str) -> str | None:
    """Nearest or bilinear."""
    shape = draft.shape(x)
    if len(shape) != 3:
        return None
    height, width = (draws.choose.choice((1, 2, 3, size, 2 * size, 3 * size + 1)) for size in shape[:2])
    if height * width * shape[2] > ELEMENTS:
        return None
    fields = {"op": "Resize", "height": height, "width": width, "mode": draws.choose.choice(RESIZES)}
    return _moved(draws, draft, x, fields, (height, width, shape[2]))


def depth_to_space(draws: Draws, draft: Draft, x: str) -> str | None:
    """Channels to pixels."""
    shape = draft.shape(x)
    blocks = [block for block in (1, 2, 3) if len(shape) == 3 and shape[2] % block**2 == 0]
    if not blocks:
        return None
    block = blocks[-1]
    fields = {"op": "DepthToSpace", "block": block, "mode": draws.choose.choice(("DCR", "CRD"))}
    return _moved(draws, draft, x, fields, (shape[0] * block, shape[1] * block, shape[2] // block**2))


def lookup(draws: Draws, draft: Draft, x: str) -> str | None:
    """A table: random, falling, or with an outlier where no input leads."""
    ends = interval(draws.choose)
    table = draws.bulk.integers(ends[0], ends[1] + 1, 256)
    if draws.choose.random() < 0.3:
        table = np.sort(table)[::-1].copy()
    lo, hi = draft.range_of(x)
    table[:lo], table[hi + 1 :] = draws.choose.randrange(256), draws.choose.randrange(256)
    output = draft.tensor(draft.shape(x), ends, zero_point(draws.choose, ends))
    return draft.node({"op": "Lookup"}, {"table": table.astype(np.uint8)}, [x], output)


def channel_lookup(draws: Draws, draft: Draft, x: str) -> str | None:
    """``lookup``, a table for each channel."""
    ends, channels = interval(draws.choose), draft.shape(x)[-1]
    tables = draws.bulk.integers(ends[0], ends[1] + 1, (channels, 256))
    lo, hi = draft.range_of(x)
    tables[:, :lo], tables[:, hi + 1 :] = draws.choose.randrange(256), draws.choose.randrange(256)
    output = draft.tensor(draft.shape(x), ends, zero_point(draws.choose, ends))
    return draft.node({"op": "ChannelLookup"}, {"tables": tables.astype(np.uint8)}, [x], output)


def reshape(draws: Draws, draft: Draft, x: str) -> str | None:
    """Flat, or another line, image or volume of the same integers."""
    count = prod(draft.shape(x))
    channels = draws.choose.choice(_divisors(count))
    return _reshape(draft, x, draws.choose.choice([(count,), (*_axes(draws.choose, count // channels), channels)]))


def transpose(draws: Draws, draft: Draft, x: str) -> str | None:
    """Axes, perhaps cut in two, in another order; all of them or the last few are the channels afterwards."""
    split: list[int] = []
    for size in draft.shape(x):
        outer = draws.choose.choice([part for part in range(1, size + 1) if size % part == 0])
        split += [outer, size // outer] if draws.choose.random() < 0.5 else [size]
    order = list(range(len(split)))
    draws.choose.shuffle(order)
    sizes = [split[place] for place in order]
    first = draws.choose.randrange(len(sizes))
    result = (*_axes(draws.choose, prod(sizes[:first])), prod(sizes[first:]))
    fields = {"op": "Transpose", **_in_fewest_parts(split, order), "shape": list(result)}
    return _moved(draws, draft, x, fields, result)


def _in_fewest_parts(split: list[int], order: list[int]) -> dict[str, list[int]]:
    """The one form of a movement: no part of size 1, none that its neighbour moves along with."""
    places = sorted(place for place in order if split[place] > 1)
    follows = dict(pairwise(places))
    parts: list[list[int]] = []
    for place in order:
        if split[place] > 1:
            if parts and follows.get(parts[-1][-1]) == place:
                parts[-1].append(place)
            else:
                parts.append([place])
    stored = sorted(parts) or [[]]
    sizes = [int(np.prod([split[place] for place in part])) for part in stored]
    return {"split": sizes, "order": [stored.index(part) for part in parts] or [0]}


def pad(draws: Draws, draft: Draft, x: str) -> str | None:
    """Zero points around a line, an image or a volume."""
    *sizes, channels = draft.shape(x)
    if len(sizes) + 1 not in WINDOWED:
        return None
    padding = [draws.choose.choice((0, 0, 1, 2)) for _ in range(2 * len(sizes))]
    result = (*(size + sum(padding[2 * axis : 2 * axis + 2]) for axis, size in enumerate(sizes)), channels)
    return _moved(draws, draft, x, {"op": "Pad", "padding": padding}, result) if prod(result) <= ELEMENTS else None


def cut(draws: Draws, draft: Draft, x: str) -> str | None:
    """A part on every axis."""
    begin, end = [], []
    for size in draft.shape(x):
        first = draws.choose.randrange(size) if draws.choose.random() < 0.5 else 0
        begin.append(first)
        end.append(draws.choose.randint(first + 1, size))
    fields = {"op": "Slice", "begin": begin, "end": end}
    return _moved(draws, draft, x, fields, tuple(e - b for b, e in zip(begin, end, strict=True)))


def gather(draws: Draws, draft: Draft, x: str) -> str | None:
    """Entries of one axis, in any order and number; axis 0 is the channels."""
    shape = draft.shape(x)
    axis = draws.choose.randrange(len(shape))
    place = (axis - 1) % len(shape)
    count = draws.choose.randint(1, shape[place] + 2)
    if int(np.prod(shape)) // shape[place] * count > ELEMENTS:
        return None
    index = draws.bulk.integers(0, shape[place], count).astype(np.int32)
    result = (*shape[:place], count, *shape[place + 1 :])
    return _moved(draws, draft, x, {"op": "Gather", "axis": axis}, result, {"index": index})


def coarsen(draws: Draws, draft: Draft, x: str) -> str | None:
    """Levels of any bits, factors and steps, some channels rectified."""
    shape, bulk = draft.shape(x), draws.bulk
    bits = bulk.integers(1, 8, shape[-1]).astype(np.uint8)
    factors = np.where(bulk.random(shape[-1]) < 0.2, 4000, bulk.integers(1, 4001, shape[-1])).astype(np.int32)
    limits = bulk.integers(1, 255 // ((1 << bits.astype(int)) - 1) + 1).astype(np.uint8)
    rectified = bulk.integers(0, 2, shape[-1]).astype(np.uint8)
    arrays = {"bits": bits, "factors": factors, "limits": limits, "rectified": rectified}
    return _moved(draws, draft, x, {"op": "Coarsen"}, shape, arrays)


KINDS: Final[Mapping[str, tuple[Append, int]]] = MappingProxyType(
    {
        "Conv2d": (conv2d, 8),
        "Depthwise": (depthwise, 9),
        "Linear": (linear, 3),
        "Add": (add, 3),
        "Mul": (mul, 2),
        "Concat": (concat, 2),
        "MaxPool": (max_pool, 3),
        "AvgPool": (avg_pool, 2),
        "GlobalAvgPool": (global_avg_pool, 1),
        "Resize": (resize, 2),
        "DepthToSpace": (depth_to_space, 2),
        "Lookup": (lookup, 2),
        "ChannelLookup": (channel_lookup, 1),
        "Reshape": (reshape, 1),
        "Pad": (pad, 2),
        "Slice": (cut, 2),
        "Transpose": (transpose, 2),
        "Gather": (gather, 2),
        "Coarsen": (coarsen, 1),
    }
)
"""How each kind is appended, and how often."""


def _outputs(choose: Random) -> int:
    return choose.randint(1, 9) if choose.random() < 0.8 else choose.choice(OUTPUTS)


def _divisors(count: int) -> list[int]:
    return [size for size in range(1, min(count, 64) + 1) if count % size == 0]


def _axes(choose: Random, positions: int) -> Shape:
    """So many positions as an image, now and then as a line or a volume."""
    kind = choose.random()
    if kind < 0.1:
        return (positions,)
    first = choose.choice(_divisors(positions))
    if kind < 0.8:
        return (first, positions // first)
    second = choose.choice(_divisors(positions // first))
    return (first, second, positions // first // second)


def _window(choose: Random, shape: Shape, *, dilated: bool) -> Plain:
    axes = range(len(shape) - 1)
    sizes = (1, 2, 3) if choose.random() < 0.9 else (1, 4, 5, 7)
    steps = (1, 1, 2, 3) if choose.random() < 0.9 else (4, 5, 9)
    pads = (0, 0, 1, 2) if choose.random() < 0.9 else (0, 3, 4, 6)
    window: Plain = {
        "kernel": [choose.choice(sizes) for _ in axes],
        "stride": [choose.choice(steps) for _ in axes],
        "padding": [choose.choice(pads) for _ in range(2 * len(axes))],
        "dilation": [choose.choice((1, 2, 3)) if dilated else 1 for _ in axes],
    }
    if choose.random() < 0.25:
        window["padding"] = [0] * (2 * len(axes))
    for axis in axes:
        size = shape[axis] + sum(window["padding"][2 * axis : 2 * axis + 2])
        window["kernel"][axis] = min(window["kernel"][axis], 1 + (size - 1) // window["dilation"][axis])
    return window


def _windows(shape: Shape, window: Plain, kernel: list[int]) -> Shape | None:
    """(windows..., C); None if there is no window or they are too many."""
    result = []
    for axis in range(len(kernel)):
        size = shape[axis] + sum(window["padding"][2 * axis : 2 * axis + 2])
        result.append((size - (kernel[axis] - 1) * window["dilation"][axis] - 1) // window["stride"][axis] + 1)
    fits = min(result) >= 1 and prod(result) * shape[-1] <= ELEMENTS
    return (*result, shape[-1]) if fits else None


def _convolution(draws: Draws, draft: Draft, x: str, channels: tuple[int, int]) -> str | None:
    shape, (groups, outputs) = draft.shape(x), channels
    window = _window(draws.choose, shape, dilated=draws.choose.random() < 0.3)
    kernel = window.pop("kernel")
    result = _windows((*shape[:-1], outputs), window, kernel)
    inside = shape[-1] // groups
    if not result or prod(result) * prod(kernel) * inside > PRODUCTS:
        return None
    weight = weights(draws, (outputs, *kernel, inside))
    return _summed(draws, draft, x, ({"op": "Conv2d", **window, "groups": groups}, weight, result))


def _summed(draws: Draws, draft: Draft, x: str, layer: tuple[Plain, np.ndarray, Shape]) -> str:
    fields, weight, shape = layer
    rows = weight.reshape(len(weight), -1).astype(np.int64)
    zero, ends = draft.zero_of(x), draft.range_of(x)
    own_bias = bias(draws, rows, (min(ends[0], zero), max(ends[1], zero)), zero)
    output = _written(draws, draft, shape)
    if draws.choose.random() < WRAPPING:
        own_bias, numbers = residues(draws, len(rows), draft.range_of(output))
    else:
        span = max(ends[1] - ends[0], 1)
        reach = np.abs(rows).sum(axis=1) * span + np.abs(own_bias.astype(np.int64)) + 1
        numbers = multipliers(draws, 300.0 / reach)
    return draft.node(fields, {"weight": weight, "bias": own_bias, **numbers}, [x], output)


def _written(draws: Draws, draft: Draft, shape: Shape) -> str:
    ends = interval(draws.choose)
    return draft.tensor(shape, ends, zero_point(draws.choose, ends))


def _moved(
    draws: Draws, draft: Draft, x: str, fields: Plain, shape: Shape, arrays: Mapping[str, Any] | None = None
) -> str:
    """A node that moves integers: its output shares the zero point and holds the range, which may be wider."""
    lo, hi = draft.range_of(x)
    if draws.choose.random() < 0.3:
        lo, hi = draws.choose.choice((0, lo)), draws.choose.choice((255, hi))
    return draft.node(fields, dict(arrays or {}), [x], draft.tensor(shape, (lo, hi), draft.zero_of(x)))


def _reshape(draft: Draft, x: str, shape: Shape) -> str:
    output = draft.tensor(shape, draft.range_of(x), draft.zero_of(x))
    return draft.node({"op": "Reshape", "shape": list(shape)}, {}, [x], output)


def _partner(draws: Draws, draft: Draft, x: str, shapes: list[Shape]) -> str:
    """A tensor of one of ``shapes``: one that is candidates, ``x`` too, or a new input."""
    candidates = [name for name in draft.tensors if draft.shape(name) in shapes]
    if candidates and draws.choose.random() < 0.6:
        return draws.choose.choice(candidates)
    ends = interval(draws.choose)
    return draft.input(shapes[0], ends, zero_point(draws.choose, ends))
