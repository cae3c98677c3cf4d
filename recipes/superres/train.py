r"""Train a network of the recipe on crops of photos, for minutes of one core.

    python -m recipes.superres.train espcn --scale 2 --out weights.pt             again: goes on where it stopped
    python -m recipes.superres.train edsr-mini --scale 4 --steps 60000 --crop 48 --batch 32

Crops are cut at places of many edges more often than elsewhere: of three places drawn, the one whose luma varies most.
Photos of more than 1200 columns or rows are halved first, which takes the noise of their sensor and their compression
with it. Everything that is drawn depends on the seed and the step, so that a run that stopped goes on as it would have.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from oaq.data.photos import read_pixels
from oaq.errors import FormatError
from oaq.terminal import say
from recipes.checkpoint import BySteps, train_by_steps, warmed_cosine
from recipes.exit_code import exit_code
from recipes.superres.networks import NETWORKS, SCALES, build
from recipes.superres.pictures import brightness, resized, sample, training_photos

CROP: Final = 32
"""Input pixels of a crop's side."""
BATCH: Final = 16
LARGE: Final = 1200
"""Pixels of a side from which on a photo is halved."""
PLACES: Final = 3
SAVE_EVERY: Final = 250
WEIGHTS: Final = "weights.pt"
WARM: Final = 200
"""Steps in which the rate grows."""


class Crops:
    """Pairs of crops, the same for the same seed and step."""

    def __init__(self, paths: Sequence[Path], scale: int, crop: int, seed: int) -> None:
        self._scale, self._crop, self._seed = scale, crop, seed
        self._pairs = []
        for path in say.track(paths, "decode photos to train on"):
            photo = read_pixels(path)
            rows, columns = photo.shape[:2]
            if max(rows, columns) > LARGE:
                photo = resized(photo, rows // 2, columns // 2)
            pair = sample(path.name, photo, scale)
            self._pairs.append((brightness(pair.small), brightness(pair.photo)))
        self._pairs = [pair for pair in self._pairs if min(pair[0].shape) >= crop]
        if not self._pairs:
            raise FormatError(f"no photo to train on has {crop} x {crop} pixels after reduction")
        areas = np.array([small.size for small, _ in self._pairs], np.float64)
        self._shares = np.sqrt(areas) / np.sqrt(areas).sum()

    def batch(self, step: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(count, 1, crop, crop) inputs and (count, 1, crop * scale, crop * scale) truths, turned and mirrored."""
        rng = np.random.default_rng((self._seed, step))
        pairs = [self._pair(rng) for _ in range(count)]
        x, y = (torch.from_numpy(np.stack(side)[:, None]) for side in zip(*pairs, strict=True))
        return x, y

    def _pair(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        small, photo = self._pairs[rng.choice(len(self._pairs), p=self._shares)]
        side, scale = self._crop, self._scale
        places = [[int(rng.integers(0, edge - side + 1)) for edge in small.shape] for _ in range(PLACES)]
        top, first = max(places, key=lambda at: float(small[at[0] : at[0] + side, at[1] : at[1] + side].std()))
        x = small[top : top + side, first : first + side]
        y = photo[top * scale : (top + side) * scale, first * scale : (first + side) * scale]
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
        if mirrored:
            x, y = x[:, ::-1], y[:, ::-1]
        return np.ascontiguousarray(np.rot90(x, turns)), np.ascontiguousarray(np.rot90(y, turns))


def train(net: nn.Module, crops: Crops, path: Path, *, steps: int, batch: int, rate: float) -> None:
    """Train by the mean absolute difference with Adam, the rate falling as a cosine to nothing.

    Writes the weights to ``path`` as it goes; a file beside it holds what another run goes on from.

    Raises:
        FormatError: what an earlier run left is damaged, or of another network.
    """

    def loss(step: int) -> torch.Tensor:
        x, y = crops.batch(step, batch)
        return F.l1_loss(net(x), y)

    training = BySteps(
        "train",
        steps,
        rate=lambda step: rate * warmed_cosine(step, steps, WARM),
        loss=loss,
        words=lambda value: f"loss {255 * value:.3f} of 255",
        save_every=SAVE_EVERY,
    )
    train_by_steps(net, training, path)


def make_weights(
    name: str, scale: int, path: Path, *, steps: int, crop: int = CROP, batch: int = BATCH, seed: int = 0
) -> None:
    """Train until ``steps`` are done and write the weights.

    Raises:
        FetchError: photos cannot be fetched.
        FormatError: what an earlier run left is damaged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    crops = Crops(training_photos(), scale, crop, seed)
    train(build(name, scale), crops, path, steps=steps, batch=batch, rate=NETWORKS[name].rate)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, train; every refusal is one line."""
    parser = argparse.ArgumentParser(
        "python -m recipes.superres.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", choices=NETWORKS, metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("--scale", type=int, choices=SCALES, default=2, help="default 2")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"default out/NETWORK-xSCALE/{WEIGHTS}")
    parser.add_argument("--steps", type=int, metavar="N", help="default: the network's")
    parser.add_argument("--crop", type=int, default=CROP, metavar="N", help=f"input pixels a side (default {CROP})")
    parser.add_argument("--batch", type=int, default=BATCH, metavar="N", help=f"crops of a step (default {BATCH})")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    flags = parser.parse_args(arguments)
    path = flags.out or Path("out") / f"{flags.network}-x{flags.scale}" / WEIGHTS
    steps = NETWORKS[flags.network].steps if flags.steps is None else flags.steps

    def run() -> int:
        make_weights(flags.network, flags.scale, path, steps=steps, crop=flags.crop, batch=flags.batch, seed=flags.seed)
        say.words(str(path))
        return 0

    return exit_code("superres", run)


if __name__ == "__main__":
    sys.exit(main())
