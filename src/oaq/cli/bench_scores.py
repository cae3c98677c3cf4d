"""``oaq bench --photos``: what every executor that is timed answers about photos, by the metrics of the file's task."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.cli.images import preprocess
from oaq.cli.opened import Opened
from oaq.cli.tasks import task_of
from oaq.data.batches import PHOTOS, files
from oaq.data.photos import prepare, read_pixels
from oaq.data.preprocess import Preprocess
from oaq.errors import FormatError
from oaq.kernels.plan import Plan
from oaq.report.data import Latency
from oaq.report.peers import Peer
from oaq.runtime import Session
from oaq.tasks import Task
from oaq.tasks.record import make_task
from oaq.terminal import say

LIMIT: Final = 16
"""Photos, unless --limit says another number."""
Execute = Callable[[NDArray[np.float32]], Sequence[NDArray[Any]]]
"""A batch to the values of all outputs."""


@dataclass(frozen=True, eq=False)
class Subjects:
    """Inputs of the network, and what answers about them are scored against.

    Attributes:
        batches: an input for each photo or array.
        truths: what is true of each sample, as the task's metrics take it; None where that is not known.
        reference: what answers are compared with.
    """

    batches: tuple[NDArray[np.float32], ...]
    truths: tuple[Any, ...] | None
    reference: str


@dataclass(frozen=True)
class Scores:
    """Metrics of every executor on the same photos. Observed.

    Attributes:
        task: name of the task.
        images: how many.
        against: what answers are compared with.
        values: of each executor, by metric.
        texts: the same for people, by executor.
    """

    task: str
    images: int
    against: str
    values: Mapping[str, Mapping[str, float | None]]
    texts: Mapping[str, str]

    def document(self) -> dict[str, object]:
        """For ``--json``."""
        return {"task": self.task, "images": self.images, "against": self.against, "values": self.values}

    def with_scores(self, latency: Latency) -> Latency:
        """Times with the scores in the notes."""
        timings = [
            replace(timing, note="; ".join(filter(None, (timing.note, self.texts.get(timing.name)))))
            for timing in latency.timings
        ]
        return replace(latency, timings=tuple(timings))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--photos, --limit, --task."""
    parser.add_argument(
        "--photos",
        type=Path,
        metavar="DIR",
        help="also score every executor on photos (or arrays), by the metrics of the file's task: of an upscaler PSNR "
        "and SSIM of photos that were reduced, otherwise how nearly answers are those of the float --onnx file",
    )
    parser.add_argument("--limit", type=int, default=LIMIT, metavar="N", help=f"of --photos at most (default {LIMIT})")
    parser.add_argument(
        "--task", metavar="TASK", help="with --photos: what the network is for, where the file does not say (oaq run)"
    )


def score(opened: Opened, plans: Mapping[str, Plan], peers: Sequence[Peer], arguments: argparse.Namespace) -> Scores:
    """Run every executor on the photos and score it.

    Raises:
        FormatError: a photo does not decode or is too small, the task is unknown, or nothing is there to score against.
        ProgramError: outputs are not what the task reads.
    """
    task = _task(opened, arguments)
    subjects = subjects_of(opened, task, arguments)
    executors = {name: _native(planned, arguments.threads) for name, planned in plans.items()}
    executors |= {peer.name: _peer(peer) for peer in peers}
    floats = next((peer.name for peer in peers if peer.precision == "fp32"), None)
    if subjects.truths is None and floats is None:
        raise FormatError(
            f"--photos {arguments.photos}: nothing says what is true of them: give the float network, --onnx FLOAT.onnx"
        )
    answers = {name: _answers(task, opened, execute, subjects, name) for name, execute in executors.items()}
    images = len(next(iter(answers.values())))
    against = subjects.reference if floats is None or subjects.truths is not None else f"what {floats} answers"
    values: dict[str, dict[str, float]] = {}
    for name, replies in answers.items():
        if subjects.truths is not None:
            values[name] = {metric.name: metric.compute(replies, subjects.truths) for metric in task.metrics}
        elif floats is not None and name != floats:
            values[name] = {metric.name: metric.agreement(answers[floats], replies) for metric in task.metrics}
    texts = {name: _text(task, scores, images, against) for name, scores in values.items()}
    finite = {
        name: {metric: value if math.isfinite(value) else None for metric, value in scores.items()}
        for name, scores in values.items()
    }
    return Scores(task.name, images, against, finite, texts)


