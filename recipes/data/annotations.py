"""Parts of annotation files that loaders share: files, COCO's lists, names of classes, what is left out."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from oaq.errors import FormatError
from oaq.tasks.coco import VOC, VOC_AS_COCO
from oaq.terminal import say

Item = TypeVar("Item")
Sample = TypeVar("Sample")
LARGEST_FILE: Final = 1 << 30
"""Bytes of an annotation file; COCO's own have about half of it."""

ADVICE: Final = ". --skip-bad leaves such files out and counts them"
"""What follows the sentence about a bad file that ends a run."""
CocoImage = tuple[dict[str, Any], list[dict[str, Any]], dict[int, str]]
"""An image of a COCO file, its annotations, and names by category."""


@dataclass
class Skips:
    """What ``--skip-bad`` left out, one sentence each; None stops at the first."""

    reasons: list[str] | None = None

    def handle(self, error: FormatError) -> None:
        """Note the error and go on, or raise it."""
        if self.reasons is None:
            raise FormatError(f"{error}{ADVICE}") from error
        self.reasons.append(str(error))
        say.warn(f"left out: {error}")

    def read_each(self, items: Iterable[Item], read: Callable[[Item], Sample]) -> Iterator[Sample]:
        """What ``read`` makes of each item, but for those that it refuses."""
        for item in items:
            try:
                sample = read(item)
            except FormatError as error:
                self.handle(error)
            else:
                yield sample


def first_file(folders: Sequence[Path], name: str) -> Path | None:
    """The first file of that name; None if there is none, or there cannot be one."""
    with contextlib.suppress(OSError):  # such as a name that is too long
        return next((folder / name for folder in folders if name and (folder / name).is_file()), None)
    return None


def coco_document(path: Path) -> dict[str, Any]:
    """The object that a COCO file holds.

    Raises:
        FormatError: it is not JSON, or not an object.
    """
    try:
        document = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise FormatError(f"{path}: is not a COCO file: an object of images, annotations and categories is expected")
    return document


def coco_items(document: Mapping[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    """One of a COCO file's lists: "images", "annotations", "categories".

    Raises:
        FormatError: it is missing, or something else.
    """
    items = document.get(key)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise FormatError(f"{path}: is not a COCO file: {key!r} is no list of objects")
    return items


def coco_key(item: Mapping[str, Any], path: Path) -> int:
    """The id of an item of a list.

    Raises:
        FormatError: it has none that is a number.
    """
    number = item.get("id")
    if not isinstance(number, int):
        raise FormatError(f"{path}: {dict(list(item.items())[:3])} has no id that is a number")
    return number


def coco_images(path: Path, skips: Skips) -> Iterator[CocoImage]:
    """The images of a COCO file with their annotations, and names of categories.

    Raises:
        FormatError: the file is not COCO's, or a part of it is bad and ``skips`` does not go on.
    """
    document = coco_document(path)
    names = {coco_key(item, path): str(item.get("name", "")) for item in coco_items(document, "categories", path)}
    if len(names) != len(document["categories"]):
        raise FormatError(f"{path}: two categories have the same id")
    by_image: dict[int, list[dict[str, Any]]] = {}
    for number, item in enumerate(coco_items(document, "annotations", path)):
        image = item.get("image_id")
        if isinstance(image, int):
            by_image.setdefault(image, []).append(item)
        else:
            skips.handle(FormatError(f"{path}: annotation {number} belongs to the image {image!r}, not a number"))
    read = set[int]()
    for item in coco_items(document, "images", path):
        try:
            number = coco_key(item, path)
            if number in read:
                raise FormatError(f"{path}: two images have the id {number}; whose its annotations are is not known")
        except FormatError as error:
            skips.handle(error)
            continue
        read.add(number)
        yield item, by_image.pop(number, []), names
    for number, orphans in by_image.items():
        skips.handle(FormatError(f"{path}: {len(orphans)} annotations belong to the image {number}, which it lacks"))


def coco_photo(path: Path, item: Mapping[str, Any]) -> tuple[str, Path]:
    """Name and file of an image of a COCO file.

    Raises:
        FormatError: it has no name, or there is no such file.
    """
    name = item.get("file_name")
    if not isinstance(name, str) or not name:
        raise FormatError(f"{path}: image {item.get('id')!r} has no file_name")
    folders = (path.parent, path.parent / "images", path.parent.parent / "images", path.parent.parent)
    photo = first_file(folders, name)
    if photo is None or ".." in Path(name).parts or Path(name).is_absolute():
        raise FormatError(f"{path}: names the photo {name!r}, which is neither beside it nor in images/")
    return name, photo


def coco_category(annotation: Mapping[str, Any], names: Mapping[int, str], where: str) -> str:
    """The name of an annotation's category.

    Raises:
        FormatError: the file does not name it.
    """
    category = annotation.get("category_id")
    if not isinstance(category, int) or category not in names:
        raise FormatError(f"{where}: has the category {category!r}, which the file does not name")
    return names[category]


def read_text(path: Path, most: int = LARGEST_FILE) -> str:
    """The text of a file of at most ``most`` bytes.

    Raises:
        FormatError: it is larger, missing, or not UTF-8.
    """
    try:
        if path.stat().st_size > most:
            raise FormatError(f"{path}: has {path.stat().st_size} bytes; {most} are read at most")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read: {error}") from error


def finite_number(value: object, where: str, name: str) -> float:
    """A number that a file gives as number or text.

    Raises:
        FormatError: it is none, or not finite; the message begins with ``where`` and calls it ``name``.
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or isinstance(value, bool):
        raise FormatError(f"{where}: {name} is {value!r}, not a finite number")
    return number


def by_spelling(ids: Mapping[str, int]) -> dict[str, int]:
    """Ids by the letters of a name, classes that COCO and VOC call otherwise under both names.

    >>> by_spelling({"tv": 72})
    {'tvmonitor': 72, 'tv': 72}
    """
    pairs = [(name, VOC_AS_COCO.get(name, name)) for name in VOC]
    synonyms = {a: ids[b] for pair in pairs for a, b in (pair, pair[::-1]) if b in ids}
    return {letters(name): number for name, number in {**synonyms, **ids}.items()}


def letters(name: str) -> str:
    """A name without what tools write differently: capitals, blanks, "_", "-", "/".

    >>> letters("TV/Monitor"), letters("potted_plant")
    ('tvmonitor', 'pottedplant')
    """
    return "".join(letter for letter in name.lower() if letter not in " _-/")


def category_of(name: str, ids: Mapping[str, int], where: str) -> int:
    """The id of a class by its name.

    Args:
        name: as a file spells it.
        ids: as ``by_spelling`` has them.
        where: what the message begins with.

    Raises:
        FormatError: the network does not know the class.
    """
    if letters(name) not in ids:
        raise FormatError(f"{where}: the class {name!r} is unknown to the network")
    return ids[letters(name)]
