"""A task in a file: as a program's metadata, or as JSON beside a network that carries none.

{"task": "detect", "labels": ["background", "person", ...], "decoder": {"heads": [...], ...}, "preprocess": {...}}

Keys that are left out have the defaults of the decoder (``Detector``, ``Segmenter``, ``Classifier``, ``Upscaler``).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from oaq.data.preprocess import KEY as PREPROCESS
from oaq.data.preprocess import Preprocess
from oaq.data.records import decode, encode
from oaq.errors import FormatError
from oaq.tasks.classify import Classifier, classify
from oaq.tasks.coco import named_labels
from oaq.tasks.detect import Detector, Grid, Head, Part, detect
from oaq.tasks.segment import Segmenter, segment
from oaq.tasks.task import Task
from oaq.tasks.upscale import Upscaler, upscale

KEY: Final = "task"
"""Where an ``IntProgram``'s metadata keep the task, as JSON."""
SUFFIX: Final = ".task.json"
"""What follows the stem of a network's file in the name of the file beside it."""
DECODERS: Final = {"classify": Classifier, "detect": Detector, "segment": Segmenter, "upscale": Upscaler}
NESTED: Final[Mapping[type, Mapping[str, type]]] = {
    Detector: {"heads": Head},
    Head: {"boxes": Part, "scores": Part, "grids": Grid},
}
"""Fields that are descriptions themselves, or lists of such."""
KEYS: Final = frozenset({"task", "labels", "decoder", "preprocess"})


def task_metadata(task: Task) -> dict[str, str]:
    """What a program's metadata keep of a task: how photos go in, what outputs mean, names of classes."""
    record = {"task": task.name, "labels": list(task.labels), "decoder": encode(task.decoder)}
    return {PREPROCESS: task.preprocess.to_json(), KEY: json.dumps(record)}


def from_metadata(metadata: Mapping[str, str]) -> Task | None:
    """The task that a program keeps; None if it keeps none.

    Raises:
        FormatError: its record is damaged.
    """
    if KEY not in metadata:
        return None
    return read_record(metadata[KEY], Preprocess.from_metadata(metadata), "the file's record of its task")


def load_task(path: Path, preprocess: Preprocess | None = None) -> Task:
    """Read a task that a file describes; ``preprocess`` holds unless the file says another.

    Raises:
        FormatError: it cannot be read or describes none.
    """
    return read_record(_text(path), preprocess, str(path))


def load_preprocess(path: Path) -> Preprocess | None:
    """Read how the file of a task says that photos go in; None where it does not say.

    Raises:
        FormatError: it cannot be read or describes no task.
    """
    text = _text(path)
    task = read_record(text, None, str(path))
    return task.preprocess if "preprocess" in json.loads(text) else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read: {error}") from error


def make_task(
    name: str,
    preprocess: Preprocess,
    labels: Sequence[str] = (),
    decoder: Any = None,  # noqa: ANN401
) -> Task:
    """The task called ``name``.

    Raises:
        FormatError: there is none, or it needs a decoder and has none.
    """
    if name == "detect":
        if decoder is None:
            raise FormatError(
                "detect: where boxes lie in the outputs is not known. Give the task's description, --task FILE.json, "
                f"or put NETWORK{SUFFIX} beside the network; docs/how-to/tasks.md shows how it is written"
            )
        return detect(preprocess, labels, decoder)
    if name == "upscale":
        return upscale(preprocess, decoder)
    if name not in DECODERS:
        raise FormatError(f"task: is one of {', '.join(DECODERS)}, not {name!r}")
    return (segment if name == "segment" else classify)(preprocess, labels, decoder)


def read_record(text: str, preprocess: Preprocess | None, where: str) -> Task:
    """The task that JSON describes.

    Raises:
        FormatError: it describes none; the message begins with ``where``.
    """
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: is not JSON: {error}") from error
    if not isinstance(record, dict) or record.get("task") not in tuple(DECODERS) or not set(record) <= KEYS:
        raise FormatError(
            f"{where}: a task is an object of {', '.join(sorted(KEYS))}, the task being one of {', '.join(DECODERS)}"
        )
    if "preprocess" in record:
        preprocess = Preprocess.from_metadata({PREPROCESS: json.dumps(record["preprocess"])})
    name, labels = record["task"], record.get("labels", [])
    try:
        decoder = None
        if "decoder" in record:
            decoder = decode(DECODERS[name], _completed(DECODERS[name], record["decoder"]), "decoder")
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from error
    if isinstance(labels, str):
        labels = named_labels(labels, -1)
    if not isinstance(labels, list | tuple) or not all(isinstance(label, str) for label in labels):
        raise FormatError(f'{where}: labels are a list of names, "coco" or "voc", not {record["labels"]!r}')
    try:
        return make_task(name, preprocess or Preprocess((224, 224)), labels, decoder)
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from error


def _completed(kind: type, value: Any) -> Any:  # noqa: ANN401
    """A description with the defaults of what it leaves out, at every depth."""
    if not isinstance(value, dict):
        return value
    merged = dict(value)
    for field in dataclasses.fields(kind):
        if field.name not in value and field.default is not dataclasses.MISSING:
            merged[field.name] = encode(field.default)
    for name, inner in NESTED.get(kind, {}).items():
        if isinstance(merged.get(name), list):
            merged[name] = [_completed(inner, item) for item in merged[name]]
        elif name in merged:
            merged[name] = _completed(inner, merged[name])
    return merged
