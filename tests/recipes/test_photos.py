"""Photos: sets that do not overlap, views that contain the test crop, and files that do not decode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oaq.data.batches import read
from oaq.data.preprocess import Preprocess
from oaq.errors import FormatError
from recipes.data import photos
from recipes.networks import NETWORKS


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_no_photo_is_in_two_sets() -> None:
    calibration = set(photos.CALIBRATION_MVTB) | set(photos.CALIBRATION_SCIKIT)
    comparison = set(photos.COMPARISON_MVTB) | set(photos.COMPARISON_SCIKIT)
    assert not calibration & comparison
    assert len(calibration) == len(photos.CALIBRATION_MVTB) + len(photos.CALIBRATION_SCIKIT) == 64


def test_labels_are_in_the_file_names() -> None:
    match = photos.LABELLED.fullmatch("foolbox/data/imagenet_07_609.jpg")
    assert match is not None
    assert match[1] == "609"
    assert not photos.LABELLED.fullmatch("foolbox/data/cifar10_07_6.png")


def test_the_first_of_five_views_is_the_crop_that_the_network_is_tested_on(photo: Path) -> None:
    how = Preprocess((32, 24), 40, (0.5,), (0.25,), "bicubic")
    found = photos.views(photo, how)
    assert found.shape == (5, 1, 32, 24)
    assert np.array_equal(found[0], read(photo, how)[0])
    assert not np.array_equal(found[1], found[4])


def test_a_lite_network_sees_pixels_minus_127_over_128(tmp_path: Path) -> None:
    path = tmp_path / "flat.png"
    Image.new("RGB", (300, 300), (255, 127, 0)).save(path)
    x = read(path, NETWORKS["efficientnet-lite0"].preprocess)
    assert x.shape == (1, 3, 224, 224)
    assert np.allclose(x[0, :, 100, 100], [1.0, 0.0, -127 / 128], atol=1e-6)


@pytest.mark.parametrize("content", [b"", b"no photo", b"\xff\xd8\xff\xe0 cut off"])
def test_a_photo_that_does_not_decode_is_one_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"broken\.jpg: is not a photo that decodes"):
        photos.views(path, NETWORKS["mobilenet-v2"].preprocess)


def test_a_photo_cut_off_in_the_middle_is_one_error(photo: Path) -> None:
    photo.write_bytes(photo.read_bytes()[:2000])
    with pytest.raises(FormatError, match=r"photo\.png: is not a photo that decodes"):
        photos.views(photo, NETWORKS["mobilenet-v2"].preprocess)
