r"""Train the YOLO-shaped detector briefly on composited photos, so that it finds something worth comparing.

    python -m recipes.detection.train --out out/yolo/weights.pt          again: goes on where it stopped

Cut-outs are those of the test set, on backgrounds that the test set does not have: what it learns is 63 stamps, and
every figure that comes of it says "composited". Crops of 320 x 320 with objects as large as in the test set take a
quarter of the time of 640 x 640.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from oaq.tasks.coco import COCO
from oaq.terminal import say
from recipes.checkpoint import restore_state, save_state
from recipes.data import photos
from recipes.detection import composited, yolo
from recipes.detection.composited import CutOut, covered_share, open_canvas, paste
from recipes.detection.points import Levels, Targets, giou
from recipes.exit_code import exit_code

CROP: Final = 320
LONGER_SIDE: Final = (90, 300)
"""Pixels of an object's longer side."""
LEVELS: Final = Levels(CROP, yolo.STRIDES, (64.0, 160.0, math.inf))
RATE, DECAY = 2e-3, 0.02
KEEP: Final = 0.995
"""Part of the mean of weights (which is what is saved) that a step leaves as it is."""
SAVE_EVERY: Final = 20
STEPS: Final = 320
BATCH: Final = 16
WEIGHTS: Final = "weights.pt"
"""Name of the file in the network's folder."""
BACKGROUNDS: Final = 64


class Scenes:
    """Endless composited crops with their boxes."""

    def __init__(self, objects: Sequence[CutOut], places: Sequence[Path], seed: int) -> None:
        self._objects = objects
        self._places = [open_canvas(path) for path in say.track(places, "decode backgrounds")]
        self._rng = np.random.default_rng(seed)
        self._classes = [yolo.LABELS.index(COCO[item.category]) for item in objects]

    def batch(self, count: int) -> tuple[torch.Tensor, list[NDArray[np.float64]]]:
        """(count, 3, CROP, CROP) in 0..1, and (n, 5) per photo: class, left, top, right, bottom in pixels."""
        pairs = [self._scene() for _ in range(count)]
        pixels = np.stack([photo for photo, _ in pairs]).transpose(0, 3, 1, 2)
        return torch.from_numpy(pixels.astype(np.float32) / 255), [boxes for _, boxes in pairs]

    def _scene(self) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        rng = self._rng
        place = self._places[rng.integers(len(self._places))]
        y, x = (int(rng.integers(0, size - CROP + 1)) for size in place.shape[:2])
        canvas = place[y : y + CROP, x : x + CROP].copy()
        rows: list[tuple[float, ...]] = []
        for _ in range(rng.integers(1, 4)):
            index = int(rng.integers(len(self._objects)))
            item = self._objects[index]
            if rng.random() < 0.5:
                item = CutOut(item.name, item.category, item.pixels[:, ::-1])
            high, wide = item.pixels.shape[:2]
            scale = rng.uniform(*LONGER_SIDE) / max(high, wide)
            high, wide = max(1, round(high * scale)), max(1, round(wide * scale))
            left_edge, top = int(rng.integers(0, CROP - wide + 1)), int(rng.integers(0, CROP - high + 1))
            box = (left_edge, top, left_edge + wide, top + high)
            if all(covered_share(box, row[1:]) <= 0.3 for row in rows):
                paste(canvas, item, box)
                rows.append((self._classes[index], *box))
        if rng.random() < 0.5:  # light differs from photo to photo
            canvas = np.clip(canvas * rng.uniform(0.7, 1.3), 0, 255).astype(np.uint8)
        return canvas, np.array(rows, np.float64)


