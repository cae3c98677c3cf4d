"""Seconds of every layer on every kernel row, measured inside the network itself on this CPU.

A *shadow* of the program has its graph and shapes, operands in [0, 15] and weights in [-1, 1], so every row may sum
any layer in runs of any length. Shadows are timed with runs of several lengths, interleaved, and each (layer, row) gets
a line: seconds = fixed + per_spill * spills. What a candidate costs is read off that line at the spills that its own
integers need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter_ns
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.calibration.course import planned_with_runs
from oaq.errors import NoKernel
from oaq.kernels.plan import Plan
from oaq.kernels.table import KernelRow, native_rows, rows_for
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.overflow.analyze import analyze
from oaq.program.int_program import IntProgram, Node
from oaq.report.latency import pinned
from oaq.runtime.session import Session

RUNS: Final = (None, 8, 2, 1)
"""Steps between two spills that narrow rows are timed with; None: as few spills as there are."""
ROUNDS: Final = 15
LAPS: Final = 2
OPERANDS: Final = IntRange(0, 15)
AFFINE: Final = Affine(0.05)
MULTIPLIER: Final = 1639 / 32768
"""Multiplier of shadow layers, whose results leave in 16 bits."""
SLOW_MULTIPLIER: Final = 0.05
"""Multiplier of shadow operators without products."""
SPREAD: Final = 0.10
"""Quartile spread, in parts of the median, above which a time is reported as unsteady."""
SEED: Final = 11


@dataclass(frozen=True)
class Line:
    """Seconds of one layer on one row.

    Attributes:
        fixed: without a spill inside a sum.
        per_spill: added by each spill beyond one per tile, over all tiles.
        spread: quartile spread of the measurements, in parts of their median.
    """

    fixed: float
    per_spill: float
    spread: float

    def seconds(self, spills: float) -> float:
        """At so many spills beyond one per tile."""
        return self.fixed + self.per_spill * max(spills, 0.0)


@dataclass(frozen=True, eq=False)
class Timings:
    """What was measured for one instruction set.

    Attributes:
        isa: whose rows.
        lines: by node, by row name.
        moves: seconds of every node that sums no products, by name.
        overhead: seconds of a whole run that no node takes.
    """

    isa: str
    lines: Mapping[str, Mapping[str, Line]]
    moves: Mapping[str, float]
    overhead: float = 0.0

    @property
    def constant(self) -> float:
        """Seconds that no choice of integers changes."""
        return self.overhead + sum(self.moves.values())

    @property
    def unsteady(self) -> tuple[str, ...]:
        """Nodes of which a measurement spread more than ``SPREAD``."""
        return tuple(node for node, rows in self.lines.items() if max(line.spread for line in rows.values()) > SPREAD)


def measure(
    program: IntProgram,
    isa: str,
    rounds: int = ROUNDS,
    progress: Callable[[Iterable[int], str], Iterable[int]] = lambda items, label: items,
) -> Timings:
    """Time every layer of ``program`` on every row of ``isa`` and of what it includes.

    Raises:
        NoKernel: this CPU lacks the instruction set, or the native module is not built.
    """
    usable = [row for row in rows_for(isa, native_rows()) if not row.looks_up]  # those take fewer bits
    shadowed = shadow(program)
    proof = analyze(shadowed)
    plans: list[tuple[Plan, int | None]] = []
    for rows in _row_sets(usable, program):
        narrow = any(row.accumulator is not None and _is_narrow(row) for row in rows.values())
        for run in RUNS if narrow else (None,):
            nodes = tuple(
                planned_with_runs(shadowed, node, rows[ops.family_of(node.op)], proof, run if _sums(node) else None)
                for node in shadowed.nodes
            )
            plans.append((Plan(shadowed, proof, nodes, isa), run))
    x = [
        np.random.default_rng(SEED).integers(0, OPERANDS.hi + 1, (1, *shadowed.tensors[name].shape)).astype(np.uint8)
        for name in shadowed.inputs
    ]
    laps = _timed(plans, x, rounds, progress)
    return _fitted(isa, plans, laps)


def shadow(program: IntProgram) -> IntProgram:
    """The program with its shapes and small numbers: any schedule of it is proved."""
    rng = np.random.default_rng(SEED)
    tensors = {name: replace(spec, affine=AFFINE, range=OPERANDS) for name, spec in program.tensors.items()}
    nodes = tuple(replace(node, op=_small(node.op, rng)) for node in program.nodes)
    return replace(program, tensors=tensors, nodes=nodes, requantize="float32_half_even")


def _small(op: Any, rng: np.random.Generator) -> Any:  # noqa: ANN401 (any operator)
    if isinstance(op, ops.Products):
        return replace(
            op,
            weight=rng.integers(-1, 2, op.weight.shape).astype(np.int8),
            bias=np.zeros_like(op.bias),
            requantize=_multipliers(len(op.bias), MULTIPLIER),
        )
    if isinstance(op, ops.Lookup):
        return ops.Lookup(np.minimum(np.arange(256), OPERANDS.hi).astype(np.uint8))
    if isinstance(op, ops.ChannelLookup):
        entries = np.minimum(np.arange(256), OPERANDS.hi).astype(np.uint8)
        return ops.ChannelLookup(np.tile(entries, (len(op.tables), 1)))
    requantize = getattr(op, "requantize", None)
    if requantize is None:
        return op
    source: Any = op
    return replace(source, requantize=_multipliers(len(requantize), SLOW_MULTIPLIER))


def _multipliers(count: int, value: float) -> Requantize:
    return Requantize(np.full(count, value, np.float32))


def _sums(node: Node) -> bool:
    return isinstance(node.op, ops.Products)


def _is_narrow(row: KernelRow) -> bool:
    register = row.accumulator
    return register is not None and not register.is_exact and register.max_run is None


def _row_sets(usable: Sequence[KernelRow], program: IntProgram) -> list[dict[str, KernelRow]]:
    """Rows by family, so that every row of every family is in some set; the i-th set takes the i-th row of each."""
    families = list(dict.fromkeys(ops.family_of(node.op) for node in program.nodes))
    by_family = {name: [row for row in usable if row.family == name and row.isa != "scalar"] for name in families}
    for name, rows in by_family.items():
        if not rows:
            rows.extend(row for row in usable if row.family == name)
        if not rows:
            raise NoKernel(f"no {name} kernel may be used here")
    count = max(len(rows) for name, rows in by_family.items() if name in ("gemm", "depthwise"))
    return [{name: rows[min(index, len(rows) - 1)] for name, rows in by_family.items()} for index in range(count)]


@dataclass(frozen=True, eq=False)
class Laps:
    """Repeated runs of one plan.

    Attributes:
        nodes: (laps, nodes) nanoseconds of every node.
        wholes: (laps,) nanoseconds of the call, nodes included.
    """

    nodes: NDArray[np.float64]
    wholes: NDArray[np.float64]

    @property
    def medians(self) -> NDArray[np.float64]:
        """(nodes,) seconds, at least one nanosecond."""
        return np.maximum(np.median(self.nodes, axis=0), 1.0) * 1e-9

    @property
    def overhead(self) -> float:
        """Seconds of a call beyond those of its nodes; lap by lap, so a disturbed node does not count."""
        return max(float(np.median(self.wholes - self.nodes.sum(axis=1))), 0.0) * 1e-9


def run_laps(session: Session, x: Sequence[NDArray[np.uint8]], laps: int) -> Laps:
    """Time some runs after one that is not counted."""
    session.run_integers(list(x))
    nodes, wholes = [], []
    for _ in range(laps):
        begin = perf_counter_ns()
        session.run_integers(list(x))
        wholes.append(perf_counter_ns() - begin)
        nodes.append([time.nanoseconds for time in session.profile()])
    return Laps(np.array(nodes, np.float64), np.array(wholes, np.float64))


def joined(rounds: Sequence[Laps]) -> Laps:
    """Laps of several rounds as one."""
    return Laps(np.concatenate([laps.nodes for laps in rounds]), np.concatenate([laps.wholes for laps in rounds]))


def _timed(
    plans: Sequence[tuple[Plan, int | None]],
    x: list[np.ndarray],
    rounds: int,
    progress: Callable[[Iterable[int], str], Iterable[int]],
) -> list[Laps]:
    """Laps of every plan, the plans interleaved."""
    with pinned(1):
        sessions = [Session(plan, threads=1) for plan, _ in plans]
        laps: list[list[Laps]] = [[] for _ in plans]
        for _ in progress(range(rounds), "time layers"):
            for session, by_round in zip(sessions, laps, strict=True):
                by_round.append(run_laps(session, x, LAPS))
    return [joined(by_round) for by_round in laps]


def _fitted(isa: str, plans: Sequence[tuple[Plan, int | None]], laps: Sequence[Laps]) -> Timings:
    points: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    moves: dict[str, list[float]] = {}
    for (plan, _), plan_laps in zip(plans, laps, strict=True):
        medians = plan_laps.medians
        first, third = np.percentile(plan_laps.nodes, [25, 75], axis=0) * 1e-9
        for index, planned in enumerate(plan.nodes):
            name, schedule = planned.node.name, planned.schedule
            if schedule is None:
                moves.setdefault(name, []).append(float(medians[index]))
                continue
            spills = float(schedule.spills - schedule.tiles)
            spread = float((third[index] - first[index]) / medians[index])
            measured = points.setdefault(name, {}).setdefault(planned.row.name.partition(",")[0], [])
            measured.append((spills, float(medians[index]), spread))
    lines = {name: {row: _line(measured) for row, measured in rows.items()} for name, rows in points.items()}
    overhead = float(np.median([plan_laps.overhead for plan_laps in laps]))
    return Timings(isa, lines, {name: float(np.median(times)) for name, times in moves.items()}, overhead)


def _line(points: Sequence[tuple[float, float, float]]) -> Line:
    """Least squares with slopes >= 0; a single number of spills has no slope."""
    spills, seconds, spreads = (np.array(values) for values in zip(*points, strict=True))
    spread = float(np.median(spreads))
    if np.ptp(spills) == 0:
        return Line(float(np.median(seconds)), 0.0, spread)
    slope = max(float(np.polyfit(spills, seconds, 1)[0]), 0.0)
    fixed = float(np.mean(seconds - slope * spills))
    return Line(max(min(fixed, float(seconds.min())), 1e-9), slope, spread)
