"""The detectors of the recipe: where weights come from, what their outputs mean, and what budget they are worth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import nn

from oaq.ptq.rounding import Rounding
from oaq.tasks import Task, detect
from oaq.tasks.coco import COCO
from recipes.checkpoint import is_trained
from recipes.detection import ssd, train, yolo

Loaded = tuple[nn.Module, Task]


@dataclass(frozen=True)
class DetectionNetwork:
    """A detector by its name.

    Attributes:
        name: on the command line and in result files.
        load: (file of weights or None, folder for what is made, steps of training) to the network in eval mode and
            its task.
        budget: predicted cost at which it is quantized unless --budget says otherwise.
        rounding: of weights unless --rounding says otherwise.
        informed_terms: products of the longest sums that rounding looks at data for. Heads of 3 x 3 windows over 1280
            channels sum 11520 products and calibration shows them 6400 positions: error feedback has nothing to learn
            from there, and takes most of the time.
    """

    name: str
    load: Callable[[Path | None, Path, int], Loaded]
    budget: float | None
    rounding: Rounding
    informed_terms: int | None = None


def load_yolo(weights: Path | None, folder: Path, steps: int) -> Loaded:
    """The YOLO-shaped network: weights of a file, those that an earlier run trained, or trained now.

    Args:
        weights: file of weights; None: ``folder / "weights.pt"``, which is trained if it is not there.
        folder: of the network.
        steps: of training; 0: random weights.
    """
    path = weights or folder / train.WEIGHTS
    if weights is None and steps == 0:
        return yolo.load()
    if weights is None and not is_trained(path, steps):
        train.make_weights(path, steps=steps)
    return yolo.load(path)


NETWORKS: Final[Mapping[str, DetectionNetwork]] = {
    network.name: network
    for network in (
        DetectionNetwork("ssd-mobilenet-v2", lambda weights, _folder, _steps: ssd.load(weights), 1.05, "axe", 2000),
        DetectionNetwork("yolo", load_yolo, 1.2, "nearest"),
    )
}


def outputs_of(task: Task) -> tuple[str, ...]:
    """Names of the outputs that a detector's task reads, in the network's order."""
    parts = [part.output for head in task.decoder.heads for part in (head.boxes, head.scores)]
    return tuple(dict.fromkeys(parts))


def renamed(task: Task, names: Sequence[str]) -> Task:
    """``task`` for a network that calls its outputs ``names``, in the same order."""
    new = dict(zip(outputs_of(task), names, strict=True))
    heads = tuple(
        dataclasses.replace(
            head,
            boxes=dataclasses.replace(head.boxes, output=new[head.boxes.output]),
            scores=dataclasses.replace(head.scores, output=new[head.scores.output]),
        )
        for head in task.decoder.heads
    )
    return detect(task.preprocess, task.labels, dataclasses.replace(task.decoder, heads=heads))


def class_indices(task: Task) -> dict[int, int]:
    """Index of the network's class by COCO's category id."""
    ids = {name: number for number, name in COCO.items()}
    return {ids[label]: index for index, label in enumerate(task.labels) if label in ids}
