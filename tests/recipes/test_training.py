"""The training recipes at tiny scale, from the command line to the proved file, killed and resumed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import oaq
from oaq.qat import Config, Dither, DitherState, Target, from_yaml, read_log
from oaq.qat.log import read_states
from oaq.verify import verify_file
from recipes import cifar10, command, fashion_mnist, imagenet
from recipes.board import Board
from recipes.data.labelled import Labelled
from recipes.models.small import SmallResNet


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def stripes(count: int, channels: int, size: int) -> Labelled:
    """Images whose class is the frequency of their stripes: learnt in a few steps."""
    generator = torch.Generator().manual_seed(count)
    labels = torch.randint(0, 10, (count,), generator=generator)
    wave = torch.sin(torch.arange(size) * (labels[:, None] + 1) * 0.3)
    noise = torch.rand(count, channels, size, size, generator=generator) * 40
    pixels = (wave[:, None, None, :] * 90 + 128 + noise - 20).clamp(0, 255).to(torch.uint8)
    return Labelled(pixels, labels, (0.5,) * channels, (0.25,) * channels)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist, "fashion_mnist", lambda part: stripes(640 if part == "train" else 100, 1, 28))
    monkeypatch.setattr(cifar10, "cifar10", lambda part: stripes(256 if part == "train" else 100, 3, 32))


TINY = ["--float-epochs", "2", "--epochs", "1", "--batch", "32"]


def test_from_the_command_line_to_a_file_that_proves_itself(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert fashion_mnist.main([*TINY, "--out", str(out), "--run", "8", "--epochs", "3"]) == 0
    said = capsys.readouterr()
    assert "blocks.0.conv1" in said.out
    assert "of 100 images, integers" in said.out
    assert from_yaml((out / "config.yaml").read_text(), Config) == Config(target=Target("avx2", 16, 8))
    report = verify_file(out / "net.oaq")
    report.raise_if_unsafe()
    assert report.certificate.startswith("holds")
    assert {one.iteration for one in read_log(out / "layers.csv")} == {50}
    assert (out / "layers.svg").stat().st_size > 1000
    assert "iteration 50:" in said.err


def test_what_was_finished_is_not_trained_again(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*TINY, "--out", str(tmp_path), "--method", "oaq"]
    assert fashion_mnist.main(arguments) == 0
    first, before = capsys.readouterr().out, (tmp_path / "net.oaq").read_bytes()
    (tmp_path / "net.oaq").unlink()
    assert fashion_mnist.main(arguments) == 0
    assert capsys.readouterr().out == first
    assert (tmp_path / "net.oaq").read_bytes() == before


def test_settings_that_differ_from_those_of_the_checkpoint_are_one_line(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fashion_mnist.main([*TINY, "--out", str(tmp_path)]) == 0
    assert fashion_mnist.main([*TINY, "--out", str(tmp_path), "--bits", "4"]) == 1
    assert "the checkpoint is of another run: its config or name differs" in capsys.readouterr().err


@pytest.mark.parametrize("network", ["resnet20-stride2", "mobilenet"])
def test_networks_for_cifar_are_trained_and_proved(
    small: None, tmp_path: Path, network: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*TINY, "--out", str(tmp_path), "--network", network, "--float-epochs", "1", "--images", "96"]
    assert cifar10.main([*arguments, "--method", "a2q+", "--register-bits", "20"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if " 20 bits " in line]
    assert len(rows) == (22 if network == "resnet20-stride2" else 21)
    assert all(" proved " in row for row in rows)


def test_resnet18_for_small_images_keeps_their_size() -> None:
    net = cifar10.resnet18().eval()
    seen: list[torch.Size] = []
    net.layers[1].register_forward_hook(lambda module, given, y: seen.append(y.shape))  # type: ignore[operator, index, union-attr]
    assert net(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert seen == [torch.Size((1, 64, 32, 32))]


def test_photos_in_folders_are_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for part, count in (("train", 6), ("val", 2)):
        for label in ("cat", "dog"):
            for index in range(count):
                path = tmp_path / "data" / part / label / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.random.default_rng(index).integers(0, 256, (64, 80, 3), np.uint8)
                Image.fromarray(pixels).save(path)
    monkeypatch.setattr(imagenet, "resnet18", lambda seed, classes: SmallResNet(1, classes=classes))
    network = imagenet.NETWORKS["resnet18"]
    smaller = type(network)("resnet18", network.make, type(network.preprocess)((32, 32), 36))
    monkeypatch.setitem(imagenet.NETWORKS, "resnet18", smaller)
    arguments = ["--data", str(tmp_path / "data"), "--network", "resnet18", "--out", str(tmp_path / "out")]
    arguments += ["--float-epochs", "1", "--epochs", "1", "--batch", "6", "--workers", "1", "--run", "16"]
    assert imagenet.main(arguments) == 0
    assert "of 4 images" in capsys.readouterr().out
    assert oaq.load(tmp_path / "out" / "net.oaq").name
    assert imagenet.main([*arguments, "--pretrained"]) == 1
    assert "there are no published weights of resnet18" in capsys.readouterr().err
    assert imagenet.main(["--data", str(tmp_path / "none"), "--out", str(tmp_path / "out2")]) == 1
    assert "no such folder; the layout is train/CLASS/PHOTO" in capsys.readouterr().err


def asked(*arguments: str) -> Config:
    return command.config_of(command.parser("x", None, ("net",)).parse_args(arguments))


def test_options_change_what_the_settings_file_says(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("method: none\nweight_bits: 5\ntarget: {register: pure, bits: 20}\n")
    assert asked("--config", str(path)) == Config("none", 5, target=Target("pure", 20))
    assert asked("--config", str(path), "--method", "proved", "--register-bits", "14") == Config(
        "proved", 5, target=Target("pure", 14)
    )
    assert asked("--bits", "6", "--run", "4") == Config(weight_bits=6, activation_bits=6, target=Target("avx2", 16, 4))
    assert asked("--method", "a2q") == Config("a2q", target=Target("pure", 16))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--register", "mmx"], "register is one of pure, avx2, neon, not 'mmx'"),
        (["--bits", "9"], "weight_bits: 2 to 8 bits, not 9"),
        (["--config", "missing.yaml"], "missing.yaml: the settings cannot be read"),
        (["--method", "a2q", "--register", "avx2"], "its target is a pure register"),
    ],
)
def test_options_that_mean_nothing_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert fashion_mnist.main([*arguments, "--out", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_board_off_a_terminal_says_a_line_per_count(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from oaq.qat import LayerState

    states = [LayerState(7, "a", 1.25, 7.0, 7.0, 3, 10), LayerState(7, "b", 1.0, 8.0, 8.0, 2, 10)]
    with Board("x", 10, tmp_path / "events") as board:
        board.on_step(1, 0.5, 0.1)
        board.counted(states)
    said = "oaq: x: step 1 of 10, loss 0.500\noaq: iteration 7: 5 overflows, largest alpha 1.25\n"
    assert capsys.readouterr().err == said
    with Board("x", 400) as board:
        for step in range(400):
            board.on_step(step, 0.5, 0.1)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 20
    assert lines[-1] == "oaq: x: step 400 of 400, loss 0.500"
    with Board("x", 10, silent=True) as board:
        board.on_step(1, 0.5, 0.1)
        board.counted(states)
    assert capsys.readouterr().err == ""


def test_dithered_with_a_teacher_and_in_fixed_point_it_goes_from_the_command_line_to_a_file(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*TINY, "--out", str(tmp_path), "--dither", "1", "--teacher", "--requantize", "fixed_point"]
    assert fashion_mnist.main([*arguments, "--epochs", "3", "--features", "blocks.*", "--run", "8"]) == 0
    assert oaq.load(tmp_path / "net.oaq").requantize == "fixed_point"
    verify_file(tmp_path / "net.oaq").raise_if_unsafe()
    states = read_states(tmp_path / "integers-dither.csv", DitherState)
    assert {state.iteration for state in states} == {50}
    assert "blocks.0.conv1" in {state.layer for state in states}
    assert all(state.bits <= 8 and state.zeros > 0.3 for state in states)
    assert from_yaml((tmp_path / "config.yaml").read_text(), Config).dither == Dither(scale=1.0)
    capsys.readouterr()
    assert fashion_mnist.main([*TINY, "--out", str(tmp_path), "--dither", "2"]) == 1
    assert "the checkpoint is of another run" in capsys.readouterr().err


def test_teachers_are_those_of_the_recipe(small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*TINY, "--float-epochs", "1", "--out", str(tmp_path), "--images", "96"]
    assert cifar10.main([*arguments, "--network", "mobilenet", "--method", "none"]) == 0
    other = [*TINY, "--float-epochs", "1", "--out", str(tmp_path / "other"), "--images", "96", "--method", "none"]
    assert cifar10.main([*other, "--teacher", f"mobilenet={tmp_path / 'float.ckpt'}"]) == 0
    capsys.readouterr()
    for options, words in (
        (["--teacher", "vgg=x.ckpt"], "give float (or no name), or one of resnet20-stride2=CHECKPOINT"),
        (["--teacher-weight", "0.5"], "options of a teacher are given, and no --teacher"),
        (["--teacher", f"resnet20={tmp_path / 'float.ckpt'}"], "the checkpoint is of another run"),
        (["--teacher", "--teacher-weight", "2"], "teacher: weight is 0 to 1, not 2.0"),
    ):
        assert cifar10.main([*other, *options]) == 1
        assert words in capsys.readouterr().err
    assert fashion_mnist.main(["--method", "wrap", "--teacher", "--out", str(tmp_path / "w")]) == 1
    assert "--teacher: method 'wrap' has stages" in capsys.readouterr().err


def test_a_scale_of_0_switches_off_what_the_settings_file_says(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("method: none\ndither: {scale: 2.0, limit: 63}\n")
    assert asked("--config", str(path), "--dither", "0").dither is None
    assert asked("--config", str(path), "--dither", "4").dither == Dither(4.0, 63)
    assert asked("--config", str(path)).dither == Dither(2.0, 63)
    assert asked("--method", "wrap", "--dither", "1", "--requantize", "fixed_point").dither == Dither(1.0)
