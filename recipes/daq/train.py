"""Train a network of ``recipes.superres`` with few levels a channel from its float weights, for minutes of one core."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from torch import nn

from oaq import qat
from oaq.program.int_program import IntProgram
from oaq.ptq import Daq
from recipes.checkpoint import is_trained
from recipes.superres.pictures import training_photos
from recipes.superres.train import BATCH, CROP, Crops, train

STEPS: Final = 500
RATE: Final = 3e-4
CALIBRATION: Final = 4
"""Batches on which levels are chosen."""
APART: Final = 1 << 20
"""Steps from which on batches are none of training's."""


def trained_program(net: nn.Module, scale: int, daq: Daq, path: Path, steps: int = STEPS) -> IntProgram:
    """The program of the network after training; a run that stopped goes on from what lies at ``path``.

    Args:
        net: the trained float network.
        scale: of the enlargement.
        daq: its levels; those of the first run are kept in the weights' file.
        path: of the weights.
        steps: of training.

    Raises:
        FetchError: photos cannot be fetched.
        FormatError: what an earlier run left is damaged, or of another network.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    crops = Crops(training_photos(), scale, CROP, 0)
    batches = [crops.batch(APART + at, BATCH)[0] for at in range(CALIBRATION)]
    config = qat.Config(method="none", daq=daq)
    network = qat.prepare(net, batches[0], config, calibration=batches)
    if is_trained(path, steps):
        network.load_state_dict(torch.load(path, weights_only=True))
    else:
        train(network, crops, path, steps=steps, batch=BATCH, rate=RATE)
    network.eval()
    return qat.convert(network, metadata={"levels": str(daq), "steps": str(steps)})
