"""The map to real values, and the register models."""

from __future__ import annotations

import numpy as np
import pytest

from oaq.numerics.accumulator import (
    AVX2_ACC16,
    AVX2_ACC32,
    DEPTHWISE_ACC16,
    EXACT_S32,
    NEON_ACC16,
    NEON_MLAL_PAIR,
    Accumulator,
    pure,
)
from oaq.numerics.affine import Affine
from oaq.numerics.cells import lane_of
from oaq.numerics.formats import U8
from oaq.numerics.ranges import IntRange


@pytest.mark.parametrize("scale", [1.0, 0.1, 0.0235294122248888, 3e-5])
@pytest.mark.parametrize("zero_point", [0, 128, 255])
def test_every_stored_integer_survives_the_round_trip(scale: float, zero_point: int) -> None:
    affine = Affine(scale, zero_point)
    every = np.arange(256, dtype=np.uint8)
    assert np.array_equal(affine.quantize(affine.dequantize(every), U8), every)


def test_quantize_clamps_to_the_effective_range_and_rounds_half_to_even() -> None:
    affine = Affine(2.0, 10)
    real = np.array([-1e30, -30.0, 1.0, 3.0, 5.0, 1e30], np.float32)
    assert affine.quantize(real, IntRange(4, 200)).tolist() == [4, 4, 10, 12, 12, 200]
    assert affine.quantize(np.array([np.inf, -np.inf], np.float32), U8).tolist() == [255, 0]


@pytest.mark.parametrize("real", [[np.nan], [0, 1, np.nan], [np.nan, np.inf]])
def test_nan_has_no_integer(real: list[float]) -> None:
    with pytest.raises(ValueError, match="NaN"):
        Affine(1.0).quantize(np.array(real, np.float32), U8)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan"), 1e-60, 1e60])
def test_a_scale_is_a_positive_float32(scale: float) -> None:
    with pytest.raises(ValueError, match="a scale is"), np.errstate(over="ignore", under="ignore"):
        Affine(scale)


def test_a_scale_is_stored_as_the_float32_it_will_be_read_as() -> None:
    assert Affine(0.1).scale == float(np.float32(0.1))


def test_lanes_of_each_model_are_those_of_its_instructions() -> None:
    assert [lane_of(AVX2_ACC16, k) for k in range(8)] == [0, 0, 1, 1, 0, 0, 1, 1]
    assert [lane_of(DEPTHWISE_ACC16, k) for k in range(4)] == [0, 0, 0, 0]
    assert [lane_of(NEON_ACC16, k) for k in range(17)] == [*range(8), *range(8), 0]
    assert (AVX2_ACC32.max_run, NEON_MLAL_PAIR.max_run) == (1, 1)
    assert EXACT_S32.is_exact
    assert not AVX2_ACC16.is_exact
    assert pure(12).range == IntRange(-2048, 2047)


@pytest.mark.parametrize("overflow", ["wraps", "saturates", "exact"])
@pytest.mark.parametrize("group_overflow", ["wraps", "saturates", "exact"])
def test_a_register_is_exact_iff_neither_lane_nor_group_can_be_left(overflow: str, group_overflow: str) -> None:
    register = Accumulator("r", 16, overflow, step=2, group=2, group_overflow=group_overflow)  # type: ignore[arg-type]
    assert register.is_exact == (overflow == group_overflow == "exact")


def test_models_that_make_no_sense_are_refused() -> None:
    for wrong in (
        {"bits": 1},
        {"bits": 33},
        {"step": 3, "group": 2},
        {"lanes": 0},
        {"max_run": 0},
        {"step": 0},
        {"group": 0},
    ):
        with pytest.raises(ValueError, match="bad"):
            Accumulator(**({"name": "bad", "bits": 16, "overflow": "wraps"} | wrong))  # type: ignore[arg-type]
