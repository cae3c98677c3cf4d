"""A program for the checker of robustness: one layer per node, in its own few kinds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from oaq.checker import dyadics
from oaq.checker.program import Node, Program, Tensor
from oaq.checker.ranges import pool_origin
from oaq.checker.robust_maps import (
    Ints,
    Terms,
    conv_terms,
    global_terms,
    identity_terms,
    joined_terms,
    linear_terms,
    max_windows,
    moved_from,
    pool_terms,
    resize_terms,
    size_of,
)
from oaq.checker.robust_steps import Entries, Steps, requantize_steps, shifted_steps
from oaq.errors import FormatError

Box = tuple[Ints, Ints]


@dataclass(frozen=True, eq=False)
class Summing:
    """acc = sum of terms of each operand + bias; y by ``steps``; ``image`` narrows y from the operands' ends."""

    inputs: tuple[int, ...]
    terms: tuple[Terms, ...]
    bias: Ints
    steps: Steps
    image: Callable[[list[Box]], Box] | None = None


@dataclass(frozen=True, eq=False)
class Reading:
    """y = table[x]."""

    inputs: tuple[int, ...]
    entries: Entries


@dataclass(frozen=True, eq=False)
class Moving:
    """y[k] = x[source[k]], 0 where that is negative."""

    inputs: tuple[int, ...]
    source: Ints


@dataclass(frozen=True, eq=False)
class Largest:
    """y[k] = max of x[windows[k]]; negative entries stand for ``least``."""

    inputs: tuple[int, ...]
    windows: Ints
    least: int


@dataclass(frozen=True, eq=False)
class Within:
    """y somewhere in its image."""

    inputs: tuple[int, ...]
    image: Callable[[list[Box]], Box]


Operation = Summing | Reading | Moving | Largest | Within


@dataclass(frozen=True, eq=False)
class Layered:
    """Layers in order; layer i writes tensor i + 1; tensor 0 is the input.

    Attributes:
        layers: one per node, and perhaps an identity at the end, so that sums decide the output.
        sizes: of tensors.
        zeros: zero points.
        outputs: tensors of the outputs, one for each program.
        limits: of the input.
    """

    layers: tuple[Operation, ...]
    sizes: tuple[int, ...]
    zeros: tuple[int, ...]
    outputs: tuple[int, ...]
    limits: tuple[int, int]

    @property
    def output(self) -> int:
        """Tensor of the first program's output."""
        return self.outputs[0]


def layered(*programs: tuple[Program, list[str]]) -> Layered:
    """Read every node of programs that share one input.

    Args:
        *programs: each with the names of its outputs.

    Raises:
        FormatError: several inputs or outputs, inputs that differ, or an operator this checker does not know.
    """
    first = programs[0][0].tensors[programs[0][0].inputs[0]]
    layers: list[Operation] = []
    sizes, zeros, outputs = [size_of(first)], [first.zero], list[tuple[int, Tensor]]()
    for program, names in programs:
        if len(program.inputs) != 1 or len(names) != 1 or names[0] not in program.tensors:
            raise FormatError("proofs about sets are of programs of one input and one output")
        x = program.tensors[program.inputs[0]]
        if (x.shape, x.zero, x.lo, x.hi) != (first.shape, first.zero, first.lo, first.hi):
            raise FormatError("the programs read inputs of different shape, zero point or range")
        number = {x.name: 0}
        for node in program.nodes:
            y = program.tensors[node.output]
            layers.append(_layer(program, node, tuple(number[name] for name in node.inputs), y))
            number[node.output] = len(sizes)
            sizes.append(size_of(y))
            zeros.append(y.zero)
        outputs.append((number[names[0]], program.tensors[names[0]]))
    decided = []
    for tensor, y in outputs:
        if decided_by(layers, tensor, sizes)[0] < 0:
            layers.append(_identity(tensor, y))
            tensor = len(sizes)
            sizes.append(size_of(y))
            zeros.append(y.zero)
        decided.append(tensor)
    return Layered(tuple(layers), tuple(sizes), tuple(zeros), tuple(decided), (first.lo, first.hi))


def _identity(tensor: int, y: Tensor) -> Summing:
    values = np.arange(y.lo - y.zero, y.hi - y.zero + 1)[None]
    first, last = values.copy(), values.copy()
    first[0, 0], last[0, -1] = -(1 << 44), 1 << 44
    size = size_of(y)
    steps = Steps(int(values[0, 0]), first, last, np.zeros(size, np.int64))
    return Summing((tensor,), (identity_terms(size),), np.zeros(size, np.int64), steps)


def decided_by(
    layers: list[Operation] | tuple[Operation, ...], tensor: int, sizes: list[int] | tuple[int, ...]
) -> tuple[int, Ints]:
    """The summing layer behind a tensor, moves looked through, and its element for each of the tensor's; or -1."""
    element = np.arange(sizes[tensor])
    while tensor > 0:
        layer = layers[tensor - 1]
        if isinstance(layer, Summing) and layer.image is None:
            return tensor - 1, element
        if not isinstance(layer, Moving) or (layer.source[element] < 0).any():
            break
        element, tensor = layer.source[element], layer.inputs[0]
    return -1, element


