"""Masks of several networks about the same photos: counted by pixels of the photo, some kept as pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.data.photos import prepare
from oaq.data.window import Window, window_of
from oaq.report.html.pictures import Sheet
from oaq.tasks import Task
from oaq.tasks.segment import confusion, on_photo
from oaq.tasks.task import Picture
from oaq.terminal import say
from recipes.segmentation.samples import IGNORE, Masked
from recipes.sheets import EvenChoice, small_jpeg

FLOAT: Final = "float"
"""Name of the network that agreement is with."""
Runner = Callable[[NDArray[np.float32]], NDArray[Any]]
"""One prepared sample, (1, C, H, W), to the output that the task reads, (1, ...)."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A photo for the report.

    Attributes:
        title: of the sample.
        photo: its pixels.
        window: what of it the networks saw.
        truth: at the size of the networks' input.
        answers: by network, at that size.
    """

    title: str
    photo: Picture
    window: Window
    truth: NDArray[np.int64]
    answers: dict[str, NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Scored:
    """What came of a set.

    Attributes:
        photos: how many there were.
        counts: ``confusion`` with the truth, by network.
        agreement: ``confusion`` with the float network, by network.
        pictured: photos for the report.
    """

    photos: int
    counts: dict[str, NDArray[np.int64]]
    agreement: dict[str, NDArray[np.int64]]
    pictured: tuple[Shown, ...]


def score_set(networks: Mapping[str, Runner], task: Task, samples: Iterable[Masked], label: str) -> Scored:
    """Run every sample through all networks; pixels that no network saw are not counted.

    Args:
        networks: by name, ``FLOAT`` the first.
        task: of all of them.
        samples: read once.
        label: of the progress bar.
    """
    classes, pictured = len(task.labels), EvenChoice[Shown]()
    counts = {name: np.zeros((classes, classes), np.int64) for name in networks}
    agreement = {name: np.zeros((classes, classes), np.int64) for name in networks}
    for sample in say.track(samples, label):
        rows, columns = sample.mask.shape
        window, x = window_of(task.preprocess, columns, rows), prepare(sample.photo, task.preprocess)[None]
        answers = {name: _answer(task, run(x)) for name, run in networks.items()}
        wide = {name: on_photo(answer, window, (rows, columns), IGNORE) for name, answer in answers.items()}
        truth = np.where(wide[FLOAT] == IGNORE, IGNORE, sample.mask)
        for name, answer in wide.items():
            counts[name] = _sum(counts[name], confusion([answer], [truth], IGNORE, classes))
            agreement[name] = _sum(agreement[name], confusion([answer], [wide[FLOAT]], IGNORE, classes))
        pictured.offer(Shown(sample.title, sample.photo, window, sample.mask, answers))
    return Scored(len(pictured), counts, agreement, tuple(pictured.chosen().values()))


def _answer(task: Task, output: NDArray[Any]) -> NDArray[np.int64]:
    return task.decode({task.decoder.output: np.asarray(output)[0]})


def _sum(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sum of two counts, of which one may tell more classes apart."""
    size = max(len(a), len(b))
    return np.pad(a, (0, size - len(a))) + np.pad(b, (0, size - len(b)))


def contact_sheet(scored: Scored, task: Task, name: str) -> list[Sheet]:
    """Truth, float and integers side by side for the photos that were kept."""
    sheets = []
    for item in scored.pictured:
        rows, columns = item.photo.shape[:2]
        all_of_it = Window(0.0, 0.0, float(columns), float(rows))
        truth = np.where(item.truth == IGNORE, task.decoder.background, item.truth)
        pictures = [("truth", task.draw(item.photo, truth, all_of_it))]
        pictures += [(title, task.draw(item.photo, answer, item.window)) for title, answer in item.answers.items()]
        sides = tuple((title, small_jpeg(picture)) for title, picture in pictures)
        sheets.append(Sheet(f"{name}: {item.title.rpartition('/')[2]}", sides))
    return sheets
