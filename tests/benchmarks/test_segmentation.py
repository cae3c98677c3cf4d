"""Masks of ordinary int8 beside those of proved integers, on a tiny network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import oaq
from benchmarks import segmentation
from oaq.data.preprocess import Preprocess
from oaq.errors import FormatError
from oaq.tasks import Segmenter, Task, segment
from recipes.segmentation.networks import OUTPUT, SegmentationNetwork
from recipes.segmentation.samples import Masked
from recipes.training import Stage

SIDE = 8


def samples(count: int) -> list[Masked]:
    rng = np.random.default_rng(count)
    photos = rng.integers(0, 256, (count, SIDE, SIDE, 1), np.uint8).repeat(3, axis=3)
    return [Masked(str(at), photo, (photo[..., 0] > 127).astype(np.int64)) for at, photo in enumerate(photos)]


def task_of(rows: int) -> Task:
    preprocess = Preprocess((rows, rows), mean=(0.5,), std=(0.5,), fit="stretch")
    return segment(preprocess, ("dark", "bright"), Segmenter(OUTPUT))


def net() -> nn.Module:
    conv = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1))
        conv.bias.zero_()  # type: ignore[union-attr]
    return nn.Sequential(conv).eval()


def test_every_side_answers_the_same_photos_and_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "SIDES", (segmentation.SIDES[0],))
    network = SegmentationNetwork(
        "tiny", net, task_of, SIDE, 1, lambda count: samples(8), lambda count: {}, Stage(1), Stage(1), ""
    )
    files = segmentation.peer_files(net(), task_of(SIDE), network, tmp_path / "peers")
    assert {path.name for path in files.values()} == {"float.onnx", "int8.onnx", "reduce_range.onnx", "repaired.onnx"}
    batches = [x.numpy() for x, _ in network.source(SIDE).batches(8)]
    programs = {segmentation.PTQ: oaq.quantize(net(), batches, budget=None)}
    rows = segmentation.accuracy_rows(net(), task_of(SIDE), programs, files, {"dots": samples(5)})
    figures = {dict(row)["network"]: dict(row) for row in rows}
    assert list(figures) == ["float", "int8, ONNX Runtime", segmentation.PTQ]
    assert figures["float"]["mIoU"] == "100.00" and {row["photos"] for row in figures.values()} == {"5"}
    assert all(float(row["agreement"]) > 97 for row in figures.values())


def test_programs_that_the_recipe_did_not_write_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"it is written by: python -m recipes\.segmentation unet"):
        segmentation.programs_of(tmp_path, "unet")
