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
HIGHEST = (0, 1, 2, 15, 54, 107, 128, 254, 255)


def law(word: int, hi: int, sums: NDArray[np.integer]) -> NDArray[np.int64]:
    """As the reference requantizes."""
    multiplier = Requantize(np.array([word / 32768], np.float32))
    return multiplier.apply(sums.reshape(-1, 1), 0, IntRange(0, hi))[:, 0]


def in_words(word: int, hi: int, sums: NDArray[np.integer]) -> NDArray[np.int64]:
    """As vpmulhrsw does: saturated, multiplied, rounded half up, clamped."""
    held = np.clip(sums.astype(np.int64), -MOST - 1, MOST)
    return np.clip((held * word + (1 << 14)) >> 15, 0, hi)


def drawn(hi: int) -> list[int]:
    """The least words, the largest, those around powers of two and where saturation starts to be right, and others."""
    known = words(hi)
    at = [np.searchsorted(known, each) for each in (*(1 << np.arange(15)), 2 * hi, least_saturating(hi))]
    near = {int(known[i]) for index in at for i in range(max(int(index) - 2, 0), min(int(index) + 3, len(known)))}
    return sorted(near | {int(each) for each in np.random.default_rng(hi).choice(known, 40)} | {int(known[-1])})


@pytest.mark.parametrize("hi", HIGHEST)
def test_every_sum_of_16_bits_gives_what_the_law_gives(hi: int) -> None:
    for word in drawn(hi):
        np.testing.assert_array_equal(in_words(word, hi, SUMS), law(word, hi, SUMS), err_msg=str(word))


@pytest.mark.parametrize("hi", HIGHEST)
def test_what_is_no_word_differs_from_the_law_somewhere(hi: int) -> None:
    others = np.setdiff1d(np.arange(1, 1 << 15), words(hi))
    for word in np.random.default_rng(hi).choice(others, min(40, len(others)), replace=False):
        assert not np.array_equal(in_words(int(word), hi, SUMS), law(int(word), hi, SUMS)), word


@pytest.mark.parametrize("hi", HIGHEST[1:])
def test_saturated_sums_are_right_from_the_least_saturating_word_on(hi: int) -> None:
    least = least_saturating(hi)
    known = words(hi)
    at = int(np.searchsorted(known, least))
    for word in known[at : at + 3]:
        np.testing.assert_array_equal(in_words(int(word), hi, BEYOND), law(int(word), hi, BEYOND))
    assert in_words(least, hi, np.array([MOST]))[0] == hi
    assert in_words(least - 1, hi, np.array([MOST]))[0] < hi


def test_multipliers_between_words_and_beyond_them_are_none() -> None:
    given = np.array([513, 513.5, 514, 32767, 32768, 0.5, 1], np.float32) / np.float32(32768)
    assert list(words_of(given, 255)) == [513, 0, 0, 32767, 0, 0, 0]
    assert words_of(np.array([1.0, 3.0], np.float32), 255).tolist() == [0, 0]


def test_small_words_are_allowed_only_where_sums_stay_in_16_bits() -> None:
    multiplier = np.array([3, 3, 1023, 1023], np.float32) / np.float32(32768)
    most = np.array([MOST, MOST + 1, MOST, 1 << 30])
    assert allows_words(multiplier, 255, most).tolist() == [True, False, True, True]


def test_the_least_word_is_one_where_nothing_but_zero_comes_out() -> None:
    smallest = np.array([1, 1], np.float32) / np.float32(32768)
    assert allows_words(smallest, 0, np.array([MOST, 1 << 30])).tolist() == [True, True]
    assert allows_words(smallest, 1, np.array([MOST, 1 << 30])).tolist() == [False, False]