def _layer(program: Program, node: Node, inputs: tuple[int, ...], y: Tensor) -> Operation:
    specs = [program.tensors[name] for name in node.inputs]
    x, size = specs[0], size_of(y)
    channel = np.arange(size) % y.shape[-1]
    match node.kind:
        case "Linear" | "Conv2d":
            terms = linear_terms(node) if node.kind == "Linear" else conv_terms(node, x, y)
            bias = node.array("bias", np.int32, 1).astype(np.int64)
            if terms.outputs != size or terms.inputs != size_of(x) or len(bias) != y.shape[-1]:
                raise FormatError(f"{node.name}: its arrays do not fit its tensors")
            return Summing(inputs, (terms,), bias[channel], requantize_steps(node, y, channel, y.shape[-1]))
        case "AvgPool":
            terms, counts = pool_terms(node, x, y)
            kernel, origin = node.numbers("kernel", 2), pool_origin(node, x, y)
            about = y.zero if origin is None else origin
            steps = requantize_steps(node, replace(y, zero=about), counts - 1, kernel[0] * kernel[1])
            steps = replace(steps, low=steps.low + about - y.zero)
            return Summing(inputs, (terms,), counts * (x.zero - about) * (origin is not None), steps)
        case "GlobalAvgPool":
            steps = requantize_steps(node, y, np.zeros(size, np.int64), 1)
            return Summing(inputs, (global_terms(x),), np.zeros(size, np.int64), steps)
        case "Concat":
            parts, owner = joined_terms(program, node, y)
            steps = requantize_steps(node, y, owner, len(parts))
            return Summing(inputs, tuple(parts), np.zeros(size, np.int64), steps)
        case "Add":
            return _added(node, specs, y, inputs)
        case "Mul":
            return Within(inputs, _product_image(node, specs, y))
        case "Lookup":
            values = node.array("table", np.uint8, 1).astype(np.int64)[x.lo : x.hi + 1] - y.zero
            return Reading(inputs, Entries(x.lo - x.zero, values))
        case "ChannelLookup":
            tables = node.array("tables", np.uint8, 2).astype(np.int64)
            if tables.shape != (y.shape[-1], 256) or size_of(x) != size:
                raise FormatError(f"{node.name}: its tables {tables.shape} are not those of {y.shape[-1]} channels")
            return Reading(inputs, Entries(x.lo - x.zero, tables[channel, x.lo : x.hi + 1].T - y.zero))
        case "MaxPool":
            return Largest(inputs, max_windows(node, x, y), y.lo - y.zero)
        case "Resize" if node.fields.get("mode") == "bilinear":
            return Summing(inputs, (resize_terms(x, y),), np.zeros(size, np.int64), shifted_steps(22, y, size))
        case _:
            return Moving(inputs, moved_from(node, x, y))


def _added(node: Node, specs: list[Tensor], y: Tensor, inputs: tuple[int, ...]) -> Operation:
    """Relate the sum of two tensors to its result.

    A fixed-point sum is exact. A float32 sum is within three roundings of its exact multipliers, and those are within
    half of the integers that stand for them.
    """
    factors, shifts = node.multipliers(2)
    size = size_of(y)

    def law(a: Ints, b: Ints) -> Ints:
        shift = None if shifts is None else int(shifts[0])
        return np.clip(dyadics.add(a, b, factors, shift), y.lo - y.zero, y.hi - y.zero)

    def image(ends: list[Box]) -> Box:
        (a_lo, a_hi), (b_lo, b_hi) = ends
        return law(a_lo, b_lo), law(a_hi, b_hi)

    zero = np.zeros(size, np.int64)
    if shifts is not None:
        if shifts[0] != shifts[1]:
            raise FormatError(f"{node.name}: two shifts that differ")
        terms = tuple(identity_terms(size, int(factor)) for factor in factors)
        return Summing(inputs, terms, zero, shifted_steps(int(shifts[0]), y, size))
    exact = [float(factor) for factor in factors]
    shift = 22 - math.frexp(max(exact))[1]
    if not 1 <= shift <= 60:
        return Within(inputs, image)
    factors_rounded = [round(factor * 2.0**shift) for factor in exact]
    reach = [max(spec.zero - spec.lo, spec.hi - spec.zero) for spec in specs]
    largest = sum((factor + 1) * extent for factor, extent in zip(factors_rounded, reach, strict=True))
    width = (sum(reach) + 1) // 2 + (3 * largest) // (1 << 24) + 2
    terms = tuple(identity_terms(size, factor) for factor in factors_rounded)
    return Summing(inputs, terms, zero, shifted_steps(shift, y, size, width), image)


def _product_image(node: Node, specs: list[Tensor], y: Tensor) -> Callable[[list[Box]], Box]:
    factors, shifts = node.multipliers(1)
    channels = specs[0].shape[-1]

    def image(ends: list[Box]) -> Box:
        a, b = ends
        if a[0].shape[1] != b[0].shape[1]:
            b = (b[0][:, np.arange(a[0].shape[1]) % channels], b[1][:, np.arange(a[0].shape[1]) % channels])
        corners = np.stack([a_end * b_end for a_end, b_end in product(a, b)])
        acc = np.stack([corners.min(axis=0), corners.max(axis=0)])
        y_ends = dyadics.requantize(acc, factors, shifts, node.second_roundings(1))
        y_ends = np.clip(y_ends, y.lo - y.zero, y.hi - y.zero)
        return y_ends[0], y_ends[1]

    return image
