"""``Task`` and ``Metric``: the values that every kind of network is described by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from oaq.data.preprocess import Preprocess
from oaq.data.window import Window
from oaq.errors import ProgramError

Outputs: TypeAlias = Mapping[str, NDArray[Any]]
"""What a network computes for one sample: real values by output, in the network's order, without a batch axis."""
Picture: TypeAlias = NDArray[np.uint8]
"""(rows, columns, 3) RGB."""
IMAGES = "images"
"""Unit of metrics that count images."""


@dataclass(frozen=True)
class Metric:
    """A number that says how good answers are.

    Attributes:
        name: of the field: "top-1", "mAP", "mIoU", "PSNR".
        unit: "images" for a count of them, "dB"; "" for a share in 0..1.
        better: which way is better.
        compute: answers and as many truths to the value.
        agreement: answers of the float network, and of the integers on the same samples, to the value that the metric
            takes if what the float network answers is the truth.
    """

    name: str
    unit: str
    better: Literal["higher", "lower"]
    compute: Callable[[Sequence[Any], Sequence[Any]], float]
    agreement: Callable[[Sequence[Any], Sequence[Any]], float]

    def text(self, value: float, images: int) -> str:
        """The value for people.

        >>> from oaq.tasks.classify import TOP1
        >>> TOP1.text(18.0, 20)
        '18 of 20 images'
        """
        return score_text(value, self.unit, images)


@dataclass(frozen=True, eq=False)
class Task:
    """What a network is for.

    Attributes:
        name: "classify", "detect", "segment" or "upscale".
        preprocess: how photos go in.
        labels: names of classes by index; empty if none are known.
        decoder: the frozen value that says what outputs mean; it travels with the file (see ``record``).
        decode: outputs of one sample to an answer. In answers, places are shares of the network's input, 0..1.
        draw: a photo, the answer about it and the window of it that the network saw, to a picture.
        entries: the answer in COCO's form of results: one dictionary per detection, per mask, or per class; the window
            and (rows, columns) of the photo make pixels of shares.
        metrics: the first is the one that speaks for the task.
    """

    name: str
    preprocess: Preprocess
    labels: tuple[str, ...]
    decoder: Any
    decode: Callable[[Outputs], Any]
    draw: Callable[[Picture, Any, Window], Picture]
    entries: Callable[[Any, Window, tuple[int, int]], list[dict[str, Any]]]
    metrics: tuple[Metric, ...]


def score_text(value: float, unit: str, images: int) -> str:
    """A metric's value for people: a count of images, decibels, or a share with three decimals.

    >>> score_text(0.91234, "", 20), score_text(31.6999, "dB", 5)
    ('0.912', '31.70 dB')
    """
    if unit == IMAGES:
        return f"{value:.0f} of {images} images"
    return f"{value:.2f} {unit}" if unit else f"{value:.3f}"


def label_of(labels: Sequence[str], index: int) -> str:
    """The name of a class; "" if it has none."""
    return labels[index] if 0 <= index < len(labels) else ""


def the_output(outputs: Outputs, name: str, where: str) -> NDArray[Any]:
    """The output called ``name``; the first if ``name`` is "".

    Raises:
        ProgramError: there is none, or it is empty; the names there are in the message.
    """
    name = name or next(iter(outputs), "")
    if name not in outputs:
        raise ProgramError(
            f"{where}: the task reads the output {name!r}; the network has {', '.join(map(repr, outputs))}"
        )
    if not outputs[name].size:
        raise ProgramError(f"{where}: the output {name!r} of shape {outputs[name].shape} holds no number")
    return outputs[name]
