"""Ranges of tensors, derived channel by channel in Python integers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from oaq.checker.program import LARGEST, Node, Tensor
from oaq.checker.rounding import add, requantize
from oaq.errors import FormatError

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Range:
    """Least and most of each channel, int64 (C,)."""

    lo: Ints
    hi: Ints

    def pairs(self) -> list[tuple[int, int]]:
        """As Python integers."""
        return list(zip(self.lo.tolist(), self.hi.tolist(), strict=True))


def of_pairs(pairs: list[tuple[int, int]]) -> Range:
    """From Python integers."""
    ends = np.array(pairs, np.int64).reshape(-1, 2)
    return Range(ends[:, 0], ends[:, 1])


def declared(tensor: Tensor) -> Range:
    """What a program input is assumed to hold."""
    return of_pairs([(tensor.lo, tensor.hi)] * tensor.shape[-1])


def after_requantize(sums: list[tuple[int, int]], node: Node, y: Tensor, which: list[int], count: int) -> Range:
    """Image of each channel's sums; channel c uses multiplier ``which[c]`` of ``count``."""
    factors, shifts = node.multipliers(count)
    pairs = []
    for (low, high), index in zip(sums, which, strict=True):
        shift = None if shifts is None else shifts[index]
        ends = [requantize(end, factors[index], shift) + y.zero for end in (low, high)]
        pairs.append((clamp(ends[0], y), clamp(ends[1], y)))
    return of_pairs(pairs)


def clamp(value: int, y: Tensor) -> int:
    """Into the effective range of ``y``."""
    return y.lo if value < y.lo else y.hi if value > y.hi else value


def image(node: Node, inputs: list[Range], specs: list[Tensor], y: Tensor) -> Range:
    """The range of what ``node`` writes; any operator but Conv2d and Linear.

    Raises:
        FormatError: an unknown operator or arrays that do not fit it.
    """
    rule = _RULES.get(node.kind)
    if rule is None:
        raise FormatError(f"{node.name}: the checker knows no operator {node.kind!r}")
    found = rule(node, inputs, specs, y)
    if len(found.lo) != y.shape[-1]:
        raise FormatError(f"{node.name}: {len(found.lo)} channels for a tensor of shape {y.shape}")
    return found


def _add(node: Node, inputs: list[Range], specs: list[Tensor], y: Tensor) -> Range:
    factors, shifts = node.multipliers(2)
    if shifts is not None and shifts[0] != shifts[1]:
        raise FormatError(f"{node.name}: two shifts")
    shift = None if shifts is None else shifts[0]
    pairs = []
    for ends in zip(inputs[0].pairs(), inputs[1].pairs(), strict=True):
        both = [
            add(ends[0][end] - specs[0].zero, ends[1][end] - specs[1].zero, (factors[0], factors[1]), shift)
            for end in (0, 1)
        ]
        pairs.append((clamp(both[0] + y.zero, y), clamp(both[1] + y.zero, y)))
    return of_pairs(pairs)


def _mul(node: Node, inputs: list[Range], specs: list[Tensor], y: Tensor) -> Range:
    sums = []
    for a, b in zip(inputs[0].pairs(), inputs[1].pairs(), strict=True):
        corners = [(p - specs[0].zero) * (q - specs[1].zero) for p, q in product(a, b)]
        sums.append((min(corners), max(corners)))
    return after_requantize(sums, node, y, [0] * len(sums), 1)


def _concat(node: Node, inputs: list[Range], specs: list[Tensor], y: Tensor) -> Range:
    sums, which = [], []
    for index, (x, spec) in enumerate(zip(inputs, specs, strict=True)):
        sums += [(low - spec.zero, high - spec.zero) for low, high in x.pairs()]
        which += [index] * len(x.lo)
    return after_requantize(sums, node, y, which, len(inputs))


def _lookup(node: Node, inputs: list[Range], _specs: list[Tensor], _y: Tensor) -> Range:
    table = node.array("table", np.uint8, 1).tolist()
    if len(table) != 256:
        raise FormatError(f"{node.name}: a table has 256 entries")
    images = [[table[q] for q in range(low, high + 1)] for low, high in inputs[0].pairs()]
    return of_pairs([(min(values), max(values)) for values in images])


