"""The stages of sums that wrap: from the command line to the file, killed and resumed, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from oaq.errors import TrainingError
from oaq.qat import Config, Wrapping
from oaq.verify import verify_file
from recipes import command, fashion_mnist, wrapped
from recipes.models.small import SmallMlp
from recipes.training import Stage, train_stage
from recipes.wrapped import Stages, train_wrapped
from tests.recipes.test_training import one_thread, small, stripes

__all__ = ["one_thread", "small"]

CPU = torch.device("cpu")
CONFIG = Config(method="wrap", weight_bits=2, activation_bits=2, wrapping=Wrapping(5))
STAGE = Stage(1, 32, 1e-3, 0.0)


def train(folder: Path, gate: float = 1.0) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    net = SmallMlp(64, width=16, hidden=2).eval()
    stages = Stages(STAGE, STAGE, STAGE, gate=gate, attempts=2)
    return train_wrapped(net, stripes(128, 1, 8), CONFIG, stages, folder, device=CPU)[0].state_dict()


def test_a_training_that_is_killed_in_its_last_stage_ends_as_it_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tmp_path / "whole")

    def killed(*arguments: object, **options: object) -> None:
        if arguments[3] == tmp_path / "parts" / "folded.ckpt":  # type: ignore[comparison-overlap]
            raise KeyboardInterrupt
        train_stage(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(wrapped, "train_stage", killed)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts")
    monkeypatch.setattr(wrapped, "train_stage", train_stage)
    again = train(tmp_path / "parts")
    assert all(torch.equal(again[name], whole[name]) for name in whole)
    assert sorted(path.name for path in (tmp_path / "parts").glob("*.ckpt")) == [
        "folded.ckpt",
        "pressed-1.ckpt",
        "wide.ckpt",
    ]


def test_a_gate_that_stays_shut_ends_the_training(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="gate"):
        train(tmp_path, gate=-1.0)
    assert (tmp_path / "pressed-2.ckpt").exists() and not (tmp_path / "folded.ckpt").exists()


def test_the_command_trains_to_a_file_that_proves_itself(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fashion_mnist.main(["--method", "wrap", "--bits", "16", "--images", "256", "--out", str(tmp_path)]) == 0
    assert "sums that wrap (observed)" in capsys.readouterr().out
    verify_file(tmp_path / "net.oaq").raise_if_unsafe()


def test_options_that_the_stages_pass_over_are_refused(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--method", "wrap", "--out", str(tmp_path)]
    assert fashion_mnist.main([*words, "--epochs", "3", "--register-bits", "12", "--bf16"]) == 1
    assert "--register-bits, --epochs, --bf16: method 'wrap' has stages" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "float.ckpt").exists()


def test_a_recipe_without_such_stages_refuses_before_it_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "train_float", None)
    flags = command.parser("tiny", None, ("mlp",)).parse_args(["--method", "wrap", "--out", str(tmp_path)])
    source = stripes(64, 1, 8)
    course = command.Course(SmallMlp(64), source, source, STAGE, STAGE)
    assert command.main(flags, lambda: course) == 1
    assert "has no stages for method 'wrap'" in " ".join(capsys.readouterr().err.split())
