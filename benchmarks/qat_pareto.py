r"""Accuracy against planned cost: training that is asked for a speed, beside quantization after training with a budget.

    python -m benchmarks.qat_pareto cifar10 --folder FOLDER

Starts from the float network of ``benchmarks.accuracy`` in the same folder. Costs are of the AVX2 plan, predicted; with
``--time`` its rows are measured, too, side by side, one image, one thread. Points in the file are not made again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import torch

import oaq
from benchmarks.accuracy import CAMPAIGNS, Bench, Row, prepared
from benchmarks.accuracy_times import turn_of
from benchmarks.harness import Result, add_record, load, place, save, stamp
from oaq.program.int_program import IntProgram
from oaq.ptq.quantize import quantize
from oaq.qat import Config, convert
from oaq.report.latency import interleave, pinned
from oaq.terminal import say
from recipes.training import Stage, first_inputs, right_as_integers, train_integers

SPEEDS = (None, 0.55, 0.65, 0.75, 0.85, 0.95)
BUDGETS = (None, 1.8, 1.5, 1.3, 1.15, 1.05)
TRAINED, ROUNDED = "trained for a speed", "after training, with a budget"
ROUNDS = 20


def programs(bench: Bench, finished: set[tuple[str, str]]) -> Iterator[tuple[str, str, IntProgram]]:
    """What is missing: (kind, asked for, program), made one at a time."""
    for speed in SPEEDS:
        if (TRAINED, str(speed)) not in finished:
            folder = bench.folder / f"speed-{speed}"
            stage = Stage(1, 128, 3e-4, 1e-4)
            source = bench.train.part(bench.steps * 128, 0)
            network = train_integers(
                bench.graph, source, Config("none"), stage, folder, device=torch.device("cpu"), interval=10, speed=speed
            )
            yield TRAINED, str(speed), convert(network)
    calibration = [x.numpy() for x in first_inputs(bench.train, 512)]
    for budget in BUDGETS:
        if (ROUNDED, str(budget)) not in finished:
            yield ROUNDED, str(budget), quantize(bench.graph, calibration, budget=budget)


def program_file(bench: Bench, kind: str, request: str) -> Path:
    """Path of a program's file."""
    return bench.folder / f"pareto-{'qat' if kind == TRAINED else 'ptq'}-{request}.oaq"


def timed(bench: Bench, rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows with milliseconds, measured side by side."""
    with pinned(1):
        files = {row: program_file(bench, dict(row)["what"], dict(row)["asked"]) for row in map(_untimed, rows)}
        turns = {row: turn_of(oaq.plan(oaq.load(file), "avx2")) for row, file in files.items()}
        seconds = interleave({str(index): turn for index, turn in enumerate(turns.values())}, ROUNDS)
    return tuple(
        (*row, ("ms", f"{median(times) * 1e3:.4f}")) for row, times in zip(turns, seconds.values(), strict=True)
    )


def _untimed(row: Row) -> Row:
    return tuple(pair for pair in row if pair[0] != "ms")


def draw(rows: Sequence[Row], exact: float, path: Path) -> None:
    """Top-1 against predicted cost and against measured time."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "oaq"
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(10, 3.6), sharey=True)
    for panel, (field, label) in zip(
        panels,
        (("cost", "predicted cost (16-bit sums without a spill = 1)"), ("ms", "measured, ms per image, AVX2")),
        strict=True,
    ):
        for kind, style in ((TRAINED, "o-"), (ROUNDED, "s--")):
            curve = sorted(
                (float(dict(row)[field]), 100 * float(dict(row)["top1"])) for row in rows if dict(row)["what"] == kind
            )
            panel.plot([x for x, _ in curve], [y for _, y in curve], style, label=kind)
        panel.axhline(100 * exact, color="grey", linewidth=0.8, label="float")
        panel.set(xlabel=label)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("top-1, %")
    panels[0].legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is missing, time everything, write the result file and the picture."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.qat_pareto", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("campaign", choices=sorted(CAMPAIGNS))
    parser.add_argument("--folder", type=Path, required=True, help="that of the campaign")
    parser.add_argument("--time", action="store_true", help="measure, too: the machine has to be quiet")
    add_record(parser)
    flags = parser.parse_args(arguments)
    torch.set_num_threads(1)
    bench = prepared(flags.campaign, flags.folder)
    name = f"qat_pareto_{flags.campaign.replace('-', '_')}"
    command = f"python -m benchmarks.qat_pareto {flags.campaign}"
    path = place(Result("qat_pareto", command, stamp()), name, record=flags.record)
    rows = load(path).rows if path.exists() else ()

    def keep() -> None:
        facts = (("float", f"{bench.float_right / len(bench.test):.4f}"),)
        save(Result("qat_pareto", command, stamp(), facts=facts, rows=rows), name, record=flags.record)

    for kind, request, program in programs(bench, {(dict(row)["what"], dict(row)["asked"]) for row in rows}):
        oaq.save(program, program_file(bench, kind, request))
        top1 = right_as_integers(program, bench.test) / len(bench.test)
        planned = oaq.plan(program, "avx2")
        new = (("what", kind), ("asked", request), ("top1", f"{top1:.4f}"), ("cost", f"{planned.cost:.4f}"))
        rows = (*rows, (*new, ("average_run", f"{planned.average_run:.2f}")))
        say.words("  ".join(value for _, value in rows[-1]))
        keep()
    if flags.time:
        rows = timed(bench, rows)
        keep()
        draw(rows, bench.float_right / len(bench.test), path.with_suffix(".svg"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
