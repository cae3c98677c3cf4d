"""``oaq run`` of a network that enlarges: photos of any size, whole, in colour."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oaq.data.photos import read_pixels

pytestmark = pytest.mark.usefixtures("native")
NETWORK = """
import torch
from torch import nn


class Twice(nn.Module):
    '''Every pixel four times, by a layer and an interleaving.'''

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 4, 3, padding=1)
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.weight[:, 0, 1, 1] = 1.0
            self.layer.bias.zero_()

    def forward(self, x):
        return torch.pixel_shuffle(self.layer(x), 2)


def make():
    return Twice().eval()
"""
TASK = {
    "task": "upscale",
    "decoder": {"luma": True},
    "preprocess": {"size": [16, 16], "mean": [-16 / 219], "std": [255 / 219]},
}


@pytest.fixture
def folder(oaq, tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "net.json").write_text(json.dumps(TASK))
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number, size in enumerate([(40, 30), (200, 150)]):
        pixels = np.repeat(np.repeat(rng.integers(0, 256, (size[0] // 10, size[1] // 10, 3)), 10, 0), 10, 1)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / f"{number}.png")
    words = ["--calibrate", tmp_path / "photos", "--task", tmp_path / "net.json", "--out", tmp_path / "net.oaq"]
    assert oaq("quantize", f"{tmp_path / 'net.py'}:make", *words)[0] == 0
    return tmp_path


def test_photos_of_any_size_are_enlarged_whole_and_keep_their_colour(oaq, folder: Path) -> None:
    done = oaq("run", folder / "net.oaq", "--input", folder / "photos", "--save", folder / "large")
    assert done[0] == 0 and "photos whole" in done[1]
    assert "60 x 80 pixels" in done[1] and "300 x 400 pixels" in done[1]
    for number in (0, 1):
        small = read_pixels(folder / "photos" / f"{number}.png").astype(int)
        large = read_pixels(folder / "large" / f"{number}.png").astype(int)
        assert large.shape == (2 * small.shape[0], 2 * small.shape[1], 3)
        inside = np.abs(large[5::20, 5::20] - small[2::10, 2::10])  # within blocks of one colour
        assert np.median(inside) <= 1 and inside.mean() < 4  # photos were made small for calibration: ends are clipped


def test_one_picture_goes_to_one_file_and_json_says_its_size(oaq, folder: Path) -> None:
    photo, picture = folder / "photos" / "1.png", folder / "big.png"
    assert oaq("run", folder / "net.oaq", photo, "--save", picture)[0] == 0
    assert read_pixels(picture).shape == (400, 300, 3)
    document = json.loads(oaq("run", folder / "net.oaq", photo, "--json")[1])
    assert document["annotations"][0]["width"] == 300 and document["not_proved"] == ""


def test_flags_that_fit_photos_and_arrays_take_the_networks_own_size(oaq, folder: Path) -> None:
    photo = folder / "photos" / "1.png"
    assert "32 x 32 pixels" in oaq("run", folder / "net.oaq", photo, "--fit", "stretch")[1]
    assert oaq("run", folder / "net.oaq", photo, "--save", folder / "y.npy")[0] == 0
    assert np.load(folder / "y.npy").shape == (1, 1, 32, 32)
