"""Requantization in 16 bits is the law, wherever it is allowed: every sum there is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.numerics.words import MOST, allows_words, least_saturating, words, words_of

SUMS = np.arange(-(1 << 15), 1 << 15)
BEYOND = np.array([-(1 << 31), -(1 << 24) - 1, -(1 << 15) - 1, 1 << 15, (1 << 15) + 1, 1 << 24, (1 << 31) - 1])
BOUNDS = (
    *(IntRange(0, hi) for hi in (0, 1, 2, 15, 54, 107, 128, 254, 255)),
    *(IntRange(lo, lo + 255) for lo in (-1, -3, -127, -128, -254, -255)),
    *(IntRange(-5, 54), IntRange(-54, 5), IntRange(-64, 63), IntRange(7, 200), IntRange(-200, -7), IntRange(-1, 0)),
)
"""Clamps less a zero point, most of them of outputs that do not start from it."""


def law(word: int, bounds: IntRange, sums: NDArray[np.integer]) -> NDArray[np.int64]:
    """As the reference requantizes, less the zero point."""
    multiplier, zero = Requantize(np.array([word / 32768], np.float32)), max(-bounds.lo, 0)
    clamp = IntRange(bounds.lo + zero, bounds.hi + zero)
    return multiplier.apply(sums.reshape(-1, 1), zero, clamp)[:, 0] - zero


def in_words(word: int, bounds: IntRange, sums: NDArray[np.integer]) -> NDArray[np.int64]:
    """As vpmulhrsw does: saturated, multiplied, rounded half up, clamped."""
    held = np.clip(sums.astype(np.int64), -MOST - 1, MOST)
    return np.clip((held * word + (1 << 14)) >> 15, bounds.lo, bounds.hi)


def seed(bounds: IntRange) -> int:
    """Another one for each."""
    return 1000 * bounds.hi + bounds.lo + 255_255


def drawn(bounds: IntRange) -> list[int]:
    """The least words, the largest, those around powers of two and where saturation starts to be right, and others."""
    known = words(bounds)
    places = (*(1 << np.arange(15)), abs(2 * bounds.hi), abs(2 * bounds.lo), least_saturating(bounds))
    at = [np.searchsorted(known, each) for each in places]
    near = {int(known[i]) for index in at for i in range(max(int(index) - 2, 0), min(int(index) + 3, len(known)))}
    some = np.random.default_rng(seed(bounds)).choice(known, 40)
    return sorted(near | {int(each) for each in some} | {int(known[-1])})


@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_every_sum_of_16_bits_gives_what_the_law_gives(bounds: IntRange) -> None:
    for word in drawn(bounds):
        np.testing.assert_array_equal(in_words(word, bounds, SUMS), law(word, bounds, SUMS), err_msg=str(word))


@pytest.mark.parametrize("bounds", [bounds for bounds in BOUNDS if bounds.lo <= 0 <= bounds.hi], ids=str)
def test_what_is_no_word_differs_from_the_law_somewhere(bounds: IntRange) -> None:
    others = np.setdiff1d(np.arange(1, 1 << 15), words(bounds))
    for word in np.random.default_rng(seed(bounds)).choice(others, min(40, len(others)), replace=False):
        assert not np.array_equal(in_words(int(word), bounds, SUMS), law(int(word), bounds, SUMS)), word


@pytest.mark.parametrize("bounds", [bounds for bounds in BOUNDS[1:] if least_saturating(bounds) > 1], ids=str)
def test_saturated_sums_are_right_from_the_least_saturating_word_on(bounds: IntRange) -> None:
    least = least_saturating(bounds)
    known = words(bounds)
    at = int(np.searchsorted(known, least))
    for word in known[at : at + 3]:
        np.testing.assert_array_equal(in_words(int(word), bounds, BEYOND), law(int(word), bounds, BEYOND))
    ends = np.array([-MOST - 1, MOST])
    assert in_words(least, bounds, ends).tolist() == [bounds.lo, bounds.hi]
    assert in_words(least - 1, bounds, ends).tolist() != [bounds.lo, bounds.hi]


def test_two_sided_outputs_have_nearly_as_many_words() -> None:
    """Halfway results on both sides of 0 exclude each other: only multipliers without any are words."""
    least = 1 << 9
    counts = {lo: int((words(IntRange(lo, lo + 255)) >= least).sum()) for lo in (0, -128)}
    assert counts[-128] > 0.9 * counts[0] > 25_000


def test_multipliers_between_words_and_beyond_them_are_none() -> None:
    given = np.array([513, 513.5, 514, 32767, 32768, 0.5, 1], np.float32) / np.float32(32768)
    assert list(words_of(given, IntRange(0, 255))) == [513, 0, 0, 32767, 0, 0, 0]
    assert words_of(np.array([1.0, 3.0], np.float32), IntRange(0, 255)).tolist() == [0, 0]


def test_small_words_are_allowed_only_where_sums_stay_in_16_bits() -> None:
    multiplier = np.array([3, 3, 1023, 1023], np.float32) / np.float32(32768)
    most = np.array([MOST, MOST + 1, MOST, 1 << 30])
    least = np.full(4, -(1 << 30))
    assert allows_words(multiplier, IntRange(0, 255), least, most).tolist() == [True, False, True, True]
    multiplier[:2] = np.float32(5) / np.float32(32768)  # halfway results below 0 have even integers above them
    assert allows_words(multiplier, IntRange(-255, 0), -most - 1, -least).tolist() == [True, False, True, True]


def test_the_least_word_is_one_where_nothing_but_zero_comes_out() -> None:
    smallest = np.array([1, 1], np.float32) / np.float32(32768)
    least, most = np.array([-5, -(1 << 30)]), np.array([MOST, 1 << 30])
    assert allows_words(smallest, IntRange(0, 0), least, most).tolist() == [True, True]
    assert allows_words(smallest, IntRange(0, 1), least, most).tolist() == [False, False]
