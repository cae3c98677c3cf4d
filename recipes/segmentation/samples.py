"""Photos with a class per pixel, from folders of Pascal VOC, COCO-stuff and COCO (JSON)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from oaq.data.photos import read_pixels
from oaq.data.window import Window
from oaq.errors import FormatError
from oaq.tasks.coco import VOC
from oaq.tasks.task import Picture
from recipes.data.annotations import (
    Skips,
    by_spelling,
    coco_category,
    coco_images,
    coco_photo,
    first_file,
    letters,
    read_text,
)
from recipes.segmentation.coco_masks import painted, region
from recipes.segmentation.coco_stuff import BY_PIXEL
from recipes.segmentation.mask_files import read_mask

IGNORE: Final = 255
"""Class of pixels that count for nothing."""
UNNAMED, UNKNOWN = -2, -1
"""In tables of classes: a value that the set has no name for, and a name that the network does not know."""
VOC_MASKS: Final = ("SegmentationClass", "SegmentationClassAug")
STUFF_MASKS: Final = ("stuffthingmaps", "pixelmaps", "annotations", "masks", "labels")
PHOTO_FOLDERS: Final = ("JPEGImages", "images", ".")
PHOTO_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
NAME_FILES: Final = ("class_names.txt", "labels.txt", "classes.txt")
LISTS: Final = ("ImageSets/Segmentation/val.txt", "val.txt")
"""Which photos are scored, one name per line, where a folder says so."""
LARGEST_LIST: Final = 1 << 22
NUMBERED: Final = re.compile(r"\s*(\d{1,5})\s*[:,;\s]\s*(\S.*)")
Unknown = Literal["error", "ignore", "background"]
"""What becomes of pixels of classes that the network does not know."""
UNKNOWN_KINDS: Final[tuple[Unknown, ...]] = get_args(Unknown)


@dataclass(frozen=True, eq=False)
class Masked:
    """A photo and the class of every pixel.

    Attributes:
        title: path, or what it was composited from.
        photo: (rows, columns, 3) uint8.
        mask: (rows, columns) int64; ``IGNORE`` where nothing counts.
    """

    title: str
    photo: Picture
    mask: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Classes:
    """How a set's classes become those of a network.

    Attributes:
        ids: the network's class by the letters of its name.
        unknown: what becomes of pixels of other classes.
        background: the network's class of what is nothing else; ``IGNORE`` if it has none.
    """

    ids: Mapping[str, int]
    unknown: Unknown
    background: int

    def index(self, name: str) -> int:
        """The network's class of a name; ``UNKNOWN`` if pixels of it are an error."""
        if letters(name) in ("ignore", "unlabeled", "unlabelled", "void"):
            return IGNORE
        fallback = {"error": UNKNOWN, "ignore": IGNORE, "background": self.background}[self.unknown]
        return self.ids.get(letters(name), fallback)

    def table(self, names: Mapping[int, str]) -> NDArray[np.int64]:
        """(65536,) the network's class by a pixel's value."""
        table = np.full(1 << 16, UNNAMED, np.int64)
        for value, name in names.items():
            table[value] = self.index(name)
        table[IGNORE] = IGNORE
        return table


def classes_of(labels: Sequence[str], unknown: Unknown = "error") -> Classes:
    """The classes of a network by its labels."""
    ids = by_spelling({name: index for index, name in enumerate(labels) if name})
    return Classes(ids, unknown, ids.get("background", IGNORE))


def open_folder(place: Path, classes: Classes, skips: Skips) -> Iterator[Masked]:
    """Samples of a folder of masks, or of a COCO annotation file.

    * Pascal VOC: ``SegmentationClass/*.png``, photos of the same names in ``JPEGImages/``; of the names in
      ``ImageSets/Segmentation/val.txt`` if there is such a list.
    * COCO-stuff: masks in ``stuffthingmaps/``, ``annotations/`` or ``masks/``, photos in ``images/``; a value is the
      category id less 1.
    * COCO: a .json file with polygons or run lengths, photos beside it or in ``images/``.

    A ``class_names.txt`` or ``labels.txt`` in the folder names its classes, in order or as ``NUMBER: NAME``.

    Args:
        place: file or folder.
        classes: of the network; names are compared without capitals, blanks and signs.
        skips: what happens to what is bad.

    Raises:
        FormatError: there is neither, or something is bad and ``skips`` does not go on.
    """
    if place.is_file() and place.suffix.lower() == ".json":
        return read_coco(place, classes, skips)
    for name in (*VOC_MASKS, *STUFF_MASKS):
        masks = sorted((place / name).rglob("*.png"))
        if masks:
            is_voc = name in VOC_MASKS
            return read_masks(place, place / name, masks, classes.table(names_of(place, is_voc=is_voc)), skips)
    documents = sorted(place.glob("annotations/*.json")) or sorted(place.glob("*.json")) if place.is_dir() else []
    if documents:
        return read_coco(documents[0], classes, skips)
    raise FormatError(
        f"{place}: holds no masks: SegmentationClass/*.png with JPEGImages/ (Pascal VOC), stuffthingmaps/ or "
        "annotations/*.png with images/ (COCO-stuff), or a COCO file (*.json, annotations/*.json) is expected"
    )


