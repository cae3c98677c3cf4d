"""Which task a network is run for: what its file keeps, what lies beside it, and what flags say over both."""

from __future__ import annotations

import argparse
import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from oaq.cli.images import preprocess
from oaq.cli.network import Feed, Network
from oaq.data.batches import PHOTOS
from oaq.data.photos import read_pixels
from oaq.data.preprocess import Preprocess
from oaq.data.window import Window, window_of
from oaq.errors import FormatError, ProgramError
from oaq.tasks import Detector, Task, from_metadata, load_task
from oaq.tasks.coco import named_labels
from oaq.tasks.record import DECODERS, SUFFIX, make_task
from oaq.tasks.task import Picture

NAMES: Final = tuple(DECODERS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--task, --labels and --score."""
    parser.add_argument(
        "--task",
        metavar="TASK",
        help=f"{', '.join(NAMES)}, or a .json file that describes one (docs/how-to/tasks.md); default: what the file "
        f"keeps, then NAME{SUFFIX} beside it, then classify",
    )
    parser.add_argument(
        "--labels",
        metavar="FILE",
        help="class names, one per line, in the order of the classes; coco or voc for the names of those sets",
    )
    parser.add_argument("--score", type=float, metavar="S", help="detect: show boxes of at least this score")


def add_description(parser: argparse.ArgumentParser) -> None:
    """--task of a verb that writes a file."""
    parser.add_argument(
        "--task",
        type=Path,
        metavar="FILE",
        help="what the network is for, as JSON (docs/how-to/tasks.md): kept in the file for `oaq run`; agreement with "
        "float is observed by its metrics",
    )


def chosen_task(network: Network, arguments: argparse.Namespace) -> Task | None:
    """The task that ``--task`` names, or that is recorded; None: nothing says what the network is for.

    Raises:
        FormatError: --task names none, or another than the file keeps; a description is damaged; labels cannot be read.
    """
    base = network.recorded or Preprocess(network.photo_size())
    task = task_of(network.path, network.stored.metadata if network.stored else {}, arguments.task, base)
    if task is None:
        return None
    decoder = task.decoder
    if arguments.score is not None:
        if not isinstance(decoder, Detector):
            raise FormatError(f"--score {arguments.score:g}: is of boxes, the task is {task.name}; leave it out")
        decoder = dataclasses.replace(decoder, visible=arguments.score, score=min(decoder.score, arguments.score))
    labels = read_labels(arguments.labels, len(task.labels)) if arguments.labels else task.labels
    return make_task(task.name, preprocess(arguments, task.preprocess, task.preprocess.size), labels, decoder)


def task_of(path: Path, metadata: Mapping[str, str], request: str | None, preparation: Preprocess) -> Task | None:
    """The task that ``--task`` names or describes, that a file's metadata keep, or that lies beside it; or None.

    Raises:
        FormatError: the request names none, or another than the file keeps; a description is damaged.
    """
    task = _described(path, metadata, request, preparation)
    return make_task(request, preparation) if task is None and request is not None else task


def _described(path: Path, metadata: Mapping[str, str], request: str | None, preparation: Preprocess) -> Task | None:
    if request is not None and request.lower().endswith(".json"):
        return load_task(Path(request), preparation)
    if request is not None and request not in NAMES:
        raise FormatError(f"--task {request}: is one of {', '.join(NAMES)}, or a .json file that describes a task")
    recorded = from_metadata(metadata)
    side_file = path.with_name(path.stem + SUFFIX)
    if recorded is None and side_file.is_file():
        recorded = load_task(side_file, preparation)
    if recorded is not None and request not in (None, recorded.name):
        if request == "classify":  # the largest numbers of any output can be looked at
            return None
        raise FormatError(f"{path}: keeps the task {recorded.name}, not {request}")
    return recorded


def read_labels(name: str, count: int) -> tuple[str, ...]:
    """Labels of a set or of a file, ``count`` being how many classes are told apart, 0 if that is not known.

    Raises:
        FormatError: the file cannot be read.
    """
    labels = None if Path(name).is_file() else named_labels(name, count)
    if labels is not None:
        return labels
    try:
        return tuple(Path(name).read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError) as error:
        raise FormatError(f"{name}: labels cannot be read: {error}") from error


def seen_photo(path: Path, task: Task) -> tuple[Picture | None, Window, tuple[int, int]]:
    """A photo with the window that the network saw and its (rows, columns); of an array the network's own input."""
    rows, columns = task.preprocess.size
    if path.suffix.lower() not in PHOTOS:
        return None, Window(0.0, 0.0, float(columns), float(rows)), (rows, columns)
    photo = read_pixels(path)
    return photo, window_of(task.preprocess, photo.shape[1], photo.shape[0]), photo.shape[:2]


def answer_of(task: Task, outputs: Feed, where: object) -> Any:  # noqa: ANN401
    """What the outputs of one sample mean.

    Raises:
        ProgramError: they are integers whose reals nothing says, or do not hold what the task reads.
    """
    integers = [name for name, values in outputs.items() if values.dtype.kind in "iu"]
    if integers and task.name in ("detect", "upscale"):
        raise ProgramError(
            f"{where}: the output {integers[0]!r} is of integers, and {task.name} reads reals; take a file that ends "
            "in reals (DequantizeLinear, or an .oaq file of `oaq quantize`)"
        )
    return task.decode(outputs)


def picture_of(photo: Picture | None, task: Task, answer: Any, window: Window) -> Picture:  # noqa: ANN401
    """The photo with the answer drawn on it; an empty one stands for an array."""
    rows, columns = task.preprocess.size
    return task.draw(np.full((rows, columns, 3), 96, np.uint8) if photo is None else photo, answer, window)


def encoded(picture: Picture, suffix: str) -> bytes:
    """A picture as the content of a file whose name ends in ``suffix``.

    Raises:
        FormatError: Pillow does not write such files.
    """
    from PIL import Image

    buffer = io.BytesIO()
    form = Image.registered_extensions().get(suffix.lower(), "")
    try:
        Image.fromarray(picture).save(buffer, form, **({"quality": 92} if form == "JPEG" else {}))
    except (KeyError, OSError, ValueError) as error:
        raise FormatError(f"--save: pictures are not written as {suffix!r}; .png and .jpg are") from error
    return buffer.getvalue()
