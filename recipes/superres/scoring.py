"""PSNR and SSIM of luma by set: bicubic, the float network and the integers on the same photos."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.data.photos import read_pixels
from oaq.data.window import Window
from oaq.report.html.pictures import Sheet
from oaq.tasks import Metric, Task
from oaq.terminal import say
from recipes.sheets import small_jpeg
from recipes.superres.enlarge import Enlarger, bicubic, enlarged
from recipes.superres.pictures import Sample, brightness, sample

SHOWN: Final = 2
"""Photos of each set in the report, evenly spaced in it."""
BICUBIC: Final = "bicubic"
SIDE: Final = 400
"""Pixels of the part of a photo that the report shows."""


@dataclass(eq=False)
class Answers:
    """Answers about the photos of a set.

    Attributes:
        name: of the set.
        truths: luma of each photo in 0..1.
        by_side: the answers, by who gave them.
        sheets: some photos in pictures.
    """

    name: str
    truths: list[NDArray[np.float64]] = field(default_factory=list)
    by_side: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)
    sheets: list[Sheet] = field(default_factory=list)

    def score(self, metric: Metric, side: str) -> float:
        """What a metric says of one side."""
        return metric.compute(self.by_side[side], self.truths)


def answer_set(
    name: str, paths: Sequence[Path], scale: int, sides: Mapping[str, Enlarger], task: Task | None = None
) -> Answers:
    """Every photo of a set, reduced and enlarged again by every side; bicubic is always one.

    Args:
        name: of the set.
        paths: its photos.
        scale: of the enlargement.
        sides: who enlarges, by name.
        task: draws some of the answers into sheets; None: there are none.

    Raises:
        FormatError: a photo does not decode.
    """
    answers = Answers(name, by_side={side: [] for side in (BICUBIC, *sides)})
    shown = set(np.linspace(0, len(paths) - 1, min(SHOWN, len(paths))).round().astype(int).tolist())
    for place, path in enumerate(say.track(paths, name)):
        pair = sample(path.name, read_pixels(path), scale)
        answers.truths.append(brightness(pair.photo).astype(np.float64))
        answers.by_side[BICUBIC].append(brightness(bicubic(pair.small, scale)).astype(np.float64))
        for side, enlarger in sides.items():
            answers.by_side[side].append(enlarged(brightness(pair.small), scale, enlarger))
        if task is not None and place in shown:
            answers.sheets.append(_sheet(name, pair, {side: rows[-1] for side, rows in answers.by_side.items()}, task))
    return answers


def _sheet(name: str, pair: Sample, answers: Mapping[str, NDArray[np.float64]], task: Task) -> Sheet:
    """The middle of a photo by every side, and as it is."""
    rows, columns = pair.photo.shape[:2]
    top, first = max((rows - SIDE) // 2, 0), max((columns - SIDE) // 2, 0)
    part = (slice(top, top + SIDE), slice(first, first + SIDE))
    window = Window(0.0, 0.0, float(pair.small.shape[1]), float(pair.small.shape[0]))
    drawn = {side: task.draw(pair.small, answer, window) for side, answer in answers.items()} | {"photo": pair.photo}
    pictures = tuple((side, small_jpeg(np.ascontiguousarray(picture[part]))) for side, picture in drawn.items())
    return Sheet(f"{name}: {pair.title}", pictures)


def figures(sets: Iterable[Answers], metrics: Sequence[Metric], sides: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Lines of the table: (metric and set, a value for each side)."""
    lines = []
    for answers in sets:
        for metric in metrics:
            values = [answers.score(metric, side) for side in (BICUBIC, *sides)]
            count = len(answers.truths)
            texts = " / ".join(f"{value:.4f}" if metric.unit == "" else f"{value:.2f}" for value in values)
            lines.append((f"{metric.name} on {answers.name}, {count} photos, {' / '.join((BICUBIC, *sides))}", texts))
    return tuple(lines)
