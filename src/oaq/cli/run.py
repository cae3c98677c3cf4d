"""``oaq run``: inputs through the integers, the largest outputs printed."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.cli import answers, enlarge, images, tasks
from oaq.cli.network import Feed, Network, open_network, save_outputs, tell
from oaq.cli.opened import add_execution
from oaq.errors import FormatError
from oaq.escape import escape_name, escape_text
from oaq.mixed.execute import IntegerExecutor, MixedSession
from oaq.program.atomic import write_atomically
from oaq.program.int_program import IntProgram
from oaq.tasks import Task
from oaq.tasks.classify import largest
from oaq.tasks.task import label_of
from oaq.terminal import say

HELP = "run photos or arrays through a network"
DESCRIPTION = """\
Run every input and print what the outputs mean: boxes, masks or an image where
the file, a description beside it or --task says so, otherwise the largest of
the file's own outputs. Integers run
through the planned kernels, proved; parts of an ONNX file that stay in float run
in ONNX Runtime, or by float operators of oaq's own if that is not installed, and
a line on standard error says which. Photos are prepared as they were when the
network was quantized (the file remembers); flags override. Arrays (.npy, .npz)
are taken as they are; several inputs as one .npz that holds them by name."""
EXAMPLES = """\
examples:
  oaq run net.oaq cat.jpg --top 5 --labels imagenet.txt
  oaq run detector.oaq street.jpg --task detect --labels coco --save boxes.jpg
  oaq run detector.oaq --input photos/ --save pictures/ --json > boxes.json
  oaq run net.oaq --input photos/ --json
  oaq run net.oaq --input batch.npy --save outputs.npy"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE --input ..."""
    parser.add_argument("file", type=Path, metavar="FILE", help="an .onnx, .tflite or .oaq file")
    parser.add_argument("photos", type=Path, nargs="*", metavar="INPUT", help="as --input; several may be given")
    parser.add_argument("--input", type=Path, metavar="PATH", help="a photo, .npy, .npz, or a folder of them")
    parser.add_argument(
        "--top", type=int, default=5, metavar="N", help="how many outputs to print per input (default 5)"
    )
    tasks.add_arguments(parser)
    parser.add_argument(
        "--save",
        type=Path,
        metavar="FILE",
        help="write the output as the file shapes it: .npy; .npz for all by name; .jpg or .png: what it means, drawn "
        "on the photo; a folder: one picture per photo",
    )
    add_execution(parser)
    images.add_arguments(parser)


def call(arguments: argparse.Namespace) -> int:
    """Run and print."""
    network = open_network(arguments.file, arguments)
    task = tasks.chosen_task(network, arguments)
    names = task.labels if task else tasks.read_labels(arguments.labels, 0) if arguments.labels else ()
    if task is not None:
        network = dataclasses.replace(network, recorded=task.preprocess)
    save: Path | None = arguments.save
    gallery = save if save is not None and answers.is_pictures(save, task) else None
    if gallery is not None and task is None:
        raise FormatError(f"{gallery}: is a picture, and nothing says what is drawn: give --task")
    places = _places(arguments)
    if task is not None and (save is None or gallery is not None):
        frames = enlarge.frames_of(network, task, places, arguments)
        if frames is not None:
            return _print_enlarged(frames.program, task, enlarge.replies(frames, task, places, gallery), arguments)
    feeds = [feed for place in places for feed in network.feeds(place, arguments)]
    results: list[tuple[Path, Feed]] = []
    for path, feed in say.track(feeds, "run"):
        results.append((path, network.run(feed)))
    if save is not None and gallery is None:
        write_atomically(save, save_outputs(save, _joined(save, results)))
    rows = [(path, row) for path, outputs in results for row in _rows(path, outputs)]
    pictures = [] if gallery is None else answers.picture_paths(gallery, [path for path, _ in rows])
    replies = answers.gather(task, rows, pictures) if task is not None else []
    doubts = tell(network)
    has_classes = task is None or task.name == "classify"
    if arguments.json:
        if task is None or has_classes:
            document = _document(network, [row for _, row in rows], arguments, names)
        else:
            document = {"program": network.name, **answers.coco_document(task, replies)}
        say.document(document | {"not_proved": doubts})
        return 0
    say.words(f"{escape_name(network.name)}, {_tier(network)}, {arguments.threads} thread(s)")
    if not has_classes:
        answers.print_answers(replies)
        return 0
    for _, (title, outputs) in rows:
        say.words(escape_text(title))
        for output, values in outputs.items():
            if len(outputs) > 1:
                say.words(escape_text(f"  {output}"))
            for index, value in largest(values.reshape(-1), arguments.top):
                say.words(f"  {value:10.4f}  {index:5d}  {escape_text(label_of(names, index))}".rstrip())
    return 0


