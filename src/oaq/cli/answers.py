"""What ``oaq run`` says, draws and writes of answers that are more than a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from oaq.cli.network import Feed
from oaq.cli.tasks import answer_of, encoded, picture_of, seen_photo
from oaq.data.batches import PHOTOS
from oaq.errors import FormatError
from oaq.escape import escape_text
from oaq.program.atomic import make_folder, write_atomically
from oaq.tasks import Task
from oaq.tasks.coco import category_ids
from oaq.terminal import say


@dataclass(frozen=True, eq=False)
class Reply:
    """One sample's answer.

    Attributes:
        title: of the sample.
        size: (rows, columns) of the photo.
        entries: the answer in COCO's form.
    """

    title: str
    size: tuple[int, int]
    entries: list[dict[str, Any]]


def gather(task: Task, rows: Sequence[tuple[Path, tuple[str, Feed]]], pictures: Sequence[Path]) -> list[Reply]:
    """The answer of every sample, drawn into a file of ``pictures`` each; no picture where that is empty.

    A picture is written as soon as it is drawn, so that memory holds one of them only.

    Returns:
        None of a classifier: its classes are shown from the outputs themselves.

    Raises:
        ProgramError: outputs do not hold what the task reads.
        FormatError: a picture cannot be written.
    """
    replies = []
    for index, (path, (title, outputs)) in enumerate(rows):
        answer = answer_of(task, outputs, title)
        if task.name == "classify" and not pictures:
            continue  # decoding the photo again would be for nothing
        photo, window, size = seen_photo(path, task)
        if pictures:
            picture = picture_of(photo, task, answer, window)
            write_atomically(pictures[index], [encoded(picture, pictures[index].suffix)])
        replies.append(Reply(title, size, task.entries(answer, window, size)))
    return replies


def is_pictures(place: Path, task: Task | None) -> bool:
    """Whether ``--save`` asks for pictures: by its suffix, or a folder."""
    return place.suffix.lower() in PHOTOS or place.is_dir() or (task is not None and not place.suffix)


def picture_paths(place: Path, photos: Sequence[Path]) -> list[Path]:
    """Where the picture of each sample goes, no two alike: to ``place``, or into it as a folder, which is made.

    Args:
        place: what ``--save`` says.
        photos: the file of each sample.

    Raises:
        FormatError: there are several samples and ``place`` is one file, or the folder cannot be made.
    """
    if place.suffix.lower() in PHOTOS and not place.is_dir():
        if len(photos) != 1:
            raise FormatError(f"{place}: is one picture, there are {len(photos)} samples; give a folder")
        return [place]
    make_folder(place)
    names: dict[str, None] = {}
    for stem in (photo.stem for photo in photos):
        numbered = (f"{stem}-{number}.png" for number in count(2))
        names[next(name for name in chain([f"{stem}.png"], numbered) if name not in names)] = None
    return [place / name for name in names]


def coco_document(task: Task, replies: Sequence[Reply]) -> dict[str, Any]:
    """Images, annotations and categories in COCO's form; annotations of boxes carry their score."""
    ids = category_ids(task.labels)
    categories = [
        {"id": ids.get(index, index), "name": name}
        for index, name in enumerate(task.labels)
        if name and name != "background"
    ]
    images = [
        {"id": number, "file_name": sample.title, "height": sample.size[0], "width": sample.size[1]}
        for number, sample in enumerate(replies, 1)
    ]
    annotations = [
        {"image_id": number, **entry} for number, sample in enumerate(replies, 1) for entry in sample.entries
    ]
    numbered = [{"id": number, **annotation} for number, annotation in enumerate(annotations, 1)]
    return {"task": task.name, "images": images, "annotations": numbered, "categories": categories}


def print_answers(replies: Sequence[Reply]) -> None:
    """A line per sample, and one per entry."""
    for sample in replies:
        say.words(escape_text(sample.title))
        for entry in sample.entries:
            say.words(f"  {escape_text(_line(entry, sample.size))}".rstrip())
        if not sample.entries:
            say.words("  nothing")


def _line(entry: dict[str, Any], size: tuple[int, int]) -> str:
    name = entry.get("label") or f"class {entry.get('category_id')}"
    if "bbox" in entry:
        x, y, width, height = entry["bbox"]
        return f"{entry['score']:6.3f}  {name:<16} at {x:.0f},{y:.0f}, {width:.0f} x {height:.0f} pixels"
    if "segmentation" in entry:
        return f"{entry['area'] / max(size[0] * size[1], 1):6.1%}  {name}"
    return f"{entry['width']} x {entry['height']} pixels"
