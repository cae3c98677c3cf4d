"""Super-resolution: networks, crops, integers and pictures, on photos that are drawn here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import oaq
from oaq.data.photos import read_pixels
from oaq.errors import FormatError
from oaq.program.frames import PaneEnds, spans
from oaq.ptq.quantize import quantize_with_report
from oaq.report.agreement import sqnr_db
from oaq.runtime.frames import FrameSession
from oaq.tasks.upscale import upscale_metrics
from recipes.checkpoint import is_trained
from recipes.superres import __main__ as command
from recipes.superres import integers, train
from recipes.superres.enlarge import by_float, by_integers, enlarge_photo, enlarged, side_by_side
from recipes.superres.integers import calibration, task_of
from recipes.superres.networks import NETWORKS, bicubic_weights, build
from recipes.superres.pictures import brightness, eight_bits, resized, sample, sets_of
from recipes.superres.scoring import BICUBIC, answer_set, figures


def photo_of(seed: int, rows: int = 150, columns: int = 180) -> np.ndarray:
    """Coloured discs on a slope."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    photo = np.stack([x * 255 / columns, y * 255 / rows, np.full(x.shape, 90.0)], -1)
    for _ in range(25):
        centre, radius = rng.uniform((0, 0), (rows, columns)), rng.uniform(4, 25)
        photo[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2] = rng.integers(0, 256, 3)
    return photo.round().astype(np.uint8)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Photos in a folder, and in the place of those that recipes fetch."""
    (tmp_path / "data" / "CSet5").mkdir(parents=True)
    paths = [tmp_path / "data" / "CSet5" / f"{seed}.png" for seed in range(3)]
    for seed, path in enumerate(paths):
        Image.fromarray(photo_of(seed, 210, 220)).save(path)
    for module in (command, integers, train):
        for name in ("named_photos", "training_photos"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, lambda: paths)
    monkeypatch.setattr("recipes.superres.pictures.named_photos", lambda: paths)
    return paths


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_skip_starts_as_bicubic_interpolation(scale: int) -> None:
    weights = bicubic_weights(scale)
    np.testing.assert_allclose(weights.sum(axis=(1, 2)), 1, atol=1e-6)
    photo = np.round(np.random.default_rng(0).random((12, 14)) * 255).astype(np.float32)
    x = torch.from_numpy(photo)[None, None]
    y = torch.pixel_shuffle(torch.conv2d(x, torch.from_numpy(weights)[:, None], padding=2), scale)[0, 0].numpy()
    true = np.asarray(Image.fromarray(photo).resize((14 * scale, 12 * scale), Image.Resampling.BICUBIC))
    inner = slice(2 * scale, -2 * scale)
    np.testing.assert_allclose(y[inner, inner], true[inner, inner], atol=1e-3)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_untrained_networks_are_bicubic_but_for_a_little_and_always_the_same(name: str, scale: int) -> None:
    x = torch.from_numpy(eight_bits(brightness(resized(photo_of(0), 30, 36))))[None, None]
    with torch.inference_mode():
        y, again = build(name, scale)(x), build(name, scale)(x)
        skip = torch.pixel_shuffle(build(name, scale).skip(x), scale)  # type: ignore[operator]
    assert y.shape == (1, 1, 30 * scale, 36 * scale) and torch.equal(y, again)
    assert float(y.min()) >= 0 and float(y.max()) <= 1
    assert float((y - skip).abs().mean()) < 0.1


@pytest.mark.parametrize("name", NETWORKS)
def test_the_radius_that_is_named_is_what_outputs_depend_on(name: str) -> None:
    net = build(name, 2)
    x = np.random.default_rng(0).random((8, 1, 48, 48)).astype(np.float32)
    program, _ = quantize_with_report(net, [x])
    inner = spans(program, 0, PaneEnds(begins=False, ends=True))[program.outputs[0]]
    assert inner.first == 2 * NETWORKS[name].radius


def test_other_networks_and_scales_are_refused() -> None:
    with pytest.raises(FormatError, match=r"srcnn x2: networks are espcn, fsrcnn, edsr-mini"):
        build("srcnn", 2)
    with pytest.raises(FormatError, match="espcn x5"):
        build("espcn", 5)


def test_crops_are_pairs_that_fit_and_depend_on_seed_and_step_alone(photos: list[Path]) -> None:
    crops = train.Crops(photos, 2, 24, 0)
    x, y = crops.batch(3, 4)
    assert x.shape == (4, 1, 24, 24) and y.shape == (4, 1, 48, 48)
    assert torch.equal(x, train.Crops(photos, 2, 24, 0).batch(3, 4)[0])
    assert not torch.equal(x, crops.batch(4, 4)[0])
    halved = torch.nn.functional.avg_pool2d(y, 2)
    assert float((halved - x).abs().mean()) < 0.02
    with pytest.raises(FormatError, match="no photo to train on has 300 x 300"):
        train.Crops(photos, 2, 300, 0)


def test_training_that_stops_goes_on_as_it_would_have(photos: list[Path], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(train, "SAVE_EVERY", 2)
    whole, parts = tmp_path / "whole.pt", tmp_path / "parts.pt"
    train.make_weights("espcn", 2, whole, steps=4, crop=16, batch=2)
    crops = train.Crops(photos, 2, 16, 0)

    class Stopped(Exception):
        pass

    def stopping(step: int, count: int):
        if step == 3:
            raise Stopped
        return train.Crops.batch(crops, step, count)

    stopped = train.Crops(photos, 2, 16, 0)
    stopped.batch = stopping  # type: ignore[method-assign]
    with pytest.raises(Stopped):
        train.train(build("espcn", 2), stopped, parts, steps=4, batch=2, rate=1e-3)
    assert not is_trained(parts, 4) and is_trained(whole, 4)
    train.make_weights("espcn", 2, parts, steps=4, crop=16, batch=2)
    for first, second in zip(torch.load(whole).values(), torch.load(parts).values(), strict=True):
        assert torch.equal(first, second)
    parts.with_suffix(".state.pt").write_bytes(b"damaged")
    with pytest.raises(FormatError, match="is not what an earlier run left"):
        train.make_weights("espcn", 2, parts, steps=6, crop=16, batch=2)


@pytest.mark.parametrize("name", ["espcn", "fsrcnn"])
def test_integers_are_near_float_and_a_picture_is_a_photo_in_colour(name: str, photos: list[Path]) -> None:
    net = build(name, 2)
    program, _ = quantize_with_report(net, calibration(photos, 2))
    spec = program.tensors[program.inputs[0]]
    assert spec.affine.scale == pytest.approx(1 / 255, rel=2e-3)
    session = FrameSession(program, (48, 56))
    pair = sample("photo", photo_of(7, 141, 163), 2)
    answers = [enlarged(brightness(pair.small), 2, side) for side in (by_float(net), by_integers(session))]
    assert answers[0].shape == pair.photo.shape[:2] and sqnr_db(*answers) > 35
    assert upscale_metrics(2)[0].agreement(answers[:1], answers[1:]) > 45
    picture = enlarge_photo(pair.small, 2, by_integers(session), task_of(2))
    assert (
        picture.shape == pair.photo.shape and np.abs(picture.astype(int) - pair.photo).mean() < 14
    )  # what is untrained adds noise
    whole = oaq.Session(oaq.plan(FrameSession(program, (400, 400))._cut((86, 97)).program))
    luma = eight_bits(np.pad(brightness(pair.small), 8, mode="edge"))
    np.testing.assert_array_equal(session.run(luma[None, None]), whole.run(luma[None, None]))


def test_scores_of_three_sides_stand_in_one_line(photos: list[Path]) -> None:
    net = build("espcn", 2)
    sets = [answer_set("Set5", photos, 2, {"float": by_float(net)}, task_of(2))]
    lines = figures(sets, task_of(2).metrics, ("float",))
    assert lines[0][0] == "PSNR on Set5, 3 photos, bicubic / float"
    assert 20 < sets[0].score(task_of(2).metrics[0], BICUBIC) < 60
    assert [title for title, _ in sets[0].sheets[0].pictures] == ["bicubic", "float", "photo"]


def test_pictures_side_by_side_show_the_busiest_part_larger() -> None:
    flat, busy = np.full((40, 60, 3), 128, np.uint8), photo_of(1, 40, 60)
    sheet = side_by_side(("a", "b"), (flat, busy))
    assert sheet.shape == (40 + 80 + 8, 80 + 8 + 80, 3)


def test_sets_are_those_of_the_folder(photos: list[Path], tmp_path: Path) -> None:
    assert list(sets_of(tmp_path / "data")) == ["Set5", "scikit-image"]
    assert list(sets_of(photos[0].parent)) == ["CSet5", "scikit-image"]
    with pytest.raises(FormatError, match="holds no photo"):
        sets_of(tmp_path)


@pytest.mark.parametrize(("size", "message"), [((20, 3), "20 x 3 pixels"), (None, "is not a photo that decodes")])
def test_photos_that_cannot_be_scored_are_refused_before_anything_is_trained(
    photos: list[Path], tmp_path: Path, capsys, monkeypatch, size: tuple[int, int] | None, message: str
) -> None:
    monkeypatch.setattr(command, "network_of", None)
    (tmp_path / "own").mkdir()
    path = tmp_path / "own" / "a.png"
    if size is None:
        path.write_bytes(photos[0].read_bytes()[:200])
    else:
        Image.fromarray(photo_of(0, *size)).save(path)
    assert command.main(["--data", str(path.parent), "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_the_command_enlarges_a_photo_and_scores_a_folder(photos: list[Path], tmp_path: Path, capsys) -> None:
    words = ["--network", "espcn", "--steps", "0", "--threads", "1"]
    data = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    assert command.main([*words, *data]) == 0
    text = capsys.readouterr().out
    assert "PSNR on Set5, 3 photos, bicubic / float / int16" in text and "4 of 4" in text
    assert (tmp_path / "out" / "espcn-x2" / "report.html").exists()
    assert command.main([*words, *data]) == 0  # what was quantized is taken again
    assert "quantized again" not in capsys.readouterr().out
    big = tmp_path / "big.png"
    assert command.main([str(photos[0]), *words, "--out", str(big)]) == 0
    assert read_pixels(big).shape == (420, 440, 3)
    assert read_pixels(tmp_path / "big.side-by-side.png").shape[0] > 420
    assert command.main([str(photos[0]), *words, "--out", str(tmp_path / "big")]) == 2
    assert "name a .png or .jpg file" in capsys.readouterr().err


def test_what_cannot_be_read_or_written_is_refused_before_minutes_of_training(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("trains")

    monkeypatch.setattr(train, "make_weights", refuse)
    out = str(tmp_path / "out")
    for words, reason in (
        ([str(photos[0]), "--out", str(tmp_path / "big")], "name a .png or .jpg file"),
        ([str(tmp_path / "none.png"), "--out", str(tmp_path / "big.png")], "none.png: no such file"),
        (["--out", out, "--data", str(tmp_path / "nowhere")], "nowhere: holds no photo"),
    ):
        assert command.main(words) == 2
        assert reason in capsys.readouterr().err
