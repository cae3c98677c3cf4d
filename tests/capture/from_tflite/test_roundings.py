"""LiteRT's roundings against fractions, where the two can be told apart."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest

from oaq.capture.from_tflite.multipliers import quotients, requantize_sum, xnnpack_adds
from oaq.capture.from_tflite.roundings import (
    quantized_multiplier,
    rounded_by_byte,
    rounded_twice,
    rounded_up_twice,
)
from oaq.numerics.rounding import halved_away

STEPS = np.arange(-255, 256)
HALF = Fraction(1, 2)


def away(value: Fraction) -> int:
    """The nearest integer, halves away from 0."""
    return floor(abs(value) + HALF) * (-1 if value < 0 else 1)


def upward(value: Fraction) -> int:
    """The nearest integer, halves upward."""
    return floor(value + HALF)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 9, 49, 64, 100, 1 << 16])
def test_quotients_divide_every_sum_with_halves_away_from_zero(count: int) -> None:
    by = quotients(count)
    assert by.shift is not None
    multiplier, shift = int(by.multiplier[-1]), int(by.shift[-1])
    most = 255 * count
    near_halves = {k * count // 2 + move for k in range(-511, 512) for move in (-1, 0, 1)}
    every = range(-most, most + 1) if count <= 100 else sorted(near_halves)
    for total in every:
        assert (total * multiplier + (1 << (shift - 1))) >> shift == away(Fraction(total, count)), total


def test_multipliers_keep_31_bits_or_say_what_litert_does_beyond() -> None:
    for real in (1.0, 0.75, 2.0**-31, 1.0 - 2.0**-40, 3.7e-5, 1000.1, 2.0**29):
        q, exponent = quantized_multiplier(real)
        assert 1 << 30 <= q < 1 << 31
        assert abs(Fraction(q) * Fraction(2) ** (exponent - 31) - Fraction(real)) <= Fraction(2) ** (exponent - 32)
    assert quantized_multiplier(2.0**-40) == (0, 0)
    assert quantized_multiplier(2.0**40) == ((1 << 31) - 1, 30)


@pytest.mark.parametrize("real", [0.5, 0.25, 0.375, 1.0, 2.0, 2.0**-8, 1 / 3, 0.7, 0.0625])
def test_two_roundings_meet_a_fraction_first_and_then_an_integer(real: float) -> None:
    q, exponent = quantized_multiplier(real)
    right = max(-exponent, 0)
    exact = [Fraction(int(step)) * Fraction(q) * Fraction(2) ** (exponent - 31) for step in STEPS]
    parts = [Fraction(upward(value * 2**right), 2**right) for value in exact]
    assert rounded_twice(STEPS, real).tolist() == [away(part) for part in parts]
    assert rounded_up_twice(STEPS, real).tolist() == [upward(part) for part in parts]


def test_a_byte_multiplier_rounds_halves_upward_whatever_its_sign() -> None:
    for ratio in (0.5, -0.5, 1.0, 0.1, 127.0, -0.003):
        multiplier = round(np.float32(256) * np.float32(ratio))
        expected = [upward(Fraction(int(step) * multiplier, 256)) for step in STEPS]
        assert rounded_by_byte(STEPS, ratio).tolist() == expected


def test_halving_goes_away_from_zero() -> None:
    assert halved_away(np.array([3, -3, 1, -1, 5, -5, 0]), 1).tolist() == [2, -2, 1, -1, 3, -3, 0]
    assert halved_away(np.array([7, -7]), 0).tolist() == [7, -7]


def test_xnnpack_adds_by_21_bits_of_the_larger_multiplier() -> None:
    by = requantize_sum([0.5, 0.125], 0.25, "float32_half_even", "here")
    assert by.shift is not None
    assert by.multiplier.tolist() == [1 << 20, 1 << 18]
    assert by.shift.tolist() == [19, 19]
    assert xnnpack_adds([1.0, 2.0**-10], 1.0)
    assert not xnnpack_adds([256.0, 1.0], 1.0)
    assert not xnnpack_adds([1.0, 2.0**-11], 1.0)
