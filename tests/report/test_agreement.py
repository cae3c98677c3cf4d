"""Float against integer outputs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from oaq.data.preprocess import Preprocess
from oaq.report.agreement import compare, sentences, sqnr_db
from oaq.report.scores import Score
from oaq.tasks import classify


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


TASK = classify(Preprocess((1, 1)))


def test_counts_top1_with_and_without_labels():
    float_logits = np.array([[3.0, 1.0], [0.0, 2.0], [5.0, 4.0]], np.float32)
    int_logits = np.array([[2.9, 1.0], [0.1, 2.0], [4.0, 4.5]], np.float32)
    agreement = compare({"y": float_logits}, {"y": int_logits}, TASK, [0, 0, 0])
    assert (agreement.images, agreement.task) == (3, "classify")
    assert agreement.scores == (Score("top-1", "images", "higher", 2.0, 2.0, 1.0),)
    assert compare({"y": float_logits}, {"y": int_logits}, TASK).scores[0].float_value is None


def test_what_nothing_says_the_meaning_of_is_compared_number_by_number_and_output_by_output():
    x, y = np.ones((2, 3, 4, 4), np.float32), np.full((2, 5), 10.0, np.float32)
    agreement = compare({"a": x, "b": y}, {"a": x * np.float32(1.1), "b": y})
    assert agreement.scores == () and agreement.task == ""
    assert agreement.sqnr_db == (("a", pytest.approx(20, abs=1e-3)), ("b", math.inf))
    assert agreement.least_sqnr_db == pytest.approx(20, abs=1e-3)
    assert sentences(agreement) == [("output SQNR against float, least of 2 outputs", "20.0 dB")]


def test_outputs_that_do_not_belong_together_are_refused():
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="alike on both sides"):
        compare({"a": x}, {"a": x[:1]})
    with pytest.raises(ValueError, match="alike on both sides"):
        compare({"a": x[:0]}, {"a": x[:0]})
    with pytest.raises(ValueError, match="1 truths for 2 images"):
        compare({"a": x}, {"a": x}, TASK, [0])


def test_the_scatter_sample_keeps_the_extremes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(10, 100)).astype(np.float32)
    points = compare({"y": x}, {"y": x}, points=50).points
    assert len(points) == 50
    assert points[0][0] == pytest.approx(float(x.min()), abs=1e-4)
    assert points[-1][0] == pytest.approx(float(x.max()), abs=1e-4)
