"""A campaign's programs on AVX2, timed and predicted: ``python -m benchmarks.accuracy_times cifar10 --folder DIR``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

import oaq
from benchmarks.accuracy import CAMPAIGNS, file_name
from benchmarks.harness import Result, add_record, save, stamp
from oaq.report.latency import Turn, interleave, pinned, turn
from oaq.runtime.session import Session
from oaq.terminal import say

ROUNDS = 20


def turn_of(plan: oaq.Plan) -> Turn:
    """One image through the plan."""
    session, program = Session(plan, threads=1), plan.program
    shape = program.tensors[program.inputs[0]].shape
    x = np.random.default_rng(0).random((1, shape[-1], *shape[:-1]), np.float32)
    return turn(lambda: session.run(x))


def main(arguments: Sequence[str] | None = None) -> int:
    """Time what lies in the folder."""
    parser = argparse.ArgumentParser("python -m benchmarks.accuracy_times", description=__doc__)
    parser.add_argument("campaign", choices=sorted(CAMPAIGNS))
    parser.add_argument("--folder", type=Path, required=True, help="that of the campaign")
    add_record(parser)
    flags = parser.parse_args(arguments)
    plans = {
        "-".join(cell.key[:3]): oaq.plan(oaq.load(path), "avx2")
        for cell in CAMPAIGNS[flags.campaign].cells()
        if cell.seed == 0 and (path := cell.place(flags.folder / flags.campaign) / "net.oaq").exists()
    }
    with pinned(1):
        seconds = interleave({name: turn_of(planned) for name, planned in plans.items()}, ROUNDS)
    rows = tuple(
        (
            ("cell", name),
            ("ms", f"{median(times) * 1e3:.3f}"),
            ("cost", f"{plans[name].cost:.4f}"),
            ("average_run", f"{plans[name].average_run:.2f}"),
        )
        for name, times in seconds.items()
    )
    command = f"python -m benchmarks.accuracy_times {flags.campaign}"
    result = Result("accuracy_times", command, stamp(), rows=rows, notes=("batch 1, 1 thread, AVX2 rows, medians",))
    say.words(str(save(result, f"{file_name(flags.campaign)}_times", record=flags.record)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
