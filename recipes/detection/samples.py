"""Photos with boxes: composited in memory, or from folders of Pascal VOC (XML) and COCO (JSON)."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from oaq.data.photos import read_pixels
from oaq.errors import FormatError
from oaq.tasks.coco import VOC, VOC_AS_COCO
from oaq.tasks.task import Picture
from oaq.terminal import say

LARGEST_FILE: Final = 1 << 30
"""Bytes of an annotation file; COCO's own have about half of it."""
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


@dataclass
class Skips:
    """What ``--skip-bad`` left out, one sentence each; None stops at the first."""

    reasons: list[str] | None = None

    def handle(self, error: FormatError) -> None:
        """Note the error and go on, or raise it."""
        if self.reasons is None:
            raise FormatError(f"{error}. --skip-bad leaves such files out and counts them") from error
        self.reasons.append(str(error))
        say.warn(f"left out: {error}")


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
    for path in annotations:
        try:
            yield _voc_sample(place, path, spelled)
        except FormatError as error:
            skips.handle(error)


def _voc_sample(place: Path, path: Path, ids: Mapping[str, int]) -> Sample:
    root = _xml(path)
    name = root.findtext("filename") or ""
    folders = (place / "JPEGImages", path.parent, place)
    photo = _first_file(folders, name)
    if photo is None or Path(name).name != name:
        raise FormatError(f"{path}: names the photo {name!r}, which is not in JPEGImages/ nor beside it")
    pixels = read_pixels(photo)
    boxes, categories, crowd = [], [], []
    for number, item in enumerate(root.iter("object"), 1):
        where = f"{path}: object {number}"
        edges = [_number(item.findtext(f"bndbox/{edge}"), where, edge) for edge in ("xmin", "ymin", "xmax", "ymax")]
        boxes.append(_checked([edges[0] - 1, edges[1] - 1, edges[2], edges[3]], pixels, where))  # VOC counts from 1
        categories.append(_category(item.findtext("name") or "", ids, where))
        crowd.append((item.findtext("difficult") or "0").strip() == "1")
    return _sample(photo, pixels, boxes, categories, crowd)


def _first_file(folders: Sequence[Path], name: str) -> Path | None:
    """The first file of that name; None if there is none, or there cannot be one."""
    with contextlib.suppress(OSError):  # such as a name that is too long
        return next((folder / name for folder in folders if name and (folder / name).is_file()), None)
    return None


def _xml(path: Path) -> ElementTree.Element:
    text = _text(path, LARGEST_XML)
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
    document, spelled = _coco_document(path), by_spelling(ids)
    names = {_key(item, path): str(item.get("name", "")) for item in _items(document, "categories", path)}
    if len(names) != len(document["categories"]):
        raise FormatError(f"{path}: two categories have the same id")
    by_image: dict[int, list[dict[str, Any]]] = {}
    for number, item in enumerate(_items(document, "annotations", path)):
        image = item.get("image_id")
        if isinstance(image, int):
            by_image.setdefault(image, []).append(item)
        else:
            skips.handle(FormatError(f"{path}: annotation {number} belongs to the image {image!r}, not a number"))
    read = set[int]()
    for item in _items(document, "images", path):
        try:
            number = _key(item, path)
            if number in read:
                raise FormatError(f"{path}: two images have the id {number}; whose its annotations are is not known")
            read.add(number)
            yield _coco_sample(path, item, by_image.pop(number, []), names, spelled)
        except FormatError as error:
            skips.handle(error)
    for number, orphans in by_image.items():
        skips.handle(FormatError(f"{path}: {len(orphans)} annotations belong to the image {number}, which it lacks"))


