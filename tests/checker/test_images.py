"""Every operator's image, by trying every input: analyzer and checker hold it and, but for sums, nothing more."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest

from oaq import operators as ops
from oaq.checker.program import parse
from oaq.checker.ranges import Range, after_requantize, image
from oaq.checker.sums import derive, summing_layer
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import ChannelRanges, IntRange
from oaq.numerics.requantize import SEMANTICS, Requantize, Semantics
from oaq.overflow.analyze import output_ranges, prove_sums
from oaq.program.int_program import IntProgram
from oaq.program.plain import to_plain
from oaq.reference import compute
from tests.strategies import Builder

Ends = tuple[tuple[int, int], ...]
"""Least and most of every channel."""
PLACES = ((40, (0, 255)), (5, (5, 60)), (255, (200, 255)), (0, (0, 3)))
"""Zero points and effective ranges of results."""


def by(semantics: Semantics, *ratios: float) -> Requantize:
    """Multipliers of one shift; halves are exact, so that ties occur."""
    if semantics == "float32_half_even":
        return Requantize(np.array(ratios, np.float32))
    return Requantize(np.array([round(r * 2**20) for r in ratios], np.int32), np.full(len(ratios), 20, np.int32))


def every_input(shapes: list[tuple[int, ...]], ends: list[Ends]) -> list[np.ndarray]:
    """All combinations of integers of all inputs: one array (batch, ...) per input."""
    values = [
        range(low, high + 1)
        for shape, channels in zip(shapes, ends, strict=True)
        for _ in range(int(np.prod(shape[:-1])))
        for low, high in channels
    ]
    table = np.array(list(product(*values)), np.uint8)
    sizes = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    return [part.reshape(-1, *shape) for part, shape in zip(np.split(table, sizes, axis=1), shapes, strict=True)]


def compare(program: IntProgram, ends: list[Ends], *, tight: bool = True) -> None:
    """Ranges of the last node's result: enumerated, analyzed, checked."""
    node = program.nodes[-1]
    specs, y = program.specs(node), program.tensors[node.output]
    result = compute(node, every_input([spec.shape for spec in specs], ends), specs, y)[0]
    result = result.reshape(-1, y.shape[-1])
    reached = np.stack([result.min(axis=0), result.max(axis=0)]).astype(np.int64)

    inputs = [ChannelRanges(*np.array(channels).T) for channels in ends]
    plain = parse(*to_plain(program))
    checked, tensors = plain.nodes[-1], [plain.tensors[name] for name in plain.nodes[-1].inputs]
    ours = [Range(*np.array(channels, np.int64).T) for channels in ends]
    target = plain.tensors[checked.output]
    if isinstance(node.op, ops.Products):
        sums = prove_sums(node, inputs[0], specs[0], 1).total
        analyzed = node.products.requantize.image(sums, y.affine.zero_point, y.range)
        total = derive(summing_layer(checked, ours[0], tensors[0], target)).total
        count = len(total)
        derived = after_requantize(Range(total[:, 0], total[:, 1]), checked, target, np.arange(count), count)
    else:
        analyzed = output_ranges(node, inputs, specs, y)
        derived = image(checked, ours, tensors, target)
    assert np.array_equal(analyzed.lo, derived.lo) and np.array_equal(analyzed.hi, derived.hi), node.op
    assert np.all(analyzed.lo <= reached[0]) and np.all(reached[1] <= analyzed.hi), (node.op, reached, analyzed)
    if tight:
        assert np.array_equal(analyzed.lo, reached[0]) and np.array_equal(analyzed.hi, reached[1]), (node.op, reached)


def single(
    op: ops.Op, shape: tuple[int, ...], zero: int, target: tuple[int, tuple[int, int]], rule: Semantics
) -> IntProgram:
    """One operator of one input."""
    builder = Builder(semantics=rule)
    x = builder.input(shape, Affine(1.0, zero))
    if ops.rules_of(op).same_affine:
        builder.add(op, [x], Affine(1.0, zero), IntRange(0, 255))
    else:
        builder.add(op, [x], Affine(1.0, target[0]), IntRange(*target[1]))
    return builder.finish()


TWO: Ends = ((40, 42), (90, 91))


@pytest.mark.parametrize("rule", SEMANTICS)
@pytest.mark.parametrize("target", PLACES)
@pytest.mark.parametrize("zeros", [(0, 0), (41, 90), (255, 3), (40, 255)])
def test_sums_products_and_joins(rule: Semantics, target: tuple[int, tuple[int, int]], zeros: tuple[int, int]) -> None:
    for ratios in ((0.5, 0.5), (1.5, 0.25), (1e-6, 100.0), (2.0**10, 2.0**10)):
        for op in (ops.Add(by(rule, *ratios)), ops.Mul(by(rule, ratios[0])), ops.Concat(by(rule, *ratios))):
            for shape in ((2,), (1, 1, 2)):
                builder = Builder(semantics=rule)
                inputs = [builder.input(shape, Affine(1.0, zero)) for zero in zeros]
                builder.add(op, inputs, Affine(1.0, target[0]), IntRange(*target[1]))
                compare(builder.finish(), [TWO, ((88, 91), (0, 2))])
    builder = Builder(semantics=rule)
    inputs = [builder.input(shape, Affine(1.0, zero)) for shape, zero in zip(((1, 2, 2), (2,)), zeros, strict=True)]
    builder.add(ops.Mul(by(rule, 0.5)), inputs, Affine(1.0, target[0]), IntRange(*target[1]))
    compare(builder.finish(), [TWO, ((88, 91), (0, 2))])


