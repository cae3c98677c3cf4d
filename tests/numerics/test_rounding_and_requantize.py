"""Both roundings and both requantize semantics against rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import SEMANTICS, Requantize, Semantics
from oaq.numerics.rounding import halved_away, round_half_even, rounding_shift

WIDE = IntRange(-(2**31), 2**31)


def test_half_even_is_python_round_on_every_quarter() -> None:
    quarters = np.arange(-4000, 4001)
    assert round_half_even((quarters / 4).astype(np.float32)).tolist() == [round(Fraction(int(q), 4)) for q in quarters]


@pytest.mark.parametrize("shift", range(1, 9))
def test_rounding_shift_is_floor_of_x_over_two_to_the_s_plus_a_half(shift: int) -> None:
    x = np.arange(-2000, 2001)
    wanted = [(Fraction(int(v), 2**shift) + Fraction(1, 2)).__floor__() for v in x]
    assert rounding_shift(x, shift).tolist() == wanted


def test_rounding_shift_at_the_ends_of_what_it_accepts() -> None:
    ends = np.array([2**62 - 1, -(2**62) + 1])
    assert rounding_shift(ends, 62).tolist() == [1, -1]
    for shift in (0, 63):
        with pytest.raises(ValueError, match="1 to 62"):
            rounding_shift(ends, shift)


def test_one_shift_out_of_range_among_others_is_refused() -> None:
    for shifts in ([1, 63], [0, 62], [30, -1]):
        with pytest.raises(ValueError, match="1 to 62"):
            rounding_shift(np.array([5, 5]), np.array(shifts))


@pytest.mark.parametrize("times", [0, 1, 2, 3, 8, 31, 60, 61])
def test_halved_away_is_the_nearest_integer_with_halves_away_from_zero(times: int) -> None:
    half = 1 << times >> 1
    near = {x + step for x in (0, half, 1 << times, 3 * half, (1 << 62) - 2) for step in range(-2, 3)}
    sums = sorted({min(abs(x), (1 << 62) - 1) for x in near})
    for x in (*sums, *(-x for x in sums)):
        exact = Fraction(abs(x), 1 << times)
        nearest = (exact + Fraction(1, 2)).__floor__()
        assert halved_away(np.array([x]), times).tolist() == [-nearest if x < 0 else nearest]


def test_halved_away_takes_a_number_of_bits_for_each() -> None:
    assert halved_away(np.array([7, 7, -7]), np.array([0, 1, 2])).tolist() == [7, 4, -2]


@pytest.mark.parametrize("semantics", SEMANTICS)
@given(
    ratio=st.floats(np.float32(1e-7), np.float32(100), width=32),
    ends=st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1)),
)
@settings(max_examples=200, deadline=None)
def test_requantize_never_decreases(semantics: Semantics, ratio: float, ends: tuple[int, int]) -> None:
    rule = Requantize.from_scales(np.array([ratio], np.float32), semantics)
    low, high = sorted(ends)
    y = rule.apply(np.array([[low], [min(low + 1, high)], [high]]), 7, WIDE)[:, 0]
    assert y[0] <= y[1] <= y[2]


@pytest.mark.parametrize("semantics", SEMANTICS)
@pytest.mark.parametrize("ratio", [0.37, 0.5, 1.0, 2.0**-8])
def test_requantize_is_monotone_and_near_the_real_value_over_every_small_sum(
    semantics: Semantics, ratio: float
) -> None:
    rule = Requantize.from_scales(np.array([ratio], np.float32), semantics)
    sums = np.arange(-5000, 5001)
    y = rule.apply(sums[:, None], 0, WIDE)[:, 0]
    assert (np.diff(y) >= 0).all()
    exact = [Fraction(int(v)) * Fraction(float(np.float32(ratio))) for v in sums]
    assert max(abs(int(a) - b) for a, b in zip(y, exact, strict=True)) <= Fraction(1, 2) + Fraction(1, 1000)


def test_requantize_clamps_to_the_effective_range() -> None:
    for semantics in SEMANTICS:
        rule = Requantize.from_scales(np.array([1.0, 0.25], np.float32), semantics)
        y = rule.apply(np.array([[-(2**31), -(2**31)], [2**31 - 1, 2**31 - 1], [3, 40]]), 5, IntRange(2, 9))
        assert y.tolist() == [[2, 2], [9, 9], [8, 9]]


def test_half_even_and_rounding_shift_differ_at_ties_only_where_declared() -> None:
    sums = np.array([[1], [3], [5], [-1], [-3]])
    halves = {semantics: Requantize.from_scales(np.array([0.5], np.float32), semantics) for semantics in SEMANTICS}
    assert halves["float32_half_even"].apply(sums, 0, WIDE)[:, 0].tolist() == [0, 2, 2, 0, -2]
    assert halves["fixed_point"].apply(sums, 0, WIDE)[:, 0].tolist() == [1, 2, 3, 0, -1]


def test_a_sum_of_25_bits_is_rounded_to_float32_before_it_is_multiplied() -> None:
    rule = Requantize(np.array([1.0], np.float32))
    sums = np.array([[2**24 + 1], [2**24 + 3], [2**31 - 1]])
    assert rule.apply(sums, 0, WIDE)[:, 0].tolist() == [2**24, 2**24 + 4, 2**31]


@given(st.floats(np.float32(2.0**-31), np.float32(2.0**29), width=32))
@settings(max_examples=200, deadline=None)
def test_fixed_point_keeps_31_bits_of_the_ratio(ratio: float) -> None:
    rule = Requantize.from_scales(np.array([ratio], np.float32), "fixed_point")
    assert rule.shift is not None
    multiplier, shift = int(rule.multiplier[0]), int(rule.shift[0])
    assert 2**30 <= multiplier < 2**31
    assert 1 <= shift <= 62
    assert abs(Fraction(multiplier, 2**shift) / Fraction(ratio) - 1) <= Fraction(1, 2**30)


def test_multipliers_that_mean_nothing_are_refused() -> None:
    for bad in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="positive and finite"):
            Requantize(np.array([bad], np.float32))
    with pytest.raises(TypeError, match="multiplier is"):
        Requantize(np.array([1.0], np.float64))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 to 62"):
        Requantize(np.array([1], np.int32), np.array([63], np.int32))
    with pytest.raises(ValueError, match="is outside"):
        Requantize.from_scales(np.array([2.0**-32], np.float32), "fixed_point")


def test_numbers_are_copies_that_nobody_can_change() -> None:
    multiplier, shift, then = (np.array([n, n + 1], np.int32) for n in (1 << 30, 35, 1))
    rule = Requantize(multiplier, shift, then)
    for name, source in (("multiplier", multiplier), ("shift", shift), ("then", then)):
        before = source.tolist()
        source[:] = 3
        assert getattr(rule, name).tolist() == before
        with pytest.raises(ValueError, match="read-only"):
            getattr(rule, name)[0] = 3
    words = np.array([0.5], np.float32)
    alone = Requantize(words)
    words[0] = 0.25
    assert alone.multiplier.tolist() == [0.5]


def test_a_second_rounding_goes_with_its_multiplier() -> None:
    rule = Requantize(*(np.array(numbers, np.int32) for numbers in ([1 << 30, 1 << 29], [30, 31], [1, 3])))
    assert rule.apply(np.array([[5, 6]]), 0, WIDE).tolist() == [[3, 0]]
    for index, (total, result) in enumerate(((5, 3), (30, 1))):
        single = rule.single(index)
        assert len(single) == 1
        assert single.then is not None
        assert single.then.tolist() == [(1, 3)[index]]
        assert single.apply(np.array([[total]]), 0, WIDE).tolist() == [[result]]
    assert Requantize(np.array([0.5, 0.25], np.float32)).single(1).multiplier.tolist() == [0.25]


def test_second_roundings_are_refused_where_they_mean_nothing() -> None:
    multiplier, shift = np.array([1 << 30], np.int32), np.array([31], np.int32)
    for wrong in ([-1], [32], [1, 1]):
        with pytest.raises(ValueError, match="0 to 31 bits"):
            Requantize(multiplier, shift, np.array(wrong, np.int32))
    with pytest.raises(ValueError, match="fixed-point multiplier"):
        Requantize(np.array([0.5], np.float32), None, np.array([1], np.int32))
    for right in (0, 31):
        assert Requantize(multiplier, shift, np.array([right], np.int32)).then is not None


def test_fixed_point_of_a_ratio_is_the_ratio_to_the_last_bit_just_below_powers_of_two_too() -> None:
    ratios = np.array([np.nextafter(np.float32(2.0**e), np.float32(0)) for e in range(-30, 30)], np.float32)
    rule = Requantize.from_scales(ratios, "fixed_point")
    assert rule.shift is not None
    for ratio, multiplier, shift in zip(ratios, rule.multiplier, rule.shift, strict=True):
        assert Fraction(int(multiplier), 1 << int(shift)) == Fraction(float(ratio))


def test_fixed_point_ends_at_2_to_the_29th_and_at_2_to_the_minus_31st() -> None:
    rule = Requantize.from_scales(np.array([2.0**29, 2.0**-31], np.float32), "fixed_point")
    assert rule.shift is not None
    assert rule.shift.tolist() == [1, 61]
    for beyond in (np.nextafter(np.float32(2.0**29), np.float32(np.inf)), np.nextafter(np.float32(2.0**-31), 0)):
        with pytest.raises(ValueError, match="is outside"):
            Requantize.from_scales(np.array([beyond], np.float32), "fixed_point")


@pytest.mark.parametrize(("shift", "taken"), [([1, 62], True), ([0, 1], False), ([1, 63], False), ([1], False)])
def test_shifts_are_1_to_62_and_as_many_as_multipliers(shift: list[int], taken: bool) -> None:
    multiplier = np.array([1, 2**31 - 1], np.int32)
    if taken:
        assert len(Requantize(multiplier, np.array(shift, np.int32))) == 2
        return
    with pytest.raises(ValueError, match="1 to 62, one per multiplier"):
        Requantize(multiplier, np.array(shift, np.int32))
