"""``oaq report``: everything known about a network, as one HTML file or in the terminal."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from oaq.cli import bench, images
from oaq.cli.mixed_file import MixedFile, open_mixed
from oaq.cli.mixed_report import mixed_report
from oaq.cli.model_file import HELP as MODEL_HELP
from oaq.cli.model_file import open_whole
from oaq.cli.opened import Opened
from oaq.errors import FormatError
from oaq.escape import escape_lines
from oaq.kernels.plan import Plan, plan
from oaq.program.atomic import write_atomically
from oaq.program.int_program import IntProgram
from oaq.report import Evidence, ReportData, build_report, to_html, to_json
from oaq.report.data import Latency
from oaq.report.density import neural_efficiency
from oaq.report.evidence import lanes_of, observe
from oaq.report.node_profile import NodeProfile
from oaq.report.robust import Asked, certificate_table, checked_certificate
from oaq.report.text import headline, tables
from oaq.robust import load_certificate
from oaq.runtime.values import to_integers
from oaq.terminal import say
from oaq.verify.robustness import verify_certificate

HELP = "show what is proved, planned, observed and measured"
DESCRIPTION = """\
Gather a report: what is proved and planned, and, where data are given, what
was seen and how fast it is. What was seen when the file was made (agreement
with float, SQNR per layer) is stored in the file and shown too."""
EXAMPLES = """\
examples:
  oaq report net.oaq                                     tables in the terminal
  oaq report net.oaq --out report.html                   one self-contained page
  oaq report net.oaq --out report.html --images photos/  with the sums seen on photos
  oaq report net.oaq --images digits/ --score 0.99       with neural efficiency and aIQ
  oaq report net.oaq --out report.html --robust certificates/*.robust.oaq
  oaq report net.oaq --out report.html --latency --onnx float.onnx --onnx int8.onnx"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE --out ..."""
    parser.add_argument("file", type=Path, metavar="FILE", help=MODEL_HELP)
    parser.add_argument(
        "--out", type=Path, metavar="OUT", help="write .html or .json; default: tables on standard output"
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="photos or arrays to observe sums on")
    parser.add_argument(
        "--score",
        type=float,
        metavar="S",
        help="accuracy of the network, 0 to 1: aIQ is shown beside the neural efficiency that --images shows",
    )
    parser.add_argument("--limit", type=int, default=8, metavar="N", help="at most N files of --images (default 8)")
    parser.add_argument(
        "--robust",
        type=Path,
        nargs="+",
        default=[],
        metavar="CERT",
        help="certificates of robustness to check and show",
    )
    parser.add_argument("--latency", action="store_true", help="time it here, on every instruction set")
    bench.add_timing(parser)
    images.add_arguments(parser)


def call(arguments: argparse.Namespace) -> int:
    """Build and write."""
    if arguments.score is not None and arguments.images is None:
        raise FormatError("--score is for the neural efficiency that is observed on --images; give both")
    mixed = open_mixed(arguments.file, arguments)
    if mixed is not None:
        return _report_mixed(mixed, arguments)
    opened = open_whole(arguments.file)
    planned = plan(opened.program, arguments.isa[0] if arguments.isa else None)
    evidence = opened.evidence or Evidence()
    if arguments.images is not None:
        evidence = _observed(opened, planned, evidence, arguments)
    latency, profile = _measured(opened, planned, arguments)
    data = build_report(planned, evidence, latency=latency, profile=profile)
    _write(data, arguments, [_checked(opened.program, path) for path in arguments.robust])
    return 0 if data.proved_layers == len(data.layers) else 1


def _report_mixed(mixed: MixedFile, arguments: argparse.Namespace) -> int:
    if arguments.score is not None:
        raise FormatError(f"{mixed.path}: has parts that stay in float, whose neural efficiency is not observed")
    if arguments.robust:
        raise FormatError(f"{mixed.path}: has parts that stay in float, of which no certificate of robustness speaks")
    data = mixed_report(mixed, bench.peers(arguments.onnx, arguments.threads), arguments)
    _write(data, arguments, [])
    if not arguments.json and arguments.out is None:
        say.words(escape_lines(["", *data.notes]))
    return 0 if data.proved_layers == len(data.layers) else 1


def _observed(opened: Opened, planned: Plan, evidence: Evidence, arguments: argparse.Namespace) -> Evidence:
    samples = opened.batches(arguments.images, arguments, arguments.limit)
    batches = [to_integers(opened.program, batch)[0] for _, batch in samples]
    observed = observe(opened.program, say.track(batches, "observe"), lanes_of(planned))
    neural = neural_efficiency(opened.program, say.track(batches, "count states"), arguments.score)
    note = f"Sums per layer were observed on {sum(len(b) for _, b in samples)} samples of {arguments.images}."
    return dataclasses.replace(evidence, observed=tuple(observed.items()), neural=neural, notes=(*evidence.notes, note))


def _measured(
    opened: Opened, planned: Plan, arguments: argparse.Namespace
) -> tuple[Latency | None, tuple[NodeProfile, ...]]:
    if not arguments.latency:
        return None, ()
    arguments.explain = True
    plans = bench.plans_here(opened, arguments.isa)
    latency, profiles = bench.measure(opened, plans, arguments)
    return latency, profiles.get(f"oaq {planned.isa}", ())


def _checked(program: IntProgram, path: Path) -> Asked:
    """A certificate of robustness as a line of the report.

    Raises:
        FormatError: it is not one, or does not hold for this program.
    """
    certificate = load_certificate(path)
    verdict = verify_certificate(program, certificate.header, certificate.arrays)
    if not verdict.safe:
        raise FormatError(
            f"{path}: does not hold: {verdict.findings[0]}. A report shows certificates that hold; make another with "
            "`oaq robust --out`, or leave it out"
        )
    return checked_certificate(path.name, certificate.header)


def _write(data: ReportData, arguments: argparse.Namespace, certificates: Sequence[Asked]) -> None:
    if arguments.out is not None and arguments.out.suffix == ".json":
        write_atomically(arguments.out, [to_json(data).encode()])
    elif arguments.out is not None:
        to_html(data, arguments.out, certificates)
    if arguments.json:
        say.json_text(to_json(data))
        return
    show(data, layers=arguments.out is None)
    if certificates:
        say.tables([certificate_table(certificates)])
    if arguments.out is not None:
        say.words(f"\n{arguments.out}")


def show(data: ReportData, *, layers: bool = True) -> None:
    """The report in the terminal."""
    say.words(headline(data) + "\n")
    say.tables(tables(data, layers=layers))
