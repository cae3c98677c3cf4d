"""``oaq tune``: narrower integers where they pay, chosen on the machine that will run them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from oaq.cli import images
from oaq.cli.model_file import HELP as MODEL_HELP
from oaq.cli.model_file import open_whole
from oaq.cli.opened import THREADS_HELP
from oaq.cli.output import check_output
from oaq.errors import ConfigError
from oaq.seal.parts import save
from oaq.terminal import say
from oaq.terminal.native_output import native_output_on_stderr
from oaq.terminal.table import Table
from oaq.tune import Tuned, load_record, tune
from oaq.tune.goal import DEFAULT_BUDGET, decibels
from oaq.tune.tune import SAMPLES

HELP = "choose narrower integers where they pay on this machine"
DESCRIPTION = """\
Time every layer on every kernel row here, measure on the network's own integers
what narrower ones would do to its outputs, solve for the best choice inside a
budget, build the best few, and let their measured time and noise decide. Needs
no float network and no training framework. --data (photos or arrays) makes the
choice better; without it synthetic inputs are drawn.

The result is proved like any other file. --record keeps every measurement: a
second run with the same file repeats the choice. Where narrower integers would
gain nothing (an instruction set with exact 8-bit dot products) nothing is
written and the command says so."""
EXAMPLES = """\
examples:
  oaq tune net.oaq --out tuned.oaq
  oaq tune vendor.tflite --data photos/ --budget 1.1 --out tuned.oaq
  oaq tune net.oaq --isa avx2 --isa avx512bw --out both.oaq
  oaq tune net.oaq --sqnr 25 --record net.tuning.json --out tuned.oaq

exit code 0: written, or nothing to gain; 2: bad input, or a goal that no choice reaches."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE --isa --budget ..."""
    parser.add_argument("file", type=Path, metavar="FILE", help=MODEL_HELP)
    parser.add_argument("--out", type=Path, required=True, metavar="OUT.oaq", help="where to write")
    parser.add_argument(
        "--isa", action="append", metavar="NAME", help="instruction set; repeated: all budgets hold (default avx2)"
    )
    goal = parser.add_mutually_exclusive_group()
    goal.add_argument(
        "--budget",
        type=float,
        default=DEFAULT_BUDGET,
        metavar="X",
        help=f"most time, in parts of the fastest choice (default {DEFAULT_BUDGET})",
    )
    goal.add_argument("--seconds", type=float, metavar="S", help="most seconds of one sample on one thread")
    goal.add_argument("--sqnr", type=float, metavar="DB", help="least SQNR to FILE's own outputs; least time then")
    goal.add_argument("--joules", type=float, metavar="J", help="refused where no energy counter can be read")
    parser.add_argument("--data", type=Path, metavar="DIR", help="photos or arrays to measure effects on")
    parser.add_argument("--limit", type=int, default=SAMPLES, metavar="N", help=f"files of --data (default {SAMPLES})")
    parser.add_argument("--record", type=Path, metavar="FILE.json", help="measurements: read if there, else written")
    parser.add_argument("--threads", type=int, metavar="N", help=f"of the runs that measure effects; {THREADS_HELP}")
    images.add_arguments(parser)


def call(arguments: argparse.Namespace) -> int:
    """Measure, choose, write, say what it brought."""
    if arguments.joules is not None:
        raise ConfigError("--joules: energy is not measurable here; give --budget or --seconds")
    check_output(arguments.out)
    if arguments.record is not None:
        check_output(arguments.record, "--record")
    opened = open_whole(arguments.file)
    data = None
    if arguments.data is not None:
        data = (batch for _, batch in opened.batches(arguments.data, arguments, arguments.limit))
    path: Path | None = arguments.record
    record = load_record(path) if path is not None and path.exists() else None
    with native_output_on_stderr():  # of the solver
        tuned = tune(
            opened.program,
            data,
            isa=tuple(arguments.isa or ("avx2",)),
            budget=arguments.budget,
            seconds=arguments.seconds,
            sqnr=arguments.sqnr,
            record=record,
            samples=arguments.limit,
            threads=arguments.threads,
            progress=say.track,
        )
    if path is not None and record is None:
        tuned.record.save(path)
    if tuned.choice is not None:
        save(tuned.program, arguments.out)
    if arguments.json:
        say.document(
            {"file": str(arguments.file), "out": None if tuned.choice is None else str(arguments.out), **to_json(tuned)}
        )
        return 0
    _print(tuned, arguments)
    return 0


def _print(tuned: Tuned, arguments: argparse.Namespace) -> None:
    isas = ", ".join(tuned.goal.isas)
    if tuned.choice is None:
        say.words(f"{arguments.file}: left as it is; {arguments.out} is not written")
    else:
        say.tables([_table(tuned)])
        say.words(
            f"\n{arguments.out}: {tuned.sqnr:.1f} dB to the integers of {arguments.file.name}, "
            f"{len(tuned.choice.steps)} tensors with fewer steps, {len(tuned.choice.fills)} layers with coarser weights"
        )
        for isa, before, after in zip(tuned.goal.isas, tuned.before, tuned.choice.seconds, strict=True):
            say.words(
                f"  {isa}: {before * 1e3:.3f} ms before, {after * 1e3:.3f} ms now ({1 - after / before:.0%} less)"
            )
    for note in tuned.notes:
        say.words(f"  note: {note}")
    for timings in tuned.record.timings:
        if timings.unsteady:
            say.warn(f"{isas}: {len(timings.unsteady)} layers took unsteady times; other programs were running")


def _table(tuned: Tuned) -> Table:
    rows = []
    for candidate in sorted(tuned.candidates, key=lambda candidate: candidate.noise):
        rows.append(
            (
                "*" if candidate is tuned.choice else "",
                f"{decibels(candidate.proposal.noise):.1f}",
                f"{decibels(candidate.noise):.1f}",
                *(f"{seconds * 1e3:.3f}" for seconds in (*candidate.proposal.seconds, *candidate.seconds)),
                f"{candidate.proposal.solution.gap:.2%}",
            )
        )
    kinds = [f"ms {isa} {kind}" for kind in ("predicted", "measured") for isa in tuned.goal.isas]
    head = ("", "dB predicted", "dB measured", *kinds, "gap")
    return Table("candidates, built, proved and measured", head, tuple(rows), frozenset(range(1, len(head))))


def _finite(noise: float) -> float | None:
    """Decibels; None where there is no noise."""
    return decibels(noise) if noise > 0 else None


def to_json(tuned: Tuned) -> dict[str, Any]:
    """Plain numbers."""
    return {
        "isas": list(tuned.goal.isas),
        "gained": tuned.choice is not None,
        "sqnr_db": None if tuned.choice is None else _finite(tuned.choice.noise),
        "seconds_before": list(tuned.before),
        "seconds": None if tuned.choice is None else list(tuned.choice.seconds),
        "least_seconds": list(tuned.least),
        "optimality_gap": None if tuned.choice is None else tuned.choice.proposal.solution.gap,
        "steps": {} if tuned.choice is None else dict(tuned.choice.steps),
        "fills": {} if tuned.choice is None else dict(tuned.choice.fills),
        "candidates": [
            {
                "predicted_db": _finite(candidate.proposal.noise),
                "sqnr_db": _finite(candidate.noise),
                "predicted_seconds": list(candidate.proposal.seconds),
                "seconds": list(candidate.seconds),
            }
            for candidate in tuned.candidates
        ],
        "synthetic": tuned.synthetic,
        "record": tuned.record.digest,
        "notes": list(tuned.notes),
    }
