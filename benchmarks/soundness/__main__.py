"""Compare oaq with an oracle that shares nothing with it, on programs drawn at the edges.

    python -m benchmarks.soundness --programs 1000000 --seed 1 --processes 2 --out benchmarks/results/soundness.json
    python -m benchmarks.soundness --seed 1 --only 4711     program 4711 of that seed alone, what differs, if anything

Program ``i`` is a function of (seed, i). Of each are compared: every tensor with its proved range, every sum with its
proved total, every schedule in simulated registers, and every output integer of one executor: an instruction set or a
set of forced rows, which take turns. The file given by --out is the checkpoint too: the same command goes on where it
ended, as long as neither oaq nor the oracle has changed. Ends with 1 if anything differs, and writes that program
beside the result.
"""

from __future__ import annotations

import argparse
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from benchmarks.harness import SCRATCH
from benchmarks.soundness.campaign import Campaign, Progress, reproduce, run
from benchmarks.soundness.subject import Report, examine, executors
from oaq.terminal import say


def main() -> int:
    """Draw, compare, write the result; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, default=SCRATCH / "soundness.json")
    parser.add_argument("--only", type=int, help="one program, by number")
    options = parser.parse_args()
    campaign = Campaign(options.programs, options.seed, options.processes, options.out)
    if options.only is not None:
        return _only(campaign, options.only)
    try:
        progress = run(campaign)
    except BrokenProcessPool as error:
        say.warn(f"a process that examined programs has died: {error}. {options.out} says which batches were done")
        return 1
    _summary(progress)
    return int(bool(progress.report.differences))


def _only(campaign: Campaign, index: int) -> int:
    report = Report()
    examine(campaign.seed, index, executors(), report)
    for _, sentences in report.differences:
        say.words("\n".join(sentences))
        say.words(f"written: {reproduce(campaign, index, sentences)}")
    if not report.differences:
        say.words("nothing differs")
    return int(bool(report.differences))


def _summary(progress: Progress) -> None:
    counts = progress.report.counts
    for name in sorted(counts):
        say.words(f"{counts[name]:>14,}  {name}")
    for index, sentences in progress.report.differences:
        say.words(f"program {index}: {sentences[0]}")
    programs, differing = counts["programs"], len(progress.report.differences)
    say.words(f"{programs:,} programs, {differing} differ, {progress.seconds:,.0f} s of one core")


if __name__ == "__main__":
    raise SystemExit(main())
