"""Composited photos with a class per pixel: the cut-outs and backgrounds of ``recipes.detection``, with exact masks.

A pixel is of the topmost cut-out that is opaque there. What is learned is 63 cut-outs on photos: every figure on them
says "composited".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.tasks.coco import COCO
from recipes.detection.composited import CUT_OUTS, HEIGHT, OPAQUE, WIDTH, CutOut, arrange, open_canvas, paste
from recipes.segmentation.samples import Masked

LABELS: Final = ("background", *CUT_OUTS)
"""Classes: the background, and COCO's names of what is on composited photos."""
SHARE: Final = (0.25, 0.6)
"""Longer side of a cut-out, as a share of the photo's."""


def masked_scenes(objects: Sequence[CutOut], places: Sequence[Path], count: int, seed: int) -> Iterator[Masked]:
    """``count`` photos of one to four cut-outs each, the same for every seed."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        items = [objects[index] for index in rng.integers(0, len(objects), rng.integers(1, 5))]
        yield compose(f"scene {number:03d}", items, places[int(rng.integers(len(places)))], rng)


def training_scenes(objects: Sequence[CutOut], places: Sequence[Path], count: int, seed: int) -> Iterator[Masked]:
    """``count`` photos of three to six cut-outs each, of every class as often as of any other, whatever it shows."""
    rng, classes = np.random.default_rng(seed), sorted({item.category for item in objects})
    by_class = [[item for item in objects if item.category == category] for category in classes]
    for number in range(count):
        groups = [by_class[index] for index in rng.integers(0, len(by_class), rng.integers(3, 7))]
        items = [group[rng.integers(len(group))] for group in groups]
        yield compose(f"training scene {number:03d}", items, places[int(rng.integers(len(places)))], rng)


def compose(title: str, items: Sequence[CutOut], place: Path, rng: np.random.Generator) -> Masked:
    """Cut-outs on a photo, each mirrored or not, with the class of every pixel."""
    canvas, mask = open_canvas(place), np.zeros((HEIGHT, WIDTH), np.int64)
    for item, box in arrange(items, rng, SHARE):
        turned = CutOut(item.name, item.category, item.pixels[:, ::-1] if rng.random() < 0.5 else item.pixels)
        paste(canvas, turned, box)
        paste_class(mask, turned, box)
    return Masked(title, canvas, mask)


def paste_class(mask: NDArray[np.int64], item: CutOut, box: tuple[int, int, int, int]) -> None:
    """Write a cut-out's class where it is opaque, scaled to (left, top, right, bottom)."""
    from PIL import Image

    x0, y0, x1, y1 = box
    alpha = Image.fromarray(np.ascontiguousarray(item.pixels[..., 3]))
    opaque = np.asarray(alpha.resize((x1 - x0, y1 - y0), Image.Resampling.LANCZOS)) >= OPAQUE
    mask[y0:y1, x0:x1][opaque] = LABELS.index(COCO[item.category])
