"""Requantization by vectors, on every instruction set, against the law: multipliers, shifts and sums at their ends."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from oaq import operators as ops
from oaq.kernels.plan import plan
from oaq.kernels.table import cpu_isas
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.program.int_program import IntProgram
from tests.native.machine import compare
from tests.strategies import Builder

MOST, LEAST = 2**31 - 1, -(2**31)
SUMS = (MOST - 255, LEAST + 255, MOST - 256, LEAST + 300, 2**24 + 1, -(2**24) - 1, 32768, -32769, 256, 1, 0, -1, -255)
"""Biases: an input of 0 to 255 is added to each, and none leaves s32."""
MULTIPLIERS = (1, 2, 3, 2**30, 2**30 + 1, 2**31 - 1)
SHIFTS = (1, 2, 15, 30, 31, 32, 33, 47, 61, 62)
ENDS = ((0, (0, 255)), (255, (0, 255)), (128, (128, 128)), (1, (0, 1)), (200, (17, 254)))
"""Zero points and clamps of outputs."""


def sums_as_biases(rule: Requantize, zero_point: int, clamp: tuple[int, int]) -> IntProgram:
    """A layer whose outputs are biases plus the only input: every sum by every numbers of ``rule``."""
    builder = Builder("sums", semantics=rule.semantics)
    x = builder.input((1,), Affine(1.0, 0))
    bias = np.tile(np.array(SUMS, np.int32), -(-len(rule) // len(SUMS)))[: len(rule)]
    layer = ops.Linear(np.ones((len(rule), 1), np.int8), bias, rule)
    builder.add(layer, [x], Affine(1.0, zero_point), IntRange(*clamp))
    return builder.finish()


def check_everywhere(program: IntProgram) -> None:
    x = np.array([[0], [255], [1], [128]], np.uint8)
    for isa in cpu_isas():
        compare(plan(program, isa), (x,))


def fixed(numbers: list[tuple[int, ...]], then: int | None) -> Requantize:
    multiplier, shift = (np.array([entry[i] for entry in numbers], np.int32) for i in (1, 2))
    return Requantize(multiplier, shift, None if then is None else np.full(len(numbers), then, np.int32))


@pytest.mark.parametrize("then", [None, 0, 1, 7, 31])
@pytest.mark.parametrize("shifts", [SHIFTS, SHIFTS[4:]], ids=["all shifts", "results that fit 32 bits"])
@pytest.mark.parametrize(("zero_point", "clamp"), ENDS)
def test_fixed_point_by_the_numbers_of_each_output(
    then: int | None, shifts: tuple[int, ...], zero_point: int, clamp: tuple[int, int]
) -> None:
    numbers = list(product(SUMS, MULTIPLIERS, shifts))
    rng = np.random.default_rng(5)
    rng.shuffle(numbers)
    check_everywhere(sums_as_biases(fixed(numbers, then), zero_point, clamp))


@pytest.mark.parametrize("then", [None, 3])
@pytest.mark.parametrize("multiplier", MULTIPLIERS)
@pytest.mark.parametrize("shift", SHIFTS)
def test_fixed_point_by_the_same_numbers_for_all(then: int | None, multiplier: int, shift: int) -> None:
    numbers = [(0, multiplier, shift)] * 71
    check_everywhere(sums_as_biases(fixed(numbers, then), 100, (3, 250)))


@pytest.mark.parametrize(("zero_point", "clamp"), ENDS)
@pytest.mark.parametrize("count", [1, 31, 33, 63, 65, 130])
def test_floats_of_which_some_are_one_or_more(count: int, zero_point: int, clamp: tuple[int, int]) -> None:
    """Such a layer leaves s32 sums, which are requantized like fixed point."""
    scales = np.resize(np.array([1.0, 2.0**-31, 1e30, 0.5, 1.5, 2.0**-20, 3e38, 1e-38], np.float32), count)
    check_everywhere(sums_as_biases(Requantize(scales), zero_point, clamp))