def loss_of(outputs: Sequence[torch.Tensor], targets: Targets) -> torch.Tensor:
    """Quality focal loss of scores, overlap and distribution of boxes, by the number of cells that answer."""
    count = len(outputs[0])
    codes, scores = (
        torch.cat([y.flatten(2).transpose(1, 2) for y in outputs[part::2]], 1).flatten(0, 1) for part in (0, 1)
    )
    cells, share = targets.cells, max(len(targets.cells), 1)
    at = torch.from_numpy(np.tile(targets.centres, (count, 1))).float()[cells]
    stride = torch.from_numpy(np.tile(targets.strides, count)).float()[cells, None]
    logits = codes[cells].view(-1, 4, yolo.BINS)
    sides = logits.softmax(2) @ torch.arange(yolo.BINS, dtype=torch.float32) * stride
    boxes = torch.cat([at - sides[:, :2], at + sides[:, 2:]], 1)
    overlap = giou(boxes, targets.boxes)
    exact = torch.cat([at - targets.boxes[:, :2], targets.boxes[:, 2:] - at], 1) / stride
    quality = torch.zeros_like(scores)
    quality[cells, targets.classes] = overlap.detach().clamp(min=0.2)
    wrong = (quality - scores.sigmoid()).abs().detach() ** 2
    classes = (F.binary_cross_entropy_with_logits(scores, quality, reduction="none") * wrong).sum() / share
    return 2.0 * classes + (2.0 * (1 - overlap).sum() + 0.5 * spread_loss(logits, exact)) / share


def spread_loss(logits: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    """Cross entropy of (n, 4, bins) with the two bins beside each of (n, 4) distances: the mean over sides, summed."""
    exact = exact.clamp(0, yolo.BINS - 1.01)
    low = exact.long()
    part = exact - low
    flat = logits.flatten(0, 1)
    pairs = [F.cross_entropy(flat, bin_.flatten(), reduction="none").view_as(exact) for bin_ in (low, low + 1)]
    return (pairs[0] * (1 - part) + pairs[1] * part).sum() / 4


def train(net: yolo.Yolo, scenes: Scenes, path: Path, *, steps: int, batch: int) -> None:
    """Train, saving the mean of weights as it goes; a file beside it holds what another run goes on from."""
    groups = [
        {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for p in net.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, RATE)
    mean: dict[str, torch.Tensor] = {name: value.clone() for name, value in net.state_dict().items()}
    loads = {"net": net.load_state_dict, "optimizer": optimizer.load_state_dict, "mean": mean.update}
    start = restore_state(path, loads)
    with say.stages("train") as report:
        for step in range(start, steps):
            for group in optimizer.param_groups:
                group["lr"] = (
                    RATE * min(1, (step + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
                )
            x, boxes = scenes.batch(batch)
            loss = loss_of(net(x), Targets(boxes, LEVELS))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
            optimizer.step()
            share = min(KEEP, (1 + step) / (10 + step))
            for name, value in net.state_dict().items():
                mean[name] = value.clone() if not value.is_floating_point() else mean[name].lerp(value, 1 - share)
            report("train", f"step {step + 1} of {steps}, loss {loss.item():.2f}", (step + 1) / steps)
            if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
                state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "mean": mean}
                save_state(path, mean, state, step + 1)


def make_weights(path: Path, *, steps: int, batch: int = BATCH, seed: int = 0) -> None:
    """Train ``yolo.Yolo`` until ``steps`` are done and write its weights.

    Raises:
        FetchError: cut-outs or photos cannot be fetched.
        FormatError: what an earlier run left is damaged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    net = yolo.load()[0].train()
    train(net, Scenes(composited.cut_outs(), photos.calibration(BACKGROUNDS), seed), path, steps=steps, batch=batch)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, train; every refusal is one line."""
    parser = argparse.ArgumentParser(
        "python -m recipes.detection.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("out/yolo") / WEIGHTS, metavar="FILE")
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help=f"of {BATCH} photos (default {STEPS})")
    flags = parser.parse_args(arguments)

    def run() -> int:
        make_weights(flags.out, steps=flags.steps)
        say.words(str(flags.out))
        return 0

    return exit_code("detection", run)


if __name__ == "__main__":
    sys.exit(main())
