"""One photo to float32. Needs Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oaq.data.preprocess import Preprocess
from oaq.errors import FormatError


def read_photo(path: Path, preprocess: Preprocess) -> NDArray[np.float32]:
    """One photo, prepared: (C, H, W) float32.

    Raises:
        FormatError: the file does not decode.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            photo = ImageOps.exif_transpose(opened).convert("RGB" if len(preprocess.mean) == 3 else "L")
    except FileNotFoundError as error:
        raise FormatError(f"{path}: no such file") from error
    except Exception as error:  # Pillow raises whatever its decoders raise
        raise FormatError(f"{path}: is not a photo that decodes: {error}. Remove it or convert it") from error
    pixels = np.asarray(
        _fit(photo, preprocess, getattr(Image.Resampling, preprocess.interpolation.upper())), np.float32
    ) / np.float32(255)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    scaled = (pixels - np.array(preprocess.mean, np.float32)) / np.array(preprocess.std, np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1), np.float32)


def _fit(photo, preprocess: Preprocess, kernel):  # noqa: ANN001, ANN202  (Pillow is optional: its types are not here)
    rows, columns = preprocess.size
    if preprocess.resize is None:
        scale = max(columns / photo.width, rows / photo.height)
        width, height = min(columns / scale, photo.width), min(rows / scale, photo.height)  # division may round up
        x0, y0 = (photo.width - width) / 2, (photo.height - height) / 2
        box = (x0, y0, min(x0 + width, photo.width), min(y0 + height, photo.height))
        return photo.resize((columns, rows), kernel, box=box)
    scale = preprocess.resize / min(photo.size)
    sized = photo.resize((max(columns, round(photo.width * scale)), max(rows, round(photo.height * scale))), kernel)
    x0, y0 = (sized.width - columns) // 2, (sized.height - rows) // 2
    return sized.crop((x0, y0, x0 + columns, y0 + rows))
