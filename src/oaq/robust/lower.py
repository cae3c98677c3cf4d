"""From ``IntProgram`` to ``Network``: every operator as linear maps, relations and moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.errors import ConfigError, UnsupportedOp
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec
from oaq.operators.products import multipliers_of
from oaq.operators.resize import WEIGHT_BITS, bilinear_axis
from oaq.program.int_program import IntProgram, Node
from oaq.reference.run import compute
from oaq.robust.linear import Convolved, Dense, Gathered, LinearMap, compact
from oaq.robust.network import Law, Lookups, Maxima, Moves, Network, Operation, Products, Sums, elements, flat_size
from oaq.robust.staircase import Ints, Staircase, of_requantize, of_shift
from oaq.robust.table import Table
from oaq.robust.windows import OUTSIDE, grouped, per_channel, positions

SUM_BITS = 22
"""Bits kept of the multipliers of a float32 Add; the rest widens its thresholds."""


def lower(programs: Sequence[IntProgram]) -> Network:
    """Programs that read one common input, as one network.

    Raises:
        ConfigError: a program has several inputs or outputs, or their inputs differ.
        UnsupportedOp: an operator has no relation here; the message names it.
    """
    first = programs[0]
    for program in programs:
        if len(program.inputs) != 1 or len(program.outputs) != 1:
            raise ConfigError(
                f"{program.name}: has {len(program.inputs)} inputs and {len(program.outputs)} outputs; robustness is "
                "decided for networks of one input and one output"
            )
        x, its_input = (checked.tensors[checked.inputs[0]] for checked in (first, program))
        if (x.shape, x.affine.zero_point, x.range) != (its_input.shape, its_input.affine.zero_point, its_input.range):
            raise ConfigError(f"{program.name}: its input {its_input} is not the input {x} of {first.name}")
    spec = first.tensors[first.inputs[0]]
    layers: list[Operation] = []
    names, sizes, zeros, outputs = [], [flat_size(spec.shape)], [spec.affine.zero_point], []
    for program in programs:
        index = {program.inputs[0]: 0}
        for tensor in program.tensors.values():
            if len(tensor.shape) not in (1, 3):
                raise UnsupportedOp(f"{tensor.name}: is {tensor.shape}; robustness takes (C,) and (H, W, C) tensors")
        for node in program.nodes:
            y = program.tensors[node.output]
            index[node.output] = len(sizes)
            layers.append(_layer(program, node, tuple(index[name] for name in node.inputs), len(sizes)))
            names.append(node.name)
            sizes.append(flat_size(y.shape))
            zeros.append(y.affine.zero_point)
        outputs.append(index[program.outputs[0]])
    ends = (spec.range.lo, spec.range.hi)
    network = Network(tuple(layers), tuple(sizes), tuple(zeros), tuple(outputs), tuple(names), ends)
    return _with_decided_outputs(network, programs)


def _with_decided_outputs(network: Network, programs: Sequence[IntProgram]) -> Network:
    """An identity after every output that no sum decides, so that a property always speaks of accumulators."""
    layers, sizes, zeros = list(network.layers), list(network.sizes), list(network.zeros)
    outputs, names = list(network.outputs), list(network.names)
    for at, (tensor, program) in enumerate(zip(network.outputs, programs, strict=True)):
        if elements(network, tensor)[0] >= 0:
            continue
        spec = program.tensors[program.outputs[0]]
        size, zero = sizes[tensor], spec.affine.zero_point
        identity = Gathered(np.arange(size)[:, None], np.ones((size, 1)), size)
        unit = Requantize(np.array([2], np.int32), np.array([1], np.int32))
        steps = of_requantize(unit, np.zeros(size, np.int64), zero, spec.range)
        layers.append(Sums((tensor,), len(sizes), (identity,), np.zeros(size), steps))
        outputs[at] = len(sizes)
        sizes.append(size)
        zeros.append(zero)
        names.append("")
    return replace(
        network,
        layers=tuple(layers),
        sizes=tuple(sizes),
        zeros=tuple(zeros),
        outputs=tuple(outputs),
        names=tuple(names),
    )


def _layer(program: IntProgram, node: Node, inputs: tuple[int, ...], output: int) -> Operation:
    specs, y = program.specs(node), program.tensors[node.output]
    match node.op:
        case ops.Products() | ops.AvgPool() | ops.GlobalAvgPool():
            return _summed(node.op, specs[0], y, (inputs, output))
        case ops.Concat():
            return _concat(node.op, specs, y, (inputs, output))
        case ops.Add():
            return _add(program, node, inputs, output)
        case ops.Mul():
            return Products(inputs, output, Law(program, node))
        case ops.Lookup():
            return _lookups(node.op.table[None], specs[0], y, (inputs, output))
        case ops.ChannelLookup():
            return _lookups(node.op.tables, specs[0], y, (inputs, output))
        case ops.MaxPool():
            index = per_channel(positions(specs[0].shape[:2], node.op.window), specs[0].channels)
            return Maxima(inputs, output, index, y.range.lo - y.affine.zero_point)
        case ops.Resize(mode="bilinear"):
            return _resize(node.op, specs[0], y, (inputs, output))
        case ops.Resize(mode="nearest") | ops.Reshape() | ops.Slice() | ops.Pad() | ops.DepthToSpace():
            return Moves(inputs, output, _move_index(node, specs[0], y))
        case ops.Transpose() | ops.Gather():
            return Moves(inputs, output, _move_index(node, specs[0], y))
        case ops.Resize(mode=mode):
            raise UnsupportedOp(f"{node.name}: robustness knows no relation for a Resize of mode {mode}")
    raise UnsupportedOp(f"{node.name}: robustness knows no relation for {type(node.op).__name__}")


def _lookups(tables: NDArray[np.uint8], x: TensorSpec, y: TensorSpec, ends: tuple[tuple[int, ...], int]) -> Lookups:
    values = tables[:, x.range.lo : x.range.hi + 1].astype(np.int64) - y.affine.zero_point
    size = flat_size(y.shape)
    classes = np.tile(np.arange(len(tables)), size // len(tables))  # channels are the innermost axis
    return Lookups(*ends, Table(values, classes, x.range.lo - x.affine.zero_point))


def _summed(
    op: ops.Products | ops.AvgPool | ops.GlobalAvgPool,
    x: TensorSpec,
    y: TensorSpec,
    ends: tuple[tuple[int, ...], int],
) -> Sums:
    size = flat_size(y.shape)
    bias = np.zeros(size)
    classes = np.zeros(size, np.int64)
    zero_point = y.affine.zero_point
    match op:
        case ops.Linear():
            linear: LinearMap = Dense(op.weight.astype(np.float64))
            bias, classes = op.bias.astype(np.float64), np.arange(size)
        case ops.Conv2d():
            linear = _convolution(op, x)
            bias = np.tile(op.bias.astype(np.float64), size // y.channels)
            classes = np.tile(np.arange(y.channels), size // y.channels)
        case ops.GlobalAvgPool():
            index = np.arange(flat_size(x.shape)).reshape(-1, x.channels).T
            linear = compact(Gathered(index, np.ones(index.shape), flat_size(x.shape)))
        case ops.AvgPool():
            index = per_channel(positions(x.shape[:2], op.window), x.channels)
            linear = compact(Gathered(index, (index >= 0).astype(np.float64), flat_size(x.shape)))
            inside = (index >= 0).sum(axis=1)
            classes = (index.shape[1] if op.count_include_pad else inside) - 1 + classes
            if op.origin is not None:
                bias, zero_point = inside * float(x.affine.zero_point - op.origin), op.origin
        case _:
            raise UnsupportedOp(f"robustness knows no linear map for {type(op).__name__}")
    requantize = multipliers_of(op, y.name) if isinstance(op, ops.Products) else op.requantize
    steps = of_requantize(requantize, classes, zero_point, y.range)
    return Sums(*ends, (linear,), bias, replace(steps, low=y.range.lo - y.affine.zero_point))


def _convolution(op: ops.Conv2d, x: TensorSpec) -> LinearMap:
    size: tuple[int, int] = x.shape[:2]  # type: ignore[assignment]
    places = positions(size, op.window)
    small = len(places) * op.weight.shape[0] * flat_size(x.shape) <= 1 << 19
    if op.groups == 1 and not small:
        return Convolved(op.weight.astype(np.float64), size, op.window)
    return compact(Gathered(*grouped(places, op.weight, op.groups), flat_size(x.shape)))


def _concat(op: ops.Concat, specs: Sequence[TensorSpec], y: TensorSpec, ends: tuple[tuple[int, ...], int]) -> Sums:
    size, start, maps = flat_size(y.shape), 0, []
    classes = np.zeros(y.shape, np.int64)
    for at, spec in enumerate(specs):
        index = np.full(y.shape, OUTSIDE, np.int64)
        index[..., start : start + spec.channels] = np.arange(flat_size(spec.shape)).reshape(spec.shape)
        classes[..., start : start + spec.channels] = at
        start += spec.channels
        rows = index.reshape(size, 1)
        maps.append(Gathered(rows, (rows >= 0).astype(np.float64), flat_size(spec.shape)))
    steps = of_requantize(op.requantize, classes.ravel(), y.affine.zero_point, y.range)
    return Sums(*ends, tuple(maps), np.zeros(size), steps)


def _add(program: IntProgram, node: Node, inputs: tuple[int, ...], output: int) -> Operation:
    """Fixed point is exact. A float32 sum is off by at most three roundings: that widens every threshold."""
    specs, y = program.specs(node), program.tensors[node.output]
    op = node.op
    assert isinstance(op, ops.Add)
    size, zero = flat_size(y.shape), y.affine.zero_point
    clamp, classes = (y.range.lo - zero, y.range.hi - zero), np.zeros(size, np.int64)
    rows, law = np.arange(size)[:, None], None
    if op.requantize.shift is not None:
        factors = [int(value) for value in op.requantize.multiplier]
        steps = of_shift(int(op.requantize.shift[0]), classes, clamp)
    else:
        factors, steps = _rounded_sum(op.requantize, specs, (clamp, classes))
        law = Law(program, node)
    if steps is None:
        return Products(inputs, output, Law(program, node))
    maps = tuple(Gathered(rows, np.full((size, 1), float(factor)), size) for factor in factors)
    return Sums(inputs, output, maps, np.zeros(size), steps, law)


def _rounded_sum(
    requantize: Requantize, specs: Sequence[TensorSpec], target: tuple[tuple[int, int], Ints]
) -> tuple[list[int], Staircase | None]:
    """Integers in place of two float32 multipliers, and the thresholds that hold whatever was rounded.

    2**shift * m_i is rounded to an integer (off by 1/2 at most, times an operand of at most 255), and the float32 sum
    is off by at most 3 * 2**-24 of abs(m_a a) + abs(m_b b).
    """
    multipliers = [float(value) for value in requantize.multiplier]
    shift = SUM_BITS - math.frexp(max(multipliers))[1]
    if not 1 <= shift <= 60:
        return [], None
    factors = [round(value * 2.0**shift) for value in multipliers]
    reach = [max(spec.affine.zero_point - spec.range.lo, spec.range.hi - spec.affine.zero_point) for spec in specs]
    size = sum((factor + 1) * extent for factor, extent in zip(factors, reach, strict=True))
    width = sum(reach) // 2 + 2 + (3 * size >> 24) + 1
    return factors, of_shift(shift, target[1], target[0], width)


def _resize(op: ops.Resize, x: TensorSpec, y: TensorSpec, ends: tuple[tuple[int, ...], int]) -> Sums:
    """Four taps whose weights sum to 2**22."""
    height, width, channels = x.shape
    axes = [bilinear_axis(size, count) for size, count in ((height, op.height), (width, op.width))]
    full = 1 << WEIGHT_BITS
    (row_first, row_second, row_weight), (column_first, column_second, column_weight) = axes
    places, factors = [], []
    for row, down in ((row_first, full - row_weight), (row_second, row_weight)):
        for column, across in ((column_first, full - column_weight), (column_second, column_weight)):
            places.append((row[:, None] * width + column[None, :]).ravel())
            factors.append((down[:, None] * across[None, :]).ravel())
    index = per_channel(np.stack(places, 1), channels)
    weight = np.repeat(np.stack(factors, 1), channels, axis=0).astype(np.float64)
    size, zero = flat_size(y.shape), y.affine.zero_point
    clamp = (y.range.lo - zero, y.range.hi - zero)
    steps = of_shift(2 * WEIGHT_BITS, np.zeros(size, np.int64), clamp)
    return Sums(*ends, (compact(Gathered(index, weight, flat_size(x.shape))),), np.zeros(size), steps)


def _move_index(node: Node, x: TensorSpec, y: TensorSpec) -> Ints:
    """Which input element each output element is: the law run on the digits of every element's index."""
    count = flat_size(x.shape)
    index = np.zeros(flat_size(y.shape), np.int64)
    inside = _digit(node, x, y, np.ones(count, np.int64)) > 0
    for place in range(0, max(count - 1, 1).bit_length(), 7):
        index += _digit(node, x, y, np.arange(count) >> place & 127) << place
    return np.where(inside, index, OUTSIDE)


def _digit(node: Node, x: TensorSpec, y: TensorSpec, digits: NDArray[np.int64]) -> Ints:
    plain = [
        replace(spec, affine=replace(spec.affine, zero_point=0), range=type(spec.range)(0, 255)) for spec in (x, y)
    ]
    image = digits.astype(np.uint8).reshape(1, *x.shape)
    return compute(node, [image], plain[:1], plain[1])[0].reshape(-1).astype(np.int64)
