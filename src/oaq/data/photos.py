"""One photo to float32. Needs Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oaq.data.preprocess import PAD, Preprocess
from oaq.data.window import padded, resized, window_of
from oaq.errors import FormatError


def read_photo(path: Path, preprocess: Preprocess) -> NDArray[np.float32]:
    """One photo, prepared: (C, H, W) float32.

    Raises:
        FormatError: the file does not decode.
    """
    return _prepared(_opened(path, "RGB" if len(preprocess.mean) == 3 else "L"), preprocess)


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """One photo as it is, upright: (rows, columns, 3) uint8 RGB.

    Raises:
        FormatError: the file does not decode.
    """
    return np.asarray(_opened(path, "RGB"), np.uint8)


def prepare(pixels: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.float32]:
    """A photo in memory, (rows, columns, 3) uint8 RGB, as ``read_photo`` prepares one of a file."""
    from PIL import Image

    return _prepared(Image.fromarray(pixels).convert("RGB" if len(preprocess.mean) == 3 else "L"), preprocess)


def _opened(path: Path, mode: str):  # noqa: ANN202  (Pillow is optional: its types are not here)
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            return ImageOps.exif_transpose(opened).convert(mode)
    except FileNotFoundError as error:
        raise FormatError(f"{path}: no such file") from error
    except Exception as error:  # Pillow raises whatever its decoders raise
        raise FormatError(f"{path}: is not a photo that decodes: {error}. Remove it or convert it") from error


def _prepared(photo, preprocess: Preprocess) -> NDArray[np.float32]:  # noqa: ANN001
    from PIL import Image

    kernel = getattr(Image.Resampling, preprocess.interpolation.upper())
    pixels = np.asarray(_fit(photo, preprocess, kernel), np.float32) / np.float32(255)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    scaled = (pixels - np.array(preprocess.mean, np.float32)) / np.array(preprocess.std, np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1), np.float32)


def _fit(photo, preprocess: Preprocess, kernel):  # noqa: ANN001, ANN202
    from PIL import Image

    rows, columns = preprocess.size
    if preprocess.fit == "stretch":
        return photo.resize((columns, rows), kernel)
    if preprocess.fit == "pad":
        width, height, first_column, first_row = padded(preprocess, photo.width, photo.height)
        canvas = Image.new(photo.mode, (columns, rows), PAD if photo.mode == "L" else (PAD,) * 3)
        canvas.paste(photo.resize((width, height), kernel), (first_column, first_row))
        return canvas
    if preprocess.resize is None:
        window = window_of(preprocess, photo.width, photo.height)
        right = min(window.x + window.width, photo.width)
        box = (window.x, window.y, right, min(window.y + window.height, photo.height))
        return photo.resize((columns, rows), kernel, box=box)
    sized = photo.resize(resized(preprocess, photo.width, photo.height), kernel)
    x0, y0 = (sized.width - columns) // 2, (sized.height - rows) // 2
    return sized.crop((x0, y0, x0 + columns, y0 + rows))
