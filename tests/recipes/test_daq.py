"""Few levels a channel: rows, the ledger that keeps them, and both experiments on pictures that are drawn here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import oaq
from oaq import operators as ops
from oaq.ptq import Daq
from recipes.daq import __main__ as command
from recipes.daq import rates, superres, train
from recipes.daq.choices import BITS, rows_of
from recipes.daq.mri import Correction, Reconstruction, by_programs
from recipes.daq.superres import BLOCKS, Training, by_program, calibrated_rows, runs_of, score_rows
from recipes.ledger import Ledger
from recipes.qpan.networks import TwoLayerPhase, Unfolded
from recipes.qpan.samples import measured_slice
from recipes.superres.enlarge import by_float
from recipes.superres.networks import Edsr, build
from tests.recipes.test_superres import photo_of


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    paths = [tmp_path / f"{seed}.png" for seed in range(3)]
    for seed, path in enumerate(paths):
        Image.fromarray(photo_of(seed, 210, 220)).save(path)
    for module in (superres, train):
        monkeypatch.setattr(module, "training_photos", lambda: paths)
    (tmp_path / "edsr-mini-x2").mkdir()
    torch.save(build("edsr-mini", 2).state_dict(), tmp_path / "edsr-mini-x2" / "weights.pt")
    return paths


def test_every_choice_of_levels_has_a_label_of_its_own() -> None:
    labels = [label for bits in BITS for label, _ in rows_of(bits, BLOCKS)]
    assert len(labels) == len(set(labels))
    assert [label for label, _ in rows_of(2, BLOCKS, "dynamic, mse")] == [
        "DAQ dynamic, mse, W8A2",
        "DAQ dynamic, mse, W2A2",
    ]


def test_photos_are_enlarged_by_static_and_dynamic_levels(photos: list[Path], tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "table.json", "command", ())
    net = build("edsr-mini", 2)
    score_rows({"drawn": photos[:1]}, ledger, net, 2, calibrated_rows(net, 2, (4,), "c, mse, W8A4"))
    rows = {dict(row)["levels"]: dict(row) for row in ledger.result().rows}
    assert set(rows) == {"bicubic", "float", "DAQ static, mse, W8A4", "DAQ dynamic, mse, W8A4"}
    for label in ("DAQ static, mse, W8A4", "DAQ dynamic, mse, W8A4"):
        assert abs(float(rows[label]["PSNR on drawn"]) - float(rows["float"]["PSNR on drawn"])) < 1.0
        assert rows[label]["runs on AVX2"].endswith("of 72")


def test_dynamic_programs_enlarge_the_photo_as_a_whole(photos: list[Path]) -> None:
    net = build("edsr-mini", 2)
    x = np.random.default_rng(0).random((20, 28)).astype(np.float32)
    squares = [np.random.default_rng(1).random((4, 1, 24, 24)).astype(np.float32)]
    for mode in ("static", "dynamic"):
        program = oaq.quantize(net, squares, budget=None, daq=Daq(4, mode, layers=BLOCKS))  # type: ignore[arg-type]
        kinds = [type(node.op) for node in program.nodes]
        assert (ops.Coarsen in kinds) == (mode == "dynamic") and (ops.ChannelLookup in kinds) == (mode == "static")
        y = by_program(program)(x)
        assert y.shape == (40, 56) and np.abs(y - by_float(net)(x)).max() < 0.1
        assert runs_of(program).endswith("of 72")


def test_training_that_stops_goes_on_and_its_program_is_that_of_its_weights(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "CROP", 16)
    monkeypatch.setattr(train, "BATCH", 2)
    net, daq = build("edsr-mini", 2), Daq(2, weight_bits=2, layers=BLOCKS)
    programs = [train.trained_program(net, 2, daq, tmp_path / "levels.pt", steps, rate=3e-5) for steps in (2, 2, 3)]
    weights = [[node.products.weight for node in program.summing_nodes()] for program in programs]
    assert all(np.array_equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(weights[1], weights[2], strict=True))
    assert programs[0].metadata["levels"].startswith("DAQ static W2A2")


def test_a_correction_is_what_its_phase_adds() -> None:
    torch.manual_seed(0)
    phase, r = TwoLayerPhase(4, 0.05), torch.rand(2, 1, 9, 8)
    with torch.inference_mode():
        torch.testing.assert_close(Correction(phase)(r), phase(r) - r, atol=1e-6, rtol=0)


@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_slices_are_reconstructed_by_a_program_for_each_phase(mode: str) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    mask = (rng.random((16, 16)) < 0.5).astype(float)
    mask[0, 0] = 1.0
    network = Reconstruction(Unfolded([TwoLayerPhase(4), TwoLayerPhase(4)]), mask)
    image = np.clip(rng.random((16, 16)), 0, 1)
    network.calibrated = network.scored = [measured_slice("drawn", image, mask)]
    exact = network.score(network.floats())
    assert abs(network.score(by_programs(network.programs(None))) - exact) < 0.5
    levels = Daq(4, mode, layers="rise|analyse|fall|synthesize|gather")  # type: ignore[arg-type]
    assert abs(network.score(by_programs(network.programs(levels))) - exact) < 3


def test_rows_are_taken_only_for_the_same_photos_weights_and_steps(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def asked_steps(net: object, scale: int, bits: object, training: Training, only: str) -> int:
        return training.steps

    def label_rows(sets: object, ledger: Ledger, net: object, scale: int, steps: int) -> None:
        ledger.row("trained", lambda: asked.append(steps) or (("steps", str(steps)),))

    monkeypatch.setattr(command, "trained_rows", asked_steps)
    monkeypatch.setattr(command, "score_rows", label_rows)
    monkeypatch.setattr(command, "sets_of", lambda _data: {"drawn": photos[:1]})
    words = ["trained", "--out", str(tmp_path), "--steps"]
    for steps in ("5", "5", "7"):
        assert command.main([*words, steps]) == 0
    assert asked == [5, 7]
    Image.fromarray(photo_of(9, 210, 220)).save(photos[0])
    assert command.main([*words, "7"]) == 0
    torch.save(Edsr(2).state_dict(), tmp_path / "edsr-mini-x2" / "weights.pt")
    assert command.main([*words, "7"]) == 0
    assert asked == [5, 7, 7, 7]
    assert command.main([*words, "0"]) == 2


def test_what_cannot_be_used_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["mri", "--out", str(tmp_path)]) == 2
    assert "mri: --data names the folder that holds mri" in capsys.readouterr().err
    assert command.main(["mri", "--data", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "is not an archive of arrays" in capsys.readouterr().err


def test_rates_are_compared_before_and_after_training_and_what_won_is_what_is_trained_at(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = rates.COMPARED
    monkeypatch.setattr(rates, "held_photos", lambda: photos[:1])
    monkeypatch.setattr(rates, "COMPARED", {2: (1e-4, 3e-4)})
    monkeypatch.setattr(train, "CROP", 16)
    monkeypatch.setattr(train, "BATCH", 2)
    ledger = Ledger(tmp_path / "rates.json", "command", ())
    rates.run_rates(ledger, scale=2, bits=(2,), training=Training(tmp_path, 1))
    labels = [dict(row)["levels"] for row in ledger.result().rows]
    assert labels == ["float", "W2A2, untrained", "W2A2, 0.0001", "W2A2, 0.0003"]
    assert {path.name.split("-")[5] for path in tmp_path.glob("daq-static-2-x2-1-*.pt")} >= {"0.0001", "0.0003"}
    assert set(train.RATES) == set(BITS) == set(compared)
    assert all(rate in compared[bits] for bits, rate in train.RATES.items())
    assert Training(tmp_path).rate_of(2) == train.RATES[2] and Training(tmp_path, rate=0.5).rate_of(2) == 0.5
    assert command.main(["rates", "--rate", "1e-4", "--out", str(tmp_path)]) == 2
