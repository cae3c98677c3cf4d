"""``oaq balance``: channels of a float file brought to like ranges, before it is quantized dynamically."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from oaq.cli import images, models
from oaq.cli.samples import read_samples
from oaq.data.batches import files
from oaq.errors import CalibrationError, UnsupportedOp
from oaq.escape import escape_lines
from oaq.mixed.load import read_onnx
from oaq.program.atomic import write_atomically
from oaq.repair import balance_with_report
from oaq.terminal import say

HELP = "bring channels of a float ONNX file to like ranges, before dynamic int8"
DESCRIPTION = """\
A dynamic int8 file has one scale for a whole tensor. Where a few channels are
many times as wide as the rest, they take its steps. Divide such channels, and
multiply the weights that read them, by powers of two that samples show to be
good. The float file computes the same bits as before, and no range grows,
whatever comes that samples did not show.

Quantize OUT.onnx as you would MODEL (onnxruntime's quantize_dynamic, with
per_channel=True), then see `oaq doctor` and `oaq repair`."""
EXAMPLES = """\
examples:
  oaq balance encoder.onnx --data samples/ --out encoder.balanced.onnx

samples/ holds .npz files, in each the inputs of one call by name; .npy files or photos for a file of one input."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL --data --out --limit ..."""
    parser.add_argument("file", type=Path, metavar="MODEL", help="a float .onnx file")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="samples: arrays or photos")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT.onnx", help="where to write")
    parser.add_argument("--limit", type=int, default=64, metavar="N", help="at most N files of --data (default 64)")
    images.add_arguments(parser)


def call(arguments: argparse.Namespace) -> int:
    """Balance, write, say how many tensors it concerns."""
    if arguments.file.suffix.lower() != ".onnx":
        raise UnsupportedOp(f"{arguments.file}: only float ONNX files are balanced")
    if arguments.limit < 1:
        raise CalibrationError(f"--limit {arguments.limit}: is at least 1")
    balanced = balance_with_report(arguments.file, _feeds(arguments))
    write_atomically(arguments.out, [balanced.content])
    if arguments.json:
        tensors = {name: {"divided": some, "channels": total} for name, (some, total) in balanced.tensors.items()}
        names = {"file": str(arguments.file), "out": str(arguments.out)}
        say.document({**names, "samples": balanced.samples, "tensors": tensors})
        return 0
    divided = ", ".join(f"{name} ({some} of {total})" for name, (some, total) in balanced.tensors.items() if some)
    lines = [
        f"{arguments.file}: of {len(balanced.tensors)} tensors that constants multiply, {balanced.divided} have "
        f"channels that are worth dividing, on {balanced.samples} samples",
        *([f"  channels divided: {divided}"] if divided else []),
        f"{arguments.out}: computes the same bits",
    ]
    say.words(escape_lines(lines))
    return 0


def _feeds(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Each sample as arrays by the names of the file's inputs."""
    ports = read_onnx(arguments.file).inputs
    paths = files(arguments.data)[: arguments.limit]
    preprocessing = images.preprocess(arguments, None, models.photo_size(arguments.file))
    samples = read_samples(paths, ports, preprocessing, models.sample_axes(arguments.file))
    for sample in say.track(samples, "observe", len(paths)):
        yield sample if isinstance(sample, dict) else {ports[0].name: sample}
