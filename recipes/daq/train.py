"""Train a network of ``recipes.superres`` with few levels a channel from its float weights, for minutes of one core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from oaq import qat
from oaq.data.batches import Batch
from oaq.program.int_program import IntProgram
from oaq.ptq import Daq
from recipes.checkpoint import is_trained
from recipes.superres.integers import calibration
from recipes.superres.pictures import training_photos
from recipes.superres.train import BATCH, CROP, Crops, train

STEPS: Final = 1500
SQUARES: Final = 3
"""Batches of squares on which levels are chosen."""
RATES: Final[Mapping[int, float]] = {4: 3e-5, 3: 3e-4, 2: 1e-3}
"""Rate of Adam at the start by bits of features and weights: the best of ``recipes.daq.rates``."""


def trained_program(net: nn.Module, scale: int, daq: Daq, path: Path, steps: int = STEPS, *, rate: float) -> IntProgram:
    """The program of the network after training; a run that stopped goes on from what lies at ``path``.

    Args:
        net: the trained float network.
        scale: of the enlargement.
        daq: its levels; those of the first run are kept in the weights' file.
        path: of the weights.
        steps: of training.
        rate: of Adam at the start.

    Raises:
        FetchError: photos cannot be fetched.
        FormatError: what an earlier run left is damaged, or of another network.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    crops = Crops(training_photos(), scale, CROP, 0)
    batches = tiles(calibration(training_photos(), scale)[:SQUARES])
    config = qat.Config(method="none", daq=daq)
    network = qat.prepare(net, batches[0], config, calibration=batches)
    if is_trained(path, steps):
        network.load_state_dict(torch.load(path, weights_only=True))
    else:
        train(network, crops, path, steps=steps, batch=BATCH, rate=rate)
    network.eval()
    return qat.convert(network, metadata={"levels": str(daq), "steps": str(steps)})


def tiles(squares: Sequence[Batch]) -> list[torch.Tensor]:
    """Whole tiles of a crop's size out of larger squares, in batches of training's size.

    Crops themselves would do worse: they are cut at edges, where channels vary more than elsewhere.
    """
    x = torch.from_numpy(np.concatenate(squares))
    rows, columns = (side // CROP for side in x.shape[2:])
    x = x[:, :, : rows * CROP, : columns * CROP].reshape(len(x), rows, CROP, columns, CROP)
    return list(x.permute(0, 1, 3, 2, 4).reshape(-1, 1, CROP, CROP).split(BATCH))
