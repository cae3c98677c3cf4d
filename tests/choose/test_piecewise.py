"""Weights rounded to piecewise codebooks: nearest, of least error, and never outside."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaq.choose.bound import Bound, coarsened
from oaq.choose.covariance import sum_errors
from oaq.choose.feedback import error_feedback, fed_back_at
from oaq.choose.piecewise import best_pair, best_steps, codebook_error, nearest_codes, spread_ratio, to_codebook
from oaq.choose.round import best_scale, rounding_error
from oaq.choose.target import Target, make_cells
from oaq.numerics.codebook import Codebook, least_steps, tail_steps
from oaq.ptq.adaround import learned_rounding

BITS = range(2, 7)


def heavy(outputs: int, terms: int, seed: int = 0) -> np.ndarray:
    """Rows with long tails."""
    return np.random.default_rng(seed).standard_t(3, (outputs, terms))


def bound(outputs: int, terms: int, most: int, bits: int, other_sign: int = 0) -> Bound:
    budget = np.full(outputs, most, np.int64)
    cells = make_cells(terms, Target("pure"), depthwise=False)
    return Bound(127, cells, budget, budget, 1, other_sign, bits)


@pytest.mark.parametrize("bits", BITS)
def test_rounding_takes_the_nearest_integer_of_the_codebook(bits: int) -> None:
    for step in tail_steps(bits):
        integers = np.array(Codebook(bits, step).integers())
        places = np.linspace(-1.3, 1.3, 2003) * integers[-1]
        rounded = to_codebook(places, bits, step)
        assert set(rounded.astype(int)) <= set(integers.tolist())
        np.testing.assert_allclose(np.abs(rounded - places), np.abs(integers - places[:, None]).min(axis=1))


@pytest.mark.parametrize("bits", BITS)
def test_the_search_is_never_worse_than_uniform_weights_of_as_many_stored_bits_on_its_scales(bits: int) -> None:
    rows = heavy(40, 64)
    importance = np.random.default_rng(1).random(rows.shape)
    scale, _ = best_pair(rows, importance, bits)
    whole = np.abs(rows).max(axis=1) / ((1 << bits) - 1)
    uniform = np.min(
        [rounding_error(rows, whole * part, importance, (1 << bits) - 1) for part in np.linspace(0.5, 1.0, 11)], axis=0
    )
    assert (codebook_error(rows, scale, importance, bits) <= uniform * (1 + 1e-9)).all()


def test_long_tails_take_coarse_steps_and_short_ones_do_not() -> None:
    rng = np.random.default_rng(0)
    importance = np.ones((200, 256))
    heavy_steps = best_pair(rng.standard_t(3, (200, 256)), importance, 4)[1]
    flat_steps = best_pair(rng.uniform(-1, 1, (200, 256)), importance, 4)[1]
    assert heavy_steps.mean() > 2.5
    assert (flat_steps == 1).all()


@pytest.mark.parametrize("bits", BITS)
def test_degenerate_channels_have_codes(bits: int) -> None:
    rows = np.zeros((5, 9))
    rows[1, 4] = -3.0  # a single weight
    rows[2] = 0.25  # constant
    rows[3] = 1e-30
    rows[4, 0] = 1e30
    scale, step = best_pair(rows, np.ones_like(rows), bits)
    weight = nearest_codes(rows / scale[:, None], bits)
    assert (scale > 0).all()
    assert (least_steps(weight, bits) > 0).all()
    assert not weight[0].any()
    assert step[0] == 1
    np.testing.assert_allclose((weight * scale[:, None])[[1, 2, 4]], rows[[1, 2, 4]], rtol=0.05)
    ratio = spread_ratio(rows, weight, scale)
    assert np.isfinite(ratio).all()
    assert (ratio[[0, 2, 3]] == 1.0).all()
    assert ((ratio >= 0.5) & (ratio <= 2.0)).all()


def test_one_weight_an_output_and_one_output() -> None:
    for rows in (np.array([[0.7]]), np.array([[-0.7]]), np.array([[0.0]])):
        scale = best_scale(rows, np.ones_like(rows), code_bits=4)
        weight = nearest_codes(rows / scale[:, None], 4)
        np.testing.assert_allclose(weight * scale[:, None], rows)
        assert spread_ratio(rows, weight, scale).tolist() == [1.0]


def test_a_coarser_scale_ends_on_the_uniform_grid() -> None:
    rows = heavy(50, 64)
    scale, _ = best_pair(rows, np.ones_like(rows), 4)
    assert (best_steps(rows / scale[:, None], 4) > 1).any()
    assert (best_steps(rows / (scale[:, None] * 4), 4) == 1).all()


def test_the_error_counts_what_an_error_costs() -> None:
    rows = np.array([[1.0, 30.0]])
    ends = best_pair(rows, np.array([[1.0, 0.0]]), 4)[0], best_pair(rows, np.array([[0.0, 1.0]]), 4)[0]
    assert codebook_error(rows, ends[0], np.array([[1.0, 0.0]]), 4)[0] < 1e-2
    assert codebook_error(rows, ends[1], np.array([[0.0, 1.0]]), 4)[0] < 1e-9


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(BITS),
    st.integers(1, 400),
    st.sampled_from((0, 1)),
    st.integers(1, 40),
    st.integers(0, 2**31 - 1),
)
def test_every_rounding_keeps_codebook_and_budget(bits: int, most: int, other: int, terms: int, seed: int) -> None:
    rows = heavy(6, terms, seed)
    mix = np.random.default_rng(seed).normal(size=(1, terms, terms))
    moments = mix @ mix.transpose(0, 2, 1) + 0.01 * np.eye(terms)
    limits = bound(6, terms, most, bits, other)
    scale, _ = best_pair(rows, np.ones_like(rows), bits)
    plain, coarse = coarsened(rows, scale, limits)
    fed, at = error_feedback(rows, scale, limits, moments)
    for weight, weight_scale in ((plain, coarse), (fed, at), (fed_back_at(rows, coarse, limits, moments), coarse)):
        assert limits.holds(weight).all()
        assert (least_steps(weight, bits) > 0).all()
        assert (weight_scale >= scale).all()
    assert (
        sum_errors(fed * at[:, None] - rows, moments)
        <= sum_errors(plain * coarse[:, None] - rows, moments) * (1 + 1e-9)
    ).all()


@pytest.mark.parametrize(("bits", "most", "other"), [(2, 8, 0), (4, 60, 0), (4, 60, 1), (6, 100000, 0)])
def test_learned_rounding_keeps_codebook_and_budget(bits: int, most: int, other: int) -> None:
    rows = heavy(8, 18)
    mix = np.random.default_rng(3).normal(size=(1, 18, 18))
    moments = mix @ mix.transpose(0, 2, 1) + 0.01 * np.eye(18)
    limits = bound(8, 18, most, bits, other)
    plain, scale = coarsened(rows, best_scale(rows, np.ones_like(rows), code_bits=bits), limits)
    weight = learned_rounding(rows, scale, limits, moments)
    assert limits.holds(weight).all()
    assert (least_steps(weight, bits) > 0).all()
    before, after = (sum_errors(integers * scale[:, None] - rows, moments) for integers in (plain, weight))
    assert (after <= before * (1 + 1e-9)).all()


def test_spread_is_taken_back_by_a_factor() -> None:
    rows = heavy(10, 200)
    scale = np.abs(rows).max(axis=1) / 15
    weight = nearest_codes(rows / scale[:, None], 4)
    ratio = spread_ratio(rows, weight, scale)
    np.testing.assert_allclose((weight * (scale * ratio)[:, None]).std(axis=1), rows.std(axis=1), rtol=1e-9)