def names_of(place: Path, *, is_voc: bool) -> dict[int, str]:
    """Names by the value of a pixel: of the folder's own list, or those that VOC or COCO-stuff have.

    Raises:
        FormatError: the list cannot be read or names nothing.
    """
    path = next((place / name for name in NAME_FILES if (place / name).is_file()), None)
    if path is None:
        return dict(enumerate(("background", *VOC))) if is_voc else BY_PIXEL
    lines = [line.strip() for line in read_text(path, LARGEST_LIST).splitlines() if line.strip()]
    matches = [NUMBERED.fullmatch(line) for line in lines]
    if not lines:
        raise FormatError(f"{path}: names no class")
    if not all(matches):
        signed = [line for line in lines if letters(line) != "ignore"]  # labelme's, whose value is 255
        return dict(enumerate(signed[: 1 << 16]))
    names = {int(match[1]): match[2] for match in matches if match and int(match[1]) < 1 << 16}
    if not is_voc and letters(names.get(0, "")) == "unlabeled":  # COCO-stuff's own list is by category id
        return {number - 1: name for number, name in names.items() if number}
    return names


def read_masks(
    place: Path, folder: Path, paths: Sequence[Path], table: NDArray[np.int64], skips: Skips
) -> Iterator[Masked]:
    """One sample per mask.

    Args:
        place: the set's folder.
        folder: of the masks.
        paths: the masks below it.
        table: see ``Classes.table``.
        skips: what happens to what is bad.

    Raises:
        FormatError: see ``open_folder``.
    """
    names = _names_in_list(place)
    if names is not None:
        below = {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}
        paths = [below.get(name, folder / f"{name}.png") for name in names]
    return skips.read_each(paths, lambda path: _mask_sample(place, folder, path, table))


def _names_in_list(place: Path) -> list[str] | None:
    path = next((place / name for name in LISTS if (place / name).is_file()), None)
    if path is None:
        return None
    names = [line.split()[0] for line in read_text(path, LARGEST_LIST).splitlines() if line.strip()]
    if any(".." in Path(name).parts or Path(name).is_absolute() for name in names):
        raise FormatError(f"{path}: names photos outside its folder; names like 2007_000033 are expected")
    return names


def _mask_sample(place: Path, folder: Path, path: Path, table: NDArray[np.int64]) -> Masked:
    values = read_mask(path)
    name = path.relative_to(folder).with_suffix("")
    stem = name.name
    folders = [place / kind / parent for kind in PHOTO_FOLDERS for parent in (name.parent, ".")]
    photo = next(filter(None, (first_file(folders, f"{stem}{suffix}") for suffix in PHOTO_SUFFIXES)), None)
    if photo is None:
        raise FormatError(f"{path}: is a mask of the photo {stem}, which is neither in JPEGImages/ nor in images/")
    pixels = read_pixels(photo)
    if values.shape != pixels.shape[:2]:
        sizes = [f"{columns} x {rows}" for rows, columns in (values.shape, pixels.shape[:2])]
        raise FormatError(f"{path}: is a mask of {sizes[0]} pixels; the photo {photo} has {sizes[1]}")
    mask = table[values]
    for bad, reason in (
        (UNNAMED, "which no class of the set has; a class_names.txt beside the masks names classes"),
        (UNKNOWN, "a class that the network does not know; --unknown ignore leaves such pixels out"),
    ):
        wrong = np.unique(values[mask == bad])
        if len(wrong):
            examples = ", ".join(map(str, wrong[:5]))
            raise FormatError(f"{path}: has {int(np.sum(mask == bad))} pixels of value {examples}, {reason}")
    return Masked(str(photo), pixels, mask)


def read_coco(path: Path, classes: Classes, skips: Skips) -> Iterator[Masked]:
    """One sample per image of a COCO file: smaller regions over larger ones, crowds not counted.

    Raises:
        FormatError: see ``open_folder``; the file itself cannot be skipped.
    """
    return skips.read_each(coco_images(path, skips), lambda image: _coco_sample(path, *image, classes))


def _coco_sample(
    path: Path,
    item: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    names: Mapping[int, str],
    classes: Classes,
) -> Masked:
    name, photo = coco_photo(path, item)
    pixels = read_pixels(photo)
    size = (int(pixels.shape[0]), int(pixels.shape[1]))
    recorded = item.get("height", size[0]), item.get("width", size[1])
    if recorded != size:
        raise FormatError(f"{path}: says that {name} has {recorded[1]} x {recorded[0]} pixels; it has {size[::-1]}")
    regions = []
    for annotation in annotations:
        where = f"{path}: annotation {annotation.get('id')!r} of {name}"
        category = coco_category(annotation, names, where)
        index = IGNORE if annotation.get("iscrowd") == 1 else classes.index(category)
        if index == UNKNOWN:
            advice = "--unknown ignore leaves its pixels out"
            raise FormatError(f"{where}: the class {category!r} is unknown to the network; {advice}")
        regions.append((region(annotation.get("segmentation"), size, where), index))
    return Masked(str(photo), pixels, painted(regions, size, classes.background))


def as_seen(mask: NDArray[np.int64], window: Window, size: tuple[int, int], outside: int) -> NDArray[np.int64]:
    """A mask at the size of a network's input (nearest), ``outside`` where the input shows nothing of the photo."""
    rows, columns = size
    y = np.floor(window.y + (np.arange(rows) + 0.5) / rows * window.height).astype(np.int64)
    x = np.floor(window.x + (np.arange(columns) + 0.5) / columns * window.width).astype(np.int64)
    inside = ((y >= 0) & (y < mask.shape[0]))[:, None] & ((x >= 0) & (x < mask.shape[1]))[None, :]
    picked = mask[y.clip(0, mask.shape[0] - 1)[:, None], x.clip(0, mask.shape[1] - 1)[None, :]]
    return np.where(inside, picked, outside)