def _avg_pool(node: Node, inputs: list[Range], specs: list[Tensor], y: Tensor) -> Range:
    kernel, stride = node.numbers("kernel", 2), node.numbers("stride", 2)
    top, bottom, left, right = node.numbers("padding", 4)
    full = kernel[0] * kernel[1]
    counts = [
        _windows(specs[0].shape[axis], kernel[axis], stride[axis], before, after)
        for axis, before, after in ((0, top, bottom), (1, left, right))
    ]
    parts = []
    for inside in sorted({rows * columns for rows, columns in product(*counts)}):
        if inside:
            sums = [(inside * (lo - specs[0].zero), inside * (hi - specs[0].zero)) for lo, hi in inputs[0].pairs()]
            divisor = full if node.fields.get("count_include_pad") is True else inside
            parts.append(after_requantize(sums, node, y, [divisor - 1] * len(sums), full))
    if not parts or full * 255 >= 1 << 31:
        raise FormatError(f"{node.name}: a window of {full} positions has no 32-bit sum")
    return Range(np.min([part.lo for part in parts], axis=0), np.max([part.hi for part in parts], axis=0))


def _windows(size: int, kernel: int, stride: int, before: int, after: int) -> set[int]:
    """How many positions of the image each window along an axis covers."""
    if min(kernel, stride) < 1 or min(before, after) < 0 or max(before, after) > LARGEST:
        raise FormatError("a window has a size and a stride of at least 1")
    starts = range(-before, size + after - kernel + 1, stride)
    return {max(0, min(start + kernel, size) - max(start, 0)) for start in starts}


def _global_avg_pool(node: Node, inputs: list[Range], specs: list[Tensor], y: Tensor) -> Range:
    count = prod(specs[0].shape[:-1])
    if count * 255 >= 1 << 31:
        raise FormatError(f"{node.name}: {count} positions have no 32-bit sum")
    sums = [(count * (lo - specs[0].zero), count * (hi - specs[0].zero)) for lo, hi in inputs[0].pairs()]
    return after_requantize(sums, node, y, [0] * len(sums), 1)


def _same(_node: Node, inputs: list[Range], _specs: list[Tensor], _y: Tensor) -> Range:
    return inputs[0]


def _pad(node: Node, inputs: list[Range], specs: list[Tensor], _y: Tensor) -> Range:
    if not any(node.numbers("padding", 4)):
        return inputs[0]
    return of_pairs([(min(lo, specs[0].zero), max(hi, specs[0].zero)) for lo, hi in inputs[0].pairs()])


def _slice(node: Node, inputs: list[Range], specs: list[Tensor], _y: Tensor) -> Range:
    rank = len(specs[0].shape)
    begin, end = node.numbers("begin", rank), node.numbers("end", rank)
    return of_pairs(inputs[0].pairs()[begin[-1] : end[-1]])


def _reshape(_node: Node, inputs: list[Range], specs: list[Tensor], y: Tensor) -> Range:
    if prod(specs[0].shape) != prod(y.shape):
        raise FormatError(f"{y.name}: {specs[0].shape} does not fill {y.shape}")
    # Element e of memory has channel e mod C before and e mod C' after: both repeat with the longer of the two periods.
    before, after = specs[0].shape[-1], y.shape[-1]
    element = np.arange(int(np.lcm(before, after)))
    lo, hi = np.full(after, 255, np.int64), np.zeros(after, np.int64)
    np.minimum.at(lo, element % after, inputs[0].lo[element % before])
    np.maximum.at(hi, element % after, inputs[0].hi[element % before])
    return Range(lo, hi)


def _depth_to_space(node: Node, inputs: list[Range], _specs: list[Tensor], y: Tensor) -> Range:
    square, channels, x = node.number("block") ** 2, y.shape[-1], inputs[0].pairs()
    order = node.fields.get("mode")
    if square * channels != len(x) or order not in ("DCR", "CRD"):
        raise FormatError(f"{node.name}: {len(x)} channels do not make {channels} in blocks of {square}")
    found = []
    for c in range(channels):
        sources = [x[place * channels + c] if order == "DCR" else x[c * square + place] for place in range(square)]
        found.append((min(lo for lo, _ in sources), max(hi for _, hi in sources)))
    return of_pairs(found)


_RULES = {
    "Add": _add,
    "Mul": _mul,
    "Concat": _concat,
    "Lookup": _lookup,
    "AvgPool": _avg_pool,
    "GlobalAvgPool": _global_avg_pool,
    "MaxPool": _same,
    "Resize": _same,
    "Pad": _pad,
    "Slice": _slice,
    "Reshape": _reshape,
    "DepthToSpace": _depth_to_space,
}
