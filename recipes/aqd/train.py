"""What the detector learns by: the loss of scores and boxes, and the two trainings, float and integers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from oaq.capture.graph import TensorParams
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.qat import Config, LayerRule, QatNetwork, Target, parameter_groups, prepare, reestimate
from oaq.terminal import say
from recipes.aqd.garments import Garments
from recipes.aqd.network import SIDE, STRIDES, Fcos
from recipes.checkpoint import BySteps, restore_state, save_state, train_by_steps, warmed_cosine
from recipes.detection.points import Levels, Targets, giou

LEVELS: Final = Levels(SIDE, STRIDES, (20.0, 40.0, math.inf))
BATCH: Final = 16
RATE: Final = 3e-3
"""Highest rate of Adam for the float network."""
SAVE_EVERY: Final = 50
INTEGER_RATE: Final = 1e-3
"""Highest rate of weights while integers are trained."""
DECAY: Final = 1e-4
CALIBRATION, INTEGERS, STATISTICS = 1_000_001, 1_000_002, 1_000_003
"""Seeds of the crops that ranges begin on, that integers are trained on, and that statistics are measured on."""
MEASURED: Final = 16
"""Batches that statistics are measured on."""
STEM: Final = r"stem\.conv"
PREDICTORS: Final = r"heads\.(boxes|scores).*"
ENDS_RUN: Final = 8
"""Steps between two spills at the ends, where operands and weights have 8 bits; elsewhere there is no spill."""
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


@dataclass(frozen=True)
class Bits:
    """How a detector's integers are trained.

    Attributes:
        wide: bits of weights and operands; predictors and the stem have 8.
        method: of ``oaq.qat``: "none" is the paper's rule, with odd weights below 8 bits; "proved" keeps 16-bit lanes.
    """

    wide: int
    method: Literal["none", "proved"] = "none"

    def config(self, *, levels: bool) -> Config:
        """Everything an addition reads has 8 bits; every node requantizes in fixed point."""
        ends = LayerRule(PREDICTORS, 8, 8, Target("avx2", 16, ENDS_RUN))
        return Config(
            method=self.method,
            weight_bits=self.wide,
            activation_bits=self.wide,
            target=Target("avx2", 16),
            layers=(LayerRule(STEM, target=Target("avx2", 16, ENDS_RUN)), ends),
            batch_norm="levels" if levels else "reestimate",
            weight_grid="odd" if self.method == "none" else "centred",
            wide_residuals=True,
            requantize="fixed_point",
        )


def train_integers(
    net: Fcos, garments: Garments, bits: Bits, path: Path, *, steps: int, seed: int, batch: int = BATCH
) -> QatNetwork:
    """Train the integers of a trained detector, or go on with them; in eval mode, with running statistics, at the end.

    Statistics are measured anew on training crops when all steps are done.

    Raises:
        ConfigError: a layer cannot keep its accumulator at its bits.
        FormatError: what an earlier run left is damaged, or of another network.
    """
    samples = [garments.batch(batch, seed, CALIBRATION, number)[0] for number in range(4)]
    network = prepare(net, samples[0][:1], bits.config(levels=net.levels), calibration=samples, name=path.stem)
    keep_pixels(network)
    optimizer = torch.optim.AdamW(parameter_groups(network, INTEGER_RATE, DECAY), INTEGER_RATE)
    loads = {"net": network.load_state_dict, "optimizer": optimizer.load_state_dict}
    done = restore_state(path, loads)
    rates = [group["lr"] for group in optimizer.param_groups] if not done else _rates(network)
    network.train()
    with say.stages(f"train {path.stem}") as report:
        for step in range(done, steps):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * warmed_cosine(step, steps, min(20, steps))
            x, boxes = garments.batch(batch, seed, INTEGERS, step)
            loss = loss_of(network(x), Targets(boxes, LEVELS))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimizer.step()
            report("train", f"step {step + 1} of {steps}, loss {loss.item():.2f}", (step + 1) / steps)
            if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
                weights = network.state_dict()
                save_state(path, weights, {"net": weights, "optimizer": optimizer.state_dict()}, step + 1)
    reestimate(network, [garments.batch(batch, seed, STATISTICS, number)[0] for number in range(MEASURED)])
    return network.eval()


def _rates(network: QatNetwork) -> list[float]:
    """Learning rates of the groups at the start."""
    return [group["lr"] for group in parameter_groups(network, INTEGER_RATE, DECAY)]


def keep_pixels(network: QatNetwork) -> None:
    """Let the integers of the input be the photo's own, 0 to 255 for 0 to 1: no quantizer stands before the stem."""
    quantizer = network.quantizer[network.roots[network.graph.inputs[0]]]
    quantizer.begin(TensorParams(Affine(float(np.float32(1 / 255)), 0), IntRange(0, 255)))
    assert quantizer.log_scale is not None
    quantizer.log_scale.requires_grad_(False)
