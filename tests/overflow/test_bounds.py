"""Bounds against every input of small cases, and at the edges of the integer types."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaq.errors import AccumulatorOverflow
from oaq.numerics.ranges import IntRange
from oaq.overflow.bounds import exact_dtype, weight_bound


@st.composite
def small_dot_products(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One row of 1 to 4 weights and operand ranges of at most 4 integers each, zero inside or not."""
    terms = draw(st.integers(1, 4))
    weight = [draw(st.integers(-127, 127)) for _ in range(terms)]
    lo = [draw(st.integers(-3, 250)) for _ in range(terms)]
    hi = [low + draw(st.integers(0, 3)) for low in lo]
    return np.array([weight]), np.array(lo), np.array(hi)


@given(small_dot_products())
@settings(max_examples=60, deadline=None)
def test_final_bound_is_the_exact_range_over_every_input(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    weight, lo, hi = case
    sums = [
        int(np.dot(weight[0], x))
        for x in product(*(range(a, b + 1) for a, b in zip(lo.tolist(), hi.tolist(), strict=True)))
    ]
    assert weight_bound(weight, lo, hi, partial=False)[0] == IntRange(min(sums), max(sums))


@given(small_dot_products())
@settings(max_examples=40, deadline=None)
def test_partial_bound_is_the_exact_range_of_every_prefix_in_every_order(
    case: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    weight, lo, hi = case
    reached = {0}
    ends = [(int(a), int(b)) for a, b in zip(lo, hi, strict=True)]
    for x in product(*ends):  # a product is linear in its operand, so its extremes lie at the ends
        terms = [int(w) * v for w, v in zip(weight[0], x, strict=True)]
        for order in permutations(terms):
            reached.update(int(v) for v in np.cumsum(order))
    assert weight_bound(weight, lo, hi, partial=True)[0] == IntRange(min(reached), max(reached))


def test_partial_and_final_agree_when_every_range_holds_zero() -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (9, 33))
    hi = rng.integers(0, 256, 33)
    final, partial = (weight_bound(weight, np.zeros(33, int), hi, partial=p) for p in (False, True))
    assert np.array_equal(final.lo, partial.lo)
    assert np.array_equal(final.hi, partial.hi)


def test_rows_of_ranges_belong_to_their_outputs() -> None:
    weight = np.array([[1], [2], [3], [4]])
    bound = weight_bound(weight, np.array([[0], [10]]), np.array([[1], [20]]), partial=False)
    assert list(bound) == [IntRange(0, 1), IntRange(0, 2), IntRange(30, 60), IntRange(40, 80)]


def test_bounds_near_two_to_the_31_keep_their_last_bit() -> None:
    # 2**31 - 1 = 7 * 306783378 + 1: a float32 (or a sum in float32) would answer 2**31.
    weight = np.array([[2147483646, 1]], np.int64)
    assert weight_bound(weight, np.array([0, 0]), np.array([1, 1]), partial=False)[0].hi == 2**31 - 1
    terms = 66311  # 66311 * 255 * 127 = 2147481735, just inside s32
    weight = np.full((1, terms), 127, np.int8)
    hi = weight_bound(weight, np.zeros(terms, np.uint8), np.full(terms, 255, np.uint8), partial=False)[0].hi
    assert hi == terms * 255 * 127


def test_a_float_proves_nothing() -> None:
    with pytest.raises(TypeError, match="a float proves nothing"):
        weight_bound(np.array([[1.0]]), np.array([0]), np.array([1]))
    with pytest.raises(TypeError, match="x_hi holds integers"):
        weight_bound(np.array([[1]]), np.array([0]), np.array([1.0]))


def test_empty_ranges_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="lo <= hi"):
        weight_bound(np.array([[1]]), np.array([2]), np.array([1]))
    with pytest.raises(ValueError, match="expected"):
        weight_bound(np.array([[1, 2]]), np.array([2]), np.array([3]))
    with pytest.raises(ValueError, match="do not divide"):
        weight_bound(np.array([[1], [1], [1]]), np.zeros((2, 1), int), np.ones((2, 1), int))


def test_the_guard_chooses_a_type_no_sum_can_leave() -> None:
    weight, x = np.array([127]), np.array([255])
    assert exact_dtype(weight, x, x, 33155) == np.int32  # 33155 * 127 * 255 < 2**30
    assert exact_dtype(weight, x, x, 33156) == np.int64
    with pytest.raises(AccumulatorOverflow, match="62 bits"):
        exact_dtype(np.array([2**31]), np.array([2**31]), x, 1)
