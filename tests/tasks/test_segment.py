"""Masks: classes per pixel, intersection over union, run lengths."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_masks

from oaq.data.preprocess import Preprocess
from oaq.data.window import Window
from oaq.errors import ProgramError
from oaq.tasks.segment import (
    Segmenter,
    class_iou,
    confusion,
    decode_classes,
    mean_iou,
    mean_iou_of,
    on_photo,
    pixel_accuracy,
    run_lengths,
    segment,
)


def test_the_largest_class_or_the_side_of_the_threshold_is_the_answer():
    y = np.array([[[1.0, 0.0]], [[0.0, 2.0]]])
    assert decode_classes(Segmenter(), {"y": y}).tolist() == [[0, 1]]
    assert decode_classes(Segmenter(channels_last=True), {"y": y.transpose(1, 2, 0)}).tolist() == [[0, 1]]
    assert decode_classes(Segmenter(threshold=0.5), {"y": y[:1]}).tolist() == [[1, 0]]
    with pytest.raises(ProgramError, match=r"not \(4,\)"):
        decode_classes(Segmenter(), {"y": np.zeros(4)})


def test_integers_are_the_classes_that_a_network_chose_itself():
    y = np.array([[[0, 7], [2, 0]]])
    assert decode_classes(Segmenter(), {"y": y}).tolist() == [[0, 7], [2, 0]]
    assert decode_classes(Segmenter(), {"y": y[0].astype(np.uint8)}).tolist() == [[0, 7], [2, 0]]
    for wrong in (-1, 1 << 31):
        with pytest.raises(ProgramError, match="an output of integers holds classes, 0 or more, not"):
            decode_classes(Segmenter(), {"y": np.array([[wrong, 3]])})


def test_the_only_output_is_read_whatever_its_name():
    y = np.array([[[1.0, 0.0]], [[0.0, 2.0]]])
    assert decode_classes(Segmenter("softmax"), {"logits": y}).tolist() == [[0, 1]]
    assert decode_classes(Segmenter("b"), {"a": -y, "b": y}).tolist() == [[0, 1]]
    with pytest.raises(ProgramError, match="the task reads the output 'c'; the network has 'a', 'b'"):
        decode_classes(Segmenter("c"), {"a": y, "b": y})


def test_counts_of_photos_sum_to_those_of_all_and_small_integers_do_not_wrap():
    rng = np.random.default_rng(0)
    answers, truths = (rng.integers(0, 200, (3, 8, 8)).astype(np.uint8) for _ in range(2))
    whole = confusion(list(answers), list(truths), classes=200)
    assert whole.shape == (200, 200) and whole.sum() == answers.size
    parts = sum(confusion([a], [t], classes=200) for a, t in zip(answers, truths, strict=True))
    np.testing.assert_array_equal(parts, whole)
    assert mean_iou_of(whole) == mean_iou(list(answers), list(truths))
    shares = class_iou(confusion([np.array([[0, 2]])], [np.array([[0, 0]])], classes=4))
    assert shares[[0, 2]].tolist() == [0.5, 0.0] and np.isnan(shares[[1, 3]]).all()


def test_mean_iou_is_over_classes_that_occur_and_ignores_what_is_marked():
    true = np.array([[0, 0, 1, 255]])
    assert mean_iou([np.array([[0, 1, 1, 2]])], [true]) == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert pixel_accuracy([np.array([[0, 1, 1, 2]])], [true]) == pytest.approx(2 / 3)
    assert mean_iou([np.array([[9]])], [np.array([[255]])]) == 1.0
    assert mean_iou([true % 255, true % 255], [true, true]) == 1.0
    with pytest.raises(ValueError, match="answers one of"):
        mean_iou([true], [true[:, :2]])


def test_what_the_network_did_not_see_is_outside():
    answer = np.array([[1, 2]])
    assert on_photo(answer, Window(1, 0, 2, 1), (1, 4), 9).tolist() == [[9, 1, 2, 9]]
    assert on_photo(answer, Window(0, -1, 4, 2), (1, 4), 9).tolist() == [[1, 1, 2, 2]]


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")  # pycocotools, NumPy 2
@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_are_those_of_pycocotools(seed: int) -> None:
    mask = np.random.default_rng(seed).random((7, 5)) < (0.1, 0.5, 0.9, 0.0, 1.1)[seed]
    counts = run_lengths(mask)
    decoded = coco_masks.decode(coco_masks.frPyObjects({"size": [7, 5], "counts": counts}, 7, 5))
    np.testing.assert_array_equal(decoded.astype(bool), mask)


def test_entries_are_masks_of_the_photo_and_pictures_are_overlaid_there_only():
    task = segment(Preprocess((2, 2), fit="stretch"), ("background", "cat"))
    answer = np.array([[0, 1], [0, 0]])
    window, photo = Window(0, 0, 4, 4), np.full((4, 4, 3), 100, np.uint8)
    (entry,) = task.entries(answer, window, (4, 4))
    assert entry["category_id"] == 1 and entry["label"] == "cat" and entry["area"] == 4
    assert entry["segmentation"] == {"size": [4, 4], "counts": [8, 2, 2, 2, 2]}
    assert task.draw(photo, answer, window).shape == photo.shape
    assert task.draw(photo, answer * 0, window).tolist() == photo.tolist()
