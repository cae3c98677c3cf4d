"""Thresholds are the law: at each one the value is reached, one accumulator below it is not."""

from __future__ import annotations

import numpy as np
import pytest

from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.robust.dual import _inner
from oaq.robust.staircase import FAR, of_requantize, of_shift
from oaq.robust.table import Table

RATIOS = np.array([2.0**-4, 2.0**-12, 0.3, 1.0, 3.7, 1e-6, 0.0123], np.float32)


@pytest.mark.parametrize("semantics", ["fixed_point", "float32_half_even"])
@pytest.mark.parametrize(("zero", "clamp"), [(0, IntRange(0, 255)), (128, IntRange(3, 200)), (7, IntRange(7, 7))])
def test_thresholds_are_exact_for_both_laws(semantics, zero: int, clamp: IntRange) -> None:
    requantize = Requantize.from_scales(RATIOS, semantics)
    steps = of_requantize(requantize, np.arange(len(RATIOS)), zero, clamp)
    for row in range(len(RATIOS)):
        for at in range(1, steps.possible_from.shape[1] - 1):
            threshold = int(steps.possible_from[row, at])
            if abs(threshold) < FAR:
                acc = np.full((2, len(RATIOS)), threshold)
                acc[1] -= 1
                value = requantize.apply(acc, zero, clamp)[:, row] - zero
                assert value[0] >= steps.low + at > value[1]


@pytest.mark.parametrize("semantics", ["fixed_point", "float32_half_even"])
def test_values_are_those_of_the_law(semantics) -> None:
    requantize = Requantize.from_scales(RATIOS, semantics)
    steps = of_requantize(requantize, np.arange(len(RATIOS)), 100, IntRange(0, 255))
    acc = np.random.default_rng(0).integers(-(1 << 20), 1 << 20, (500, len(RATIOS)))
    law = requantize.apply(acc, 100, IntRange(0, 255)) - 100
    assert (steps.largest(acc) == law).all()
    assert (steps.least(acc) == law).all()


@pytest.mark.parametrize("semantics", ["fixed_point", "float32_half_even"])
def test_corners_and_slack_bound_every_value_of_a_range(semantics) -> None:
    rng = np.random.default_rng(1)
    requantize = Requantize.from_scales(RATIOS, semantics)
    steps = of_requantize(requantize, np.arange(len(RATIOS)), 10, IntRange(0, 255))
    for _ in range(200):
        lo = rng.integers(-3000, 3000, (1, len(RATIOS)))
        hi = lo + rng.integers(0, 4000, lo.shape)
        v, mu = rng.integers(-500, 500, lo.shape) * 1.0, rng.integers(-500, 500, lo.shape) * 1.0
        worth = _inner(steps.points(lo, hi), v, mu)[2]
        for row in range(len(RATIOS)):
            acc = np.arange(lo[0, row], hi[0, row] + 1)
            column = np.repeat(acc[:, None], len(RATIOS), 1)
            y = requantize.apply(column, 10, IntRange(0, 255))[:, row] - 10
            assert (v[0, row] * y - mu[0, row] * acc).max() <= worth[0, row]


def test_a_shift_is_its_closed_form() -> None:
    steps = of_shift(22, np.zeros(3, np.int64), (-20, 200))
    acc = np.random.default_rng(2).integers(-(1 << 28), 1 << 30, (400, 3))
    assert (steps.largest(acc) == np.clip((acc + (1 << 21)) >> 22, -20, 200)).all()


def test_the_hulls_of_tables_are_exact() -> None:
    rng = np.random.default_rng(3)
    table = Table(rng.integers(-100, 100, (2, 256)), np.array([0, 1, 1, 0]), -60)
    for _ in range(100):
        lo = rng.integers(-60, 100, (1, 4))
        hi = np.minimum(lo + rng.integers(0, 150, lo.shape), 195)
        v, mu = rng.normal(size=lo.shape), rng.normal(size=lo.shape)
        worth = _inner(table.points(lo, hi), v, mu)[2]
        for at in range(4):
            x = np.arange(lo[0, at], hi[0, at] + 1)
            assert worth[0, at] == pytest.approx(
                (v[0, at] * table.values[table.classes[at], x + 60] - mu[0, at] * x).max()
            )
