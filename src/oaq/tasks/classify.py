"""Classification: one number per class, the largest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.data.preprocess import Preprocess
from oaq.data.window import Window
from oaq.tasks.task import IMAGES, Metric, Outputs, Picture, Task, label_of, the_output

Logits = NDArray[Any]


@dataclass(frozen=True)
class Classifier:
    """What a classifier's outputs mean.

    Attributes:
        output: that holds one number per class; "" is the first.
        top: classes that are shown.
    """

    output: str = ""
    top: int = 5


def classify(preprocess: Preprocess, labels: Sequence[str] = (), decoder: Classifier | None = None) -> Task:
    """The task of a classifier."""
    decoder, labels = decoder or Classifier(), tuple(labels)
    return Task(
        name="classify",
        preprocess=preprocess,
        labels=labels,
        decoder=decoder,
        decode=partial(decode_logits, decoder),
        draw=partial(draw_classes, decoder, labels),
        entries=partial(class_entries, decoder, labels),
        metrics=(TOP1,),
    )


def decode_logits(decoder: Classifier, outputs: Outputs) -> Logits:
    """(classes,) numbers, the class of the largest being the answer."""
    return the_output(outputs, decoder.output, "classify").reshape(-1)


def largest(logits: Logits, count: int) -> list[tuple[int, float]]:
    """The ``count`` largest as (class, value), equals in the order of their classes."""
    order = np.argsort(-logits.astype(np.float64), kind="stable")[: max(count, 0)]
    return [(int(index), float(logits[index])) for index in order]


def count_right(answers: Sequence[Logits], labels: Sequence[int]) -> float:
    """Samples whose largest number is that of their class."""
    return float(sum(int(answer.argmax()) == int(label) for answer, label in zip(answers, labels, strict=True)))


def count_same(float_answers: Sequence[Logits], answers: Sequence[Logits]) -> float:
    """Samples where both put the same class first."""
    return count_right(answers, [int(answer.argmax()) for answer in float_answers])


TOP1 = Metric("top-1", IMAGES, "higher", count_right, count_same)


def class_entries(
    decoder: Classifier, labels: Sequence[str], answer: Logits, window: Window, size: tuple[int, int]
) -> list[dict[str, Any]]:
    """The largest classes as ``category_id``, ``score`` and ``label``."""
    del window, size
    return [
        {"category_id": index, "score": value, "label": label_of(labels, index)}
        for index, value in largest(answer, decoder.top)
    ]


def draw_classes(decoder: Classifier, labels: Sequence[str], photo: Picture, answer: Logits, window: Window) -> Picture:
    """The photo with its largest classes written on it."""
    from oaq.tasks.drawing import write_lines

    del window
    lines = [f"{value:.2f} {label_of(labels, index) or index}" for index, value in largest(answer, decoder.top)]
    return write_lines(photo, lines)
