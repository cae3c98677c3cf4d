"""``oaq repair``: the smallest change of an int8 model after which it is proved safe on other registers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from math import isinf
from pathlib import Path

from oaq.capture.model_file import SUFFIXES
from oaq.cli import images
from oaq.cli.model_file import open_model
from oaq.cli.registers import add_registers
from oaq.data.batches import Batch
from oaq.errors import ProgramError, UnsupportedOp
from oaq.escape import escape_lines
from oaq.repair import Repaired, repair
from oaq.terminal import say
from oaq.terminal.table import Table

HELP = "change only what overflows in an existing int8 model, and prove the result"
DESCRIPTION = """\
Find the outputs whose sums can leave a register and give them other weights:
rounded again so that the registers hold them, or that on a coarser scale of
their own, whichever is nearer. Everything else in the file stays as it is. The
new file is read again and proved for every input before it is written.

With --data (photos the model was not meant to be judged on) errors are put
where they matter least, and biases take back what they do to the mean. What is
proved does not depend on them. A model that is safe already is copied."""
EXAMPLES = """\
examples:
  oaq repair model.onnx --registers avx2-acc32 --out fixed.onnx
  oaq repair model.onnx --data photos/ --out fixed.onnx --json

exit code 0: OUT.onnx is proved safe; 1: no weights would be, nothing is written; 2: the file cannot be read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL --registers --out --data ..."""
    parser.add_argument("file", type=Path, metavar="MODEL", help="an .onnx file of 8-bit integers")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT.onnx", help="where to write")
    add_registers(parser, 'registers, or "N bits"; default avx2-acc32', default="avx2-acc32")
    parser.add_argument("--data", type=Path, metavar="DIR", help="photos or arrays: which errors matter")
    parser.add_argument("--limit", type=int, default=32, metavar="N", help="at most N files of --data (default 32)")
    images.add_arguments(parser)


def call(arguments: argparse.Namespace) -> int:
    """Repair, write, say what it cost."""
    if arguments.file.suffix.lower() in SUFFIXES and arguments.file.suffix.lower() != ".onnx":
        raise UnsupportedOp(
            f"{arguments.file}: only ONNX files are repaired; what oaq itself quantizes needs no repair, and a TFLite "
            "file is to be converted first"
        )
    data = None if arguments.data is None else _data(arguments)
    repaired = repair(arguments.file, arguments.registers, data)
    repaired.save(arguments.out)
    if arguments.json:
        say.document({"file": str(arguments.file), "out": str(arguments.out), **repaired.to_json()})
        return 0
    say.words(escape_lines(_headlines(repaired, arguments)) + ("" if repaired.was_safe else "\n"))
    if not repaired.was_safe:
        say.tables([_table(repaired)])
    return 0


def _data(arguments: argparse.Namespace) -> Iterator[Batch]:
    model = open_model(arguments.file)
    if len(model.opened.program.inputs) != 1 or not model.imported.is_whole:
        raise ProgramError(f"{arguments.file}: --data needs a model of one input that is quantized first; leave it out")
    batches = model.opened.batches(arguments.data, arguments, arguments.limit)
    return (batch for _, batch in say.track(batches, "observe"))


def _headlines(repaired: Repaired, arguments: argparse.Namespace) -> list[str]:
    name, total = repaired.before.deciding[0], len(repaired.before.layers)
    if repaired.was_safe:
        lines = [f"{arguments.file}: proved safe on {name} as it is: {total} of {total} layers, for every input"]
        lines.append(f"{arguments.out}: an identical copy")
    else:
        changed = sum(len(layer.changed) for layer in repaired.layers)
        rounded = sum(layer.rounded for layer in repaired.layers)
        weights = sum(layer.weights_changed for layer in repaired.layers)
        total_weights = sum(layer.outputs * layer.terms for layer in repaired.layers)
        outputs = sum(layer.outputs for layer in repaired.before.layers)
        lines = [
            f"{arguments.file}: {len(repaired.layers)} of {total} layers were unsafe on {name}",
            f"{arguments.out}: proved safe on {name}, {total} of {total} layers, for every input",
            f"  changed {changed} of {outputs} outputs: {rounded} rounded "
            f"again, {changed - rounded} on a coarser scale; {weights} of the {total_weights} weights of these layers",
        ]
    return lines + [f"  note: {note}" for note in repaired.notes]


def _table(repaired: Repaired) -> Table:
    measured = any(layer.measured for layer in repaired.layers)
    return Table(
        f"SQNR of each layer's sums, dB, {'on --data' if measured else 'predicted from operand ranges'}",
        ("layer", "outputs", "changed", "rounded", "rescaled", "repaired", "7 bits everywhere"),
        tuple(
            (
                layer.node,
                str(layer.outputs),
                str(len(layer.changed)),
                str(layer.rounded),
                str(layer.rescaled),
                _decibels(layer.sqnr),
                _decibels(layer.sqnr_seven_bits),
            )
            for layer in repaired.layers
        ),
        frozenset(range(1, 7)),
    )


def _decibels(value: float) -> str:
    return "exact" if isinf(value) else f"{value:.1f}"
