"""The piecewise codebook: its integers, their places, and which tail step a set of weights needs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaq.numerics.codebook import Codebook, indices, integers_at, least_steps, tail_steps, toward_zero

BOOKS = [Codebook(bits, step) for bits in range(2, 7) for step in tail_steps(bits)]


@pytest.mark.parametrize("book", BOOKS, ids=str)
def test_a_codebook_has_one_integer_for_each_code_but_one_and_lies_in_int8(book: Codebook) -> None:
    integers = book.integers()
    assert len(integers) == len(set(integers)) == (1 << (book.bits + 1)) - 1
    assert integers == sorted(-value for value in integers)
    assert max(integers) == book.most <= 127
    assert set(range(-book.centre, book.centre + 1)) <= set(integers)


def test_the_largest_integers_are_those_of_the_formula() -> None:
    assert [Codebook(4, step).most for step in (1, 2, 3, 4)] == [15, 23, 31, 39]
    assert [Codebook(6, step).most for step in tail_steps(6)] == [63, 95, 127]
    assert tail_steps(6) == (1, 2, 3)
    assert tail_steps(1) == tail_steps(7) == tail_steps(8) == tail_steps(10**9) == ()


@pytest.mark.parametrize("bits", range(2, 7))
def test_a_tail_step_of_one_is_the_uniform_grid_of_one_more_bit(bits: int) -> None:
    assert Codebook(bits, 1).integers() == list(range(-(1 << bits) + 1, 1 << bits))


@pytest.mark.parametrize(("bits", "step"), [(4, 5), (6, 4), (7, 1), (1, 1), (4, 0), (4, True), (4.0, 1)])
def test_what_is_no_codebook_is_refused(bits: int, step: int) -> None:
    with pytest.raises(ValueError, match="no codebook of"):
        Codebook(bits, step)


@pytest.mark.parametrize("book", BOOKS, ids=str)
def test_indices_count_the_integers_from_zero_and_come_back(book: Codebook) -> None:
    weight, step = np.array([book.integers()], np.int8), np.array([book.step])
    index = indices(weight, book.bits, step)
    assert index.tolist() == [list(range(-(1 << book.bits) + 1, 1 << book.bits))]
    np.testing.assert_array_equal(integers_at(index, book.bits, step), weight)


@pytest.mark.parametrize("book", BOOKS, ids=str)
def test_an_integer_between_two_of_the_codebook_has_no_index(book: Codebook) -> None:
    others = [value for value in range(-128, 128) if value not in book.integers()]
    for value in others:
        with pytest.raises(ValueError, match="not of its output's codebook"):
            indices(np.array([[0, value]]), book.bits, np.array([book.step]))


@pytest.mark.parametrize("book", BOOKS, ids=str)
def test_toward_zero_is_the_next_integer_of_the_codebook_that_is_not_beyond(book: Codebook) -> None:
    values = np.arange(-300, 301)
    nearest = toward_zero(values, book.bits, np.array(book.step))
    for value, chosen in zip(values.tolist(), nearest.tolist(), strict=True):
        inside = [integer for integer in book.integers() if abs(integer) <= abs(value) and integer * value >= 0]
        assert chosen == max(inside, key=abs)


@given(st.sampled_from(BOOKS), st.data())
def test_the_least_tail_step_holds_the_weights_and_no_smaller_one_does(book: Codebook, data: st.DataObject) -> None:
    row = data.draw(st.lists(st.sampled_from(book.integers()), min_size=1, max_size=9))
    (least,) = least_steps(np.array([row], np.int8), book.bits).tolist()
    assert 1 <= least <= book.step
    holds = [step for step in tail_steps(book.bits) if set(row) <= set(Codebook(book.bits, step).integers())]
    assert least == holds[0]


def test_weights_of_no_codebook_have_no_tail_step() -> None:
    weight = np.array([[127, 0], [0, 0], [-39, 7], [-128, 1], [8, 9]])
    assert least_steps(weight, 4).tolist() == [0, 1, 4, 0, 1]
    assert least_steps(np.array([[9, 10]]), 4).tolist() == [1]
    assert least_steps(np.array([[17, 18]]), 4).tolist() == [0]