def subjects_of(opened: Opened, task: Task, arguments: argparse.Namespace) -> Subjects:
    """The photos: as they are, or, of an upscaler, the middle of each and its reduction.

    Raises:
        FormatError: a file does not decode, a photo is smaller than an upscaler's answer, or ``--limit`` is below one.
        ProgramError: samples have another shape.
    """
    if arguments.limit < 1:
        raise FormatError(f"--limit {arguments.limit}: at least one photo is scored; leave --photos out to score none")
    if task.name != "upscale":
        samples = opened.batches(arguments.photos, _prepared_by(arguments, task.preprocess), arguments.limit)
        return Subjects(tuple(batch for _, batch in samples), None, "")
    paths = [path for path in files(arguments.photos) if path.suffix.lower() in PHOTOS][: arguments.limit]
    if not paths:
        raise FormatError(f"--photos {arguments.photos}: an upscaler is scored on photos; there are arrays only")
    output = task.decoder.output or opened.program.outputs[0]
    rows, columns, *channels = opened.program.tensors[output].shape
    pairs = [_reduced(path, (rows, columns), task, is_grey=channels != [3]) for path in paths]
    return Subjects(tuple(x for x, _ in pairs), tuple(truth for _, truth in pairs), "photos that were reduced")


def _reduced(path: Path, size: tuple[int, int], task: Task, *, is_grey: bool) -> tuple[NDArray[np.float32], Any]:
    """The input and what is true of it: the middle of a photo, of the output's size, reduced by Pillow's bicubic."""
    photo = read_pixels(path)
    top, first = ((have - want) // 2 for have, want in zip(photo.shape, size, strict=False))
    if min(top, first) < 0:
        raise FormatError(
            f"{path}: {photo.shape[1]} x {photo.shape[0]} pixels; scored are photos of {size[1]} x {size[0]} at least, "
            "the size of the output: give larger ones, or a file of a smaller size"
        )
    middle = np.ascontiguousarray(photo[top : top + size[0], first : first + size[1]])
    reduction = replace(task.preprocess, resize=None, fit="stretch", interpolation="bicubic")
    if is_grey and not task.decoder.luma:
        plain = Preprocess(size, mean=(0.0,), std=(1.0,), fit="stretch")
        return prepare(middle, reduction)[None], prepare(middle, plain)[0].astype(np.float64)
    return prepare(middle, reduction)[None], middle / 255


def _task(opened: Opened, arguments: argparse.Namespace) -> Task:
    base = opened.preprocess(arguments)
    task = task_of(opened.path, opened.program.metadata, arguments.task, base) or make_task("classify", base)
    preparation = preprocess(arguments, task.preprocess, task.preprocess.size)
    return make_task(task.name, preparation, task.labels, task.decoder)


def _prepared_by(arguments: argparse.Namespace, preparation: Preprocess) -> argparse.Namespace:
    """Flags that say the preprocessing of the task, whatever the file recorded."""
    names = ("size", "resize", "mean", "std", "interpolation", "fit")
    return argparse.Namespace(**{**vars(arguments), **{name: getattr(preparation, name) for name in names}})


def _native(planned: Plan, threads: int) -> Execute:
    session = Session(planned, threads=threads)

    def execute(x: NDArray[np.float32]) -> Sequence[NDArray[Any]]:
        values = session.run(x)
        return [np.asarray(y) for y in (values if isinstance(values, tuple) else (values,))]

    return execute


def _peer(peer: Peer) -> Execute:
    return lambda x: [np.asarray(y) for y in (peer.run_all(x) if peer.run_all else (peer.run(x),))]


def _answers(task: Task, opened: Opened, execute: Execute, subjects: Subjects, name: str) -> list[Any]:
    """What one executor answers about every sample."""
    result = []
    for batch in say.track(subjects.batches, name):
        for at in range(len(batch)):  # peers may have a fixed batch
            values = execute(batch[at : at + 1])
            result.append(task.decode({key: y[0] for key, y in zip(opened.program.outputs, values, strict=False)}))
    return result


def _text(task: Task, scores: Mapping[str, float], images: int, against: str) -> str:
    values = ", ".join(f"{metric.name} {metric.text(scores[metric.name], images)}" for metric in task.metrics)
    return f"{values} against {against}, {images} images"
