"""The published form: its levels, its breakpoints, its errors beside uniform weights, and degenerate outputs."""

from __future__ import annotations

import numpy as np
import pytest

from oaq.choose.codebook_facts import sqnr_db
from oaq.choose.published import corrected, one_shot, published_rows, published_uniform, searched

BITS = range(2, 9)


@pytest.mark.parametrize("rule", ["one-shot", "search"])
@pytest.mark.parametrize("bits", BITS)
def test_a_weight_lies_in_the_centre_or_in_a_tail(bits: int, rule: str) -> None:
    rows = np.random.default_rng(0).standard_t(4, (20, 100))
    form = published_rows(rows, bits, rule)  # type: ignore[arg-type]
    most = (1 << (bits - 1)) - 1
    assert np.abs(form.centre).max() <= most
    assert np.abs(form.tail).max() <= most
    assert not (form.centre * form.sign).any()
    assert not (form.tail * (1 - np.abs(form.sign))).any()
    assert (form.tail * form.sign >= 0).all()
    s1, s2, p = form.scales[:, :, None]
    in_tail = np.abs(rows) >= p
    np.testing.assert_array_equal(form.sign != 0, in_tail)
    assert np.abs(form.reals() - rows).max() <= np.maximum(s1, s2).max() / 2 * (1 + 1e-9)
    np.testing.assert_allclose(np.abs(form.reals()).max(axis=1), np.abs(rows).max(axis=1), rtol=1e-6)


def test_the_formula_of_the_breakpoint_is_that_of_the_released_code_not_the_misprint() -> None:
    rows = np.random.default_rng(0).normal(size=(4, 10000))
    m = np.abs(rows).max(axis=1) / rows.std(axis=1, ddof=1)
    expected = np.log(0.86143114 * m + 0.607901097) * rows.std(axis=1, ddof=1)
    np.testing.assert_allclose(one_shot(rows), expected)
    assert np.log(0.86143114 * 5 + 0.607901097) == pytest.approx(1.592, abs=1e-3)


def test_the_search_is_no_worse_than_the_formula_on_its_grid_and_finds_known_breakpoints() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 2000))
    errors = [
        ((published_rows(rows, 4, rule).reals() - rows) ** 2).sum(axis=1)  # type: ignore[arg-type]
        for rule in ("search", "one-shot")
    ]
    assert (errors[0] <= errors[1] * 1.002).all()
    assert np.abs(searched(rows, 4) / one_shot(rows) - 1).mean() < 0.2


@pytest.mark.parametrize(("bits", "most"), [(3, 0.5), (4, 0.45), (6, 0.4), (8, 0.4)])
def test_errors_of_gaussian_weights_are_the_part_of_uniform_ones_that_was_published(bits: int, most: float) -> None:
    """Bounds of the paper for the best breakpoint: 0.34, 0.287, 0.258 and 0.252; its formula comes near."""
    rows = np.random.default_rng(0).normal(size=(50, 4000))
    form, uniform = published_rows(rows, bits, "search").reals(), published_uniform(rows, bits)
    assert ((form - rows) ** 2).sum() / ((uniform - rows) ** 2).sum() < most


@pytest.mark.parametrize("rule", ["one-shot", "search"])
@pytest.mark.parametrize("bits", BITS)
def test_degenerate_outputs_have_a_form(bits: int, rule: str) -> None:
    rows = np.zeros((4, 9))
    rows[1, 4], rows[2], rows[3] = -3.0, 0.25, -1e-20
    form = published_rows(rows, bits, rule)  # type: ignore[arg-type]
    assert np.isfinite(form.reals()).all()
    assert (form.scales > 0).all()
    assert not form.reals()[0].any()
    np.testing.assert_allclose(form.reals()[1:3], rows[1:3], rtol=1e-6)
    single = published_rows(np.array([[-0.7]]), bits, rule)  # type: ignore[arg-type]
    np.testing.assert_allclose(single.reals(), [[-0.7]])
    assert np.isfinite(corrected(rows, form.reals())).all()


def test_correction_gives_mean_and_deviation_of_the_float_weights() -> None:
    rows = np.random.default_rng(0).standard_t(4, (20, 100)) + 0.2
    fixed = corrected(rows, published_rows(rows, 3).reals())
    np.testing.assert_allclose(fixed.mean(axis=1), rows.mean(axis=1))
    np.testing.assert_allclose(fixed.std(axis=1), rows.std(axis=1))


@pytest.mark.parametrize("bits", [1, 9, 0])
def test_other_bits_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="2 to 8 bits"):
        published_rows(np.ones((1, 2)), bits)


def test_the_uniform_weights_of_the_paper_clip_nothing() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 500))
    assert np.abs(published_uniform(rows, 4) - rows).max() <= 2 * np.abs(rows).max() / 15 * (1 + 1e-9)
    assert sqnr_db(rows, published_uniform(rows, 8)) > sqnr_db(rows, published_uniform(rows, 6)) + 10
