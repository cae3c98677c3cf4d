"""Scores of a detector on composited crops: COCO's average precision, and which boxes are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import oaq
from oaq.data.photos import prepare
from oaq.qat import QatNetwork
from oaq.tasks import Detections, Task
from oaq.terminal import say
from recipes.aqd.network import LABELS, task_of
from recipes.detection.networks import outputs_of
from recipes.detection.samples import Sample
from recipes.detection.scoring import Truth, coco_scores, known_of

Outputs = Sequence[NDArray[np.float32]]
TOGETHER = 16
"""Crops in a batch."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a detector says of the test crops.

    Attributes:
        truths: what is on them.
        boxes: its answers, as shares of the input.
        ap, ap50: COCO's average precision over overlaps of 0.5 to 0.95, and at 0.5, in per cent.
    """

    truths: list[Truth]
    boxes: list[Detections]
    ap: float
    ap50: float


def answers_of(run: Callable[[NDArray[np.float32]], Outputs], samples: Sequence[Sample], label: str) -> Answers:
    """Run a detector on crops and score what it says."""
    task = task_of()
    facts = [known_of(sample, task, dict(enumerate(range(len(LABELS))))) for sample in samples]
    boxes: list[Detections] = []
    for start in say.track(range(0, len(samples), TOGETHER), label):
        outputs = run(pixels_of(samples[start : start + TOGETHER], task))
        boxes += [
            task.decode(dict(zip(outputs_of(task), values, strict=True))) for values in zip(*outputs, strict=True)
        ]
    ap, ap50 = (100 * value for value in coco_scores(facts, boxes))
    return Answers(facts, boxes, ap, ap50)


def pixels_of(samples: Sequence[Sample], task: Task) -> NDArray[np.float32]:
    """(n, 3, 128, 128) in 0..1."""
    return np.stack([prepare(sample.photo, task.preprocess) for sample in samples])


def by_torch(net: nn.Module) -> Callable[[NDArray[np.float32]], Outputs]:
    """A detector in float, or in training, with running statistics."""

    def run(x: NDArray[np.float32]) -> Outputs:
        with torch.inference_mode():
            return [y.numpy() for y in net.eval()(torch.from_numpy(x))]

    return run


@dataclass
class Compared:
    """Outputs of the native session beside those of the network in training, integer by integer.

    Attributes:
        session: runs the program.
        network: whose integers the program's are.
        outputs: numbers of logits (as scores) and boxes compared so far.
        different: of them.
    """

    session: oaq.Session
    network: QatNetwork
    outputs: int = 0
    different: int = 0

    def __call__(self, x: NDArray[np.float32]) -> Outputs:
        """The session's outputs."""
        outputs = self.session.run(x)
        for y, wanted in zip(outputs, by_torch(self.network)(x), strict=True):
            self.outputs += y.size
            self.different += int((y != wanted).sum())
        return list(outputs)
