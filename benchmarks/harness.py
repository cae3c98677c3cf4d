"""One comparison: check every executor's outputs, then time them in interleaved turns, then write a stamped file.

Nothing is timed before its outputs have been compared with a reference: a fast wrong answer is not a result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oaq.errors import Mismatch
from oaq.program.atomic import write_atomically
from oaq.report import codec
from oaq.report.agreement import sqnr_db
from oaq.report.data import Environment, Latency, Timing
from oaq.report.environment import environment
from oaq.report.latency import Turn, interleave, timing

RESULTS = Path(__file__).parent / "results"
Progress = Callable[[Iterable[int]], Iterable[int]]


@dataclass(frozen=True, eq=False)
class Contender:
    """One executor under comparison.

    Attributes:
        name: unique in the comparison.
        ours: True for oaq.
        precision: "int8" or "fp32".
        isa: instruction set, as far as known.
        take: its turn (see ``oaq.report.latency``).
        outputs: its outputs for the benchmark's input, for the check.
        reference: what they are compared with.
        least_sqnr_db: the outputs' SQNR against ``reference`` must reach this; None means every value must be equal.
        against: what ``reference`` is, for the note.
    """

    name: str
    ours: bool
    precision: str
    isa: str
    take: Turn
    outputs: Callable[[], NDArray[np.generic]]
    reference: NDArray[np.generic]
    least_sqnr_db: float | None
    against: str


@dataclass(frozen=True)
class Result:
    """What a benchmark file holds.

    Attributes:
        benchmark: which program made it.
        command: how to make it again.
        environment: stamp.
        latency: the timings; None for a benchmark of another kind.
        facts: (name, value) about the subject: MACs, layers, average run, predicted cost.
        rows: further figures, one dictionary-like tuple of pairs per line.
        notes: what a reader must know.
    """

    benchmark: str
    command: str
    environment: Environment
    latency: Latency | None = None
    facts: tuple[tuple[str, str], ...] = ()
    rows: tuple[tuple[tuple[str, str], ...], ...] = ()
    notes: tuple[str, ...] = field(default=())


def check(contender: Contender) -> str:
    """Compare a contender's outputs with its reference; returns the note that goes with its timing.

    Raises:
        Mismatch: they differ (by more than ``least_sqnr_db`` allows); nothing may be timed then.
    """
    got, wanted = contender.outputs(), contender.reference
    if got.shape != wanted.shape:
        raise Mismatch(f"{contender.name}: outputs of shape {got.shape}, {contender.against} has {wanted.shape}")
    if contender.least_sqnr_db is None:
        differing = int(np.sum(got != wanted))
        if differing:
            raise Mismatch(f"{contender.name}: {differing} of {got.size} outputs differ from {contender.against}")
        return f"equal to {contender.against}"
    reached = sqnr_db(wanted.astype(np.float64), got.astype(np.float64))
    if reached < contender.least_sqnr_db:
        raise Mismatch(
            f"{contender.name}: SQNR {reached:.1f} dB against {contender.against}, needs {contender.least_sqnr_db:g}"
        )
    return f"{reached:.1f} dB against {contender.against}"


def compare(
    contenders: Sequence[Contender],
    *,
    threads: int,
    batch: int = 1,
    rounds: int = 20,
    calls: int = 3,
    baseline: str | None = None,
    pinned: tuple[int, ...] = (),
    progress: Progress = iter,
) -> Latency:
    """Check every contender, then time them side by side.

    Raises:
        Mismatch: a contender computes something else.
        ValueError: two contenders share a name.
    """
    names = [one.name for one in contenders]
    if len(set(names)) != len(names):
        raise ValueError(f"contenders need names of their own: {names}")
    notes = {one.name: check(one) for one in contenders}
    seconds = interleave({one.name: one.take for one in contenders}, rounds, calls, warm_up=2, progress=progress)
    timings = tuple(
        timing(
            one.name, seconds[one.name], Timing(one.name, one.ours, one.precision, one.isa, 0, 0, 0, 0, notes[one.name])
        )
        for one in contenders
    )
    return Latency(timings, batch, threads, baseline, pinned)


def stamp() -> Environment:
    """The environment that goes into every result file."""
    return environment()


def save(result: Result, name: str, folder: Path = RESULTS) -> Path:
    """Write ``folder/name.json``, whole or not at all; returns the path."""
    path = folder / f"{name}.json"
    write_atomically(path, [(json.dumps(codec.encode(result), indent=1) + "\n").encode()])
    return path


def load(path: Path) -> Result:
    """Read a result file.

    Raises:
        FormatError: it is not one.
    """
    return codec.decode(Result, json.loads(path.read_text(encoding="utf-8")), str(path))
