"""EDSR-mini on a frame of 1920 x 1080 with static levels beside 8 bits, on one instruction set.

    python -m recipes.superres                        first: it trains the network
    python -m benchmarks.levels --prepare             quantizes it, for minutes; a run that stopped goes on
    python -m benchmarks.levels --record              AVX2, one thread: less than two minutes on a quiet machine

Every contender is the same network through the same kernels; what differs is how long sums run before they spill, and
the tables and statistics of levels. Each is checked on a square against the reference, integer by integer. Programs lie
in ``out/edsr-mini-x2/levels``, so that nothing but planning, checks and timing is left for the run that is timed.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

import oaq
from benchmarks.harness import Result, stamp
from benchmarks.side_by_side import add_timing, timed, written
from benchmarks.superres import Frame, frames
from oaq import reference
from oaq.errors import Mismatch
from oaq.program.frames import at_size
from oaq.program.int_program import IntProgram
from oaq.ptq import Daq
from oaq.ptq.options import Options
from oaq.report.comparison import Contender
from oaq.report.latency import pinned, turn
from oaq.terminal import say
from recipes.daq.superres import BLOCKS, NETWORK, float_network, runs_of
from recipes.exit_code import exit_code
from recipes.integers import earlier_program, keep_program, quantize_by, weights_digest
from recipes.superres.integers import calibration, task_of
from recipes.superres.pictures import training_photos

SCALE: Final = 2
FRAME: Final = (540, 960)
SQUARE: Final = (48, 56)
PLAIN: Final = "8 bits, no budget"
CHOICES: Final[tuple[tuple[str, Daq | None, float | None], ...]] = (
    ("static, W8A4", Daq(4, layers=BLOCKS), None),
    ("static, W4A4", Daq(4, weight_bits=4, layers=BLOCKS), None),
    ("static, W2A2", Daq(2, weight_bits=2, layers=BLOCKS), None),
    ("dynamic, W8A4", Daq(4, "dynamic", layers=BLOCKS), None),
    ("8 bits, default budget", None, 1.02),
    (PLAIN, None, None),
)
"""Labels, levels and budgets."""


def programs(folder: Path) -> Iterator[tuple[str, IntProgram]]:
    """The programs that are timed, with their labels: those of an earlier run in ``folder``, or made now and kept."""
    net = float_network(SCALE, folder)
    digest, place = weights_digest(net), folder / f"{NETWORK}-x{SCALE}" / "levels"
    place.mkdir(parents=True, exist_ok=True)
    batches = cache(lambda: calibration(training_photos(), SCALE))
    for label, daq, budget in CHOICES:
        path = place / f"{re.sub('[^a-z0-9]+', '-', label.lower())}.oaq"
        source = f"benchmarks.levels, weights {digest}, {daq or '8 bits'}, budget {budget}"
        program = earlier_program(path, source)
        if program is None:
            program = quantize_by(Options(budget=budget, daq=daq), net, batches(), label, NETWORK)
            keep_program(program, task_of(SCALE, program.outputs[0]), path, source)
        yield label, program


def contender(label: str, program: IntProgram, x: Frame, isa: str, threads: int) -> Contender:
    """A session for the whole frame.

    Raises:
        Mismatch: a square has other integers than the reference.
    """
    square = at_size(program, *SQUARE)
    part = np.random.default_rng(0).integers(0, 256, (1, *SQUARE, 1)).astype(np.uint8)
    (law,) = reference.run(square, part).outputs
    if not np.array_equal(oaq.Session(oaq.plan(square, isa), threads=threads).run_integers(part)[0], law):
        raise Mismatch(f"{label}, {isa}: a square of {SQUARE} has other integers than the reference")
    session = oaq.Session(oaq.plan(at_size(program, *FRAME), isa), threads=threads)
    y = np.asarray(session.run(x))
    return Contender(
        name=f"{label}, {isa}",
        ours=True,
        precision="int8",
        isa=isa,
        take=turn(lambda: session.run(x)),
        outputs=lambda: session.run(x),
        reference=y,
        least_sqnr_db=None,
        against="its own first frame",
        also=f"runs of {runs_of(program)} steps",
    )


def contenders(flags: argparse.Namespace, x: Frame) -> Iterator[Contender]:
    """Every choice, the plain one last."""
    for label, program in programs(flags.out):
        say.words(f"  {label}: plan, and check a square")
        yield contender(label, program, x, flags.isa, flags.threads)


def run(flags: argparse.Namespace) -> int:
    """Measure and write the result file; returns the exit code."""
    if flags.prepare:
        say.words("\n".join(f"  {label}: runs of {runs_of(program)} steps" for label, program in programs(flags.out)))
        return 0
    x = frames(1, *FRAME)[0]
    with pinned(flags.threads) as cpus:
        subjects = list(contenders(flags, x))
        latency, disturbance = timed(
            subjects, "levels", threads=flags.threads, rounds=flags.rounds, baseline=subjects[-1].name, pinned=cpus
        )
    command = f"python -m benchmarks.levels --threads {flags.threads} --rounds {flags.rounds} --isa {flags.isa}"
    result = Result("networks", command, stamp(), latency, (("frame", "1920 x 1080 out of 960 x 540"),))
    return 0 if written(result, f"levels_{flags.threads}t", disturbance, record=flags.record) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure; every refusal is one line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.levels", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="of the weights (default out)")
    parser.add_argument("--isa", default="avx2", help="default avx2")
    parser.add_argument("--prepare", action="store_true", help="quantize, keep the programs, and time nothing")
    add_timing(parser, rounds=5)
    flags = parser.parse_args(arguments)
    return exit_code("levels", lambda: run(flags))


if __name__ == "__main__":
    sys.exit(main())
