"""Scores as the field takes them: COCO's, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from oaq.data.window import Window, window_of
from oaq.tasks import Detections, Task
from oaq.tasks.detect import on_photo
from oaq.tasks.detections import recall, truth
from recipes.detection.samples import Sample


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of a photo, without its pixels.

    Attributes:
        title: of the sample.
        size: (rows, columns).
        window: what of it the network sees.
        objects: in pixels, counted ones and crowds.
        crowd: (n,) which of them are not counted.
    """

    title: str
    size: tuple[int, int]
    window: Window
    objects: Detections
    crowd: np.ndarray


def known_of(sample: Sample, task: Task, indices: Mapping[int, int] | None = None) -> Truth:
    """What is known of a sample, without its pixels.

    Args:
        sample: its objects are of COCO's categories.
        task: of the network.
        indices: the network's class by category; None: they are the same numbers.
    """
    rows, columns = sample.photo.shape[:2]
    classes = [int(number) if indices is None else indices[int(number)] for number in sample.categories]
    objects = truth(sample.boxes.tolist(), classes)
    return Truth(sample.title, (rows, columns), window_of(task.preprocess, columns, rows), objects, sample.ignored)


def in_pixels(answer: Detections, facts: Truth) -> Detections:
    """An answer in pixels of its photo."""
    return Detections(on_photo(answer, facts.window, facts.size), answer.scores, answer.classes)


def coco_scores(truths: Sequence[Truth], answers: Sequence[Detections]) -> tuple[float, float]:
    """Mean average precision over overlaps of 0.5 to 0.95, and at 0.5, in 0..1, by pycocotools.

    Args:
        truths: of every photo.
        answers: as many, in shares of the network's input; classes as the truths have them.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    coco: Any = COCO()
    coco.dataset = coco_dataset(truths)
    results = [
        {"image_id": number, "category_id": int(index), "bbox": _sides(box), "score": float(score)}
        for number, pixels in enumerate(map(in_pixels, answers, truths), 1)
        for box, score, index in zip(pixels.boxes, pixels.scores, pixels.classes, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        if not results:
            return 0.0, 0.0
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


def coco_dataset(truths: Sequence[Truth]) -> dict[str, Any]:
    """Truths in COCO's form."""
    entries = [
        (number, box, int(index), bool(crowd))
        for number, facts in enumerate(truths, 1)
        for box, index, crowd in zip(facts.objects.boxes, facts.objects.classes, facts.crowd, strict=True)
    ]
    return {
        "images": [
            {"id": number, "file_name": facts.title, "height": facts.size[0], "width": facts.size[1]}
            for number, facts in enumerate(truths, 1)
        ],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": index,
                "bbox": _sides(box),
                "area": float((box[2] - box[0]) * (box[3] - box[1])),
                "iscrowd": int(crowd),
            }
            for number, (image, box, index, crowd) in enumerate(entries, 1)
        ],
        "categories": [{"id": index, "name": str(index)} for index in range(91)],
    }


def _sides(box: np.ndarray) -> list[float]:
    left_edge, top, right, bottom = (float(value) for value in box)
    return [left_edge, top, right - left_edge, bottom - top]


def recalled(truths: Sequence[Truth], answers: Sequence[Detections], score: float = 0.3) -> int:
    """Objects that a box of their class, of at least ``score``, overlaps by more than half."""
    pixels = [in_pixels(answer, facts) for answer, facts in zip(answers, truths, strict=True)]
    return recall(pixels, [facts.objects.select(~facts.crowd) for facts in truths], score)
