"""Detection: boxes with classes and scores, decoded in float from what the integers of a detector say.

The decoder is a value that travels with the file: where boxes and scores lie in the outputs, where anchors stand, how
offsets become boxes. It is of no network in particular: SSD, RetinaNet, FCOS and the YOLO family differ in numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from oaq.data.preprocess import Preprocess
from oaq.data.window import Window
from oaq.errors import FormatError, ProgramError
from oaq.tasks.coco import category_ids
from oaq.tasks.detections import Boxes, Detections, average_precision, suppress, truth
from oaq.tasks.task import Metric, Outputs, Picture, Task, label_of, the_output

Reals = NDArray[np.float64]
LARGEST_EXPONENT: Final = 60.0
"""exp of more would make a box of no use infinite, and infinite boxes make NaN overlaps."""
LARGEST: Final = 1e30
"""Numbers beyond it, infinite ones included, are taken as it, so that what is computed of them stays finite."""


@dataclass(frozen=True)
class Grid:
    """Anchors of one level: at the centre of each cell, row by row, one per size.

    Attributes:
        rows, columns: cells.
        sizes: (height, width) of the anchors of a cell, as shares of the input; (0, 0) for points.
    """

    rows: int
    columns: int
    sizes: tuple[tuple[float, float], ...] = ((0.0, 0.0),)

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1 or not self.sizes:
            raise FormatError(f"a grid has cells and anchors, not {self.rows} x {self.columns} and {len(self.sizes)}")
        if not all(0 <= side <= LARGEST for size in self.sizes for side in size):
            raise FormatError(f"sizes of anchors are shares of the input, 0 to {LARGEST:g}, not {self.sizes[:8]}")


@dataclass(frozen=True)
class Part:
    """Numbers per anchor in an output.

    Attributes:
        output: its name.
        first, last: which numbers of each anchor, ``last`` not included; 0 stands for all that follow.
        channels_last: whether the anchors' numbers are the last axis, as in (rows, columns, n), and not the first.
    """

    output: str
    first: int = 0
    last: int = 0
    channels_last: bool = False


@dataclass(frozen=True)
class Head:
    """Boxes and scores of the same anchors.

    Attributes:
        boxes, scores: where they lie.
        grids: where the anchors stand, in the order of the output.
    """

    boxes: Part
    scores: Part
    grids: tuple[Grid, ...]

    def __post_init__(self) -> None:
        if not self.grids:
            raise FormatError("a head has a grid of anchors at least")


@dataclass(frozen=True)
class Detector:
    """What a detector's outputs mean.

    Attributes:
        heads: all outputs that are read.
        coder: "center_size": (y, x, h, w) offsets of anchors, divided by ``scales``, h and w logarithms (Faster R-CNN,
            SSD, RetinaNet). "distances": (left, top, right, bottom) of a cell's centre, in cells (FCOS, YOLO).
        scales: of "center_size".
        bins: of "distances": 0 takes a distance as it is; n takes the mean of softmax over n numbers each (DFL).
        activation: of scores.
        background: class that is no object; -1: there is none.
        score: below it a box is dropped.
        overlap: of two boxes of a class, above which the weaker is dropped.
        most: boxes per photo.
        visible: score from which on a box is drawn, printed and, of the float network, taken as the truth.
    """

    heads: tuple[Head, ...]
    coder: Literal["center_size", "distances"] = "center_size"
    scales: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    bins: int = 0
    activation: Literal["sigmoid", "softmax", "none"] = "sigmoid"
    background: int = 0
    score: float = 0.01
    overlap: float = 0.6
    most: int = 100
    visible: float = 0.3

    def __post_init__(self) -> None:
        fit = all(1 / LARGEST <= scale <= LARGEST for scale in self.scales)
        if not self.heads or not fit or self.bins < 0 or self.most < 1:
            raise FormatError(
                f"a detector has heads ({len(self.heads)}), scales from {1 / LARGEST:g} to {LARGEST:g} {self.scales}, "
                f"bins of at least 0 ({self.bins}) and at least one box per photo ({self.most})"
            )
        if not (0 <= self.score <= 1 and 0 <= self.overlap <= 1 and 0 <= self.visible <= 1):
            raise FormatError(f"score {self.score}, overlap {self.overlap} and visible {self.visible} lie in 0..1")


def detect(preprocess: Preprocess, labels: Sequence[str], decoder: Detector) -> Task:
    """The task of a detector."""
    labels = tuple(labels)
    return Task(
        name="detect",
        preprocess=preprocess,
        labels=labels,
        decoder=decoder,
        decode=partial(decode_boxes, decoder),
        draw=partial(draw_detections, decoder, labels),
        entries=partial(box_entries, decoder, labels),
        metrics=detect_metrics(decoder.visible),
    )


def detect_metrics(visible: float) -> tuple[Metric, ...]:
    """COCO's mAP, then mAP at an overlap of 0.5; truths of the agreement are float's boxes of at least ``visible``."""

    def agreement(
        thresholds: tuple[float, ...] | None, exact: Sequence[Detections], rounded: Sequence[Detections]
    ) -> float:
        objects = [
            truth(answer.above(visible).boxes.tolist(), answer.above(visible).classes.tolist()) for answer in exact
        ]
        return average_precision(rounded, objects, *([] if thresholds is None else [thresholds]))

    at_half = partial(average_precision, thresholds=(0.5,))
    return (
        Metric("mAP", "", "higher", average_precision, partial(agreement, None)),
        Metric("mAP@.5", "", "higher", at_half, partial(agreement, (0.5,))),
    )


def decode_boxes(decoder: Detector, outputs: Outputs) -> Detections:
    """Boxes as shares of the input, by falling score, after suppression.

    Raises:
        ProgramError: the outputs do not hold what the decoder reads.
    """
    boxes, scores = zip(*(_read_head(decoder, head, outputs) for head in decoder.heads), strict=True)
    return _pick(decoder, np.concatenate(boxes), np.concatenate(scores))


def _read_head(decoder: Detector, head: Head, outputs: Outputs) -> tuple[Boxes, Reals]:
    """(anchors, 4) boxes and (anchors, classes) scores in 0..1."""
    count = sum(grid.rows * grid.columns * len(grid.sizes) for grid in head.grids)
    codes, scores = _numbers(head.boxes, outputs, count), _numbers(head.scores, outputs, count)
    centres, sizes, cells = anchors(head.grids)
    width = 4 * max(decoder.bins, 1)
    if codes.shape[1] != width:
        raise ProgramError(
            f"detect: {head.boxes.output!r} holds {codes.shape[1]} numbers per box; the coder {decoder.coder!r} with "
            f"{decoder.bins} bins reads {width}"
        )
    boxes = (
        _centre_size(codes, centres, sizes, decoder.scales)
        if decoder.coder == "center_size"
        else (_distances(codes, centres, cells, decoder.bins))
    )
    return boxes, _activated(scores, decoder.activation)


def _numbers(part: Part, outputs: Outputs, anchors_: int) -> Reals:
    """(anchors, n) numbers of an output of any number of axes."""
    y = np.clip(np.atleast_1d(the_output(outputs, part.output, "detect")).astype(np.float64), -LARGEST, LARGEST)
    rows = y if part.channels_last else np.moveaxis(y, 0, -1)
    if y.size % anchors_:
        raise ProgramError(
            f"detect: {part.output!r} holds {y.size} numbers of shape {y.shape}, which {anchors_} anchors do not share"
        )
    return rows.reshape(anchors_, -1)[:, part.first : part.last or None]


@lru_cache(maxsize=32)
def anchors(grids: tuple[Grid, ...]) -> tuple[Reals, Reals, Reals]:
    """Centres (y, x), sizes (height, width) of all anchors in order, and the (height, width) of their cells; shares."""
    centres, sizes, cells = [], [], []
    for grid in grids:
        y = (np.arange(grid.rows) + 0.5) / grid.rows
        x = (np.arange(grid.columns) + 0.5) / grid.columns
        places = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)
        centres.append(np.repeat(places, len(grid.sizes), axis=0))
        sizes.append(np.tile(np.array(grid.sizes, np.float64), (len(places), 1)))
        cells.append(np.tile([1 / grid.rows, 1 / grid.columns], (len(places) * len(grid.sizes), 1)))
    return np.concatenate(centres), np.concatenate(sizes), np.concatenate(cells)


def _centre_size(codes: Reals, centres: Reals, sizes: Reals, scales: Sequence[float]) -> Boxes:
    offsets = codes / np.array(scales)
    middle = centres + offsets[:, :2] * sizes
    half = 0.5 * sizes * np.exp(np.clip(offsets[:, 2:], -LARGEST_EXPONENT, LARGEST_EXPONENT))
    return np.concatenate([(middle - half)[:, ::-1], (middle + half)[:, ::-1]], axis=1)


def _distances(codes: Reals, centres: Reals, cells: Reals, bins: int) -> Boxes:
    if bins:
        shares = _softmax(codes.reshape(len(codes), 4, bins))
        codes = shares @ np.arange(bins, dtype=np.float64)
    at, cell = centres[:, ::-1], cells[:, ::-1]
    return np.concatenate([at - codes[:, :2] * cell, at + codes[:, 2:] * cell], axis=1)


def _activated(numbers: Reals, activation: str) -> Reals:
    if activation == "softmax":
        return _softmax(numbers)
    if activation == "sigmoid":
        return 1 / (1 + np.exp(-np.clip(numbers, -LARGEST_EXPONENT, LARGEST_EXPONENT)))
    return numbers


def _softmax(numbers: Reals) -> Reals:
    powers = np.exp(numbers - numbers.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _pick(decoder: Detector, boxes: Boxes, scores: Reals) -> Detections:
    """The best boxes, each class suppressed on its own; boxes are cut at the edges of the input.

    Neither a box nor a score that is NaN is picked.
    """
    valid = ~np.isnan(boxes).any(axis=1)
    boxes, scores = np.clip(boxes[valid], 0.0, 1.0), scores[valid]
    picked, values, classes = [], [], []
    for index in range(scores.shape[1]):
        likely = np.flatnonzero(scores[:, index] >= decoder.score)
        if index == decoder.background or not len(likely):
            continue
        survivors = likely[suppress(boxes[likely], scores[likely, index], decoder.overlap, decoder.most)]
        picked.append(boxes[survivors])
        values.append(scores[survivors, index])
        classes.append(np.full(len(survivors), index, np.int64))
    if not picked:
        return truth([], [])
    merged = Detections(np.concatenate(picked), np.concatenate(values), np.concatenate(classes))
    return merged.select(np.argsort(-merged.scores, kind="stable")[: decoder.most])


def box_entries(
    decoder: Detector, labels: Sequence[str], answer: Detections, window: Window, size: tuple[int, int]
) -> list[dict[str, Any]]:
    """COCO results of what is visible: ``bbox`` is left, top, width, height in pixels of the photo."""
    ids = category_ids(labels)
    objects = answer.above(decoder.visible)
    return [
        {
            "category_id": ids.get(int(index), int(index)),
            "label": label_of(labels, int(index)),
            "bbox": [round(float(value), 2) for value in (box[0], box[1], box[2] - box[0], box[3] - box[1])],
            "score": round(float(score), 5),
        }
        for box, score, index in zip(on_photo(objects, window, size), objects.scores, objects.classes, strict=True)
    ]


def on_photo(answer: Detections, window: Window, size: tuple[int, int]) -> Boxes:
    """Boxes in pixels of a photo of (rows, columns), cut at its edges."""
    rows, columns = size
    return np.clip(window.to_pixels(answer.boxes), 0.0, np.array([columns, rows, columns, rows], np.float64))


def draw_detections(
    decoder: Detector, labels: Sequence[str], photo: Picture, answer: Detections, window: Window
) -> Picture:
    """The photo with a frame per object, the least sure first."""
    from oaq.tasks.drawing import colour, draw_boxes

    objects = answer.above(decoder.visible).select(np.arange(len(answer.above(decoder.visible)))[::-1])
    pixels = on_photo(objects, window, photo.shape[:2])
    names = [label_of(labels, int(index)) or f"class {index}" for index in objects.classes]
    texts = [f"{name} {score:.2f}" for name, score in zip(names, objects.scores, strict=True)]
    return draw_boxes(photo, pixels.tolist(), texts, [colour(int(index)) for index in objects.classes])
