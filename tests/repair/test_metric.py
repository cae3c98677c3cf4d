"""What errors of weights are taken to do to sums, against what they do."""

from __future__ import annotations

import numpy as np
import pytest

from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.operators import TensorSpec
from oaq.repair.metric import DAMPING, assumed, measured


def operands(rng: np.random.Generator, common: float, own: float) -> np.ndarray:
    """(2, 4000, 6) integers that move together by ``common`` and each for itself by ``own``."""
    together = rng.normal(0, common, (2, 4000, 1)) * np.array([1.0, 2.0, -1.0, 0.5, 1.0, 1.0])
    return np.clip(np.rint(120 + together + rng.normal(0, own, (2, 4000, 6))), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("common", "own", "centred"), [(20.0, 4.0, True), (0.0, 10.0, True), (15.0, 0.0, True), (0.0, 10.0, False)]
)
def test_the_predicted_error_of_sums_is_the_one_that_data_show(common: float, own: float, centred: bool) -> None:
    rng = np.random.default_rng(0)
    x = operands(rng, common, own)
    found = measured(x, 100, centred=centred)
    error = rng.normal(0, 1, (8, 6))
    sums = np.einsum("gpk,gnk->gnp", x - 100.0, error.reshape(2, 4, 6))
    seen = (sums.var(axis=2) if centred else (sums**2).mean(axis=2)).reshape(-1)
    predicted = found.for_outputs(np.arange(8), 8).errors(error)
    np.testing.assert_allclose(predicted, seen, rtol=0.35, atol=1.0)
    assert found.mean is not None
    np.testing.assert_allclose(found.mean, (x - 100.0).mean(axis=1))


def test_no_variance_is_lost_and_damping_prices_what_never_moves() -> None:
    x = operands(np.random.default_rng(1), 20.0, 4.0)
    x[:, :, 3] = 7
    found = measured(x, 0, centred=True)
    variance = x.astype(float).var(axis=1)
    floor = DAMPING * variance.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found.variance + found.common**2, variance + floor, rtol=1e-3, atol=1e-3)
    assert np.all(found.variance[:, 3] > 0)


def test_operands_that_never_move_at_all_still_have_a_price() -> None:
    found = measured(np.full((1, 10, 3), 9, np.uint8), 9, centred=True)
    assert np.all(found.variance > 0) and np.all(np.isfinite(found.common))


def test_without_data_half_of_the_movement_is_common_and_no_mean_is_claimed() -> None:
    found = assumed(TensorSpec("x", (5,), Affine(0.1, 3), IntRange(0, 200)), 5)
    np.testing.assert_array_equal(found.variance, np.full((1, 5), 100.0**2))
    np.testing.assert_array_equal(found.common, np.full((1, 5), 100.0))
    assert found.mean is None
    alone = assumed(TensorSpec("x", (5,), Affine(0.1, 3), IntRange(3, 3)), 5)
    assert np.all(alone.variance > 0)
