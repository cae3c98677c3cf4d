r"""Enlarge photos by proved integers, and score them: bicubic, float and int16 side by side.

    python -m recipes.superres photo.png --out big.png             edsr-mini, twice as large, and a picture beside it
    python -m recipes.superres photo.png --network espcn --scale 4 --out big.png
    make demo TASK=superres                                        scores: the five named photos
    python -m recipes.superres --network fsrcnn --data DIR         and Set5 and Set14, in DIR/CSet5 and DIR/CSet14
    python -m recipes.superres --data DIR --record

The network is trained for some minutes, once (``recipes.superres.train``), unless --weights has it; then quantized,
proved, planned and run natively, pane by pane, so that any photo has the integers of its whole frame. Luma goes through
the network and colour is enlarged by Pillow's bicubic filter. Scores are the field's: PSNR and SSIM of luma, the border
of the scale left out, answers as pictures of 8 bits. What is written goes to ``out/NETWORK-xSCALE``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

import oaq
from oaq.cli.tasks import encoded
from oaq.data.photos import read_pixels
from oaq.errors import FormatError
from oaq.program.atomic import write_atomically
from oaq.program.int_program import IntProgram
from oaq.ptq.options import DEFAULT_BUDGET
from oaq.ptq.rounding import ROUNDINGS
from oaq.report import Evidence, ReportData, build_report
from oaq.report.agreement import compare
from oaq.report.evidence_part import EVIDENCE, evidence_part
from oaq.report.html import to_html
from oaq.report.text import headline
from oaq.runtime.frames import FrameSession
from oaq.tasks import Task
from oaq.tasks.task import Picture
from oaq.terminal import say
from oaq.terminal.table import Table
from recipes import result_file
from recipes.checkpoint import is_trained
from recipes.demo import RECORDED, Steps
from recipes.exit_code import exit_code
from recipes.integers import Choices, parse_budget
from recipes.result_file import Result, stamp
from recipes.superres import train
from recipes.superres.enlarge import EDGE, bicubic, by_float, by_integers, enlarge_photo, side_by_side
from recipes.superres.integers import SIDE, calibration, program_of, task_of
from recipes.superres.networks import NETWORKS, SCALES, build
from recipes.superres.pictures import named_photos, require_scorable, sets_of
from recipes.superres.scoring import Answers, answer_set, figures

FIRST = "edsr-mini"
FLOAT, INTEGERS = "float", "int16"


def network_of(flags: argparse.Namespace, folder: Path) -> nn.Module:
    """The network with the weights of --weights, of an earlier run, or trained now.

    Raises:
        FormatError, FetchError: as ``train.make_weights``.
        WeightsError: the file is of another network.
    """
    steps = NETWORKS[flags.network].steps if flags.steps is None else flags.steps
    path = flags.weights or folder / train.WEIGHTS
    if flags.weights is None and steps == 0:
        return build(flags.network, flags.scale)
    if flags.weights is None and not is_trained(path, steps):
        train.make_weights(flags.network, flags.scale, path, steps=steps)
    return build(flags.network, flags.scale, path)


def read_subject(flags: argparse.Namespace) -> Picture:
    """The photo to enlarge, read before anything is trained for it.

    Raises:
        FormatError: it does not decode, or --out names no picture.
    """
    if flags.out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp", ".bmp"):
        raise FormatError(f"--out {flags.out}: the enlarged photo goes to a picture: name a .png or .jpg file")
    return read_pixels(flags.photo)


def enlarge_one(photo: Picture, place: Path, net: nn.Module, session: FrameSession, task: Task) -> None:
    """Write the photo enlarged to ``place``, and beside it a picture of bicubic, float and integers."""
    scale = task.decoder.border  # as many pixels as the scale are not scored
    large = enlarge_photo(photo, scale, by_integers(session), task)
    write_atomically(place, [encoded(large, place.suffix)])
    floats = enlarge_photo(photo, scale, by_float(net), task)
    sheet = side_by_side(("bicubic", "float", "int16, proved"), (bicubic(photo, scale), floats, large))
    beside = place.with_name(f"{place.stem}.side-by-side{place.suffix}")
    write_atomically(beside, [encoded(sheet, beside.suffix)])
    panes = session.panes((photo.shape[0] + 2 * EDGE, photo.shape[1] + 2 * EDGE))
    say.words(f"{place}: {large.shape[1]} x {large.shape[0]} pixels, {panes} panes\n{beside}")


def report_of(net: nn.Module, program: IntProgram, task: Task, steps: Steps) -> ReportData:
    """The report of the program, with agreement on squares of the five named photos, which nothing was chosen on."""
    plan = oaq.plan(program)
    x = np.concatenate(calibration(named_photos(), task.decoder.border))[1:]
    with torch.inference_mode():
        exact = {program.outputs[0]: net(torch.from_numpy(x)).numpy()}
    rounded = {program.outputs[0]: np.asarray(oaq.Session(plan).run(x))}
    notes = (
        f"Agreement: squares of {SIDE} pixels of {len(x)} photos that neither training nor calibration sees.",
        "Scores: answers as pictures of 8 bits, luma, the border of the scale left out.",
    )
    return build_report(plan, Evidence(compare(exact, rounded, task), seconds=tuple(steps.seconds), notes=notes))


def run(flags: argparse.Namespace) -> int:
    """The whole path; returns the exit code."""
    title, steps = f"{flags.network}-x{flags.scale}", Steps()
    photo = None if flags.photo is None else read_subject(flags)
    paths_by_set = sets_of(flags.data) if photo is None else {}
    for paths in paths_by_set.values():
        require_scorable(paths, flags.scale)
    folder = (flags.out if photo is None else Path("out")) / title
    folder.mkdir(parents=True, exist_ok=True)
    say.words(f"{title}, on {stamp().cpu}\n")
    with steps.step("weights", has_bars=True):
        net = network_of(flags, folder)
    with steps.step("quantize", has_bars=True):
        choices = Choices(flags.budget, flags.rounding, flags.origin)
        program = program_of(net, title, flags.scale, choices, folder)
    task = task_of(flags.scale, program.outputs[0])
    with steps.step("prove and plan"):
        session = FrameSession(program, threads=flags.threads, isa=flags.isa)
        session.session((SIDE, SIDE))
    if photo is not None:
        enlarge_one(photo, flags.out, net, session, task)
        return 0
    sides = {FLOAT: by_float(net), INTEGERS: by_integers(session)}
    with steps.step("all sides on the test photos", has_bars=True):
        sets = [answer_set(name, paths, flags.scale, sides, task) for name, paths in paths_by_set.items()]
    return write(flags, folder, report_of(net, program, task, steps), program, sets)


def write(
    flags: argparse.Namespace,
    folder: Path,
    report: ReportData,
    program: IntProgram,
    sets: Sequence[Answers],
) -> int:
    """The page, the result file and the table; returns the exit code."""
    title = folder.name
    task = task_of(flags.scale, program.outputs[0])
    stored = Evidence(report.agreement, seconds=report.seconds, notes=report.notes)
    oaq.save(program, folder / f"{title}.oaq", {EVIDENCE: evidence_part(stored)})
    lines = (
        ("layers proved, for every input", f"{report.proved_layers} of {len(report.layers)}"),
        *figures(sets, task.metrics, (FLOAT, INTEGERS)),
        *(
            (
                f"{metric.name} of int16 with float for the truth, {answers.name}",
                f"{metric.agreement(*_both(answers)):.4g}",
            )
            for answers in sets
            for metric in task.metrics
        ),
    )
    to_html(report, folder / "report.html", sheets=[sheet for answers in sets for sheet in answers.sheets])
    written = Result("superres", _command(flags), stamp(), None, lines, (), report.notes)
    result_file.write(written, folder / "result.json")
    if flags.record:
        result_file.store(written, RECORDED, f"superres_{title}")
    say.words(f"\n{headline(report)}\n")
    say.tables([Table(title, ("", "figure"), lines, frozenset({1}))])
    say.words(f"\n{folder / 'report.html'}")
    return 0 if report.proved_layers == len(report.layers) else 1


def _both(answers: Answers) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return answers.by_side[FLOAT], answers.by_side[INTEGERS]


def _command(flags: argparse.Namespace) -> str:
    words = [f"python -m recipes.superres --network {flags.network} --scale {flags.scale}"]
    words += [] if flags.steps is None else [f"--steps {flags.steps}"]
    words += ["--from onnx"] if flags.origin == "onnx" else []
    words += [f"--rounding {flags.rounding}"] if flags.rounding != "axe" else []
    words += [] if flags.budget == DEFAULT_BUDGET else [f"--budget {'none' if flags.budget is None else flags.budget}"]
    return " ".join([*words, *(["--data DIR"] if flags.data else []), *(["--record"] if flags.record else [])])


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run; every refusal is one line."""
    parser = argparse.ArgumentParser(
        "python -m recipes.superres", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "subject", nargs="?", metavar="PHOTO", help="enlarge it; left out, or the name of a network: score the sets"
    )
    parser.add_argument(
        "--network", choices=NETWORKS, default=FIRST, metavar="NETWORK", help=f"{', '.join(NETWORKS)} (default {FIRST})"
    )
    parser.add_argument("--scale", type=int, choices=SCALES, default=2, help="default 2")
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help="the enlarged photo; of scores a folder (default: out)"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="photos to score: CSet5 and CSet14, or any folder")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="a state dictionary, if not trained here")
    parser.add_argument(
        "--steps", type=int, metavar="N", help="of training (default: the network's); 0: random weights"
    )
    parser.add_argument(
        "--budget",
        type=parse_budget,
        default=DEFAULT_BUDGET,
        metavar="B",
        help=f"see docs/how-to/choose-a-budget.md (default {DEFAULT_BUDGET})",
    )
    parser.add_argument("--rounding", choices=ROUNDINGS, default="axe", help="of weights (default axe)")
    parser.add_argument(
        "--from", dest="origin", choices=("torch", "onnx"), default="torch", help="what is quantized (default torch)"
    )
    parser.add_argument("--isa", help="instruction set of the integers (default: the best)")
    parser.add_argument("--threads", type=int, metavar="N", help="of the integers (default: all CPUs)")
    parser.add_argument("--record", action="store_true", help="also write the figures to benchmarks/results")
    flags = parser.parse_args(arguments)
    flags.photo = None if flags.subject is None or flags.subject in NETWORKS else Path(flags.subject)
    if flags.subject in NETWORKS:
        flags.network = flags.subject
    if flags.out is None:
        flags.out = Path("big.png" if flags.photo is not None else "out")
    return exit_code("superres", lambda: run(flags))


if __name__ == "__main__":
    sys.exit(main())
