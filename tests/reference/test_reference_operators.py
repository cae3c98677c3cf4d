"""Every operator of the reference against a brute-force loop over Python integers."""

from __future__ import annotations

import itertools
import struct
from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
from hypothesis import given, settings

from oaq import operators as ops
from oaq.numerics.matmul import matmul
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators.resize import bilinear_axis, corner_axis
from oaq.program.int_program import IntProgram, Node
from oaq.reference import run
from tests.strategies import OPERATORS, programs_with_inputs


def float32(value: float) -> float:
    """Round a float64 to float32 by way of the bytes, not of NumPy."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def half_even(value: float) -> int:
    """Nearest integer of a finite float, ties to even, by exact fractions."""
    return round(Fraction(value))


def requantize(rule: Requantize, index: int, acc: int, zero: int, clamp: IntRange) -> int:
    """The two formulas of ``numerics.requantize`` on Python numbers."""
    if rule.shift is None:  # a product of two float32 is a float64 exactly, so rounding it once more is the only one
        return clamp.clamp(half_even(float32(float32(acc) * float(rule.multiplier[index]))) + zero)
    shift = int(rule.shift[index])
    return clamp.clamp(((acc * int(rule.multiplier[index]) + (1 << (shift - 1))) >> shift) + zero)


def by_hand(program: IntProgram, node: Node, inputs: list[np.ndarray], index: tuple[int, ...]) -> int:
    """One integer of one sample of a node's result."""
    specs, y = program.specs(node), program.tensors[node.output]
    op, x, zx = node.op, inputs[0], specs[0].affine.zero_point
    zy, clamp = y.affine.zero_point, y.range

    def at(row: int, column: int, channel: int) -> int | None:
        inside = 0 <= row < x.shape[0] and 0 <= column < x.shape[1]
        return int(x[row, column, channel]) if inside else None

    def window(op: ops.Conv2d | ops.MaxPool | ops.AvgPool, channel: int) -> list[tuple[int, int, int | None]]:
        down, across = getattr(op, "dilation", (1, 1))
        top, _, left, _ = op.padding
        return [
            (
                i,
                j,
                at(index[0] * op.stride[0] + i * down - top, index[1] * op.stride[1] + j * across - left, channel),
            )
            for i in range(op.kernel[0])
            for j in range(op.kernel[1])
        ]

    match op:
        case ops.Conv2d():
            n = index[2]
            per_group = op.weight.shape[3]
            base = n // (op.weight.shape[0] // op.groups) * per_group
            acc = int(op.bias[n])
            for c in range(per_group):
                for i, j, value in window(op, base + c):
                    acc += int(op.weight[n, i, j, c]) * ((zx if value is None else value) - zx)
            return requantize(op.requantize, n, acc, zy, clamp)
        case ops.Linear():
            n = index[0]
            acc = int(op.bias[n]) + sum(int(w) * (int(v) - zx) for w, v in zip(op.weight[n], x, strict=True))
            return requantize(op.requantize, n, acc, zy, clamp)
        case ops.Add():
            a, b = int(x[index]) - zx, int(inputs[1][index]) - specs[1].affine.zero_point
            first, second = op.requantize.multiplier
            if op.requantize.shift is None:
                total = float32(float32(a * float(first)) + float32(b * float(second)))
                return clamp.clamp(half_even(total) + zy)
            shift = int(op.requantize.shift[0])
            return clamp.clamp(((a * int(first) + b * int(second) + (1 << (shift - 1))) >> shift) + zy)
        case ops.Mul():
            other = inputs[1] if inputs[1].shape == x.shape else np.broadcast_to(inputs[1].reshape(-1), x.shape)
            acc = (int(x[index]) - zx) * (int(other[index]) - specs[1].affine.zero_point)
            return requantize(op.requantize, 0, acc, zy, clamp)
        case ops.Concat():
            channel = index[-1]
            for part, (array, spec) in enumerate(zip(inputs, specs, strict=True)):
                if channel < array.shape[-1]:
                    acc = int(array[(*index[:-1], channel)]) - spec.affine.zero_point
                    return requantize(op.requantize, part, acc, zy, clamp)
                channel -= array.shape[-1]
        case ops.MaxPool():
            return clamp.clamp(max((v for _, _, v in window(op, index[2]) if v is not None), default=-1))
        case ops.AvgPool():
            seen = [v for _, _, v in window(op, index[2])]
            before, after = (zx, zy) if op.origin is None else (op.origin, op.origin)
            inside = [v - before for v in seen if v is not None]
            count = len(seen) if op.count_include_pad else len(inside)
            return requantize(op.requantize, count - 1, sum(inside), after, clamp)
        case ops.GlobalAvgPool():
            return requantize(op.requantize, 0, int((x[:, :, index[2]].astype(object) - zx).sum()), zy, clamp)
        case ops.Resize():
            return resized(op, x, index)
        case ops.DepthToSpace():
            b, channels = op.block, x.shape[2] // op.block**2
            i, j = index[0] % b, index[1] % b
            channel = (i * b + j) * channels + index[2] if op.mode == "DCR" else (index[2] * b + i) * b + j
            return int(x[index[0] // b, index[1] // b, channel])
        case ops.Transpose():
            place = np.unravel_index(np.ravel_multi_index(index, op.shape), [op.split[at] for at in op.order])
            return int(
                x.ravel()[np.ravel_multi_index([place[op.order.index(at)] for at in range(len(place))], op.split)]
            )
        case ops.Gather():
            place = len(index) - 1 if op.axis == 0 else op.axis - 1
            return int(x[(*index[:place], int(op.index[index[place]]), *index[place + 1 :])])
        case ops.Coarsen():
            return clamp.clamp(thinned(op, index[-1], [int(v) for v in x[..., index[-1]].ravel()], int(x[index]), zx))
        case ops.ChannelLookup():
            return int(op.tables[index[-1]][x[index]])
        case ops.Lookup():
            return int(op.table[x[index]])
        case ops.Reshape():
            return int(x.ravel()[np.ravel_multi_index(index, op.shape)])
        case ops.Pad():
            value = at(index[0] - op.padding[0], index[1] - op.padding[2], index[2])
            return zx if value is None else value
        case ops.Slice():
            return int(x[tuple(b + i for b, i in zip(op.begin, index, strict=True))])
    raise AssertionError(type(op))


def thinned(op: ops.Coarsen, channel: int, values: list[int], value: int, zero: int) -> int:
    """One integer of a channel by its statistics, as docs/math/daq.md has them."""
    top, factor = 2 ** int(op.bits[channel]) - 1, int(op.factors[channel])
    rectified, limit = bool(op.rectified[channel]), int(op.limits[channel])
    counted = [v - zero for v in values if v > zero] + [0] if rectified else values
    count, total = len(counted), sum(counted)
    root = isqrt(4 * factor**2 * sum((count * v - total) ** 2 for v in counted) // count)
    step = (root + 1000 * count) // (2000 * count)
    if rectified:
        step = max(step, -(-(2 * factor * total + root) // (2 * factor * count * top)))
    step = min(max(step, 1), limit)
    first = zero - step // 2 if rectified else (2 * total + count) // (2 * count) - (top + 1) // 2 * step
    return first + step * min(max((value - first) // step, 0), top) + step // 2


def resized(op: ops.Resize, x: np.ndarray, index: tuple[int, ...]) -> int:
    """Resize at one position, coordinates as exact fractions."""
    sizes = ((x.shape[0], op.height, index[0]), (x.shape[1], op.width, index[1]))
    if op.mode == "nearest":
        row, column = (i * size // wanted for size, wanted, i in sizes)
        return int(x[row, column, index[2]])
    axes = []
    for size, wanted, i in sizes:
        place = (Fraction(i) + Fraction(1, 2)) * Fraction(size, wanted) - Fraction(1, 2)
        if op.mode == "bilinear_corners":
            place = Fraction(i * (size - 1), max(wanted - 1, 1))
        if op.mode == "bilinear_asymmetric":
            place = Fraction(i * size, wanted)
        first = place.__floor__()
        weight = ((place - first) * 2048 + Fraction(1, 2)).__floor__()
        clamped = [min(max(j, 0), size - 1) for j in (first, first + 1)]
        axes.append(list(zip(clamped, (2048 - weight, weight), strict=True)))
    total = sum(int(x[r, c, index[2]]) * wr * wc for (r, wr), (c, wc) in itertools.product(*axes))
    return (total + (1 << 21)) >> 22


@pytest.mark.parametrize("operator", OPERATORS)
def test_reference_equals_a_loop_over_python_integers(operator: str) -> None:
    @settings(max_examples=25)
    @given(programs_with_inputs((operator,), max_nodes=2, max_side=5, max_channels=8))
    def check(case: tuple[IntProgram, tuple[np.ndarray, ...]]) -> None:
        program, inputs = case
        tensors = run(program, inputs).tensors
        for node in program.nodes:
            result = tensors[node.output]
            for sample in range(result.shape[0]):
                given_ = [tensors[name][sample] for name in node.inputs]
                for index in np.ndindex(result.shape[1:]):
                    assert int(result[(sample, *index)]) == by_hand(program, node, given_, index), (node, index)

    check()


@settings(max_examples=60)
@given(programs_with_inputs(max_nodes=6))
def test_every_tensor_stays_inside_its_declared_range_and_accumulators_requantize_to_it(
    case: tuple[IntProgram, tuple[np.ndarray, ...]],
) -> None:
    program, inputs = case
    result = run(program, inputs, accumulators=True)
    for name, value in result.tensors.items():
        spec = program.tensors[name]
        assert value.dtype == np.uint8
        assert value.shape[1:] == spec.shape
        assert spec.range.lo <= value.min()
        assert value.max() <= spec.range.hi
    for node in program.summing_nodes():
        y = program.tensors[node.output]
        acc = result.accumulators[node.name]
        assert acc.dtype == np.int32
        requantized = node.op.requantize.apply(acc, y.affine.zero_point, y.range)
        np.testing.assert_array_equal(requantized, result.tensors[node.output])


@pytest.mark.parametrize(("size", "wanted"), [(1, 5), (5, 1), (4, 8), (7, 3), (224, 320), (3, 3)])
def test_bilinear_weights_sum_to_one_and_identity_is_identity(size: int, wanted: int) -> None:
    for axis in (bilinear_axis, corner_axis):
        first, second, weight = axis(size, wanted)
        assert weight.min() >= 0
        assert weight.max() <= 2048
        assert (first >= 0).all()
        assert (second < size).all()
        if size == wanted:
            np.testing.assert_array_equal(np.where(weight == 0, first, second), np.arange(size))
    assert (first[0], weight[0]) == (0, 0)
    if wanted > 1:
        assert (first[-1], weight[-1]) == (size - 1, 0)


def test_matmul_is_exact_on_both_sides_of_the_float64_guard() -> None:
    just_below = np.array([[2**52 - 1, 1]], np.int64)
    ones = np.ones((1, 2), np.int64)
    assert matmul(just_below, ones)[0, 0] == 2**52
    beyond = np.array([[2**53, 1, 1]], np.int64)  # float64 would answer 2**53 or 2**53 + 2 by luck
    assert matmul(beyond, np.ones((1, 3), np.int64))[0, 0] == 2**53 + 2
    odd = np.array([[2**53, 1]], np.int64)
    assert matmul(odd, ones)[0, 0] == 2**53 + 1
