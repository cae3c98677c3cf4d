"""``oaq verify``: prove a file again, and run everything that can run it against the reference."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from oaq.cli import images
from oaq.cli.mixed_file import MixedFile, open_regions
from oaq.cli.network import Network
from oaq.cli.opened import Opened, opened
from oaq.cli.sizes import add_shape, refuse_shape, shapes_of
from oaq.escape import escape_lines
from oaq.mixed.counts import tally
from oaq.mixed.execute import MixedSession, Options
from oaq.mixed.explain import unproved
from oaq.mixed.inference import InferenceSession
from oaq.program.edges import without_edges
from oaq.program.plain import to_plain
from oaq.report.environment import environment
from oaq.report.words import layers_by_design
from oaq.terminal import say
from oaq.verify.dynamic import verify_dynamic
from oaq.verify.report import Report
from oaq.verify.run import verify, verify_sealed
from oaq.verify.sealed import Sealed, is_sealed, read_sealed

HELP = "prove a file again and compare every executor with the reference"
DESCRIPTION = """\
First the file alone: its certificate is derived again by an independent
checker that shares no code with the planner, its signature recomputed; of an
ONNX file that oaq exported, the checker reads the graph itself. Then every
instruction set and every kernel row that this machine can run is compared with
the reference, integer by integer, on corners of the input range, fixed random
inputs, witnesses of every bound, and --input. What cannot run here is listed in
capitals: nothing is known about it. Needs numpy only.

Of another tool's ONNX file every region of integers is proved here and run so;
a line on standard error names the regions that stay in float, which this does
not speak of."""
EXAMPLES = """\
examples:
  oaq verify net.oaq
  oaq verify net.oaq --quick              the certificate and the signature only, seconds
  oaq verify net.oaq --input photos/ --json
  oaq verify net.onnx --quick

exit code 0: proved, and every executor that ran agrees in every integer; 1: not; 2: no readable file of oaq's;
3: proved, but an executor that is here could not be run, so nothing is known about it."""

INCOMPLETE = 3
"""Exit code where nothing is unsafe and something that should have run did not."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE --quick --input ..."""
    parser.add_argument("file", type=Path, metavar="FILE", help="an .oaq file, or an .onnx file")
    parser.add_argument("--quick", action="store_true", help="check the certificate and the signature, force no rows")
    parser.add_argument(
        "--isa", action="append", help="only this instruction set; repeat for several (default: all here)"
    )
    parser.add_argument("--input", type=Path, metavar="DIR", help="photos or arrays to compare on too")
    parser.add_argument("--limit", type=int, default=4, metavar="N", help="at most N files of --input (default 4)")
    parser.add_argument("--no-onnx", action="store_true", help="leave out ONNX Runtime on the exported file")
    add_shape(parser)
    images.add_arguments(parser)


TITLES = {
    "file": "The file's own certificate and signature, for every plan that it holds",
    "executors": "Executors of this machine, with the plans made for it, against the reference",
}
"""What each of the two reports is about."""


def call(arguments: argparse.Namespace) -> int:
    """Check, run, print."""
    if not is_sealed(arguments.file):
        return _verify_regions(open_regions(arguments.file, arguments, _sample_shapes(arguments)), arguments)
    refuse_shape(arguments.shape, arguments.file)
    with say.bar("certificate and signature", None):
        sealed = read_sealed(arguments.file)
        reports = {"file": verify_sealed(sealed, arguments.isa)}
    if not arguments.quick and reports["file"].is_safe:
        inputs = _inputs(opened(arguments.file, sealed.program, sealed.parts), arguments)
        with say.bar("every executor against the reference", None):
            reports["executors"] = verify(sealed.program, inputs, arguments.isa, onnx=not arguments.no_onnx)
    return _print_reports(reports, arguments, tally(sealed.floats))


def _print_reports(reports: dict[str, Report], arguments: argparse.Namespace, unproved: str = "") -> int:
    """Print reports, and what none of them speaks of; returns the exit code."""
    safe = all(report.is_safe for report in reports.values())
    complete = all(report.is_complete for report in reports.values())
    if arguments.json:
        absent = {executor.name: executor.reason for report in reports.values() for executor in report.not_run}
        verdicts = {"safe": safe, "complete": complete, "OAQ_ISA": environment().forced_isa, "not_run": absent}
        if unproved:
            verdicts["not_spoken_of"] = unproved
        say.document({**verdicts, **{name: report.to_json() for name, report in reports.items()}})
    else:
        titles = TITLES if set(reports) <= set(TITLES) else {}
        tables = [titles.get(name, name) + ":\n" + report.table() for name, report in reports.items()]
        parts = [conclusion(reports, safe, complete), *tables]
        say.words("\n\n".join(parts))
        if unproved:
            say.warn(f"{arguments.file}: this does not speak of its float regions: {unproved}")
    return 1 if not safe else 0 if complete else INCOMPLETE


