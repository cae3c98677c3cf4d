"""The integers every operator computes, from its plain form.

The laws are those of docs/glossary.md and of the operators' definitions. Sums are int64: a sum of K products of a
weight in [-255, 255] and an integer in [-255, 255] is below 2**16 * K, and no drawn K reaches 2**40. Fixed point:
|sum * multiplier| <= 2**62 and half a step is at most 2**61, so their sum fits int64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.soundness import float32
from benchmarks.soundness.windows import gathered, reads_input, tap_axes, window_axes

Ints = NDArray[np.int64]
Plain = Mapping[str, Any]
Arrays = Mapping[str, NDArray[Any]]


RESIDUES: Final = "requantize.table"
"""The field of a layer whose sums wrap by design: (N or 1, 2**b), entry r for sums congruent to r."""


class Undefined(Exception):
    """The law gives no integer: float32 makes infinity minus infinity of it."""


@dataclass
class Edges:
    """How often a computation met an edge.

    Attributes:
        ties: results exactly halfway between two integers.
        empty_windows: windows of a maximum that hold no input.
        partly_padded: windows that hold input and padding.
    """

    ties: int = 0
    empty_windows: int = 0
    partly_padded: int = 0


@dataclass(frozen=True, eq=False)
class Step:
    """A node with what it needs.

    Attributes:
        node: plain.
        arrays: of the node, by field.
        inputs: plain tensors it reads.
        output: plain tensor it writes.
        edges: counted here.
    """

    node: Plain
    arrays: Arrays
    inputs: Sequence[Plain]
    output: Plain
    edges: Edges = field(default_factory=Edges)


def sums(step: Step, x: Ints) -> Ints:
    """Conv2d and Linear: (batch, ..., N) bias + sum of weight * (x - zx); padding adds nothing."""
    weight, bias = step.arrays["weight"].astype(np.int64), step.arrays["bias"].astype(np.int64)
    zero = step.inputs[0]["zero_point"]
    if step.node["op"] == "Linear":
        return (x - zero) @ weight.T + bias
    taps = loaded(step, x) - zero
    _, groups, terms = taps.shape
    by_group = weight.reshape(groups, -1, terms)
    total = np.matmul(taps.transpose(1, 0, 2), by_group.transpose(0, 2, 1)).transpose(1, 0, 2)
    return total.reshape(len(x), *step.output["shape"][:-1], -1) + bias


def loaded(step: Step, x: Ints) -> Ints:
    """(batch * outputs..., groups, K) operands of a sum as loaded, the zero point where a window leaves the tensor."""
    if step.node["op"] == "Linear":
        return x[:, None, :]
    weight, groups = step.arrays["weight"], step.node["groups"]
    kernel, channels = weight.shape[1:-1], x.shape[-1]
    axes = window_axes(step.node, kernel, x.shape[1:-1])
    taps = gathered(x, axes, step.inputs[0]["zero_point"])
    positions = prod(taps.shape[: 1 + len(axes)])
    by_group = taps.reshape(positions, prod(kernel), groups, channels // groups)
    return by_group.transpose(0, 2, 1, 3).reshape(positions, groups, -1)


def requantized(step: Step, total: Ints, multipliers: slice | int | Ints = slice(None)) -> Ints:
    """clamp(round(total * multiplier) + zy), by the multipliers ``multipliers``, broadcast over the last axis.

    Where a node has bits of a second rounding, what is shifted is divided by that power of two besides. Where a layer
    has tables of residues, their entries.
    """
    if (table := step.arrays.get(RESIDUES)) is not None:
        output = np.arange(total.shape[-1]) if len(table) > 1 else 0
        return table[output, total % table.shape[1]].astype(np.int64)
    multiplier = np.atleast_1d(step.arrays["requantize.multiplier"][multipliers])
    if "requantize.shift" not in step.arrays:
        scaled = float32.product(float32.of_integers(total), float32.of_float32(multiplier))
        nearest, ties = float32.to_integers(scaled)
        step.edges.ties += ties
        return _clamped(step, nearest)
    shift = np.atleast_1d(step.arrays["requantize.shift"][multipliers]).astype(np.int64)
    steps = _shifted(step, total * multiplier.astype(np.int64), shift)
    if "requantize.then" in step.arrays:
        steps = _halved_away(step, steps, np.atleast_1d(step.arrays["requantize.then"][multipliers]).astype(np.int64))
    return _clamped(step, steps)


def modulo(step: Step) -> int | None:
    """The b modulo 2**b of which the sums of a layer count; None where sums themselves do."""
    table = step.arrays.get(RESIDUES)
    return None if table is None else int(table.shape[1]).bit_length() - 1


def held_in_32_bits(values: Ints) -> Ints:
    """What a register of 32 bits that wraps holds of each."""
    return (values + (1 << 31)) % (1 << 32) - (1 << 31)


def computed(step: Step, x: Sequence[Ints]) -> Ints:
    """Every operator but Conv2d and Linear: (batch, ...) integers."""
    node, zeros = step.node, [tensor["zero_point"] for tensor in step.inputs]
    match node["op"]:
        case "Add":
            return _add(step, x[0] - zeros[0], x[1] - zeros[1])
        case "Mul":
            a, b = x[0] - zeros[0], x[1] - zeros[1]
            b = b if a.shape == b.shape else b.reshape(len(b), *[1] * (a.ndim - 2), -1)
            return requantized(step, a * b)
        case "Concat":
            parts = [requantized(step, values - zero, i) for i, (values, zero) in enumerate(zip(x, zeros, strict=True))]
            return np.concatenate(parts, axis=-1)
        case "MaxPool":
            return _max_pool(step, x[0])
        case "AvgPool":
            if "origin" not in node:
                return _avg_pool(step, x[0] - zeros[0])
            about = {**step.output, "zero_point": node["origin"]}
            return _avg_pool(replace(step, output=about), x[0] - node["origin"])
        case "GlobalAvgPool":
            return requantized(step, (x[0] - zeros[0]).sum(axis=tuple(range(1, x[0].ndim - 1)), keepdims=True))
        case "Lookup":
            return step.arrays["table"].astype(np.int64)[x[0]]
        case "ChannelLookup":
            parts = [table[x[0][..., channel]] for channel, table in enumerate(step.arrays["tables"].astype(np.int64))]
            return np.stack(parts, axis=-1)
        case "Coarsen":
            return _coarsened(step, x[0])
        case "Resize":
            return _resize(step, x[0])
    return _moved(step, x[0])


def _clamped(step: Step, nearest: Ints) -> Ints:
    lo, hi = step.output["range"]
    return np.clip(nearest + step.output["zero_point"], lo, hi)


def _shifted(step: Step, product: Ints, shift: Ints) -> Ints:
    """floor(product / 2**shift + 1/2)."""
    half = np.int64(1) << (shift - 1)
    step.edges.ties += int((product - ((product >> shift) << shift) == half).sum())
    return (product + half) >> shift


def _halved_away(step: Step, steps: Ints, bits: Ints) -> Ints:
    """The nearest integer to steps / 2**bits, a half away from 0."""
    size, half = np.abs(steps), (np.int64(1) << bits) // 2
    whole = (size + half) // (np.int64(1) << bits)
    step.edges.ties += int(((bits > 0) & (size - (whole << bits) == -half)).sum())
    return np.sign(steps) * whole


def _add(step: Step, a: Ints, b: Ints) -> Ints:
    multiplier = step.arrays["requantize.multiplier"]
    if "requantize.shift" in step.arrays:
        scaled = a * np.int64(multiplier[0]) + b * np.int64(multiplier[1])
        return _clamped(step, _shifted(step, scaled, step.arrays["requantize.shift"][:1].astype(np.int64)))
    of_a, of_b = (
        float32.product(float32.of_integers(values), float32.of_float32(multiplier[index : index + 1]))
        for index, values in enumerate((a, b))
    )
    if np.any(of_a.is_infinite() & of_b.is_infinite() & (np.sign(a) != np.sign(b))):
        raise Undefined(f"{step.node['name']}: infinity minus infinity, of multipliers {multiplier.tolist()}")
    nearest, ties = float32.to_integers(float32.total(of_a, of_b))
    step.edges.ties += ties
    return _clamped(step, nearest)


def _max_pool(step: Step, x: Ints) -> Ints:
    """The largest integer each window holds; of a window that holds none the least integer of the output tensor."""
    axes = window_axes(step.node, step.node["kernel"], x.shape[1:-1])
    inside, taps = reads_input(axes), tap_axes(axes)
    step.edges.empty_windows += int((~inside.any(axis=taps)).sum())
    step.edges.partly_padded += int((inside.any(axis=taps) & ~inside.all(axis=taps)).sum())
    lo, hi = step.output["range"]
    return np.clip(gathered(x, axes, -1).max(axis=_behind_batch(taps)), lo, hi)


def _avg_pool(step: Step, x: Ints) -> Ints:
    """Sums of windows, each by the multiplier of the number of elements it averages."""
    node = step.node
    axes = window_axes(node, node["kernel"], x.shape[1:-1])
    taps, all_taps = tap_axes(axes), prod(node["kernel"])
    total = gathered(x, axes, 0).sum(axis=_behind_batch(taps))
    count = reads_input(axes).sum(axis=taps)
    step.edges.partly_padded += int((count < all_taps).sum())
    if node["count_include_pad"]:
        count = np.full_like(count, all_taps)
    return requantized(step, total, (count - 1)[None, ..., None])


def _behind_batch(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(axis + 1 for axis in axes)


def _resize(step: Step, x: Ints) -> Ints:
    height, width = step.node["height"], step.node["width"]
    if step.node["mode"] == "nearest":
        rows = [row * x.shape[1] // height for row in range(height)]
        columns = [column * x.shape[2] // width for column in range(width)]
        return x[:, rows][:, :, columns]
    mode = step.node["mode"]
    rows, columns = _bilinear(x.shape[1], height, mode), _bilinear(x.shape[2], width, mode)
    mixed = np.einsum("ih,bhwc->biwc", rows, x)
    return (np.einsum("jw,biwc->bijc", columns, mixed) + (1 << 21)) >> 22


def _bilinear(size: int, outputs: int, mode: str) -> Ints:
    """(outputs, size) weights in parts of 2**11: centres, corners or first pixels meet; ties upwards, edges again."""
    weights = np.zeros((outputs, size), np.int64)
    for output in range(outputs):
        numerator, denominator = (2 * output + 1) * size - outputs, 2 * outputs
        if mode == "bilinear_corners":
            numerator, denominator = output * (size - 1), max(outputs - 1, 1)
        elif mode == "bilinear_asymmetric":
            numerator, denominator = output * size, outputs
        first, remainder = divmod(numerator, denominator)
        second = (remainder * 4096 + denominator) // (2 * denominator)
        weights[output, min(max(first, 0), size - 1)] += 2048 - second
        weights[output, min(max(first + 1, 0), size - 1)] += second
    return weights


def _coarsened(step: Step, x: Ints) -> Ints:
    """Each channel of each image: its step is the highest threshold that its variance reaches, squares compared."""
    zero, result = step.inputs[0]["zero_point"], np.empty_like(x)
    fields = [step.arrays[name].tolist() for name in ("bits", "factors", "limits", "rectified")]
    for channel, choices in enumerate(zip(*fields, strict=True)):
        for index in range(len(x)):
            levels = _levels([int(value) for value in x[index, ..., channel].flat], zero, choices)
            result[index, ..., channel] = np.array(levels).reshape(x.shape[1:-1])
    return np.clip(result, *step.output["range"])


def _levels(values: list[int], zero: int, choices: Sequence[int]) -> list[int]:
    bits, factor, limit, is_rectified = choices
    above = [value - zero for value in values if value > zero] if is_rectified else values
    count, total, top = len(above) + is_rectified, sum(above), (1 << bits) - 1
    spread = 4 * factor**2 * (count * sum(value * value for value in above) - total**2)
    size = max(sum((1000 * count * (2 * wide - 1)) ** 2 <= spread for wide in range(1, limit + 1)), 1)
    while is_rectified and size < limit and 2 * factor * (count * top * size - total) < _root(spread):
        size += 1
    middle = (2 * total + count) // (2 * count) - (1 << bits) // 2 * size
    first = zero - size // 2 if is_rectified else middle
    return [first + min(max((value - first) // size, 0), top) * size + size // 2 for value in values]


def _root(number: int) -> int:
    """The floor of a square root, by halving an interval."""
    low, high = 0, 1 << (number.bit_length() // 2 + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle * middle <= number else (low, middle)
    return low


def _moved(step: Step, x: Ints) -> Ints:
    node = step.node
    match node["op"]:
        case "Reshape":
            return x.reshape(len(x), *node["shape"])
        case "Pad":
            y = np.full((len(x), *step.output["shape"]), step.inputs[0]["zero_point"])
            before = node["padding"][::2]
            y[(slice(None), *(slice(b, b + size) for b, size in zip(before, x.shape[1:-1], strict=True)))] = x
            return y
        case "Slice":
            return x[(slice(None), *(slice(b, e) for b, e in zip(node["begin"], node["end"], strict=True)))]
        case "Gather":
            return np.take(x, step.arrays["index"], axis=x.ndim - 1 if node["axis"] == 0 else node["axis"])
        case "Transpose":
            source = np.arange(x[0].size).reshape(node["split"]).transpose(node["order"]).reshape(-1)
            return x.reshape(len(x), -1)[:, source].reshape(len(x), *node["shape"])
        case "DepthToSpace":
            return _depth_to_space(node, x)
    raise Undefined(f"no law for {node['op']}")


def _depth_to_space(node: Plain, x: Ints) -> Ints:
    batch, height, width, channels = x.shape
    block = node["block"]
    channels_out = channels // block**2
    y = np.empty((batch, height * block, width * block, channels_out), np.int64)
    for row in range(block):
        for column in range(block):
            place = row * block + column
            part = (
                x[..., place * channels_out : (place + 1) * channels_out]
                if node["mode"] == "DCR"
                else x[..., place :: block**2]
            )
            y[:, row::block, column::block] = part
    return y
