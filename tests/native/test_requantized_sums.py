"""Requantization by vectors, on every instruction set, against the law: multipliers, shifts and sums at their ends."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from oaq.kernels.plan import plan
from oaq.kernels.table import cpu_isas
from oaq.numerics.requantize import Requantize
from oaq.program.int_program import IntProgram
from tests.native.machine import compare
from tests.requantized import ENDS, MULTIPLIERS, SHIFTS, SUMS, fixed, sums_as_biases


def check_everywhere(program: IntProgram) -> None:
    x = np.array([[0], [255], [1], [128]], np.uint8)
    for isa in cpu_isas():
        compare(plan(program, isa), (x,))


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
