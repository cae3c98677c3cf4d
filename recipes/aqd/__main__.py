r"""A detector of which every layer computes in integers: a head shared by levels, with batch norms of each level's own.

    python -m recipes.aqd                                       all rows, one seed; again: goes on where it stopped
    python -m recipes.aqd --rows levels-4 float-levels          some rows
    python -m recipes.aqd --seeds 3 --float-steps 3000 --steps 1500 --images 500 --record

AQD (2007.06919) trains low-bit detectors whose convolutions, batch norms and additions are integers. What it found is
shown here at the size of a toy: garments of Fashion-MNIST composited on photos, crops of 128 x 128, an FCOS-shaped
network whose towers are shared by three levels. Rows: one batch norm for all levels of a tower, or one of each level's
own; float, 4 bits and 2 bits; and 4 bits with every sum proved in 16-bit lanes. Scores are COCO's, by pycocotools
(``pip install 'oaq[detect]'``), with running statistics only. Everything goes to ``out/aqd``: weights and states, an
``.oaq`` file for each row of integers, ``report.html`` with pictures, ``result.json``.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import oaq
from oaq.errors import ConfigError, FormatError
from oaq.report import Evidence, ReportData, build_report
from oaq.report.build import verification
from oaq.report.html import to_html
from oaq.report.kinds import kind_table
from oaq.report.text import headline
from oaq.terminal import say
from oaq.terminal.table import Table
from oaq.verify import verify
from recipes import result_file
from recipes.aqd.garments import Garments, load
from recipes.aqd.network import task_of
from recipes.aqd.rows import (
    ROWS,
    TEST,
    Course,
    Row,
    Score,
    float_detector,
    integers_of,
    keep_program,
    score_program,
    score_row,
)
from recipes.aqd.scoring import answers_of, by_torch, pixels_of
from recipes.aqd.train import BATCH
from recipes.demo import RECORDED, Steps
from recipes.detection.pairs import Pair, contact_sheet
from recipes.detection.samples import Sample
from recipes.exit_code import exit_code
from recipes.result_file import Result, stamp
from recipes.sheets import EvenChoice

FLOAT_STEPS: Final = 1200
STEPS: Final = 300
IMAGES: Final = 300
SHOWN: Final = 4
"""Crops that every executor computes for the report."""


def run(flags: argparse.Namespace) -> int:
    """The whole path; returns the exit code."""
    if importlib.util.find_spec("pycocotools") is None:
        raise FormatError("pycocotools scores the boxes and is not installed: pip install 'oaq[detect]'")
    for name in ("float_steps", "steps", "batch", "images", "seeds"):
        if getattr(flags, name) < 1:
            raise ConfigError(f"--{name.replace('_', '-')} is at least 1, not {getattr(flags, name)}")
    rows = [row for row in ROWS if not flags.rows or row.name in flags.rows]
    course = Course(flags.out, flags.float_steps, flags.steps, flags.batch, flags.images)
    flags.out.mkdir(parents=True, exist_ok=True)
    say.words(f"aqd, on {stamp().cpu}\n")
    steps = Steps()
    with steps.step("garments and photos", has_bars=True):
        train, test = load("train", flags.garments, flags.backgrounds), load("test", flags.garments, flags.backgrounds)
        samples = test.samples(course.images, TEST)
    scores: list[Score] = []
    for seed in range(flags.seeds):
        for row in rows:
            with steps.step(f"{row.name}, seed {seed}", has_bars=True):
                scores.append(score_row(row, course, train, samples, seed))
    written = _result(flags, scores)
    report = None
    integer_rows = [row for row in rows if row.bits is not None]
    if integer_rows:
        shown = next((row for row in integer_rows if row.levels), integer_rows[0])
        with steps.step(f"report of {shown.name}", has_bars=True):
            report = _report(shown, course, (train, samples), flags.out / "report.html")
        say.tables([kind_table(report.kinds)])
        say.words(f"\n{headline(report)}")
    result_file.write(written, flags.out / "result.json")
    if flags.record:
        result_file.store(written, RECORDED, "aqd")
    say.tables([_table(scores)])
    say.words(f"\n{flags.out / 'result.json'}")
    return 0 if all(score.different == 0 for score in scores) and (report is None or _is_exact(report)) else 1


def _is_exact(report: ReportData) -> bool:
    checks = report.verification
    return checks is not None and checks.mismatches == 0 and report.proved_layers == len(report.layers)


def _report(row: Row, course: Course, data: tuple[Garments, Sequence[Sample]], path: Path) -> ReportData:
    """The report of a row's program: kinds of nodes, every executor against the reference, pictures beside float's."""
    garments, samples = data
    net = float_detector(row, course, garments, 0)
    network = integers_of(row, net, course, garments, 0)
    program = keep_program(row, network, course, 0)
    task = task_of()
    checks = verification(verify(program, pixels_of(samples[:SHOWN], task)))
    rounded, _ = score_program(row, program, network, samples, 0)
    exact = answers_of(by_torch(net), samples, "float")
    pairs = [Pair(*answers) for answers in zip(exact.truths, exact.boxes, rounded.boxes, strict=True)]
    photos = EvenChoice()
    for sample in samples:
        photos.offer(sample.photo)
    notes = ("Crops are composited: garments of Fashion-MNIST on photos, with exact boxes.",)
    report = build_report(oaq.plan(program), Evidence(notes=notes), verification=checks)
    to_html(report, path, sheets=contact_sheet(pairs, photos.chosen(), task, row.name))
    return report


def _table(scores: Sequence[Score]) -> Table:
    lines = [
        (
            score.name,
            str(score.seed),
            f"{score.ap:.1f}",
            f"{score.ap50:.1f}",
            f"{score.lanes} of {score.layers}" if score.layers else "-",
            f"{score.different} of {score.outputs:,}" if score.outputs else "-",
        )
        for score in scores
    ]
    head = ("row", "seed", "AP", "AP50", "layers in 16-bit lanes, no spill", "outputs that differ")
    return Table("Composited garments", head, tuple(lines), frozenset({1, 2, 3, 4, 5}))


def _result(flags: argparse.Namespace, scores: Sequence[Score]) -> Result:
    table = _table(scores)
    rows = tuple(tuple(zip(table.head, line, strict=True)) for line in table.rows)
    facts = (
        ("training", f"{flags.float_steps} float steps, {flags.steps} of integers, {flags.batch} crops each"),
        ("scored on", f"{flags.images} composited crops, running statistics, seeds {flags.seeds}"),
        ("weights", "odd integers below 8 bits; centred where proved; stem and predictors 8 bits"),
        ("requantize", "fixed_point"),
    )
    notes = ("Composited: garments of Fashion-MNIST on photos, crops of 128 x 128, exact boxes.",)
    return Result("aqd", _command(flags), stamp(), None, facts, rows, notes)


def _command(flags: argparse.Namespace) -> str:
    words = ["python -m recipes.aqd", f"--float-steps {flags.float_steps}", f"--steps {flags.steps}"]
    words += [f"--images {flags.images}", f"--seeds {flags.seeds}"]
    words += [f"--batch {flags.batch}"] if flags.batch != BATCH else []
    words += [f"--rows {' '.join(flags.rows)}"] if flags.rows else []
    return " ".join([*words, *(["--record"] if flags.record else [])])


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run; every refusal is one line."""
    parser = argparse.ArgumentParser(
        "python -m recipes.aqd", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [row.name for row in ROWS]
    parser.add_argument("--rows", nargs="+", choices=names, metavar="ROW", help=f"of {', '.join(names)} (default: all)")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="0 to N - 1 (default 1)")
    parser.add_argument("--float-steps", type=int, default=FLOAT_STEPS, metavar="N", help="default %(default)s")
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help="of integers (default %(default)s)")
    parser.add_argument("--batch", type=int, default=BATCH, metavar="N", help="crops in a step (default %(default)s)")
    parser.add_argument("--images", type=int, default=IMAGES, metavar="N", help="test crops (default %(default)s)")
    parser.add_argument("--garments", type=int, metavar="N", help="the first so many of each part (default: all)")
    parser.add_argument("--backgrounds", type=int, metavar="N", help="photos of each part (default: all)")
    parser.add_argument("--out", type=Path, default=Path("out/aqd"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--record", action="store_true", help="also write the figures to benchmarks/results")
    flags = parser.parse_args(arguments)
    return exit_code("aqd", lambda: run(flags))


if __name__ == "__main__":
    sys.exit(main())
