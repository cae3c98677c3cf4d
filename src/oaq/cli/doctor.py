"""``oaq doctor``: where a network of integers breaks, on which registers, for every input."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oaq.cli import images
from oaq.cli.info import version
from oaq.cli.model_file import HELP as MODEL_HELP
from oaq.cli.model_file import ModelFile, open_diagnosed, open_model
from oaq.cli.registers import add_registers
from oaq.cli.witness import place
from oaq.doctor import Diagnosis, diagnose
from oaq.errors import ConfigError, ProgramError
from oaq.program.atomic import write_atomically
from oaq.report.doctor import headlines, layer_tables, output_table
from oaq.report.html.doctor import render
from oaq.report.sarif import sarif
from oaq.robust import Region, ball
from oaq.runtime.values import to_integers
from oaq.terminal import say

HELP = "say where an existing int8 model overflows, and prove where it does not"
DESCRIPTION = """\
For every layer, every output and every kind of register that kernels sum in:
safe for every input, or not. Nothing is run for that. Files may come from any
tool: ONNX in QDQ or QOperator form, TFLite, .oaq. With --data also how near
real inputs came, which proves nothing about others.

Without --registers the registers that runtimes use unasked decide: avx2-acc32,
avx512bw, vnni, neon-mlal-pair; the others are shown. "20 bits" is one register
that sums all of K."""
EXAMPLES = """\
examples:
  oaq doctor model.onnx
  oaq doctor model.onnx --registers avx2-acc32 --registers vnni --json
  oaq doctor model.tflite --data photos/ --html doctor.html
  oaq doctor model.onnx --registers avx2-acc32 --sarif doctor.sarif
  oaq doctor net.oaq --on-set digit.npy --radius 2          only inputs near this one
  oaq doctor model.onnx --registers "20 bits" --at layer3.conv:17

exit code 0: safe for every input on every register asked about; 1: not; 2: the file cannot be read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL --registers --data --at --html --sarif ..."""
    parser.add_argument("file", type=Path, metavar="MODEL", help=MODEL_HELP)
    add_registers(parser, 'registers, or "N bits"; repeat for several', several=True)
    parser.add_argument("--data", type=Path, metavar="DIR", help="photos or arrays: how near they come")
    parser.add_argument("--limit", type=int, default=8, metavar="N", help="at most N files of --data (default 8)")
    parser.add_argument(
        "--on-set", type=Path, metavar="PATH", help="ask about inputs near this one only; with --radius"
    )
    parser.add_argument("--radius", type=int, metavar="N", help="of the set: every element may move by N steps")
    parser.add_argument("--at", metavar="NODE:OUT", help="also the figures of one output of one layer")
    parser.add_argument("--html", type=Path, metavar="OUT.html", help="also write a self-contained page")
    parser.add_argument("--sarif", type=Path, metavar="OUT.sarif", help="also write SARIF 2.1.0, for code hosts and CI")
    images.add_arguments(parser)


def call(arguments: argparse.Namespace) -> int:
    """Diagnose, print, write."""
    model = open_diagnosed(arguments.file) if arguments.data is None else open_model(arguments.file)
    program, data = model.opened.program, None
    if arguments.data is not None:
        data = _data(model, arguments)
    diagnosis = diagnose(
        program,
        arguments.registers,
        data,
        unsigned=model.unsigned,
        islands=model.islands,
        notes=model.imported.notes,
        region=_region(model, arguments),
    )
    spot = (
        None if arguments.at is None else place(arguments.at, {layer.node: layer.outputs for layer in diagnosis.layers})
    )
    if arguments.html is not None:
        write_atomically(arguments.html, [render(diagnosis).encode()])
    if arguments.sarif is not None:
        log = json.dumps(sarif(diagnosis, arguments.file, version()), indent=1)
        write_atomically(arguments.sarif, [log.encode()])
    if arguments.json:
        say.document({"file": str(arguments.file), **diagnosis.to_json()})
    else:
        _print(diagnosis, spot, arguments)
    return 0 if diagnosis.is_safe else 1


def _data(model: ModelFile, arguments: argparse.Namespace) -> Iterator[tuple[NDArray[np.uint8], ...]]:
    if not model.imported.is_whole:
        raise ProgramError(
            f"{arguments.file}: {model.islands[0]}; without them --data cannot be run. What is proved needs no data"
        )
    batches = model.opened.batches(arguments.data, arguments, arguments.limit)
    return (to_integers(model.opened.program, batch) for _, batch in say.track(batches, "observe"))


def _region(model: ModelFile, arguments: argparse.Namespace) -> Region | None:
    """The set around the one sample of ``--on-set``; None is every input.

    Raises:
        ConfigError: one of the two options is missing, or there are several samples.
        ProgramError: parts of the model stay in float.
    """
    if arguments.on_set is None and arguments.radius is None:
        return None
    if arguments.on_set is None or arguments.radius is None:
        raise ConfigError("a set is an input and a distance: give both --on-set PATH and --radius N")
    if not model.imported.is_whole:
        raise ProgramError(f"{arguments.file}: {model.islands[0]}; a set is of the inputs of a whole program")
    program = model.opened.program
    batches = model.opened.batches(arguments.on_set, arguments, None)
    samples = [x for _, batch in batches for x in to_integers(program, batch)[0]]
    if len(samples) != 1:
        raise ConfigError(f"{arguments.on_set}: holds {len(samples)} samples; a set surrounds one")
    return ball(program, samples[0], arguments.radius)


def _print(diagnosis: Diagnosis, spot: tuple[str, int] | None, arguments: argparse.Namespace) -> None:
    say.words("\n".join(headlines(diagnosis, str(arguments.file))) + "\n")
    say.tables(layer_tables(diagnosis))
    if spot is not None:
        say.words("")
        say.tables([output_table(diagnosis, *spot)])
    for path in (arguments.html, arguments.sarif):
        if path is not None:
            say.words(f"\n{path}")
