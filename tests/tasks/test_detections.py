"""Boxes: overlap, suppression, and average precision beside pycocotools."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from oaq.tasks.detections import Detections, average_precision, overlaps, recall, suppress, truth


def boxes_of(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, np.float64).reshape(-1, 4)


def test_boxes_without_area_overlap_nothing_not_even_themselves():
    point = boxes_of((1, 1, 1, 1))
    assert overlaps(point, point).tolist() == [[0.0]]
    assert overlaps(boxes_of((2, 2, 1, 1)), boxes_of((0, 0, 3, 3))).tolist() == [[0.0]]
    assert overlaps(boxes_of(), boxes_of((0, 0, 1, 1))).shape == (0, 1)


def test_touching_boxes_do_not_overlap_and_equal_ones_do_wholly():
    assert overlaps(boxes_of((0, 0, 1, 1)), boxes_of((1, 0, 2, 1), (0, 0, 1, 1))).tolist() == [[0.0, 1.0]]


def test_suppression_keeps_the_stronger_and_takes_equals_in_their_order():
    boxes = boxes_of((0, 0, 10, 10), (0, 0, 10, 9), (20, 0, 30, 10), (0, 0, 10, 10))
    scores = np.array([0.5, 0.9, 0.1, 0.9])
    assert suppress(boxes, scores, 0.6, 10).tolist() == [1, 2]
    assert suppress(boxes, scores, 1.0, 10).tolist() == [1, 3, 0, 2]
    assert suppress(boxes, scores, 1.0, 2).tolist() == [1, 3]
    assert suppress(boxes[:0], scores[:0], 0.5, 2).tolist() == []


def test_shapes_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="do not belong together"):
        Detections(np.zeros((2, 4)), np.zeros(1), np.zeros(2, np.int64))


def test_nothing_answered_where_nothing_is_counts_as_right():
    assert average_precision([truth([], [])], [truth([], [])]) == 1.0
    assert average_precision([truth([[0, 0, 1, 1]], [1])], [truth([], [])]) == 0.0
    assert average_precision([truth([], [])], [truth([[0, 0, 1, 1]], [1])]) == 0.0
    assert average_precision([truth([[0, 0, 1, 1]], [1])], [truth([[0, 0, 1, 1]], [1])]) == 1.0
    with pytest.raises(ValueError, match="1 answers for 0 photos"):
        average_precision([truth([], [])], [])


def test_recall_asks_for_class_score_and_overlap():
    objects = [truth([[0, 0, 10, 10], [20, 20, 30, 30]], [1, 2])]
    answer = [Detections(boxes_of((0, 0, 10, 10), (20, 20, 30, 30)), np.array([0.5, 0.2]), np.array([1, 2]))]
    assert recall(answer, objects, 0.3) == 1
    assert recall(answer, objects, 0.1) == 2
    assert recall([truth([[0, 0, 10, 10]], [2])], objects, 0.1) == 0


def draw(rng: np.random.Generator, photos: int) -> tuple[list[Detections], list[Detections]]:
    answers, truths = [], []
    for _ in range(photos):
        corner = rng.uniform(0, 60, (rng.integers(0, 6), 2))
        objects = truth(np.hstack([corner, corner + rng.uniform(5, 40, corner.shape)]), rng.integers(1, 4, len(corner)))
        moved = objects.boxes + rng.normal(0, 1, objects.boxes.shape).clip(-2, 2)
        loose = rng.uniform(0, 50, (rng.integers(0, 8), 2))
        boxes = np.vstack([moved, np.hstack([loose, loose + rng.uniform(5, 40, loose.shape)])])
        classes = np.concatenate([objects.classes, rng.integers(1, 5, len(loose))])
        scores = rng.choice([0.1, 0.3, 0.5, 0.7, 0.9], len(boxes))
        answers.append(Detections(boxes, scores, classes))
        truths.append(objects)
    return answers, truths


def by_pycocotools(answers: list[Detections], truths: list[Detections]) -> tuple[float, float]:
    def entry(number: int, photo: int, box: np.ndarray, index: int) -> dict[str, object]:
        left, top, right, bottom = (float(value) for value in box)
        sides = [left, top, right - left, bottom - top]
        return {
            "id": number, "image_id": photo, "category_id": int(index), "bbox": sides, "iscrowd": 0,
            "area": sides[2] * sides[3],
        }  # fmt: skip

    coco = COCO()
    pairs = [(photo, box, index) for photo, t in enumerate(truths, 1) for box, index in zip(t.boxes, t.classes)]  # noqa: B905
    coco.dataset = {
        "images": [{"id": photo} for photo in range(1, len(truths) + 1)],
        "annotations": [entry(number, *pair) for number, pair in enumerate(pairs, 1)],
        "categories": [{"id": index, "name": str(index)} for index in range(1, 6)],
    }
    results = []
    for photo, answer in enumerate(answers, 1):
        for box, score, index in zip(answer.boxes, answer.scores, answer.classes, strict=True):
            results.append(entry(0, photo, box, index) | {"score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


@pytest.mark.parametrize("seed", range(6))
def test_average_precision_is_that_of_pycocotools(seed: int) -> None:
    answers, truths = draw(np.random.default_rng(seed), 12)
    expected = by_pycocotools(answers, truths)
    assert average_precision(answers, truths) == pytest.approx(expected[0], abs=1e-9)
    assert average_precision(answers, truths, (0.5,)) == pytest.approx(expected[1], abs=1e-9)