def _print_enlarged(
    program: IntProgram, task: Task, replies: Sequence[answers.Reply], arguments: argparse.Namespace
) -> int:
    """Photos of any size, whole: an ``.oaq`` file is proved as it is read, so nothing is to be told."""
    if arguments.json:
        say.document({"program": program.name, **answers.coco_document(task, replies), "not_proved": ""})
        return 0
    say.words(f"{escape_name(program.name)}, proved, photos whole, {arguments.threads} thread(s)")
    answers.print_answers(replies)
    return 0


def _places(arguments: argparse.Namespace) -> list[Path]:
    """What is to be run.

    Raises:
        FormatError: nothing is given.
    """
    places = [*arguments.photos, *([] if arguments.input is None else [arguments.input])]
    if not places:
        raise FormatError("run: give a photo, an array or a folder of them: oaq run FILE INPUT, or --input INPUT")
    return places


def _tier(network: Network) -> str:
    """Who computes, and what of it is proved."""
    program, session = network.session.program, network.session.opened
    isas = dict.fromkeys(planned_isas(session))
    if not program.integers:
        return "nothing proved"
    proved = "proved" if not program.floats else "in part proved"
    return f"{proved} for {', '.join(isas)}"


def planned_isas(session: MixedSession | None) -> list[str]:
    """Instruction sets of the plans that run."""
    executors = session.executors if session is not None else ()
    return [executor.session.plan.isa for executor in executors if isinstance(executor, IntegerExecutor)]


def _rows(path: Path, outputs: Feed) -> list[tuple[str, Feed]]:
    """Title and outputs of each sample of one file; the file's as a whole where outputs do not count samples."""
    counts = {len(values) if values.ndim else -1 for values in outputs.values()}
    count = counts.pop() if len(counts) == 1 else -1
    if count < 1:
        return [(str(path), outputs)]
    return [(_title(path, at, count), {name: values[at] for name, values in outputs.items()}) for at in range(count)]


def _joined(place: Path, results: list[tuple[Path, Feed]]) -> Feed:
    """The outputs of all files, one after the other along the first axis.

    Raises:
        FormatError: their other axes differ, so one array cannot hold them.
    """
    joined = {}
    for name in results[0][1]:
        arrays = [outputs[name] for _, outputs in results]
        if len(arrays) > 1 and (len({array.shape[1:] for array in arrays}) > 1 or arrays[0].ndim == 0):
            shapes = ", ".join(str(array.shape) for array in arrays[:4])
            raise FormatError(f"{place}: the output {name!r} differs in shape: {shapes}; run the inputs one by one")
        joined[name] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return joined


def _document(
    network: Network, rows: list[tuple[str, Feed]], arguments: argparse.Namespace, names: Sequence[str]
) -> dict[str, object]:
    samples = []
    for title, outputs in rows:
        tops = {output: _top(values, arguments.top, names) for output, values in outputs.items()}
        sample: dict[str, object] = {"input": title, "top": next(iter(tops.values()))}
        samples.append(sample | ({"outputs": tops} if len(tops) > 1 else {}))
    isas = planned_isas(network.session.opened)
    return {"program": network.name, "isa": isas[0] if isas else "", "samples": samples}


def _top(values: NDArray[Any], count: int, names: Sequence[str]) -> list[dict[str, object]]:
    tops = largest(values.reshape(-1), count)
    return [{"index": index, "value": value, "label": label_of(names, index)} for index, value in tops]


def _title(path: Path, index: int, count: int) -> str:
    return str(path) if count == 1 else f"{path}[{index}]"
