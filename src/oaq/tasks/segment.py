"""Segmentation: a class per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.data.preprocess import Preprocess
from oaq.data.window import Window
from oaq.errors import FormatError, ProgramError
from oaq.tasks.task import Metric, Outputs, Picture, Task, label_of, the_output

Classes = NDArray[np.int64]
MOST_CLASSES: Final = 1 << 31
"""Classes are counted below it."""


@dataclass(frozen=True)
class Segmenter:
    """What a segmenter's output means.

    Attributes:
        output: (classes, rows, columns), or (rows, columns, classes) if ``channels_last``; (rows, columns) of one
            number is class 1 where it is above ``threshold``, of integers (ArgMax) the class. "" is the first output;
            the only output is read whatever its name.
        channels_last: where the classes lie.
        threshold: for one number per pixel.
        background: class that is not drawn; -1 draws all.
        ignore: class of truths that is not counted.
    """

    output: str = ""
    channels_last: bool = False
    threshold: float = 0.0
    background: int = 0
    ignore: int = 255

    def __post_init__(self) -> None:
        for name, number in (("background", self.background), ("ignore", self.ignore)):
            if not -1 <= number < MOST_CLASSES:
                raise FormatError(f"{name} is a class, -1 (none) to {MOST_CLASSES - 1}, not {number}")


def segment(preprocess: Preprocess, labels: Sequence[str] = (), decoder: Segmenter | None = None) -> Task:
    """The task of a segmenter."""
    decoder, labels = decoder or Segmenter(), tuple(labels)
    return Task(
        name="segment",
        preprocess=preprocess,
        labels=labels,
        decoder=decoder,
        decode=partial(decode_classes, decoder),
        draw=partial(draw_mask, decoder, labels),
        entries=partial(mask_entries, decoder, labels),
        metrics=segment_metrics(decoder.ignore),
    )


def segment_metrics(ignore: int = 255) -> tuple[Metric, ...]:
    """mIoU, then the share of pixels that are right; pixels of class ``ignore`` are not counted."""
    intersection = partial(mean_iou, ignore=ignore)
    pixels = partial(pixel_accuracy, ignore=ignore)
    return (
        Metric("mIoU", "", "higher", intersection, lambda exact, rounded: intersection(rounded, exact)),
        Metric("pixel accuracy", "", "higher", pixels, lambda exact, rounded: pixels(rounded, exact)),
    )


def decode_classes(decoder: Segmenter, outputs: Outputs) -> Classes:
    """(rows, columns) class of each pixel.

    Raises:
        ProgramError: the output has another number of axes, or is of integers that are not classes.
    """
    # the only output may have another name: a Softmax or ArgMax at the end is left out of a program
    name = "" if len(outputs) == 1 else decoder.output
    y = the_output(outputs, name, "segment")
    channel = -1 if decoder.channels_last else 0
    if y.ndim == 3 and y.shape[channel] == 1:
        y = y.squeeze(channel)
    if y.ndim == 2 and y.dtype.kind in "iu":
        if not 0 <= y.min() <= y.max() < MOST_CLASSES:
            raise ProgramError(f"segment: an output of integers holds classes, 0 or more, not {y.min()} to {y.max()}")
        return y.astype(np.int64)
    if y.ndim == 2:
        return (y > decoder.threshold).astype(np.int64)
    if y.ndim != 3:
        raise ProgramError(f"segment: an output is (classes, rows, columns) or (rows, columns), not {y.shape}")
    return y.argmax(axis=channel).astype(np.int64)


def mean_iou(answers: Sequence[Classes], truths: Sequence[Classes], ignore: int = 255) -> float:
    """Mean over classes of intersection over union, each summed over all photos; classes that never occur are left out.

    Returns:
        0..1; 1.0 if no pixel is counted.

    Raises:
        ValueError: an answer and its truth differ in size.
    """
    return mean_iou_of(confusion(answers, truths, ignore))


def pixel_accuracy(answers: Sequence[Classes], truths: Sequence[Classes], ignore: int = 255) -> float:
    """Share of the counted pixels whose class is right."""
    return pixel_accuracy_of(confusion(answers, truths, ignore))


def confusion(
    answers: Sequence[Classes], truths: Sequence[Classes], ignore: int = 255, classes: int = 0
) -> NDArray[np.int64]:
    """Pixels by (true class, answered class); what is summed over photos that do not fit into memory together.

    Args:
        answers: (rows, columns) class of each pixel, by photo.
        truths: as many.
        ignore: class of truths that is not counted.
        classes: rows and columns of the result at least; more if a larger class occurs.

    Raises:
        ValueError: an answer and its truth differ in size.
    """
    counts = np.zeros((classes, classes), np.int64)
    for answer, true in zip(answers, truths, strict=True):
        if answer.shape != true.shape:
            raise ValueError(f"a mask of {answer.shape} answers one of {true.shape}")
        valid = true != ignore
        rows, columns = true[valid].astype(np.int64), answer[valid].astype(np.int64)
        more = 1 + max(int(rows.max(initial=-1)), int(columns.max(initial=-1))) - len(counts)
        counts = np.pad(counts, (0, max(more, 0)))
        counts += np.bincount(rows * len(counts) + columns, minlength=counts.size).reshape(counts.shape)
    return counts


def class_iou(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union of each class of a ``confusion``; NaN of classes that never occur."""
    common = np.diag(counts).astype(np.float64)
    union = counts.sum(axis=0) + counts.sum(axis=1) - np.diag(counts)
    return np.divide(common, union, out=np.full(len(counts), np.nan), where=union > 0)


