"""Milliseconds of the campaign's programs on AVX2: ``python -m benchmarks.accuracy_times cifar10 --folder FOLDER``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

import oaq
from benchmarks.accuracy import CAMPAIGNS, file_name
from benchmarks.harness import Result, save, stamp
from oaq.cli import say
from oaq.report.latency import Turn, interleave, pinned, turn
from oaq.runtime.session import Session

ROUNDS = 20


def turn_of(path: Path) -> Turn:
    """One image through the plan for AVX2, whatever this CPU has beyond it."""
    program = oaq.load(path)
    session = Session(oaq.plan(program, "avx2"), threads=1)
    shape = program.tensors[program.inputs[0]].shape
    x = np.random.default_rng(0).random((1, shape[-1], *shape[:-1]), np.float32)
    return turn(lambda: session.run(x))


def main(arguments: Sequence[str] | None = None) -> int:
    """Time what lies in the folder."""
    parser = argparse.ArgumentParser("python -m benchmarks.accuracy_times", description=__doc__)
    parser.add_argument("campaign", choices=sorted(CAMPAIGNS))
    parser.add_argument("--folder", type=Path, required=True, help="that of the campaign")
    given = parser.parse_args(arguments)
    with pinned(1):
        turns = {
            "-".join(one.key[:3]): turn_of(path)
            for one in CAMPAIGNS[given.campaign].cells()
            if one.seed == 0 and (path := one.place(given.folder / given.campaign) / "net.oaq").exists()
        }
        seconds = interleave(turns, ROUNDS)
    facts = tuple((name, f"{median(found) * 1e3:.3f}") for name, found in seconds.items())
    command = f"python -m benchmarks.accuracy_times {given.campaign}"
    result = Result("accuracy_times", command, stamp(), facts=facts, notes=("batch 1, 1 thread, AVX2 rows, medians",))
    say.words(str(save(result, f"{file_name(given.campaign)}_times")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
