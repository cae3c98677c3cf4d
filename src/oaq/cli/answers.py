"""What ``oaq run`` says, draws and writes of answers that are more than a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oaq.cli.network import Feed
from oaq.cli.tasks import answer_of, encoded, picture_of, seen_photo
from oaq.data.batches import PHOTOS
from oaq.errors import FormatError
from oaq.escape import escape_text
from oaq.program.atomic import write_atomically
from oaq.tasks import Task
from oaq.tasks.coco import category_ids
from oaq.tasks.task import Picture
from oaq.terminal import say


@dataclass(frozen=True, eq=False)
class Reply:
    """One sample's answer.

    Attributes:
        path, title: of the file, and of the sample in it.
        size: (rows, columns) of the photo.
        entries: the answer in COCO's form.
        picture: the answer drawn; None if that was not asked for.
    """

    path: Path
    title: str
    size: tuple[int, int]
    entries: list[dict[str, Any]]
    picture: Picture | None


def gather(task: Task, rows: Sequence[tuple[Path, tuple[str, Feed]]], *, keep: bool) -> list[Reply]:
    """The answer of every sample; ``keep`` draws it too.

    Raises:
        ProgramError: outputs do not hold what the task reads.
    """
    replies = []
    for path, (title, outputs) in rows:
        photo, window, size = seen_photo(path, task)
        answer = answer_of(task, outputs, title)
        picture = picture_of(photo, task, answer, window) if keep else None
        replies.append(Reply(path, title, size, task.entries(answer, window, size), picture))
    return replies


def is_pictures(place: Path, task: Task | None) -> bool:
    """Whether ``--save`` asks for pictures: by its suffix, or a folder."""
    return place.suffix.lower() in PHOTOS or place.is_dir() or (task is not None and not place.suffix)


def save_pictures(place: Path, task: Task, replies: Sequence[Reply]) -> None:
    """Write the picture of one sample, or one per sample into a folder.

    Raises:
        FormatError: there are several and ``place`` is one file, or it cannot be written.
    """
    del task
    if place.suffix.lower() in PHOTOS and not place.is_dir():
        if len(replies) != 1:
            raise FormatError(f"{place}: is one picture, there are {len(replies)} samples; give a folder")
        targets = [place]
    else:
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FormatError(f"{place}: cannot be made: {error.strerror}") from error
        targets = [place / name for name in _names(replies)]
    for target, sample in zip(targets, replies, strict=True):
        if sample.picture is not None:
            write_atomically(target, [encoded(sample.picture, target.suffix)])


def _names(replies: Sequence[Reply]) -> list[str]:
    """A file name per sample, no two alike."""
    names: dict[str, int] = {}
    result = []
    for sample in replies:
        stem = sample.path.stem
        count = names[stem] = names.get(stem, 0) + 1
        result.append(f"{stem}.png" if count == 1 else f"{stem}-{count}.png")
    return result


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
