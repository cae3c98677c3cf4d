"""What the detector learns by: the loss of scores and boxes, and the two trainings, float and integers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import nn

from recipes.aqd.garments import Garments
from recipes.aqd.network import SIDE, STRIDES
from recipes.checkpoint import BySteps, train_by_steps, warmed_cosine
from recipes.detection.points import Levels, Targets, giou

LEVELS: Final = Levels(SIDE, STRIDES, (20.0, 40.0, math.inf))
BATCH: Final = 16
RATE: Final = 3e-3
"""Highest rate of Adam for the float network."""
SAVE_EVERY: Final = 50
SURE: Final = 1e-3
"""Scores are taken as at least this far from 0 and 1, where the logarithm of a rounded score is infinite."""


def loss_of(outputs: Sequence[torch.Tensor], targets: Targets) -> torch.Tensor:
    """Quality focal loss of scores (2006.04388) and overlap of boxes, by the number of cells that answer."""
    count = len(outputs[0])
    codes, scores = (
        torch.cat([y.flatten(2).transpose(1, 2) for y in outputs[part::2]], 1).flatten(0, 1) for part in (0, 1)
    )
    cells, share = targets.cells, max(len(targets.cells), 1)
    at = torch.from_numpy(targets.centres).float().repeat(count, 1)[cells]
    sides = codes[cells] * torch.from_numpy(targets.strides).float().repeat(count)[cells, None]
    overlap = giou(torch.cat([at - sides[:, :2], at + sides[:, 2:]], 1), targets.boxes)
    quality = torch.zeros_like(scores)
    quality[cells, targets.classes] = overlap.detach().clamp(min=0.2)
    sure = scores + (scores.clamp(SURE, 1 - SURE) - scores).detach()
    wrong = (quality - sure).abs().detach() ** 2
    classes = (F.binary_cross_entropy(sure, quality, reduction="none") * wrong).sum() / share
    return 2.0 * classes + 2.0 * (1 - overlap).sum() / share


def train_float(net: nn.Module, garments: Garments, path: Path, *, steps: int, seed: int, batch: int = BATCH) -> None:
    """Train the float detector, or go on with it; weights go to ``path``.

    Raises:
        FormatError: what an earlier run left is damaged, or of another network.
    """

    def loss(step: int) -> torch.Tensor:
        x, boxes = garments.batch(batch, seed, step)
        return loss_of(net(x), Targets(boxes, LEVELS))

    training = BySteps(
        f"train {path.stem}",
        steps,
        lambda step: RATE * warmed_cosine(step, steps, min(100, steps)),
        loss,
        lambda value: f"loss {value:.2f}",
        SAVE_EVERY,
    )
    train_by_steps(net, training, path)
