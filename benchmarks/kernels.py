"""GMAC/s of every kernel row this CPU can run, against the length of its runs.

One layer per measurement, its time taken from the session's own per-node clock, so that Python is not in the figure.
The weights are so small that every run length is proved; the schedule is then held to the length asked for.

    python -m benchmarks.kernels [--rounds 15] [--out kernels]
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterable, Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.busy import Disturbance, Watch, until_quiet
from benchmarks.harness import Result, add_record, save, stamp
from oaq import operators as ops
from oaq import reference
from oaq.errors import Mismatch
from oaq.kernels.plan import NodePlan, Plan
from oaq.kernels.table import KernelRow, native_rows
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec
from oaq.overflow.analyze import analyze
from oaq.overflow.forms import in_form
from oaq.overflow.spill import schedule
from oaq.program.int_program import IntProgram, Node
from oaq.report.build import macs
from oaq.report.latency import pinned, quartiles
from oaq.runtime import Session

RUNS = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64)
"""Steps between spills."""
SIZES = {"gemm": ((28, 28, 256), 192), "depthwise": ((56, 56, 144), 144)}
"""(H, W, C) of the input and outputs, by family: a pointwise layer that fits the second cache, a 5 x 5 depthwise."""


@dataclasses.dataclass(frozen=True)
class Point:
    """One measurement: nanoseconds of the layer, median and quartiles."""

    row: str
    run: int
    macs: int
    median_ns: float
    low_ns: float
    high_ns: float

    @property
    def gmacs(self) -> float:
        """Multiply-accumulates per nanosecond."""
        return self.macs / self.median_ns


def layer(family: str, seed: int = 0) -> IntProgram:
    """One convolution with weights in [-1, 1] on operands in [0, 127]: no run overflows, however long."""
    rng = np.random.default_rng(seed)
    shape, outputs = SIZES[family]
    kernel = (outputs, 1, 1, shape[2]) if family == "gemm" else (outputs, 5, 5, 1)
    op = ops.Conv2d(
        weight=rng.integers(-1, 2, kernel).astype(np.int8),
        bias=rng.integers(-1000, 1000, outputs).astype(np.int32),
        requantize=Requantize(np.full(outputs, 0.05, np.float32)),
        padding=(0, 0, 0, 0) if family == "gemm" else (2, 2, 2, 2),
        groups=1 if family == "gemm" else outputs,
    )
    x = TensorSpec("x", shape, Affine(0.05), IntRange(0, 127))
    y = TensorSpec("y", (*shape[:2], outputs), Affine(0.05, 128))
    return IntProgram(family, ("x",), ("y",), {"x": x, "y": y}, (Node("layer", op, ("x",), "y"),))


def plan_with_run(program: IntProgram, row: KernelRow, run: int | None) -> Plan:
    """The plan that computes ``program`` by ``row`` with a spill after at most ``run`` steps."""
    node = program.nodes[0]
    proof = analyze(program)
    if not isinstance(node.op, ops.Conv2d) or row.accumulator is None:
        raise TypeError(f"{row.name} sums no products")
    register = (
        row.accumulator
        if run is None
        else dataclasses.replace(row.accumulator, max_run=min(run, row.accumulator.max_run or run))
    )
    products = node.products
    sums = in_form(proof["layer"], products.rows, row.shift)
    cut = schedule(
        products.rows,
        sums.operands.lo,
        sums.operands.hi,
        register,
        row.tile_n,
        groups=products.tile_groups,
        where=row.name,
    )
    cut, narrowed = dataclasses.replace(cut, operand=row.operand), dataclasses.replace(row, accumulator=register)
    planned = NodePlan(node, narrowed, (0,), 128, program.tensors["y"].range, cut, sums.folded_bias, sums)
    return Plan(program, proof, (planned,), row.isa)


def measure(program: IntProgram, row: KernelRow, run: int | None, x: NDArray[np.uint8], rounds: int) -> Point:
    """Compare with the reference, then time.

    Raises:
        Mismatch: the row computes other integers.
    """
    session = Session(plan_with_run(program, row, run), threads=1)
    actual, expected = session.run_integers(x)[0], reference.run(program, x).outputs[0]
    if not np.array_equal(actual, expected):
        raise Mismatch(f"{row.name}, run {run}: {np.sum(actual != expected)} of {actual.size} integers differ")
    times = []
    for index in range(-3, rounds):
        session.run_integers(x)
        if index >= 0:
            times.append(float(session.profile()[0].nanoseconds))
    low, high = quartiles(times)
    return Point(row.name, run or 0, macs(program.nodes[0].op, program.tensors["y"].shape), median(times), low, high)


def points(rows: Iterable[KernelRow], rounds: int, runs: Sequence[int] = RUNS) -> list[Point]:
    """Every row at every run length it can have; rows that never spill once (run 0)."""
    result = []
    for row in rows:
        if row.family not in SIZES or not row.available or row.accumulator is None or row.looks_up:
            continue
        program = layer(row.family)
        shape = program.tensors["x"].shape
        x = np.random.default_rng(1).integers(0, 128, (1, *shape)).astype(np.uint8)
        never_spills = row.accumulator.is_exact or row.accumulator.max_run == 1
        most = row.accumulator.max_run or max(runs)
        steps = -(-program.nodes[0].products.rows.shape[1] // row.accumulator.step)  # type: ignore[arg-type]
        for run in (None,) if never_spills else [length for length in runs if length <= min(steps, most)]:
            result.append(measure(program, row, run, x, rounds))
    return result


def table(results: Sequence[Point]) -> str:
    """Text: speed, and speed relative to the same row's fastest run."""
    best = {row: max(p.gmacs for p in results if p.row == row) for row in {p.row for p in results}}
    lines = [f"{'kernel row':<32} {'run':>4} {'GMAC/s':>8} {'quartiles':>17} {'of its best':>12}"]
    for p in results:
        ends = f"{p.macs / p.high_ns:.1f}..{p.macs / p.low_ns:.1f}"
        run = str(p.run) if p.run else "-"
        lines.append(f"{p.row:<32} {run:>4} {p.gmacs:>8.1f} {ends:>17} {p.gmacs / best[p.row]:>12.2f}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write the result file."""
    parser = argparse.ArgumentParser("python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", default="kernels", help="name of the file in benchmarks/results")
    add_record(parser)
    flags = parser.parse_args(arguments)

    def measured() -> tuple[list[Point], Disturbance]:
        watch = Watch(cpus)
        result = points(native_rows(), flags.rounds)
        return result, watch.disturbance([(p.high_ns - p.low_ns) / p.median_ns for p in result])

    with pinned(1) as cpus:
        results, disturbance = until_quiet(measured)
    rows = tuple(
        tuple((key, f"{value:.4g}" if isinstance(value, float) else str(value)) for key, value in pairs)
        for pairs in ((*dataclasses.asdict(p).items(), ("gmacs", p.gmacs)) for p in results)
    )
    result = Result("kernels", "python -m benchmarks.kernels", stamp(), rows=rows, notes=(disturbance.words,))
    sys.stdout.write(f"{table(results)}\n{disturbance.words}\n")
    sys.stdout.write(f"{save(result, flags.out, record=flags.record, disturbance=disturbance)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