def _coco_sample(
    path: Path,
    item: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    names: Mapping[int, str],
    ids: Mapping[str, int],
) -> Sample:
    name = item.get("file_name")
    if not isinstance(name, str) or not name:
        raise FormatError(f"{path}: image {item.get('id')!r} has no file_name")
    folders = (path.parent, path.parent / "images", path.parent.parent / "images", path.parent.parent)
    photo = _first_file(folders, name)
    if photo is None or ".." in Path(name).parts or Path(name).is_absolute():
        raise FormatError(f"{path}: names the photo {name!r}, which is neither beside it nor in images/")
    pixels = read_pixels(photo)
    boxes, categories, crowd = [], [], []
    for annotation in annotations:
        where = f"{path}: annotation {annotation.get('id')!r} of {name}"
        box, category = annotation.get("bbox"), annotation.get("category_id")
        if not isinstance(box, list) or len(box) != 4:
            raise FormatError(f"{where}: bbox is left, top, width, height, not {box!r}")
        x, y, width, height = (_number(value, where, "bbox") for value in box)
        if not isinstance(category, int) or category not in names:
            raise FormatError(f"{where}: has the category {category!r}, which the file does not name")
        boxes.append(_checked([x, y, x + width, y + height], pixels, where))
        categories.append(_category(names[category], ids, where))
        crowd.append(annotation.get("iscrowd") == 1)
    return _sample(photo, pixels, boxes, categories, crowd)


def _coco_document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise FormatError(f"{path}: is not a COCO file: an object of images, annotations and categories is expected")
    return document


def _items(document: Mapping[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    items = document.get(key)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise FormatError(f"{path}: is not a COCO file: {key!r} is no list of objects")
    return items


def _key(item: Mapping[str, Any], path: Path) -> int:
    number = item.get("id")
    if not isinstance(number, int):
        raise FormatError(f"{path}: {dict(list(item.items())[:3])} has no id that is a number")
    return number


def _text(path: Path, most: int = LARGEST_FILE) -> str:
    try:
        if path.stat().st_size > most:
            raise FormatError(f"{path}: has {path.stat().st_size} bytes; {most} are read at most")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read: {error}") from error


def _number(value: object, where: str, name: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or isinstance(value, bool):
        raise FormatError(f"{where}: {name} is {value!r}, not a finite number")
    return number


def _checked(box: list[float], pixels: Picture, where: str) -> list[float]:
    """The box, cut at the photo by a pixel at most."""
    rows, columns = pixels.shape[:2]
    x0, y0, x1, y1 = box
    if min(x0, y0) < -SLACK or x1 > columns + SLACK or y1 > rows + SLACK:
        raise FormatError(f"{where}: the box {box} (left, top, right, bottom) leaves the photo of {columns} x {rows}")
    if x1 <= x0 or y1 <= y0:
        raise FormatError(f"{where}: the box {box} (left, top, right, bottom) has no area")
    return [max(x0, 0.0), max(y0, 0.0), min(x1, float(columns)), min(y1, float(rows))]


def by_spelling(ids: Mapping[str, int]) -> dict[str, int]:
    """Ids by the letters of a name: COCO's names and those that VOC has for the same classes, in files of either kind.

    >>> by_spelling({"tv": 72})
    {'tv': 72, 'tvmonitor': 72}
    """
    voc = {name: ids[VOC_AS_COCO.get(name, name)] for name in VOC if VOC_AS_COCO.get(name, name) in ids}
    return {_letters(name): number for name, number in {**ids, **voc}.items()}


def _letters(name: str) -> str:
    """A name without what tools write differently: capitals, blanks, "_", "-", "/".

    >>> _letters("TV/Monitor"), _letters("potted_plant")
    ('tvmonitor', 'pottedplant')
    """
    return "".join(letter for letter in name.lower() if letter not in " _-/")


def _category(name: str, ids: Mapping[str, int], where: str) -> int:
    if _letters(name) not in ids:
        raise FormatError(f"{where}: the class {name!r} is unknown to the network")
    return ids[_letters(name)]


def _sample(photo: Path, pixels: Picture, boxes: list[list[float]], categories: list[int], crowd: list[bool]) -> Sample:
    array = np.array(boxes, np.float64).reshape(-1, 4)
    return Sample(str(photo), pixels, array, np.array(categories, np.int64), np.array(crowd, bool))
