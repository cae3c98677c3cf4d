"""Garments of Fashion-MNIST composited on photos: crops of 128 x 128 with exact boxes, the same for everyone.

A garment's alpha is its brightness; its colour is drawn at random. Sizes are log-uniform, so that every level of a
pyramid answers for some. What comes out is no photo that anybody took: every figure on it says "composited".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from oaq.terminal import say
from recipes.aqd.network import SIDE
from recipes.data import photos
from recipes.data.labelled import Part, fashion_mnist
from recipes.detection.composited import covered_share, open_canvas
from recipes.detection.samples import Sample

Pixels = NDArray[np.uint8]
SIZES: Final = (12.0, 80.0)
"""Pixels of a garment's longer side, log-uniform between them."""
MOST: Final = 4
"""Garments tried on a crop; 1 at least."""
VISIBLE: Final = 32
"""Alpha from which on a pixel counts as the garment's."""
COVERED: Final = 0.2
"""Share of a garment that lies in another, above which the later one is left out."""


@dataclass(frozen=True, eq=False)
class Garments:
    """What crops are made of.

    Attributes:
        alphas: brightness of every garment, (rows, columns) uint8, cut to what is visible.
        labels: class of each.
        places: photos, (rows, columns, 3) uint8.
    """

    alphas: Sequence[Pixels]
    labels: NDArray[np.int64]
    places: Sequence[Pixels]

    def scene(self, *key: int) -> tuple[Pixels, NDArray[np.float64]]:
        """A crop (128, 128, 3), and (n, 5) class, left, top, right, bottom in pixels; they depend on ``key`` only."""
        rng = np.random.default_rng(key)
        place = self.places[int(rng.integers(len(self.places)))]
        y, x = (int(rng.integers(0, size - SIDE + 1)) for size in place.shape[:2])
        canvas = place[y : y + SIDE, x : x + SIDE].astype(np.float32)
        rows: list[tuple[float, ...]] = []
        for _ in range(rng.integers(1, MOST + 1)):
            index = int(rng.integers(len(self.alphas)))
            alpha = _scaled(self.alphas[index], float(np.exp(rng.uniform(*np.log(SIZES)))), bool(rng.random() < 0.5))
            high, wide = alpha.shape
            left_edge, top = int(rng.integers(0, SIDE - wide + 1)), int(rng.integers(0, SIDE - high + 1))
            colour = rng.uniform(0, 255, 3).astype(np.float32)
            box = (left_edge, top, left_edge + wide, top + high)
            if any(covered_share(box, row[1:]) > COVERED for row in rows):
                continue
            part = canvas[top : top + high, left_edge : left_edge + wide]
            part += (colour - part) * (alpha[..., None] / np.float32(255))
            rows.append((float(self.labels[index]), *map(float, box)))
        return canvas.round().clip(0, 255).astype(np.uint8), np.array(rows, np.float64).reshape(-1, 5)

    def batch(self, count: int, *key: int) -> tuple[torch.Tensor, list[NDArray[np.float64]]]:
        """(count, 3, 128, 128) in 0..1 and the boxes of each; they depend on ``key`` only."""
        pairs = [self.scene(*key, number) for number in range(count)]
        pixels = np.stack([photo for photo, _ in pairs]).transpose(0, 3, 1, 2)
        return torch.from_numpy(pixels.astype(np.float32) / np.float32(255)), [boxes for _, boxes in pairs]

    def samples(self, count: int, *key: int) -> list[Sample]:
        """``count`` crops to score on."""
        scenes = [self.scene(*key, number) for number in range(count)]
        return [
            Sample(f"composited {number:03d}", photo, rows[:, 1:], rows[:, 0].astype(np.int64))
            for number, (photo, rows) in enumerate(scenes)
        ]


def trimmed(brightness: Pixels) -> Pixels:
    """An image, cut to the rectangle of its visible pixels.

    >>> trimmed(np.pad(np.full((2, 3), 200, np.uint8), ((1, 0), (0, 4)))).shape
    (2, 3)
    """
    rows, columns = (np.flatnonzero((brightness >= VISIBLE).any(axis=axis)) for axis in (1, 0))
    return brightness[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _scaled(alpha: Pixels, longer: float, flipped: bool) -> NDArray[np.float32]:
    """Brightness with a longer side of so many pixels."""
    from PIL import Image

    high, wide = (max(2, round(size * longer / max(alpha.shape))) for size in alpha.shape)
    image = Image.fromarray(alpha[:, ::-1] if flipped else alpha).resize((wide, high), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)


def load(part: Part, garments: int | None = None, backgrounds: int | None = None) -> Garments:
    """Garments of a part, on photos that the other part never has.

    Args:
        part: "train" or "test".
        garments: the first so many; None: all.
        backgrounds: photos; None: all there are.

    Raises:
        FetchError: garments or photos cannot be fetched.
    """
    paths = photos.calibration(64) if part == "train" else photos.comparison()
    paths = paths[:backgrounds]
    places = [open_canvas(path) for path in say.track(paths, "decode backgrounds")]
    labelled = fashion_mnist(part).first(garments)
    alphas = [trimmed(pixels) for pixels in labelled.pixels[:, 0].numpy()]
    return Garments(alphas, labelled.labels.numpy(), places)
