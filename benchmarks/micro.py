"""The inner loops alone: GMAC/s of every matrix row with operands in the first cache, beside what the ports allow.

    python -m benchmarks.micro [--rounds 40]

The kernels are those of the native module, called without a layer around them and leaving s32 sums, so that no epilogue
is in the figures. The limit is the highest upper quartile of several hand-ordered loops of the same arithmetic
(native/micro/limits.py), loads included, measured in the same turns: some of them fall into one of two states of the
scheduler by chance, and a limit is what the better one allows. Every loop is in the result file. Builds what it needs
into build/micro, checks every sum, then times; writes ``results/micro.json``.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.busy import Disturbance, Watch, until_quiet
from benchmarks.cmake_build import cmake_build
from benchmarks.harness import Result, add_record, save, stamp
from oaq.errors import Mismatch
from oaq.kernels.table import KernelRow, native_rows
from oaq.report.latency import Turn, interleave, pinned, quartiles
from oaq.terminal import say

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "micro"
OPERAND_BYTES = 24 * 1024
"""Bytes of x and packed weights together: in the first cache of every CPU since 2008, with room to spare."""
RUNS = (1, 2, 4, 8, 16, 32)
"""Steps between spills, besides none."""
WORK = 4_000_000
"""Multiply-accumulates per timed call, at least: tens of microseconds."""
WIDTH = 32 * 64


@dataclass(frozen=True, eq=False)
class Subject:
    """One loop ready to be timed.

    Attributes:
        row: of the kernel table, whole name.
        order: of a hand-ordered loop; "" for the kernel itself.
        run: steps between spills; 0 for none.
        macs: per call of ``seconds``.
        seconds: runs it so often.
        sums: what it has summed, (rows, tile_n), and what it should have.
    """

    row: str
    order: str
    run: int
    macs: int
    seconds: Callable[[], float]
    sums: Callable[[], tuple[NDArray[np.int64], NDArray[np.int64]]]

    @property
    def name(self) -> str:
        """Unique."""
        return f"{self.row}: {self.order or f'kernel, run {self.run}'}"


@dataclass(frozen=True)
class Point:
    """GMAC/s: median and quartiles."""

    row: str
    order: str
    run: int
    median: float
    low: float
    high: float


class Native(Protocol):
    """The module, as native/micro/module.cc describes it."""

    def limits(self) -> list[tuple[str, str, int, int]]:
        """(row, order, rows, tile_n) of every hand-ordered loop."""
        ...

    def most_rows(self, row: str) -> int:
        """Rows of x of a row's tallest tile."""
        ...

    def time_kernel(
        self,
        row: str,
        x: NDArray[np.uint8],
        packed: NDArray[np.int8],
        segments: NDArray[np.int32],
        sums: NDArray[np.int32],
        calls: int,
    ) -> float:
        """Seconds of ``calls`` calls; ``sums`` is (2 * rows, tile_n), the second half of it the bias."""
        ...

    def time_limit(
        self,
        index: int,
        x: NDArray[np.uint8],
        packed: NDArray[np.int8],
        steps: int,
        turns: int,
        sums: NDArray[np.uint8],
    ) -> float:
        """Seconds of ``turns`` turns over all steps; ``sums`` gets the accumulators as they lie."""
        ...

    def time_cycles(self, count: int) -> float:
        """Seconds of so many cycles."""
        ...


def module() -> Native:
    """Build and load the native module of this benchmark."""
    cmake_build(FOLDER, ("OAQ_MICRO=ON",), target="_micro")
    (file,) = FOLDER.glob("_micro*.so")
    spec = importlib.util.spec_from_file_location("_micro", file)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{file} is not a module")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return typing.cast(Native, loaded)


