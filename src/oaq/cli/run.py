"""``oaq run``: inputs through the integers, the largest outputs printed."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from oaq.cli import images
from oaq.cli.model_file import HELP as MODEL_HELP
from oaq.cli.model_file import open_whole
from oaq.cli.opened import Opened, add_execution
from oaq.data.batches import Batch
from oaq.errors import FormatError
from oaq.escape import escape_name, escape_text
from oaq.kernels.plan import plan
from oaq.program.atomic import write_atomically
from oaq.runtime import Session
from oaq.terminal import say

HELP = "run photos or arrays through a network"
DESCRIPTION = """\
Run every input through the planned kernels and print the largest outputs.
Photos are prepared as they were when the network was quantized (the file
remembers); flags override. Arrays (.npy, .npz) are taken as they are."""
EXAMPLES = """\
examples:
  oaq run net.oaq --input cat.jpg --top 5 --labels imagenet.txt
  oaq run net.oaq --input photos/ --json
  oaq run net.oaq --input batch.npy --save outputs.npy"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE --input ..."""
    parser.add_argument("file", type=Path, metavar="FILE", help=MODEL_HELP)
    parser.add_argument(
        "--input", type=Path, required=True, metavar="PATH", help="a photo, .npy, .npz, or a folder of them"
    )
    parser.add_argument(
        "--top", type=int, default=5, metavar="N", help="how many outputs to print per input (default 5)"
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="class names, one per line, in the order of the outputs"
    )
    parser.add_argument("--save", type=Path, metavar="FILE.npy", help="write all outputs, float32, one row per sample")
    add_execution(parser)
    images.add_arguments(parser)


def call(arguments: argparse.Namespace) -> int:
    """Run and print."""
    opened = open_whole(arguments.file)
    names = _labels(arguments.labels)
    session = Session(plan(opened.program, arguments.isa), threads=arguments.threads)
    samples = opened.batches(arguments.input, arguments)
    results: list[tuple[str, Batch]] = []
    for path, batch in say.track(samples, "run"):
        results += [(_title(path, i, len(batch)), row) for i, row in enumerate(_outputs(session, batch))]
    if arguments.save is not None:
        _save(arguments.save, np.stack([row for _, row in results]))
    if arguments.json:
        say.document(_document(opened, session.plan.isa, results, arguments.top, names))
        return 0
    planned, name = session.plan, escape_name(opened.program.name)
    say.words(f"{name}, {planned.tier} for {planned.isa}, {arguments.threads} thread(s)")
    for title, row in results:
        say.words(escape_text(title))
        for index, value in _largest(row, arguments.top):
            say.words(f"  {value:10.4f}  {index:5d}  {escape_text(_name(names, index))}".rstrip())
    return 0


def _outputs(session: Session, batch: Batch) -> Batch:
    y = session.run(batch)
    return (y[0] if isinstance(y, tuple) else y).reshape(len(batch), -1)


def _largest(row: Batch, count: int) -> list[tuple[int, float]]:
    order = np.argsort(-row, kind="stable")[: max(count, 0)]
    return [(int(index), float(row[index])) for index in order]


def _document(
    opened: Opened, isa: str, results: list[tuple[str, Batch]], top: int, names: list[str]
) -> dict[str, object]:
    samples = [
        {
            "input": title,
            "top": [{"index": i, "value": value, "label": _name(names, i)} for i, value in _largest(row, top)],
        }
        for title, row in results
    ]
    return {"program": opened.program.name, "isa": isa, "samples": samples}


def _labels(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: labels cannot be read: {error}") from error


def _name(names: list[str], index: int) -> str:
    return names[index] if index < len(names) else ""


def _title(path: Path, index: int, count: int) -> str:
    return str(path) if count == 1 else f"{path}[{index}]"


def _save(path: Path, outputs: Batch) -> None:
    import io

    buffer = io.BytesIO()
    np.save(buffer, outputs)
    write_atomically(path, [buffer.getvalue()])
