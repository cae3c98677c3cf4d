"""The stages of method "wrap": wide sums, a penalty until few sums leave their registers, the cyclic activation.

Every stage has a checkpoint of its own in the folder, so that a run that was killed goes on in the stage it was in.
docs/math/modular.md says why the stages are these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from oaq.qat import Config, QatNetwork, fold, measured_rates, prepare, press, reestimate, require_gate
from oaq.qat.stages import GATE, RAISE
from oaq.terminal import say
from recipes.training import Loss, Source, Stage, first_inputs, train_stage

MEASURED = 2048
"""Images on which overflow rates and the statistics of batch norms are measured."""


@dataclass(frozen=True)
class Stages:
    """How the integers are trained.

    Attributes:
        wide: with sums that are exact.
        pressed: with the penalty besides; repeated under more pressure while the gate is shut.
        folded: with the cyclic activation.
        pressure: of the first ``pressed`` stage.
        eased: part of it that stays in ``folded``.
        gate: most of a layer's sums that may leave its register before ``folded``.
        attempts: ``pressed`` stages at most.
    """

    wide: Stage
    pressed: Stage
    folded: Stage
    pressure: float = 1.0
    eased: float = 0.3
    gate: float = GATE
    attempts: int = 4


def train_wide(
    net: nn.Module,
    source: Source,
    config: Config,
    stages: Stages,
    checkpoint: Path,
    *,
    device: torch.device,
    loss: Loss = F.cross_entropy,
) -> QatNetwork:
    """Train the integers with sums that are exact, or go on with that; in eval mode on the CPU at the end."""
    network = prepared(net, source, config, device)
    train_stage(network, source, stages.wide, checkpoint, device, loss=loss)
    return network.cpu().eval()


def prepared(net: nn.Module, source: Source, config: Config, device: torch.device) -> QatNetwork:
    """A network in training, on the device, its ranges chosen on the first 512 images."""
    calibration = first_inputs(source, 512)
    return prepare(net, calibration[0][:1], config, calibration=calibration, device=device).to(device)


def press_down(
    network: QatNetwork,
    source: Source,
    stages: Stages,
    folder: Path,
    device: torch.device,
    *,
    loss: Loss = F.cross_entropy,
) -> float:
    """Train under the penalty until every layer passes the gate; returns the pressure it took.

    Raises:
        TrainingError: a layer still overflows too often after the last attempt; the message has what may help.
    """
    network.to(device)
    inputs = [x.to(device) for x in first_inputs(source, MEASURED)]
    pressure, rates = stages.pressure, dict[str, float]()
    for attempt in range(1, stages.attempts + 1):
        press(network, pressure)
        train_stage(network, source, stages.pressed, folder / f"pressed-{attempt}.ckpt", device, loss=loss)
        rates = measured_rates(network, inputs)
        worst = max(rates.values())
        say.words(f"pressure {pressure:g}: {worst:.2%} of the sums of the worst layer leave their register")
        if worst <= stages.gate:
            break
        if attempt < stages.attempts:
            pressure *= RAISE
    require_gate(network, rates, stages.gate)
    return pressure


def fold_in(
    network: QatNetwork,
    source: Source,
    stages: Stages,
    checkpoint: Path,
    device: torch.device,
    *,
    pressure: float,
    loss: Loss = F.cross_entropy,
) -> None:
    """Train with the cyclic activation under ``pressure``; in eval mode on the CPU at the end."""
    network.to(device)
    press(network, pressure)
    fold(network)
    train_stage(network, source, stages.folded, checkpoint, device, loss=loss)
    reestimate(network, [x.to(device) for x in first_inputs(source, MEASURED)])
    network.cpu().eval()


def train_wrapped(
    net: nn.Module,
    source: Source,
    config: Config,
    stages: Stages,
    folder: Path,
    *,
    device: torch.device,
    loss: Loss = F.cross_entropy,
) -> tuple[QatNetwork, Mapping[str, float]]:
    """All stages; the network in eval mode on the CPU, and the share of sums outside each layer's register.

    Raises:
        TrainingError: see ``press_down``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network = train_wide(net, source, config, stages, folder / "wide.ckpt", device=device, loss=loss)
    pressure = press_down(network, source, stages, folder, device, loss=loss)
    fold_in(network, source, stages, folder / "folded.ckpt", device, pressure=pressure * stages.eased, loss=loss)
    return network, measured_rates(network, first_inputs(source, MEASURED))


def staged(integers: Stage, epochs: tuple[int, int, int], bits: int) -> Stages:
    """Stages of so many epochs; the last two at half the learning rate, their gradients clipped.

    The pressure is what was measured to do for a register of ``bits`` bits (benchmarks.wrapnet); above 6 bits little is
    needed.
    """
    wide, pressed, folded = epochs
    later = replace(integers, lr=integers.lr / 2, clip_gradient=1.0)
    pressure, eased = (1.0, 0.3) if bits <= 6 else (0.3, 0.1)
    return Stages(
        replace(integers, epochs=wide), replace(later, epochs=pressed), replace(later, epochs=folded), pressure, eased
    )
