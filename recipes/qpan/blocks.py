"""Blocks of a photo from their measurements, integers from end to end: the data step is two linear layers.

    t = y - A x,   r = x + step * A' t,   x+ = r + correction(r)

A step on the data by one matrix, x - step * A'A x, would have weights near 1 on its diagonal and a hundredth of it
elsewhere, of which 8 bits a row leave little; the rows of A are of one size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from recipes.qpan.fourier import Real
from recipes.qpan.networks import Unfolded
from recipes.qpan.samples import SIDE, Blocks, BlockSampling, join
from recipes.qpan.scoring import clipped
from recipes.qpan.training_data import photo_blocks

CALIBRATED: Final = 256
"""Blocks that ranges are chosen on."""

Answer = Callable[[NDArray[np.float32]], NDArray[np.floating]]
"""(n, m) measurements to (n, side * side) blocks."""


class BlockNetwork(nn.Module):
    """Measurements (n, m) to blocks (n, side * side): the whole iteration as one network.

    Attributes:
        guess: the first guess, of the measurements.
        measure: A, of each phase.
        back: step * A', of each phase.
        phases: the steps on the prior.
    """

    def __init__(self, net: Unfolded, sampling: BlockSampling) -> None:
        super().__init__()
        steps = [step for _, step in net.steps()]
        self.guess = _linear(sampling.guess)
        self.measure = nn.ModuleList([_linear(sampling.matrix) for _ in steps])
        self.back = nn.ModuleList([_linear(step * sampling.matrix.T) for step in steps])
        self.phases = net.phases

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """See the class."""
        x = self.guess(y)
        for measure, back, phase in zip(self.measure, self.back, self.phases, strict=True):
            r = (x + back(y - measure(x))).view(-1, 1, SIDE, SIDE)
            x = phase(r).flatten(1)
        return x


def calibration(sampling: BlockSampling) -> NDArray[np.float32]:
    """(n, m) measurements of blocks of free photos, evenly chosen of those that are trained on."""
    blocks = photo_blocks()
    index = np.linspace(0, len(blocks) - 1, min(CALIBRATED, len(blocks))).round().astype(int)
    return (blocks[index] @ sampling.matrix.T).astype(np.float32)


def answer_photos(answer: Answer, photos: list[Blocks]) -> list[Real]:
    """Every photo, joined of its blocks, as it is scored."""
    return [clipped(join(answer(photo.measured.astype(np.float32)), photo.image.shape)) for photo in photos]


def by_float(net: nn.Module) -> Answer:
    """The float network."""

    def answer(y: NDArray[np.float32]) -> NDArray[np.floating]:
        with torch.inference_mode():
            return net(torch.from_numpy(y)).numpy()

    return answer


def _linear(matrix: Real) -> nn.Linear:
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(matrix, np.float32)))
    return layer
