"""Roundings of whole arrays: what ``rounding`` makes of each number in Python integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaq.checker import rounding
from oaq.checker.dyadics import add, dyadics, requantize, to_float32, to_integer

SMALLEST, THOUSANDTH = 2.0**-149, float(np.float32(1e-3))
LARGEST = float(np.finfo(np.float32).max)
FACTORS = [
    SMALLEST,
    2.0**-127,
    float(np.finfo(np.float32).tiny),
    2.0**-31,
    THOUSANDTH,
    0.5,
    1.0,
    1.5,
    3.0,
    2.0**23,
    LARGEST,
]
SUMS = [0, 1, -1, 5, 2**24 - 1, 2**24 + 1, 2**24 + 3, -(2**24) - 1, 2**31 - 1, -(2**31), 2**31, -(2**32), 2**33 - 1]
SUMS += [2**40 + 1, -(2**53) - 1, 2**61, -(2**61) + 1]
NEAR = (-(1 << 32), 1 << 32)
"""Results are only promised within this."""


def seen(values: list[int] | np.ndarray) -> list[int]:
    """As the clamp of any output sees them."""
    return [min(max(int(value), NEAR[0]), NEAR[1]) for value in values]


def slowly(sums: list[int], factor: float, shift: int | None) -> list[int]:
    """The definition, one by one."""
    return seen([rounding.requantize(total, factor, shift) for total in sums])


@pytest.mark.parametrize("factor", FACTORS)
def test_requantize_in_float32_is_the_definition_at_every_corner(factor: float) -> None:
    found = requantize(np.array(SUMS), np.full(len(SUMS), factor, np.float32), None)
    assert seen(found) == slowly(SUMS, factor, None)


@pytest.mark.parametrize("factor", [1, 2, 2**30, 2**31 - 1])
@pytest.mark.parametrize("shift", [1, 2, 31, 61, 62])
def test_requantize_in_fixed_point_is_the_definition_at_every_corner(factor: int, shift: int) -> None:
    several = (np.full(len(SUMS), factor, np.int32), np.full(len(SUMS), shift))
    assert seen(requantize(np.array(SUMS), *several)) == slowly(SUMS, factor, shift)
    assert seen(requantize(np.array(SUMS), several[0][:1], several[1][:1])) == slowly(SUMS, factor, shift)


whole = st.one_of(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**61), 2**61), st.sampled_from(SUMS))
ratio = st.one_of(st.floats(SMALLEST, LARGEST, width=32), st.sampled_from(FACTORS))


@given(st.lists(st.tuples(whole, ratio), min_size=1, max_size=20))
@settings(max_examples=200, deadline=None)
def test_requantize_in_float32_is_the_definition(pairs: list[tuple[int, float]]) -> None:
    sums, factors = zip(*pairs, strict=True)
    found = requantize(np.array(sums), np.array(factors, np.float32), None)
    assert seen(found) == [slowly([total], factor, None)[0] for total, factor in pairs]


@given(st.lists(st.tuples(whole, st.integers(1, 2**31 - 1), st.integers(1, 62)), min_size=1, max_size=20))
@settings(max_examples=200, deadline=None)
def test_requantize_in_fixed_point_is_the_definition(triples: list[tuple[int, int, int]]) -> None:
    sums, factors, shifts = zip(*triples, strict=True)
    found = requantize(np.array(sums), np.array(factors, np.int32), np.array(shifts))
    assert seen(found) == [slowly([total], factor, shift)[0] for total, factor, shift in triples]


ENDS = np.array([-255, -254, -1, 0, 1, 2, 127, 254, 255])
A, B = (each.reshape(-1) for each in np.meshgrid(ENDS, ENDS))


def added(a: np.ndarray, b: np.ndarray, factors: tuple[float, float], shift: int | None) -> list[int]:
    """The definition, one by one."""
    return seen([rounding.add(int(p), int(q), factors, shift) for p, q in zip(a, b, strict=True)])


@pytest.mark.parametrize("one", FACTORS)
@pytest.mark.parametrize("other", FACTORS)
def test_addition_in_float32_is_the_definition_however_far_apart_the_scales(one: float, other: float) -> None:
    assert seen(add(A, B, np.array([one, other], np.float32), None)) == added(A, B, (one, other), None)


@pytest.mark.parametrize("shift", [1, 31, 62])
def test_addition_in_fixed_point_is_the_definition_at_every_corner(shift: int) -> None:
    for one in (1, 2**31 - 1):
        for other in (1, 2**30, 2**31 - 1):
            assert seen(add(A, B, np.array([one, other], np.int32), shift)) == added(A, B, (one, other), shift)


@given(ratio, ratio, st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_addition_in_float32_is_the_definition(one: float, other: float, seed: int) -> None:
    a, b = np.random.default_rng(seed).integers(-255, 256, (2, 30))
    assert seen(add(a, b, np.array([one, other], np.float32), None)) == added(a, b, (one, other), None)


@given(st.lists(st.floats(SMALLEST, LARGEST, width=32), min_size=1))
def test_a_float32_is_taken_apart_exactly(values: list[float]) -> None:
    for value, m, e in zip(values, *dyadics(np.array(values, np.float32)), strict=True):
        assert m < 2**24
        assert rounding.plus((int(m), int(e)), (-rounding.dyadic(value)[0], rounding.dyadic(value)[1]))[0] == 0


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1), st.integers(-80, 40))
@settings(deadline=None)
def test_roundings_are_the_definition_up_to_62_bits(values: list[int], exponent: int) -> None:
    m, e = to_float32(np.array(values), np.full(len(values), exponent))
    pairs = [rounding.to_float32((value, exponent)) for value in values]
    assert list(zip(m.tolist(), e.tolist(), strict=True)) == pairs
    assert seen(to_integer(m, e)) == seen([rounding.to_integer(pair) for pair in pairs])
