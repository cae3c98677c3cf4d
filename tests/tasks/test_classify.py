"""Classes: the largest first."""

from __future__ import annotations

import numpy as np

from oaq.data.preprocess import Preprocess
from oaq.data.window import Window
from oaq.tasks.classify import classify, largest


def test_equals_come_in_the_order_of_their_classes():
    assert largest(np.array([1.0, 2.0, 2.0]), 2) == [(1, 2.0), (2, 2.0)]
    assert largest(np.array([1.0]), -3) == []


def test_top1_counts_images_and_agreement_takes_float_for_the_truth():
    task = classify(Preprocess((1, 1)), ("a", "b"))
    (metric,) = task.metrics
    answers = [task.decode({"y": np.array(row)}) for row in ([1.0, 0.0], [0.0, 1.0])]
    assert metric.compute(answers, [0, 0]) == 1.0
    assert metric.agreement(answers, answers) == 2.0
    assert metric.text(1.0, 2) == "1 of 2 images"


def test_entries_and_pictures_name_the_largest():
    task = classify(Preprocess((1, 1)), ("a", "b"))
    window, photo = Window(0, 0, 64, 64), np.full((64, 64, 3), 200, np.uint8)
    entries = task.entries(np.array([0.5, 1.5]), window, (64, 64))
    assert entries[0] == {"category_id": 1, "score": 1.5, "label": "b"}
    assert not np.array_equal(task.draw(photo, np.array([0.5, 1.5]), window), photo)
