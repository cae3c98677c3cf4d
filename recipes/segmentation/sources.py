"""Photos with a class per pixel as training takes them (``recipes.training.Source``): in memory, scaled, augmented."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from oaq.data.photos import prepare
from oaq.data.preprocess import Preprocess
from oaq.data.window import window_of
from recipes.segmentation.samples import IGNORE, Masked, as_seen

SHIFT: Final = 8
"""Pixels by which training moves a sample, at most."""
GAIN, GAMMA = (0.8, 1.25), (0.7, 1.4)
"""Light differs from photo to photo, contrast from scanner to scanner."""


@dataclass(frozen=True, eq=False)
class MaskSource:
    """Samples of one size.

    Attributes:
        pixels: (n, C, H, W) uint8.
        masks: (n, H, W) int64, ``IGNORE`` where nothing counts.
        preprocess: what makes floats of pixels.
    """

    pixels: torch.Tensor
    masks: torch.Tensor
    preprocess: Preprocess

    def __len__(self) -> int:
        return len(self.pixels)

    def batches(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Everything in order, as it is."""
        for pixels, masks in zip(self.pixels.split(size), self.masks.split(size), strict=True):
            yield self._scaled(pixels.float() / 255), masks

    def epoch(
        self, size: int, seed: int, number: int, *, skip: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """One epoch: shuffled, mirrored, moved, in other light; depends on the arguments only.

        Args:
            size: of a batch, over all processes; a rest shorter than that is left out.
            seed: of the run.
            number: of the epoch.
            skip: batches to leave out at the beginning.
            share: (rank, processes): which part of each batch.
        """
        rng = np.random.default_rng((seed, number))
        order = rng.permutation(len(self))
        rank, processes = share
        for index in range(len(self) // size):
            indices = order[index * size : (index + 1) * size]
            draws = rng.random((size, 5))
            if index >= skip:
                yield self._augmented(indices[rank::processes], draws[rank::processes])

    def _augmented(self, indices: NDArray[np.int64], draws: NDArray[np.float64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Samples by number, each changed as five numbers in 0..1 say."""
        photos, masks = [], []
        for number, (flip, down, right, gain, gamma) in zip(indices.tolist(), draws.tolist(), strict=True):
            photo, mask = self.pixels[number].float() / 255, self.masks[number]
            if flip < 0.5:
                photo, mask = photo.flip(2), mask.flip(1)
            move = [round((part * 2 - 1) * SHIFT) for part in (down, right)]
            light = GAIN[0] * (GAIN[1] / GAIN[0]) ** gain
            contrast = GAMMA[0] * (GAMMA[1] / GAMMA[0]) ** gamma
            photos.append((photo.roll(move, (1, 2)) ** contrast * light).clamp(0, 1))
            masks.append(mask.roll(move, (0, 1)))
        return self._scaled(torch.stack(photos)), torch.stack(masks)

    def _scaled(self, pixels: torch.Tensor) -> torch.Tensor:
        shape = (-1, 1, 1)
        mean, std = (torch.tensor(values).reshape(shape) for values in (self.preprocess.mean, self.preprocess.std))
        return (pixels - mean) / std


def source_of(samples: Iterable[Masked], preprocess: Preprocess) -> MaskSource:
    """Samples at the size of a network's input: photos scaled as ``preprocess`` says, masks by their nearest pixel."""
    plain = dataclasses.replace(preprocess, mean=(0.0,) * len(preprocess.mean), std=(1.0,) * len(preprocess.std))
    photos, masks = [], []
    for sample in samples:
        rows, columns = sample.mask.shape
        photos.append((prepare(sample.photo, plain) * 255).round().astype(np.uint8))
        masks.append(as_seen(sample.mask, window_of(preprocess, columns, rows), preprocess.size, IGNORE))
    return MaskSource(torch.from_numpy(np.stack(photos)), torch.from_numpy(np.stack(masks)), preprocess)
