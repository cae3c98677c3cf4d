"""Operators that sum no products, natively, against the reference; whole programs on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaq import operators as ops
from oaq.kernels.plan import plan
from oaq.kernels.table import cpu_isas
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.program.int_program import IntProgram
from oaq.reference import run
from tests.native.machine import ROWS, check, compare
from tests.single import single
from tests.strategies import OPERATORS, Builder, programs_with_inputs

Case = tuple[IntProgram, tuple[np.ndarray, ...]]


@pytest.mark.parametrize("operator", OPERATORS)
def test_each_operator_whatever_is_drawn(operator: str) -> None:
    @settings(max_examples=50, deadline=None)
    @given(programs_with_inputs((operator,), max_channels=40), st.integers(1, 3))
    def run(case: Case, threads: int) -> None:
        compare(plan(case[0]), case[1], threads)

    run()


@pytest.mark.parametrize("isa", cpu_isas())
def test_whole_programs_on_every_instruction_set(isa: str) -> None:
    @settings(max_examples=60, deadline=None)
    @given(programs_with_inputs(max_nodes=8, max_channels=20), st.integers(1, 3))
    def run(case: Case, threads: int) -> None:
        compare(plan(case[0], isa), case[1], threads)

    run()


ADD_ROWS = [name for name, row in ROWS.items() if row.family == "add"]


BEYOND_S32 = ((5e6, 5e6), (2.0**31, 1.0), (2.0**119, 2.0**119))
"""Sums that leave s32 before they are clamped: the vector code must not be asked for them."""


@pytest.mark.parametrize("row", ADD_ROWS)
@pytest.mark.parametrize("zero_points", [(0, 0), (255, 255), (128, 3)])
@pytest.mark.parametrize(
    "factors", [(1.0, 1.0), (0.5, 0.5), (1e-6, 300.0), (2.0**21, 2.0**21), (3e6, 3e6), *BEYOND_S32]
)
def test_every_pair_of_integers_added(row: str, zero_points: tuple[int, int], factors: tuple[float, float]) -> None:
    builder = Builder("add")
    a = builder.input((256, 256, 1), Affine(0.05, zero_points[0]))
    b = builder.input((256, 256, 1), Affine(0.05, zero_points[1]))
    op = ops.Add(Requantize(np.array(factors, np.float32)))
    builder.add(op, [a, b], Affine(0.05, 100), IntRange(7, 240))
    every = np.arange(256, dtype=np.uint8)
    left = np.broadcast_to(every[:, None, None], (256, 256, 1))[None]
    right = np.broadcast_to(every[None, :, None], (256, 256, 1))[None]
    check(builder.finish(), (np.ascontiguousarray(left), np.ascontiguousarray(right)), row)


def test_requantization_at_the_ends_of_s32() -> None:
    builder = Builder("ends")
    x = builder.input((40,), Affine(0.05, 0))
    bias = np.array([2**31 - 1 - 255 * 40, -(2**31) + 255 * 40, 2**24 + 1, -(2**24) - 1] * 10, np.int32)
    weight = np.eye(40, dtype=np.int8)
    for scale in (1e-9, np.nextafter(np.float32(1), np.float32(0)), 1.0, 1e30):
        op = ops.Linear(weight, bias, Requantize(np.full(40, scale, np.float32)))
        builder.add(op, [x], Affine(0.05, 90), IntRange(10, 200))
    program = builder.finish()
    for isa in cpu_isas():
        compare(plan(program, isa), (np.array([[0] * 40, [255] * 40], np.uint8),))


@pytest.mark.parametrize("lo", [0, 1, 55, 255])
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (3, 1), (2, 4)])
def test_a_max_pool_window_without_input_gives_the_least_of_its_tensor(size: tuple[int, int], lo: int) -> None:
    empty = 0
    for kernel, dilation in ((2, 2), (2, 3), (3, 3), (2, 5)):
        if min(size) + 2 < (kernel - 1) * dilation + 1:
            continue
        builder = Builder("pool")
        x = builder.input((*size, 37), Affine(1.0, lo), IntRange(lo, 255))
        y = builder.add(ops.MaxPool((kernel, kernel), (1, 1), (1,) * 4, (dilation, dilation)), [x])
        program = builder.finish()
        image = np.full((1, *size, 37), 255, np.uint8)
        compare(plan(program), (image,), 2)
        empty += int((run(program, [image]).outputs[0] == lo).any() and lo < 255)
        assert program.outputs == (y,)
    assert empty or lo == 255


@pytest.mark.parametrize("shift", [1, 2, 8, 22])
@pytest.mark.parametrize("zero_point", [0, 100, 255])
def test_fixed_point_ties_are_rounded_up_for_either_sign(shift: int, zero_point: int) -> None:
    """Every x times an odd multiple of half a step: each odd difference is an exact tie."""
    half = 1 << (shift - 1)
    builder = Builder("ties", semantics="fixed_point")
    x = builder.input((16, 16, 1), Affine(1.0, 128))
    rule = Requantize(np.array([half], np.int32), np.array([shift], np.int32))
    pair = Requantize(np.array([half, 2 * half], np.int32), np.array([shift, shift], np.int32))
    layer = ops.Conv2d(np.ones((1, 1, 1, 1), np.int8), np.zeros(1, np.int32), rule)
    for op, inputs in (
        (layer, [x]),
        (ops.Add(pair), [x, x]),
        (ops.Concat(rule), [x]),
        (ops.GlobalAvgPool(rule), [x]),
        (ops.AvgPool((1, 1), (1, 1), rule), [x]),
    ):
        builder.add(op, inputs, Affine(1.0, zero_point))
    program = builder.finish()
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    for isa in cpu_isas():
        compare(plan(program, isa), (image,))


INDICES = {
    "every channel": range(70),
    "every other": range(0, 70, 2),
    "every other, from the second": range(1, 70, 2),
    "every fourth": range(3, 70, 4),
    "backwards": range(69, -1, -1),
    "every third": range(0, 70, 3),
    "one": [69],
    "one, again and again": [5] * 40,
    "any": [0, 2, 4, 6, 69, 68, 1, 1],
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
@pytest.mark.parametrize(("axis", "shape"), [(0, (5, 7, 70)), (2, (3, 70, 4)), (1, (70, 2, 1))])
@pytest.mark.parametrize("threads", [1, 3])
def test_entries_are_picked_by_any_index(index: list[int], axis: int, shape: tuple[int, ...], threads: int) -> None:
    program = single(ops.Gather(axis, np.array(index, np.int32)), (shape,))
    x = np.random.default_rng(5).integers(0, 256, (2, *shape)).astype(np.uint8)
    for isa in cpu_isas():
        compare(plan(program, isa), (x,), threads)
