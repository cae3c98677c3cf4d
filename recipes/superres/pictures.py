"""Photos in luma and colour: reduced and enlarged by Pillow's bicubic filter, as the field scores them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.data.photos import read_pixels
from oaq.errors import FormatError
from oaq.tasks.task import Picture
from oaq.tasks.upscale import WINDOW, luma
from recipes.data.packages import unpack
from recipes.data.photos import MVTB, SCIKIT_IMAGE

Luma = NDArray[np.float32]
"""(rows, columns) brightness in 0..1, black at 16/255."""
NAMED: Final = ("astronaut.png", "chelsea.png", "coffee.png", "ihc.png", "motorcycle_left.png")
"""Colour photos of scikit-image that are scored. None of them is trained on."""
SETS: Final = {"Set5": "CSet5", "Set14": "CSet14"}
"""Folders of --data by the name of their set."""
TRAINED_ON: Final = """
    58060.png building2-3.png butterfly.jpg church.jpg eiffel-1.png eiffel-2.png flowers1.png flowers2.png
    flowers3.png flowers4.png flowers5.png flowers6.png flowers7.png flowers8.png flowers9.png greenscreen.png
    image3.jpg lab-scene.png monalisa.png notre-dame.png parks.png road.png rocks2-l.png roof.png tags.png walls-l.png
    yellowtargets.png tomato_54.png mosaic/aerial-08.png mosaic/aerial-09.png mosaic/aerial-10.png
    mosaic/aerialphoto.png campus/P1070491.png campus/P1070493.png campus/P1070494.png campus/P1070495.png
    campus/P1070496.png campus/P1070497.png campus/P1070498.png campus/P1070499.png campus/P1070500.png
    campus/P1070501.png campus/P1070503.png campus/P1070504.png campus/P1070505.png campus/P1070506.png
    campus/P1070507.png campus/P1070509.png campus/P1070510.png campus/P1070512.png campus/P1070514.png
    campus/P1070515.png
"""
"""Names of photos of mvtb-data, between blanks."""
SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class Sample:
    """A photo and what a network has to enlarge.

    Attributes:
        title: file name.
        photo: (rows, columns, 3) uint8, cut to a multiple of the scale.
        small: (rows / scale, columns / scale, 3) uint8, by Pillow's bicubic filter.
    """

    title: str
    photo: Picture
    small: Picture


def sample(title: str, photo: Picture, scale: int) -> Sample:
    """The photo, cut to a multiple of ``scale``, and its reduction."""
    rows, columns = (side // scale * scale for side in photo.shape[:2])
    photo = photo[:rows, :columns]
    return Sample(title, photo, resized(photo, rows // scale, columns // scale))


def resized(picture: Picture, rows: int, columns: int) -> Picture:
    """A picture of (rows, columns) by Pillow's bicubic filter, which averages where it reduces."""
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((columns, rows), Image.Resampling.BICUBIC))


def brightness(picture: Picture) -> Luma:
    """Luma of (rows, columns, 3) uint8 RGB."""
    return luma(picture.astype(np.float64) / 255).astype(np.float32)


def eight_bits(luma: Luma) -> Luma:
    """The nearest multiples of 1/255, which is what a photo of 8 bits holds."""
    return (np.round(luma * 255) / 255).astype(np.float32)


def named_photos() -> list[Path]:
    """The five photos of scikit-image."""
    paths = unpack(SCIKIT_IMAGE, [f"skimage/data/{name}" for name in NAMED])
    return [paths[f"skimage/data/{name}"] for name in NAMED]


def training_photos() -> list[Path]:
    """Photos to train and calibrate on."""
    paths = unpack(MVTB, [f"mvtbdata/images/{name}" for name in TRAINED_ON.split()])
    return [paths[f"mvtbdata/images/{name}"] for name in TRAINED_ON.split()]


def photos_in(folder: Path) -> list[Path]:
    """Photos that lie in a folder, by name.

    Raises:
        FormatError: it is no folder, or holds none.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not paths:
        raise FormatError(f"{folder}: holds no photo ({', '.join(SUFFIXES)})")
    return paths


def require_scorable(paths: Iterable[Path], scale: int) -> None:
    """Decode photos that are scored before anything is trained for them.

    Raises:
        FormatError: one does not decode, or is too small to be scored.
    """
    least = -(-(WINDOW + 2 * scale) // scale) * scale
    for path in paths:
        rows, columns = read_pixels(path).shape[:2]
        if min(rows, columns) < least:
            raise FormatError(f"{path}: {rows} x {columns} pixels; scores at x{scale} need {least} x {least} at least")


def sets_of(data: Path | None) -> dict[str, list[Path]]:
    """Photos that are scored, by set: the five named ones, and those of ``data``.

    ``data`` holds CSet5 and CSet14, or Set5 and Set14, or photos, which are then a set of the folder's name.

    Raises:
        FormatError: it holds none of them.
    """
    sets: dict[str, list[Path]] = {}
    if data is not None:
        for name, folder in SETS.items():
            place = next((data / part for part in (folder, name) if (data / part).is_dir()), None)
            sets |= {name: photos_in(place)} if place is not None else {}
        sets = sets or {data.resolve().name: photos_in(data)}
    return {**sets, "scikit-image": named_photos()}
