"""The recipe that compares two networks by how easily they are verified, at tiny scale, killed and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from oaq.verify import verify_file
from recipes import robust_training


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """IDX files of drawn stripes: the class is their frequency."""
    rng = np.random.default_rng(0)
    for stem, count in (("train", 320), ("t10k", 60)):
        labels = rng.integers(0, 10, count).astype(np.uint8)
        wave = np.sin(np.arange(28) * (labels[:, None] + 1) * 0.3)
        pixels = np.clip(wave[:, None, :] * 90 + 128 + rng.integers(-20, 20, (count, 28, 28)), 0, 255).astype(np.uint8)
        for kind, magic, values in (("images-idx3", 2051, pixels), ("labels-idx1", 2049, labels)):
            head = np.array([magic, *values.shape], ">i4").tobytes()
            (tmp_path / f"{stem}-{kind}-ubyte").write_bytes(head + values.tobytes())
    return tmp_path


TINY = ["--float-epochs", "4", "--epochs", "1", "--batch", "32", "--queries", "2", "--radius", "0", "1"]


def test_two_networks_are_trained_proved_and_asked_about(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "out"
    command = [*TINY, "--data", str(folder), "--out", str(out), "--seconds", "5"]
    assert robust_training.main(command) == 0
    printed = capsys.readouterr().out
    assert "Which network is easier to verify" in printed
    assert "proved14" in printed
    assert "of 60 right" in printed
    for name in robust_training.NETWORKS:
        verify_file(out / name / "net.oaq").raise_if_unsafe()
    lines = (out / "answers.jsonl").read_text().splitlines()
    answers = [json.loads(line) for line in lines]
    assert len(answers) == 2 * 2 * 2
    assert {line["state"] for line in answers if line["question"][3] == 0} == {"robust"}
    (out / "answers.jsonl").write_text("\n".join(lines[:3]) + "\n")
    assert robust_training.main(command) == 0
    again = (out / "answers.jsonl").read_text().splitlines()
    assert again[:3] == lines[:3]
    assert [json.loads(line)["question"] for line in again] == [line["question"] for line in answers]


def test_a_folder_without_images_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert robust_training.main(["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "holds no train-images-idx3-ubyte" in capsys.readouterr().err
