"""Weight scales that make a multiplier to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from oaq.numerics.multipliers import layer_multipliers, weight_scales

S_X, S_Y = 1.5 / 38, 0.7


def reachable(count: int) -> np.ndarray:
    """Multipliers that come of weight scales, of all sizes."""
    scales = np.random.default_rng(0).uniform(0.5, 1, count).astype(np.float32)
    return layer_multipliers(S_X, scales * np.float32(2.0) ** np.arange(-20, count - 20).astype(np.float32), S_Y)


def test_a_multiplier_that_came_of_a_scale_gets_one_that_makes_it() -> None:
    multiplier = reachable(40)
    scales, exact = weight_scales(multiplier, S_X, S_Y)
    assert exact.all()
    assert (layer_multipliers(S_X, scales, S_Y) == multiplier).all()


def test_of_several_the_nearest_to_the_quotient_is_taken() -> None:
    for multiplier in reachable(40):
        (scale,), _ = weight_scales(np.array([multiplier]), S_X, S_Y)
        quotient = np.float32(float(multiplier) * float(np.float32(S_Y)) / float(np.float32(S_X)))
        bits = int(np.float32(quotient).view(np.int32))
        makers = [d for d in range(-8, 9) if _makes(bits + d, multiplier)]
        assert abs(int(scale.view(np.int32)) - bits) == min(map(abs, makers))


def _makes(bits: int, multiplier: np.floating) -> bool:
    scale = np.array([bits], np.int32).view(np.float32)
    return bool(layer_multipliers(S_X, scale, S_Y)[0] == multiplier)


def test_the_least_scale_itself_is_fine_enough_and_the_next_above_it_is_too_coarse_a_bound() -> None:
    multiplier = np.array([0.25], np.float32)
    scales, exact = weight_scales(multiplier, 1.0, 1.0)
    assert exact.tolist() == [True]
    assert weight_scales(multiplier, 1.0, 1.0, scales)[1].tolist() == [True]
    above = np.nextafter(scales, np.float32(1))
    refused, exact = weight_scales(multiplier, 1.0, 1.0, above)
    assert exact.tolist() == [False]
    assert refused.tolist() == scales.tolist()


@pytest.mark.parametrize("s_y", [3e38, 1e-38])
def test_scales_that_no_float32_holds_are_none(s_y: float) -> None:
    with np.errstate(all="ignore"):
        assert weight_scales(np.array([1e30, 1e-30], np.float32), 1.0, s_y)[1].sum() <= 1
