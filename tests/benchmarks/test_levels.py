"""Contenders of static levels beside 8 bits, on a small frame of a network that nothing has trained."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from benchmarks import levels
from benchmarks.levels import CHOICES, PLAIN, contenders
from recipes.daq import superres
from tests.recipes.test_daq import photos

__all__ = ["photos"]


def test_every_choice_is_checked_and_takes_turns(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (levels, superres):
        monkeypatch.setattr(module, "training_photos", lambda: photos)
    monkeypatch.setattr(levels, "FRAME", (24, 40))
    monkeypatch.setattr(levels, "SQUARE", (16, 20))
    monkeypatch.setattr(levels, "CHOICES", (CHOICES[0], CHOICES[3], CHOICES[-1]))
    flags = argparse.Namespace(out=tmp_path, isa="scalar", threads=1)
    x = np.random.default_rng(0).random((1, 1, 24, 40)).astype(np.float32)
    subjects = list(contenders(flags, x))
    assert [subject.name for subject in subjects] == [
        "static, W8A4, scalar",
        "dynamic, W8A4, scalar",
        f"{PLAIN}, scalar",
    ]
    for subject in subjects:
        assert np.array_equal(subject.outputs(), subject.reference)
        assert len(subject.take(2)) == 2 and subject.also.endswith("of 72 steps")