def windows(size: int) -> Iterator[tuple[int, int, tuple[int, int], int]]:
    """Kernel, stride, padding and dilation along one axis, wherever a window fits."""
    for kernel, stride, dilation in product((1, 2, 3), (1, 2, 3), (1, 2, 3)):
        for before, after in product(range(kernel), repeat=2):
            if size + before + after > (kernel - 1) * dilation:
                yield kernel, stride, (before, after), dilation


@pytest.mark.parametrize("rule", SEMANTICS)
@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("zero", [0, 41, 255])
def test_averages_over_every_window(rule: Semantics, include: bool, zero: int) -> None:
    """Partial windows sum fewer inputs: with a zero point outside, their mean lies beyond that of full ones."""
    for size in (1, 2, 3):
        for kernel, stride, (before, after), dilation in windows(size):
            if dilation > 1:
                continue
            for across, target in (((1, 1, 0, 0), PLACES[0]), ((2, 1, 1, 0), PLACES[1])):
                count = np.arange(1, kernel * across[0] + 1)
                op = ops.AvgPool(
                    (kernel, across[0]),
                    (stride, across[1]),
                    by(rule, *(0.5 / count)),
                    (before, after, *across[2:]),
                    include,
                )
                compare(single(op, (size, 1, 2), zero, target, rule), [TWO])
    compare(single(ops.GlobalAvgPool(by(rule, 0.5)), (2, 1, 2), zero, PLACES[0], rule), [TWO])


@pytest.mark.parametrize("zero", [0, 41, 255])
def test_maxima_over_every_window(zero: int) -> None:
    for size in (1, 2, 3):
        for kernel, stride, (before, after), dilation in windows(size):
            op = ops.MaxPool((kernel, 1), (stride, 1), (before, after, 0, 0), (dilation, 1))
            compare(single(op, (size, 1, 2), zero, PLACES[0], "float32_half_even"), [TWO])


MOVES = (
    *(
        ops.Resize(height, width, mode)
        for height, width in ((1, 1), (3, 1), (5, 4))
        for mode in ("nearest", "bilinear", "bilinear_corners")
    ),
    *(ops.Pad(padding) for padding in ((0, 0, 0, 0), (1, 0, 0, 0), (0, 0, 0, 2))),
    *(ops.Reshape(shape) for shape in ((4,), (1, 2, 2), (2, 2, 1), (1, 1, 4), (1, 4, 1))),
    *(ops.Slice(begin, end) for begin, end in (((0, 0, 0), (2, 1, 1)), ((1, 0, 1), (2, 1, 2)))),
    ops.ChannelLookup((np.arange(512) * 37 % 256).reshape(2, 256).astype(np.uint8)),
    *(ops.Transpose.joining((2, 2), (1, 0), shape) for shape in ((4,), (2, 1, 2), (1, 1, 4), (4, 1))),
    ops.Lookup((np.arange(256) * 37 % 256).astype(np.uint8)),
)


@pytest.mark.parametrize("zero", [0, 41, 255])
def test_moves(zero: int) -> None:
    for op in MOVES:
        compare(single(op, (2, 1, 2), zero, PLACES[0], "float32_half_even"), [TWO], tight=True)
    for mode in ("DCR", "CRD"):
        ends = ((1, 2), (9, 9), (30, 32), (0, 1), (7, 8), (255, 255), (4, 4), (100, 101))
        compare(single(ops.DepthToSpace(2, mode), (1, 1, 8), zero, PLACES[0], "float32_half_even"), [ends])


@pytest.mark.parametrize("rule", SEMANTICS)
@pytest.mark.parametrize("zero", [0, 41, 255])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_over_every_window(rule: Semantics, zero: int, groups: int) -> None:
    """Sound always; tight where nothing is padded, since then one position meets every operand freely."""
    ends: Ends = ((40, 41), (90, 91))
    for size in (1, 2):
        for kernel, stride, (before, after), dilation in windows(size):
            for weights in ((-128, 127, 3, -1, 50, -50), (255, -255, 129, -200, 1, 0)):
                weight = np.resize(np.array(weights, np.int16), (2, kernel, 1, 2 // groups))
                op = ops.Conv2d(
                    weight, np.array([7, -9], np.int32), by(rule, 0.5, 2**-9), (stride, 1), (before, after, 0, 0),
                    (dilation, 1), groups,
                )  # fmt: skip
                for target in PLACES[:2]:
                    program = single(op, (size, 1, 2), zero, target, rule)
                    compare(program, [ends], tight=not before and not after)
    op = ops.Linear(np.array([[255, -255], [3, 1]], np.int16), np.array([7, -9], np.int32), by(rule, 0.5, 1.5))
    compare(single(op, (2,), zero, PLACES[0], rule), [TWO])
