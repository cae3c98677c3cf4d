"""Photos of every size are cropped inside their edges, whatever divisions round to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oaq.data.photos import read_photo
from oaq.data.preprocess import Preprocess

Image = pytest.importorskip("PIL.Image")


@pytest.mark.parametrize("size", [(224, 224), (96, 128), (7, 3)])
def test_the_largest_centre_crop_of_any_photo_lies_inside_it(tmp_path: Path, size: tuple[int, int]) -> None:
    preprocess = Preprocess(size, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), interpolation="nearest")
    path = tmp_path / "photo.png"
    for side in (1, 2, 3, 95, 97, 107, 110, 187, 190, 193, 223, 224, 225, 391):
        for width, height in ((side, side), (side, side + 7), (side + 7, side)):
            Image.new("RGB", (width, height), (255, 0, 128)).save(path)
            photo = read_photo(path, preprocess)
            assert photo.shape == (3, *size)
            np.testing.assert_array_equal(photo[0], 1.0)
