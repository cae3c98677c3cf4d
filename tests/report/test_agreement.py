"""Float against integer outputs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from oaq.report.agreement import compare, sqnr_db


def test_sqnr_is_infinite_only_for_equal_outputs():
    x = np.array([[1.0, -2.0]], np.float32)
    assert sqnr_db(x, x) == math.inf
    assert sqnr_db(np.zeros(2), np.ones(2)) == -math.inf
    assert sqnr_db(x, x * np.float32(1.1)) == pytest.approx(20, abs=1e-3)


def test_sqnr_refuses_nan_and_unequal_shapes():
    with pytest.raises(ValueError, match="NaN"):
        sqnr_db(np.array([1.0]), np.array([np.nan]))
    with pytest.raises(ValueError, match=r"shapes differ: reference \(2,\), approximation \(3,\)"):
        sqnr_db(np.zeros(2), np.zeros(3))


def test_counts_top1_with_and_without_labels():
    float_logits = np.array([[3.0, 1.0], [0.0, 2.0], [5.0, 4.0]], np.float32)
    int_logits = np.array([[2.9, 1.0], [0.1, 2.0], [4.0, 4.5]], np.float32)
    seen = compare(float_logits, int_logits, np.array([0, 0, 0]))
    assert (seen.images, seen.top1_agree, seen.top1_float, seen.top1_int) == (3, 2, 2, 1)
    assert compare(float_logits, int_logits).top1_float is None


def test_the_scatter_sample_keeps_the_extremes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(10, 100)).astype(np.float32)
    points = compare(x, x, points=50).points
    assert len(points) == 50
    assert points[0][0] == pytest.approx(float(x.min()), abs=1e-4)
    assert points[-1][0] == pytest.approx(float(x.max()), abs=1e-4)
