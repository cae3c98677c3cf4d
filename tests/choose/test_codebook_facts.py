"""What is said of piecewise weights: shares by count, precision beside uniform weights of as many stored bits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from oaq.choose.codebook_facts import piecewise_weights, sqnr_db, uniform_weights, with_precision
from oaq.numerics.codebook import Codebook
from oaq.program.codebook_facts import integer_facts


def test_shares_are_counts_of_the_integers() -> None:
    weight = np.array([[0, 7, -7, 8], [39, -7, 3, 11], [0, 0, 0, 0]], np.int8)
    facts = integer_facts("a", weight, 4, np.array([1, 4, 1]))
    assert facts.outputs == (2, 0, 0, 1)
    assert facts.tail == 3 / 12
    assert facts.sqnr_db is facts.nearest_db is facts.uniform_db is None


def test_piecewise_weights_beat_uniform_ones_of_as_many_bits_where_tails_are_long() -> None:
    rows = np.random.default_rng(0).standard_t(3, (50, 256))
    assert sqnr_db(rows, piecewise_weights(rows, 4)) > sqnr_db(rows, uniform_weights(rows, 5)) + 1.0


@pytest.mark.parametrize("bits", range(2, 7))
def test_piecewise_weights_are_never_worse(bits: int) -> None:
    rng = np.random.default_rng(bits)
    for rows in (rng.uniform(-1, 1, (20, 9)), rng.normal(size=(20, 9)), np.zeros((2, 4)), np.ones((3, 5))):
        piecewise, uniform = piecewise_weights(rows, bits), uniform_weights(rows, bits + 1)
        errors = [((rounded - rows) ** 2).sum(axis=1) for rounded in (piecewise, uniform)]
        assert (errors[0] <= errors[1] + 1e-12).all()


def test_nothing_lost_is_infinity_and_nothing_there_is_no_number() -> None:
    book = Codebook(4, 2)
    rows = np.array([book.integers()], np.float64)
    facts = with_precision(
        integer_facts("a", rows.astype(np.int8), 4, np.array([2])), rows, rows.astype(np.int8), np.ones(1)
    )
    assert facts.sqnr_db == math.inf
    assert sqnr_db(np.zeros((1, 2)), np.zeros((1, 2))) == math.inf
    assert sqnr_db(np.zeros((1, 2)), np.ones((1, 2))) == -math.inf