def aligned(shape: tuple[int, ...], kind: type[np.generic]) -> NDArray[Any]:
    """Zeros that begin on a cache line."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    memory = np.zeros(size + 64, np.uint8)
    first = -memory.ctypes.data % 64
    return memory[first : first + size].view(kind).reshape(shape)


def steps_for(rows: int, tile_n: int) -> int:
    """The longest K, in steps: a power of two."""
    return 1 << ((OPERAND_BYTES // (4 * (rows + tile_n))).bit_length() - 1)


def operands(rows: int, tile_n: int) -> tuple[NDArray[np.uint8], NDArray[np.int8], NDArray[np.int64]]:
    """X, packed weights, their sums: so small that 16-bit lanes hold whatever run.

    Rows of x lie 16 bytes further apart than they are long, or a power of two would put them into the same few places
    of the cache.
    """
    rng, steps = np.random.default_rng(0), steps_for(rows, tile_n)
    x = aligned((rows, 4 * steps + 16), np.uint8)
    x[:] = rng.integers(0, 64, x.shape)
    packed = aligned((steps * tile_n * 4,), np.int8)
    packed[:] = rng.integers(-1, 2, packed.shape)
    quads = x[:, : 4 * steps].astype(np.int64).reshape(rows, steps, 4)
    weights = packed.astype(np.int64).reshape(steps, tile_n, 4)
    return x, packed, np.einsum("rsk,snk->rn", quads, weights)


def kernel(native: Native, row: KernelRow, run: int) -> Subject:
    """The row's tallest tile with a spill after every ``run`` steps."""
    rows = native.most_rows(row.name)
    x, packed, expected = operands(rows, row.tile_n)
    steps = steps_for(rows, row.tile_n)
    firsts = range(0, steps, run or steps)
    segments = np.array([(4 * first, min(run or steps, steps - first)) for first in firsts], np.int32)
    sums = aligned((2 * rows, row.tile_n), np.int32)
    sums[rows:] = np.arange(row.tile_n) - 5
    macs = rows * row.tile_n * steps * 4
    calls = -(-WORK // macs)

    def seconds() -> float:
        return native.time_kernel(row.name, x, packed, segments, sums, calls)

    def summed() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return sums[:rows].astype(np.int64), expected + sums[rows:]

    return Subject(row.name, "", run, macs * calls, seconds, summed)


def limit(native: Native, index: int) -> Subject:
    """A hand-ordered loop."""
    row, order, rows, tile_n = native.limits()[index]
    x, packed, expected = operands(rows, tile_n)
    steps = steps_for(rows, tile_n)
    registers = aligned((WIDTH,), np.uint8)
    macs = rows * tile_n * steps * 4
    turns = -(-WORK // macs)

    def seconds() -> float:
        return native.time_limit(index, x, packed, steps, turns, registers)

    def summed() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        native.time_limit(index, x, packed, steps, 1, registers)
        lanes = 2 if row.endswith(("acc16", "exact")) else 1
        kind = np.int16 if row.endswith("acc16") else np.int32
        used = registers.view(kind)[: rows * tile_n * lanes].reshape(rows, tile_n, lanes)
        return used.sum(axis=-1, dtype=np.int64), expected

    return Subject(row, order, 0, macs * turns, seconds, summed)


def subjects(native: Native) -> list[Subject]:
    """Every matrix row of this CPU that has hand-ordered loops, at every run length it can have, and those loops."""
    limits = {row for row, *_ in native.limits()}
    rows = [row for row in native_rows() if row.name in limits and row.available]
    result = []
    for row in rows:
        if row.accumulator is None:
            raise TypeError(f"{row.name} sums no products")
        never_spills = row.accumulator.is_exact or row.accumulator.max_run == 1
        result += [kernel(native, row, run) for run in ((0,) if never_spills else (0, *RUNS))]
    names = {row.name for row in rows}
    return result + [limit(native, index) for index, (row, *_) in enumerate(native.limits()) if row in names]


def check(subject: Subject) -> None:
    """Compare every sum.

    Raises:
        Mismatch: one differs.
    """
    subject.seconds()
    actual, expected = subject.sums()
    if not np.array_equal(actual, expected):
        raise Mismatch(f"{subject.name}: {np.sum(actual != expected)} of {actual.size} sums differ")


def measure(loops: Sequence[Subject], rounds: int) -> list[Point]:
    """Check every loop, then time in turns."""
    for loop in loops:
        check(loop)
    turns: dict[str, Turn] = {
        subject.name: lambda count, subject=subject: [subject.seconds() for _ in range(count)] for subject in loops
    }
    times = interleave(turns, rounds, 3, warm_up=2, progress=lambda rounds_run: say.track(rounds_run, "loops"))
    points = []
    for loop in loops:
        speeds = [loop.macs / seconds * 1e-9 for seconds in times[loop.name]]
        points.append(Point(loop.row, loop.order, loop.run, median(speeds), *quartiles(speeds)))
    return points


def summary(points: Sequence[Point]) -> list[tuple[tuple[str, str], ...]]:
    """A line per row: the limit, the kernel without a spill and with one every eight steps, and their ratios."""
    lines = []
    for row in dict.fromkeys(point.row for point in points):
        best = max((point for point in points if point.row == row and point.order), key=lambda point: point.high)
        runs = {point.run: point.median for point in points if point.row == row and not point.order}
        line = {"row": row, "limit": f"{best.high:.1f}", "limit's order": best.order, "kernel": f"{runs[0]:.1f}"}
        line["of the limit"] = f"{runs[0] / best.high:.3f}"
        for run in sorted(set(runs) - {0}):
            line[f"spill every {run}"] = f"{runs[run]:.1f}"
        if 8 in runs:
            line["spill every 8, of the limit"] = f"{runs[8] / best.high:.3f}"
        lines.append(tuple(line.items()))
    return lines


def ratios(points: Sequence[Point]) -> list[tuple[str, str]]:
    """16-bit sums against 32-bit sums, per instruction set: kernels, and what ports allow."""

    def speed(row: str, order: bool) -> float:
        candidates = (point for point in points if point.row == row and bool(point.order) == order)
        return max((point.high if order else point.median for point in candidates), default=float("nan"))

    figures = []
    for isa in ("avx2", "avx512bw"):
        narrow, wide = f"gemm_u8s8_{isa}_acc16", f"gemm_u8s8_{isa}_acc32"
        if any(point.row == narrow for point in points):
            figures.append((f"{isa}: acc16 / acc32", f"{speed(narrow, False) / speed(wide, False):.3f}"))
            figures.append((f"{isa}: acc16 / acc32, limits", f"{speed(narrow, True) / speed(wide, True):.3f}"))
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write the result file."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.micro", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=40)
    add_record(parser)
    flags = parser.parse_args(arguments)
    native = module()

    def measured() -> tuple[list[Point], Disturbance]:
        watch = Watch(cpus)
        result = measure(subjects(native), flags.rounds)
        return result, watch.disturbance([(point.high - point.low) / point.median for point in result])

    with pinned(1) as cpus:
        cycle = min(native.time_cycles(1_000_000) for _ in range(20)) / 1_000_000
        points, busy = until_quiet(measured)
    lines = summary(points)
    point_rows = [
        (
            ("row", point.row),
            ("order", point.order or "the kernel"),
            ("run", str(point.run or "-")),
            *((key, f"{getattr(point, key):.2f}") for key in ("median", "low", "high")),
        )
        for point in points
    ]
    facts = (("GHz", f"{1e-9 / cycle:.2f}"), *ratios(points))
    say.words("\n".join([*(str(dict(line)) for line in lines), str(dict(facts)), busy.words]))
    notes = ("GMAC/s", busy.words)
    result = Result("micro", "python -m benchmarks.micro", stamp(), None, facts, (*lines, *point_rows), notes)
    say.words(str(save(result, "micro", record=flags.record, disturbance=busy)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
