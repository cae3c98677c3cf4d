"""The part of a photo that a network sees: what is read there is what the window says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oaq.data.photos import prepare, read_photo, read_pixels
from oaq.data.preprocess import Preprocess
from oaq.data.window import window_of
from oaq.errors import FormatError

PLAIN = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "interpolation": "nearest"}


@pytest.mark.parametrize("size", [(40, 40), (40, 60), (60, 40)])
@pytest.mark.parametrize("fit", ["crop", "stretch", "pad", "resize"])
@pytest.mark.parametrize("photo", [(200, 300), (300, 200), (77, 501), (60, 60)])
def test_a_mark_in_the_photo_is_seen_where_the_window_puts_it(fit, photo, size) -> None:
    rows, columns = photo
    preprocess = (
        Preprocess(size, resize=80, **PLAIN) if fit == "resize" else Preprocess(size, fit=fit, **PLAIN)  # type: ignore[arg-type]
    )
    pixels = np.zeros((rows, columns, 3), np.uint8)
    middle = rows // 2, columns // 2
    pixels[middle[0] - 8 : middle[0] + 8, middle[1] - 8 : middle[1] + 8, 0] = 255
    seen = prepare(pixels, preprocess)
    assert seen.shape == (3, *size)
    y, x = np.nonzero(seen[0] > 0.9)
    box = np.array([[x.min() / size[1], y.min() / size[0], (x.max() + 1) / size[1], (y.max() + 1) / size[0]]])
    found = window_of(preprocess, columns, rows).to_pixels(box)[0]
    step = max(
        window_of(preprocess, columns, rows).width / size[1], window_of(preprocess, columns, rows).height / size[0]
    )
    expected = [middle[1] - 8, middle[0] - 8, middle[1] + 8, middle[0] + 8]
    np.testing.assert_allclose(found, expected, atol=1.01 * step + 0.5)


def test_shares_and_pixels_are_inverse() -> None:
    window = window_of(Preprocess((30, 50), fit="pad"), 640, 481)
    boxes = np.array([[3.0, 4.0, 100.0, 200.0]])
    np.testing.assert_allclose(window.to_pixels(window.to_shares(boxes)), boxes)


def test_what_pad_leaves_free_is_grey(tmp_path: Path) -> None:
    Image.new("RGB", (40, 10), (255, 0, 0)).save(tmp_path / "x.png")
    seen = read_photo(tmp_path / "x.png", Preprocess((20, 20), fit="pad", **PLAIN))  # type: ignore[arg-type]
    assert seen[0, 0, 0] == pytest.approx(114 / 255) and seen[0, 10, 10] == 1.0
    grey = read_photo(tmp_path / "x.png", Preprocess((20, 20), mean=(0.0,), std=(1.0,), fit="pad"))
    assert grey.shape == (1, 20, 20) and grey[0, 0, 0] == pytest.approx(114 / 255)
    assert read_pixels(tmp_path / "x.png").shape == (10, 40, 3)


def test_fits_that_are_none_are_refused() -> None:
    with pytest.raises(FormatError, match="fit is one of crop, stretch, pad"):
        Preprocess((2, 2), fit="squeeze")
    with pytest.raises(FormatError, match="leave it out"):
        Preprocess((2, 2), resize=4, fit="pad")
    assert "fit" not in Preprocess((2, 2)).to_json() and '"pad"' in Preprocess((2, 2), fit="pad").to_json()
