"""Answers of the float network and of the integers on the same photos, scored and pictures side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from oaq.data.photos import prepare
from oaq.report.html.pictures import Sheet
from oaq.runtime import Session
from oaq.tasks import Detections, Task
from oaq.tasks.task import Picture
from oaq.terminal import say
from recipes.detection.networks import class_indices
from recipes.detection.samples import Sample
from recipes.detection.scoring import Truth, known_of
from recipes.sheets import EvenChoice, small_jpeg


@dataclass(frozen=True, eq=False)
class Pair:
    """Both answers about a photo.

    Attributes:
        objects: what is on it.
        exact, rounded: answers of the float network and of the integers, in shares of the input.
    """

    objects: Truth
    exact: Detections
    rounded: Detections


def answer_pairs(
    net: torch.nn.Module, session: Session, task: Task, samples: Iterable[Sample], label: str
) -> tuple[list[Pair], dict[int, Picture]]:
    """Run every sample through both networks; some, evenly spaced, keep their photos."""
    names, indices, pairs = session.plan.program.outputs, class_indices(task), list[Pair]()
    photos = EvenChoice[Picture]()
    for sample in say.track(samples, label):
        x = prepare(sample.photo, task.preprocess)[None]
        with torch.inference_mode():
            exact = [np.asarray(y)[0] for y in net(torch.from_numpy(x))]
        rounded = [np.asarray(y)[0] for y in session.run(x)]
        answers = [task.decode(dict(zip(names, side, strict=True))) for side in (exact, rounded)]
        pairs.append(Pair(known_of(sample, task, indices), answers[0], answers[1]))
        photos.offer(sample.photo)
    return pairs, photos.chosen()


def contact_sheet(pairs: Sequence[Pair], photos: Mapping[int, Picture], task: Task, name: str) -> list[Sheet]:
    """Float and integers side by side for the photos that were kept, by their place among the pairs."""
    sheets = []
    for place, photo in photos.items():
        pair = pairs[place]
        pictures = [task.draw(photo, answer, pair.objects.window) for answer in (pair.exact, pair.rounded)]
        sides = tuple(
            (title, small_jpeg(picture)) for title, picture in zip(("float", "int16, proved"), pictures, strict=True)
        )
        sheets.append(Sheet(f"{name}: {pair.objects.title.rpartition('/')[2]}", sides))
    return sheets
