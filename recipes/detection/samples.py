"""Photos with boxes: composited in memory, or from folders of Pascal VOC (XML) and COCO (JSON)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from oaq.data.photos import read_pixels
from oaq.errors import FormatError
from oaq.tasks.task import Picture
from recipes.data.annotations import (
    Skips,
    by_spelling,
    category_of,
    coco_category,
    coco_images,
    coco_photo,
    finite_number,
    first_file,
    read_text,
)

LARGEST_XML: Final = 1 << 22
"""Bytes of a VOC file, which is of one photo; its elements take some thirty times as many in memory."""
SLACK: Final = 1.0
"""Pixels by which a box may leave its photo: VOC counts from 1, and COCO rounds."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A photo and the objects on it.

    Attributes:
        title: path, or what it was composited from.
        photo: (rows, columns, 3) uint8.
        boxes: (n, 4) left, top, right, bottom in pixels.
        categories: (n,) ids of COCO.
        crowd: (n,) objects that are not counted: COCO's crowds, VOC's difficult ones.
    """

    title: str
    photo: Picture
    boxes: NDArray[np.float64]
    categories: NDArray[np.int64]
    crowd: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    @property
    def ignored(self) -> NDArray[np.bool_]:
        """(n,) crowds; none where nothing says so."""
        return self.crowd if len(self.crowd) == len(self.categories) else np.zeros(len(self.categories), bool)


def open_folder(place: Path, ids: Mapping[str, int], skips: Skips) -> Iterator[Sample]:
    """Samples of a COCO annotation file, or of a folder of either kind.

    A COCO file is .json; its photos lie beside it, in ``images/`` or where its ``file_name`` says. A VOC folder holds
    ``Annotations/*.xml`` and ``JPEGImages/``, or both beside each other.

    Args:
        place: file or folder.
        ids: COCO's category id by name of a class; names are compared as ``by_spelling`` has them.
        skips: what happens to what is bad.

    Raises:
        FormatError: there is neither, or something is bad and ``skips`` does not go on.
    """
    if place.is_file() and place.suffix.lower() == ".json":
        return read_coco(place, ids, skips)
    if place.is_dir():
        documents = sorted(place.glob("annotations/*.json")) or sorted(place.glob("*.json"))
        if documents:
            return read_coco(documents[0], ids, skips)
        annotations = sorted((place / "Annotations").glob("*.xml")) or sorted(place.glob("*.xml"))
        if annotations:
            return read_voc(place, annotations, ids, skips)
    raise FormatError(
        f"{place}: holds no detection data: a COCO file (*.json, or annotations/*.json) or VOC's Annotations/*.xml "
        "with JPEGImages/ is expected"
    )


def read_voc(place: Path, annotations: Sequence[Path], ids: Mapping[str, int], skips: Skips) -> Iterator[Sample]:
    """One sample per XML file of Pascal VOC; objects marked difficult are not counted.

    Raises:
        FormatError: see ``open_folder``.
    """
    spelled = by_spelling(ids)
    return skips.read_each(annotations, lambda path: _voc_sample(place, path, spelled))


def _voc_sample(place: Path, path: Path, ids: Mapping[str, int]) -> Sample:
    root = _xml(path)
    name = root.findtext("filename") or ""
    folders = (place / "JPEGImages", path.parent, place)
    photo = first_file(folders, name)
    if photo is None or Path(name).name != name:
        raise FormatError(f"{path}: names the photo {name!r}, which is not in JPEGImages/ nor beside it")
    pixels = read_pixels(photo)
    boxes, categories, crowd = [], [], []
    for number, item in enumerate(root.iter("object"), 1):
        where = f"{path}: object {number}"
        edges = [
            finite_number(item.findtext(f"bndbox/{edge}"), where, edge) for edge in ("xmin", "ymin", "xmax", "ymax")
        ]
        boxes.append(_checked([edges[0] - 1, edges[1] - 1, edges[2], edges[3]], pixels, where))  # VOC counts from 1
        categories.append(category_of(item.findtext("name") or "", ids, where))
        crowd.append((item.findtext("difficult") or "0").strip() == "1")
    return _sample(photo, pixels, boxes, categories, crowd)


def _xml(path: Path) -> ElementTree.Element:
    text = read_text(path, LARGEST_XML)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise FormatError(f"{path}: declares a document type, which VOC files do not; refused")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise FormatError(f"{path}: is not XML: {error}") from error


def read_coco(path: Path, ids: Mapping[str, int], skips: Skips) -> Iterator[Sample]:
    """One sample per image of a COCO file; crowds are not counted. Categories are known by their names.

    Raises:
        FormatError: see ``open_folder``; the file itself cannot be skipped.
    """
    spelled = by_spelling(ids)
    return skips.read_each(coco_images(path, skips), lambda image: _coco_sample(path, *image, spelled))


def _coco_sample(
    path: Path,
    item: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    names: Mapping[int, str],
    ids: Mapping[str, int],
) -> Sample:
    name, photo = coco_photo(path, item)
    pixels = read_pixels(photo)
    boxes, categories, crowd = [], [], []
    for annotation in annotations:
        where = f"{path}: annotation {annotation.get('id')!r} of {name}"
        box = annotation.get("bbox")
        if not isinstance(box, list) or len(box) != 4:
            raise FormatError(f"{where}: bbox is left, top, width, height, not {box!r}")
        x, y, width, height = (finite_number(value, where, "bbox") for value in box)
        category = coco_category(annotation, names, where)
        boxes.append(_checked([x, y, x + width, y + height], pixels, where))
        categories.append(category_of(category, ids, where))
        crowd.append(annotation.get("iscrowd") == 1)
    return _sample(photo, pixels, boxes, categories, crowd)


def _checked(box: list[float], pixels: Picture, where: str) -> list[float]:
    """The box, cut at the photo by a pixel at most."""
    rows, columns = pixels.shape[:2]
    x0, y0, x1, y1 = box
    if min(x0, y0) < -SLACK or x1 > columns + SLACK or y1 > rows + SLACK:
        raise FormatError(f"{where}: the box {box} (left, top, right, bottom) leaves the photo of {columns} x {rows}")
    if x1 <= x0 or y1 <= y0:
        raise FormatError(f"{where}: the box {box} (left, top, right, bottom) has no area")
    return [max(x0, 0.0), max(y0, 0.0), min(x1, float(columns)), min(y1, float(rows))]


def _sample(photo: Path, pixels: Picture, boxes: list[list[float]], categories: list[int], crowd: list[bool]) -> Sample:
    array = np.array(boxes, np.float64).reshape(-1, 4)
    return Sample(str(photo), pixels, array, np.array(categories, np.int64), np.array(crowd, bool))
