"""Boxes with classes and scores, and what is counted on them: overlap, suppression, average precision. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
THRESHOLDS: Final = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""Overlaps at which COCO asks whether a box is right."""
RECALLS: Final = np.linspace(0.0, 1.0, 101)
"""Recalls at which COCO reads precision."""


@dataclass(frozen=True, eq=False)
class Detections:
    """Objects of one photo, as answered or, with scores of 1, as they are.

    Attributes:
        boxes: (n, 4) float64: left, top, right, bottom, as shares of the network's input or in pixels.
        scores: (n,) float64 in 0..1.
        classes: (n,) int64.
    """

    boxes: Boxes
    scores: NDArray[np.float64]
    classes: NDArray[np.int64]

    def __post_init__(self) -> None:
        count = len(self.scores)
        if self.boxes.shape != (count, 4) or self.scores.shape != (count,) or self.classes.shape != (count,):
            raise ValueError(
                f"boxes {self.boxes.shape}, scores {self.scores.shape} and classes {self.classes.shape} do not belong "
                "together: (n, 4), (n,) and (n,) are expected"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score: float) -> Detections:
        """Those of at least ``score``."""
        return self.select(self.scores >= score)

    def select(self, index: NDArray[Any]) -> Detections:
        """Those of an index or a mask."""
        return Detections(self.boxes[index], self.scores[index], self.classes[index])


def truth(boxes: Sequence[Sequence[float]], classes: Sequence[int]) -> Detections:
    """Objects as they are."""
    count = len(classes)
    array = np.asarray(boxes, np.float64).reshape(count, 4)
    return Detections(array, np.ones(count), np.asarray(classes, np.int64).reshape(count))


def overlaps(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """(len(a), len(b)) intersection over union, 0 for boxes without area.

    >>> overlaps(np.array([[0.0, 0, 2, 1]]), np.array([[1.0, 0, 3, 1]])).round(3).tolist()
    [[0.333]]
    """
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    common = np.prod(np.maximum(sides, 0.0), axis=2)
    areas = [np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None, :] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def suppress(boxes: Boxes, scores: NDArray[np.float64], overlap: float, most: int) -> NDArray[np.int64]:
    """Greedy suppression: indices by falling score, without boxes that overlap a picked one by more than ``overlap``.

    Args:
        boxes: (n, 4).
        scores: (n,); equals are picked in their order.
        overlap: intersection over union, 0..1.
        most: indices at most.
    """
    order = np.argsort(-scores, kind="stable")
    picked: list[int] = []
    while len(order) and len(picked) < most:
        first, order = int(order[0]), order[1:]
        picked.append(first)
        order = order[overlaps(boxes[first : first + 1], boxes[order])[0] <= overlap]
    return np.array(picked, np.int64)


def average_precision(
    answers: Sequence[Detections], truths: Sequence[Detections], thresholds: Sequence[float] = THRESHOLDS
) -> float:
    """COCO's mean average precision over classes and ``thresholds``: all areas, at most 100 answers per photo.

    Precision is read at 101 recalls, after it has been made to fall; classes without an object do not count. Equal to
    pycocotools where no object is marked as a crowd (a test compares them).

    Returns:
        0..1; 1.0 if there is neither an object nor an answer, 0.0 if there are answers but no object.
    """
    if len(answers) != len(truths):
        raise ValueError(f"{len(answers)} answers for {len(truths)} photos")
    best = [_first(answer, 100) for answer in answers]
    classes = sorted({int(index) for objects in truths for index in objects.classes})
    if not classes:
        return 0.0 if any(len(answer) for answer in answers) else 1.0
    values = [_class_precision(best, truths, index, level) for index in classes for level in thresholds]
    return float(np.mean(values))


def recall(answers: Sequence[Detections], truths: Sequence[Detections], score: float, overlap: float = 0.5) -> int:
    """Objects that a box of their class and of at least ``score`` overlaps by more than ``overlap``."""
    hits = 0
    for answer, objects in zip(answers, truths, strict=True):
        sure = answer.above(score)
        shares = overlaps(objects.boxes, sure.boxes)
        shares[objects.classes[:, None] != sure.classes[None, :]] = 0.0
        hits += int(np.sum(shares.max(axis=1, initial=0.0) > overlap))
    return hits


def _first(answer: Detections, count: int) -> Detections:
    return answer.select(np.argsort(-answer.scores, kind="stable")[:count])


def _class_precision(
    answers: Sequence[Detections], truths: Sequence[Detections], index: int, threshold: float
) -> float:
    """Average precision of a class at an overlap."""
    scores, right, objects = [], [], 0
    for answer, true in zip(answers, truths, strict=True):
        class_answer, class_truth = answer.select(answer.classes == index), true.select(true.classes == index)
        objects += len(class_truth)
        scores.append(class_answer.scores)
        right.append(_matches(class_answer.boxes, class_truth.boxes, threshold))
    order = np.argsort(-np.concatenate(scores), kind="mergesort")
    hit = np.concatenate(right)[order]
    hits = np.cumsum(hit)
    precision = hits / np.arange(1, len(hit) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(hits / objects, RECALLS, side="left")
    return float(np.mean(np.append(falling, 0.0)[np.minimum(at, len(falling))]))


def _matches(boxes: Boxes, objects: Boxes, threshold: float) -> NDArray[np.bool_]:
    """Which boxes, best first, meet an object that none before them met: each takes the object it overlaps most."""
    shares = overlaps(boxes, objects)
    right = np.zeros(len(boxes), bool)
    for at in range(len(boxes) if len(objects) else 0):
        nearest = len(objects) - 1 - int(shares[at, ::-1].argmax())  # the last of equals, as pycocotools has it
        if shares[at, nearest] >= min(threshold, 1 - 1e-10):
            right[at] = True
            shares[:, nearest] = -1.0
    return right