def _verify_regions(file: MixedFile, arguments: argparse.Namespace) -> int:
    """The integer regions of another tool's file: proved here, and run by every executor unless ``--quick``."""
    if file.dynamic:
        bars = say.track(file.dynamic.items(), "dynamic layers", len(file.dynamic))
        dynamic = {
            f"{name}, proof": verify_dynamic(
                f"{file.path.stem}, {name}", layers, arguments.isa, run=not arguments.quick
            )
            for name, layers in bars
        }
        return _print_reports(dynamic, arguments, unproved(file.program))
    programs = {name: replace(program, name=f"{file.path.stem}, {name}") for name, program in file.parts.items()}
    recorded = _region_inputs(file, arguments)
    proofs, executors = {}, {}
    for name, program in programs.items():
        with say.bar(f"{name}: proof", None):
            proofs[f"{name}, proof"] = verify_sealed(Sealed(program, {}, *to_plain(program)), arguments.isa)
        if not arguments.quick and proofs[f"{name}, proof"].is_safe:
            with say.bar(f"{name}: every executor against the reference", None):
                bare = without_edges(program)
                executors[name] = verify(bare, recorded.get(name), arguments.isa, onnx=not arguments.no_onnx)
    return _print_reports(proofs | executors, arguments, unproved(file.program))


def _sample_shapes(arguments: argparse.Namespace) -> dict[str, tuple[int, ...]] | None:
    """Shapes of the first array of ``--input``, which sizes that the file leaves open are taken from."""
    if arguments.input is None or arguments.shape or arguments.file.suffix.lower() != ".onnx":
        return None
    network = Network(arguments.file, InferenceSession(arguments.file), None)
    feed = network.feeds(arguments.input, arguments)[0][1]
    return shapes_of(network.parts(feed)[0])


def _region_inputs(file: MixedFile, arguments: argparse.Namespace) -> dict[str, tuple[np.ndarray, ...]]:
    """What each region reads when the file is run on ``--input``, as integers."""
    if arguments.input is None or arguments.quick:
        return {}
    network = Network(file.path, InferenceSession(file.path), None)
    feeds = [feed for _, feed in network.feeds(arguments.input, arguments)[: arguments.limit]]
    session = MixedSession(file.program, Options())
    outputs = [port.name for port in file.program.outputs]
    states = [session.trace(part, outputs) for feed in feeds for part in network.parts(feed)]
    return {
        name: tuple(np.concatenate([state.integers[tensor] for state in states]) for tensor in program.inputs)
        for name, program in file.parts.items()
    }


def conclusion(reports: dict[str, Report], safe: bool, complete: bool) -> str:
    """The sentences a reader came for."""
    files = [report for name, report in reports.items() if name == "file" or name.endswith(", proof")]
    file = files[0]
    proved, layers = (sum(report.proved[at] for report in files) for at in (0, 1))
    forced = environment().forced_isa
    verdict = "UNSAFE" if not safe else "SAFE" if complete else "INCOMPLETE: an executor that is here failed to run"
    lines = [
        f"{file.program.partition(', integer ')[0]}: {verdict}"
        + (f" (OAQ_ISA={forced} does not limit this)" if forced else "")
    ]
    modular = sum(report.modular for report in files)
    if modular:
        lines.append(f"{layers_by_design(modular)}, for every input; proved not to overflow: {proved} of {layers}")
    else:
        lines.append(f"proved for {proved} of {layers} layers, for every input")
    executors = [executor for report in reports.values() for executor in report.executors]
    executed = [executor for executor in executors if executor.ran]
    compared, wrong = sum(executor.compared for executor in executed), sum(executor.mismatches for executor in executed)
    if executed:
        lines.append(f"{len(executed)} executors ran here: {wrong} of {compared} integers differ from the reference")
    absent = sorted({executor.name for executor in executors if not executor.ran and not executor.unneeded})
    if absent:
        lines.append(f"NOT RUN HERE, so nothing is shown about: {'; '.join(absent)}")
    return escape_lines(lines)


def _inputs(file: Opened, arguments: argparse.Namespace) -> np.ndarray | None:
    if arguments.input is None:
        return None
    return np.concatenate([batch for _, batch in file.batches(arguments.input, arguments, arguments.limit)])
