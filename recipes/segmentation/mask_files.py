"""Masks in image files: a class per pixel as palette index, as grey level, or as VOC's colours."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import FormatError

PLAIN: Final = ("P", "L", "1", "I", "I;16", "I;16B", "I;16L")
"""Pillow's modes whose numbers are classes."""
COLOURED: Final = ("RGB", "RGBA")


def read_mask(path: Path) -> NDArray[np.int64]:
    """(rows, columns) values of a mask, 0..65535.

    Raises:
        FormatError: the file is missing, does not decode, or has colours that are none of VOC's.
    """
    from PIL import Image

    try:
        with Image.open(path) as opened:
            opened.load()
            mode, values = opened.mode, np.asarray(opened)
    except FileNotFoundError as error:
        raise FormatError(f"{path}: no such mask") from error
    except Exception as error:  # Pillow raises whatever its decoders raise
        raise FormatError(f"{path}: is not a mask that decodes: {error}. Remove it or convert it") from error
    if mode in PLAIN:
        values = values.astype(np.int64)
        if values.size and not 0 <= values.min() <= values.max() < 1 << 16:
            raise FormatError(f"{path}: has values from {values.min()} to {values.max()}; classes are 0 to 65535")
        return values
    if mode in COLOURED:
        return from_colours(values[..., :3], path)
    raise FormatError(
        f"{path}: is an image of mode {mode}, whose pixels are not classes; masks are palette, grey or VOC's colours"
    )


def voc_palette() -> NDArray[np.uint8]:
    """(256, 3) colours that VOC's masks show classes in: the bits of a class dealt out to red, green and blue.

    >>> voc_palette()[[0, 1, 15, 255]].tolist()
    [[0, 0, 0], [128, 0, 0], [192, 128, 128], [224, 224, 192]]
    """
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= ((np.arange(256) >> (bit * 3 + channel) & 1) << (7 - bit)).astype(np.uint8)
    return palette


def from_colours(pixels: NDArray[np.uint8], path: Path) -> NDArray[np.int64]:
    """Classes of a mask that was saved in VOC's colours.

    Raises:
        FormatError: a colour is none of them.
    """
    weights = np.array([1 << 16, 1 << 8, 1], np.int64)
    palette = voc_palette().astype(np.int64) @ weights
    order = np.argsort(palette)
    codes = pixels.astype(np.int64) @ weights
    places = np.searchsorted(palette[order], codes).clip(0, 255)
    classes = order[places]
    wrong = palette[classes] != codes
    if wrong.any():
        colour = pixels[wrong][0].tolist()
        raise FormatError(f"{path}: {int(wrong.sum())} pixels have a colour that no class of VOC has, such as {colour}")
    return classes.astype(np.int64)
