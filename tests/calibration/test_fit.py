"""The fit: known costs come back, noise and wrong timings do not carry it away, nothing costs less than nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaq.calibration.fit import fit, nnls

TRUE = {"call": 1e-6, "steps": 2e-10, "spills": 5e-11, "weights": 4e-12}


def points(count: int, seed: int = 0) -> list[dict[str, float]]:
    """Work of layers whose sizes differ a thousandfold."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        steps = float(np.exp(rng.uniform(np.log(1e3), np.log(1e6))))
        made.append(
            {
                "call": 1.0,
                "steps": steps,
                "spills": steps * float(rng.choice([0.0, 0.1, 0.5, 1.0])),
                "weights": float(rng.integers(100, 1_000_000)),
            }
        )
    return made


def seconds(work: list[dict[str, float]]) -> np.ndarray:
    return np.array([sum(TRUE.get(kind, 0.0) * count for kind, count in one.items()) for one in work])


def test_known_costs_come_back() -> None:
    work = points(60)
    found = fit(work, seconds(work))
    assert found.cost == pytest.approx(TRUE, rel=1e-6)
    assert np.abs(found.error).max() < 1e-6


def test_noise_of_five_percent_moves_them_little_and_is_reported() -> None:
    work = points(200)
    noisy = seconds(work) * np.random.default_rng(1).normal(1.0, 0.05, 200)
    found = fit(work, noisy)
    assert found.cost == pytest.approx(TRUE, rel=0.1)
    assert 0.02 < found.median_error < 0.05


def test_a_few_timings_that_are_simply_wrong_do_not_carry_it_away() -> None:
    work = points(100)
    wrong = seconds(work)
    wrong[::20] *= 10.0
    assert fit(work, wrong).cost == pytest.approx(TRUE, rel=0.02)


def test_what_makes_a_layer_faster_costs_nothing_instead_of_less() -> None:
    work = [one | {"outputs": one["steps"]} for one in points(60)]
    faster = seconds(work) - 1e-10 * np.array([one["outputs"] for one in work])
    assert min(fit(work, faster).cost.values()) > 0


def test_a_kind_of_work_that_nobody_does_has_no_cost() -> None:
    work = [one | {"taps": 0.0} for one in points(30)]
    assert "taps" not in fit(work, seconds(work)).cost


def test_the_error_of_a_point_is_that_of_a_fit_that_did_not_see_it() -> None:
    work = points(40)
    taken = seconds(work)
    taken[7] *= 1.5
    assert fit(work, taken).error[7] == pytest.approx(1 / 1.5 - 1, abs=0.01)


def test_one_point_is_fitted_to_itself() -> None:
    found = fit([{"call": 1.0}], [3e-6])
    assert found.cost == pytest.approx({"call": 3e-6})
    assert found.error == pytest.approx([0.0])


@given(st.integers(1, 6), st.integers(1, 12), st.integers(0, 1 << 16))
@settings(max_examples=60, deadline=None)
def test_nothing_non_negative_beside_the_result_is_better(columns: int, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(rows, columns)), rng.normal(size=rows)
    x = nnls(a, b)
    assert (x >= 0).all()
    reached = np.linalg.norm(a @ x - b)
    for _ in range(20):
        other = np.maximum(x + rng.normal(size=columns) * 10.0 ** rng.integers(-6, 1), 0.0)
        assert np.linalg.norm(a @ other - b) >= reached - 1e-9


def test_columns_that_are_equal_or_nothing_are_no_trouble() -> None:
    a = np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 0.0]])
    x = nnls(a, np.array([3.0, 6.0]))
    assert a @ x == pytest.approx([3.0, 6.0])
    assert x[2] == 0.0
