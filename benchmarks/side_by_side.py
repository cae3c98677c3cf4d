"""Contenders timed in turns while the machine is watched, and what comes of it written down."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.busy import BusyMachine, Disturbance, Watch, until_quiet
from benchmarks.harness import Result, add_record, save
from oaq.report.comparison import Contender, compare
from oaq.report.data import Latency
from oaq.report.text import latency_table
from oaq.terminal import say
from oaq.terminal.table import render


def add_timing(parser: argparse.ArgumentParser, rounds: int = 40) -> None:
    """Add --threads, --rounds, --keep and --record."""
    parser.add_argument("--threads", type=int, default=1, help="of each (default 1)")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"counted (default {rounds})")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the peers' files here for the next run")
    add_record(parser)


def timed(
    contenders: Sequence[Contender],
    name: str,
    *,
    threads: int,
    rounds: int,
    baseline: str,
    pinned: tuple[int, ...],
    batch: int = 1,
) -> tuple[Latency, Disturbance]:
    """Check and time every contender; tried again if the machine was busy.

    Args:
        contenders: prepared.
        name: of what they compute, for the progress bar.
        threads: of each.
        rounds: counted.
        baseline: name of the contender that ratios refer to.
        pinned: CPUs this process is bound to.
        batch: samples per call.

    Raises:
        Mismatch: a contender computes something else.
    """

    def measure() -> tuple[Latency, Disturbance]:
        watch = Watch(pinned)
        latency = compare(
            contenders,
            threads=threads,
            batch=batch,
            rounds=rounds,
            baseline=baseline,
            pinned=pinned,
            progress=lambda rounds_run: say.track(rounds_run, f"{name}, {threads} thread(s)"),
        )
        return latency, watch.disturbance([timing.spread for timing in latency.timings])

    return until_quiet(measure)


def written(result: Result, name: str, disturbance: Disturbance, *, record: bool) -> bool:
    """Print the timings and write the result file; False, and a warning, if the run was disturbed."""
    if result.latency is not None:
        say.words(f"{name}\n{render([latency_table(result.latency)])}")
    try:
        say.words(f"{save(result, name, record=record, disturbance=disturbance)}\n")
    except BusyMachine as busy:
        say.warn(str(busy))
        return False
    return True
