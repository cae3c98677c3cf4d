"""``oaq bench --photos``: answers scored beside times by the metrics of the file's task."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import oaq as package
from oaq.tasks.upscale import upscale_metrics
from recipes.float_onnx import export_float
from tests.cli.test_run_frames import NETWORK, TASK

pytestmark = pytest.mark.usefixtures("native")
SIDE = 16


@pytest.fixture
def folder(oaq, tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number, size in enumerate([(32, 32), (40, 60), (33, 90)]):
        smooth = np.cumsum(rng.normal(0, 6, (*size, 3)), axis=1) + 128
        Image.fromarray(np.clip(smooth, 0, 255).astype(np.uint8)).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path


def upscaler(oaq, folder: Path, luma: bool) -> Path:
    task = {**TASK, "decoder": {"luma": luma, "border": 2}}
    if not luma:
        task["preprocess"] = {"size": [SIDE, SIDE], "mean": [0.0], "std": [1.0]}
    (folder / "net.py").write_text(NETWORK)
    (folder / "net.json").write_text(json.dumps(task))
    words = ["--calibrate", folder / "photos", "--task", folder / "net.json", "--out", folder / "net.oaq"]
    assert oaq("quantize", f"{folder / 'net.py'}:make", *words)[0] == 0
    return folder / "net.oaq"


def expected(folder: Path, luma: bool) -> list[float]:
    """PSNR and SSIM of every pixel four times, in float."""
    answers, truths = [], []
    for path in sorted((folder / "photos").iterdir()):
        photo = np.asarray(Image.open(path))
        top, first = ((have - 2 * SIDE) // 2 for have in photo.shape[:2])
        middle = Image.fromarray(np.ascontiguousarray(photo[top : top + 2 * SIDE, first : first + 2 * SIDE]))
        grey = middle.convert("L")
        small = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) / 255
        x = small * 219 / 255 + 16 / 255 if luma else small
        answers.append(np.repeat(np.repeat(x, 2, 0), 2, 1))
        truths.append(np.asarray(middle) / 255 if luma else np.asarray(grey) / 255)
    return [metric.compute(answers, truths) for metric in upscale_metrics(2)]


@pytest.mark.parametrize("luma", [True, False])
def test_an_upscaler_is_scored_on_photos_that_were_reduced(oaq, folder: Path, luma: bool) -> None:
    path = upscaler(oaq, folder, luma)
    code, out, err = oaq("bench", path, "--rounds", 1, "--isa", "scalar", "--photos", folder / "photos", "--json")
    assert code == 0, err
    scores = json.loads(out)["scores"]
    assert code == 0 and (scores["task"], scores["images"]) == ("upscale", 3)
    (psnr, ssim), own = expected(folder, luma), scores["values"]["oaq scalar"]
    assert own["PSNR"] == pytest.approx(psnr, abs=0.3) and own["SSIM"] == pytest.approx(ssim, abs=0.02)
    words = ("bench", path, "--rounds", 1, "--isa", "scalar", "--photos", folder / "photos", "--limit", 2)
    code, out, _ = oaq(*words)
    assert code == 0 and "dB, SSIM 0." in out and "against photos that were reduced, 2 images" in out


def test_without_a_truth_answers_are_compared_with_those_of_the_float_network(oaq, folder: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).eval()
    x = np.random.default_rng(1).normal(size=(8, 3, SIDE, SIDE)).astype(np.float32)
    export_float(net, x[:1], folder / "float.onnx")
    package.save(package.quantize(net, [x]), folder / "net.oaq")
    words = ("bench", folder / "net.oaq", "--rounds", 1, "--isa", "scalar", "--photos", folder / "photos")
    code, _, err = oaq(*words)
    assert code == 2 and "give the float network, --onnx FLOAT.onnx" in err
    code, out, err = oaq(*words, "--onnx", folder / "float.onnx", "--json")
    assert code == 0, err
    scores = json.loads(out)["scores"]
    (name,) = scores["values"]  # the float network is not scored against itself
    assert name == "oaq scalar" and scores["images"] == 3 and "fp32 answers" in scores["against"]
    assert 0 <= scores["values"][name]["top-1"] <= 3


def test_what_cannot_be_scored_is_refused_before_anything_is_timed(oaq, folder: Path) -> None:
    path = upscaler(oaq, folder, luma=True)
    words = ("bench", path, "--rounds", 1, "--isa", "scalar", "--photos")
    Image.fromarray(np.zeros((31, 40, 3), np.uint8)).save(folder / "photos" / "a.png")
    assert "40 x 31 pixels; scored are photos of 32 x 32 at least" in refusal(oaq(*words, folder / "photos"))
    (folder / "arrays").mkdir()
    np.save(folder / "arrays" / "x.npy", np.zeros((1, 1, SIDE, SIDE), np.float32))
    assert "an upscaler is scored on photos" in refusal(oaq(*words, folder / "arrays"))
    assert "keeps the task upscale, not detect" in refusal(oaq(*words, folder / "photos", "--task", "detect"))
    assert "--limit 0" in refusal(oaq(*words, folder / "photos", "--limit", 0))


def refusal(done: tuple[int, str, str]) -> str:
    """The one line on standard error."""
    code, out, err = done
    assert code == 2 and out == "" and "Traceback" not in err
    return err