def mean_iou_of(counts: NDArray[np.int64]) -> float:
    """``mean_iou`` of what ``confusion`` counted."""
    shares = class_iou(counts)
    return float(np.nanmean(shares)) if np.isfinite(shares).any() else 1.0


def pixel_accuracy_of(counts: NDArray[np.int64]) -> float:
    """``pixel_accuracy`` of what ``confusion`` counted."""
    return float(np.trace(counts) / counts.sum()) if counts.any() else 1.0


def on_photo(answer: Classes, window: Window, size: tuple[int, int], outside: int) -> Classes:
    """The answer for every pixel of the photo (nearest), ``outside`` where the network did not look."""
    rows, columns = size
    y = (np.arange(rows) + 0.5 - window.y) / window.height
    x = (np.arange(columns) + 0.5 - window.x) / window.width
    inside = ((y >= 0) & (y < 1))[:, None] & ((x >= 0) & (x < 1))[None, :]
    row = np.clip((y * answer.shape[0]).astype(np.int64), 0, answer.shape[0] - 1)
    column = np.clip((x * answer.shape[1]).astype(np.int64), 0, answer.shape[1] - 1)
    return np.where(inside, answer[row[:, None], column[None, :]], outside)


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """COCO's uncompressed run lengths: columns after each other, beginning with the length of what is not set.

    >>> run_lengths(np.array([[False, True], [True, True]]))
    [1, 3]
    """
    flat = mask.reshape(-1, order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat]).astype(np.int8))).tolist()
    places = [0, *edges, flat.size]
    return [end - start for start, end in pairwise(places)]


def mask_entries(
    decoder: Segmenter, labels: Sequence[str], answer: Classes, window: Window, size: tuple[int, int]
) -> list[dict[str, Any]]:
    """A mask per class that occurs, but the background, as uncompressed run lengths of the photo's pixels."""
    classes = on_photo(answer, window, size, -1)
    return [
        {
            "category_id": index,
            "label": label_of(labels, index),
            "area": int(np.sum(classes == index)),
            "segmentation": {"size": list(size), "counts": run_lengths(classes == index)},
        }
        for index in np.unique(classes).tolist()
        if index not in (-1, decoder.background)
    ]


def draw_mask(decoder: Segmenter, labels: Sequence[str], photo: Picture, answer: Classes, window: Window) -> Picture:
    """The photo under half-transparent colours, the names of the classes beside it."""
    from oaq.tasks.drawing import colour, write_lines

    classes = on_photo(answer, window, photo.shape[:2], decoder.background)
    picture = photo.astype(np.float32)
    present = [int(index) for index in np.unique(classes) if index != decoder.background]
    for index in present:
        where = classes == index
        picture[where] = 0.45 * picture[where] + 0.55 * np.array(colour(index), np.float32)
    lines = [label_of(labels, index) or f"class {index}" for index in present]
    return write_lines(picture.round().astype(np.uint8), lines, [colour(index) for index in present])
