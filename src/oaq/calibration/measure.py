"""From nothing to a cost table: every row this CPU runs, its cases, their times, the fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from types import MappingProxyType
from typing import Final

import numpy as np

from oaq import operators as ops
from oaq.calibration.cases import SEED, TimedNode, depthwise_cases, gemm_cases
from oaq.calibration.course import Course, open_course, operands_of, plan_cases, program_of
from oaq.calibration.fit import Fit, fit
from oaq.calibration.other_cases import other_cases
from oaq.errors import ConfigError
from oaq.kernels.cost import CostTable, memory_of
from oaq.kernels.cpu import second_cache
from oaq.kernels.facts import facts_of
from oaq.kernels.plan import NodePlan
from oaq.kernels.results import runs_one_by_one, words_share
from oaq.kernels.table import KernelRow, ascending, native_rows
from oaq.kernels.work import Memory, Work, other_work, site_of, sum_work
from oaq.overflow.spill import RunCount
from oaq.program.int_program import IntProgram
from oaq.report.environment import environment
from oaq.report.latency import pinned

ROUNDS: Final = 15
LAPS: Final = 3
"""Timed laps of a course per round; one more before them brings its weights back to the third cache."""
COLD_BYTES: Final = 4 << 20
"""Weights and inputs of a course that does not fit a second cache, and does fit a third: as networks are."""
WARM_BYTES: Final = 192 << 10
"""Weights and inputs of a course that fits a second cache with all its tensors."""
WARM_SHARE: Final = 4
"""One case of so many is also run in such a course."""


@dataclass(frozen=True)
class Calibration:
    """A fitted cost table.

    Attributes:
        table: the costs.
        fits: by row name.
    """

    table: CostTable
    fits: Mapping[str, Fit]


def calibrate(
    rounds: int = ROUNDS, progress: Callable[[Iterable[int], str], Iterable[int]] = lambda items, label: items
) -> Calibration:
    """Time this CPU. Takes a minute; the CPU should have nothing else to do.

    Args:
        rounds: turns that every course gets.
        progress: wraps an iterable of steps under a label, for a progress bar.

    Raises:
        ConfigError: ``rounds`` is below 1.
        NoKernel: the native module is not built.
    """
    cache = second_cache()
    fits = _measured([row for row in native_rows() if row.available and cases_of(row)], rounds, progress, cache)
    return Calibration(_table(fits, cache), MappingProxyType({name: point.fit for name, point in fits.items()}))


def extend(
    table: CostTable,
    names: Sequence[str],
    rounds: int = ROUNDS,
    progress: Callable[[Iterable[int], str], Iterable[int]] = lambda items, label: items,
) -> Calibration:
    """Time some rows of this CPU and add them to a table of this or another one.

    Its rows of convolutions (gemm) are timed beside them. What the table says of their layers, in parts of what they
    take here (the median over layers), is what times of the new rows are multiplied with. The others will not do: their
    code changes more than the machine does.

    Args:
        table: to add to.
        names: of rows that this CPU runs.
        rounds: turns that every course gets.
        progress: as ``calibrate``.

    Raises:
        ConfigError: ``rounds`` is below 1, a row is not one that is timed here, or none of the table's is.
        NoKernel: the native module is not built.
    """
    timed = {row.name: row for row in native_rows() if row.available and cases_of(row)}
    for name in names:
        if name not in timed:
            raise ConfigError(f"row {name!r} is not timed on this CPU; those that are: {', '.join(timed)}")
    known = [row for name, row in timed.items() if row.family == "gemm" and name in table.rows and name not in names]
    if not known:
        raise ConfigError(f"no gemm row of the costs of {table.cpu} is timed on this CPU")
    cache = second_cache()
    measured = _measured([*known, *(timed[name] for name in names)], rounds, progress, cache)
    ratio = float(
        np.median(
            [
                table.seconds(row, work) / seconds
                for row in known
                for work, seconds in zip(measured[row.name].work, measured[row.name].seconds, strict=True)
            ]
        )
    )
    machine = environment()
    fits = {
        name: Fit({kind: cost * ratio for kind, cost in measured[name].fit.cost.items()}, measured[name].fit.error)
        for name in names
    }
    source = f"{machine.cpu}, times {ratio:.4g}, {machine.date}, commit {machine.commit}"
    extended = CostTable(
        table.cpu,
        table.cache,
        {**table.rows, **{name: point.cost for name, point in fits.items()}},
        {**table.error, **{name: point.median_error for name, point in fits.items()}},
        (*(pair for pair in table.stamp if pair[0] not in names), *((name, source) for name in names)),
        {**table.facts, **{name: facts_of(timed[name]) for name in names}},
    )
    return Calibration(extended, MappingProxyType(fits))


@dataclass(frozen=True, eq=False)
class _Points:
    """The layers of one row: their work, their seconds and the fit."""

    work: list[Work]
    seconds: list[float]
    fit: Fit


def _measured(
    rows: Sequence[KernelRow],
    rounds: int,
    progress: Callable[[Iterable[int], str], Iterable[int]],
    cache: int,
) -> dict[str, _Points]:
    if rounds < 1:
        raise ConfigError(f"a calibration has at least 1 round, not {rounds}")
    every = [row for row in native_rows() if row.available and cases_of(row)]
    with pinned(1):
        courses = [list(_courses(rows[index], every)) for index in progress(range(len(rows)), "prepare")]
        for _ in progress(range(rounds), "measure"):
            for course in chain.from_iterable(courses):
                course.session.run_integers(course.x)
                for _ in range(LAPS):
                    course.lap()
    return {row.name: _points(row_courses, cache) for row, row_courses in zip(rows, courses, strict=True)}


def cases_of(row: KernelRow) -> list[TimedNode]:
    """What a row is timed on; nothing for rows that never take time."""
    if row.accumulator is None:
        return other_cases(row.family)
    return depthwise_cases(row) if row.family == "depthwise" else gemm_cases(row)


def in_courses(cases: Sequence[TimedNode], most: int) -> list[list[TimedNode]]:
    """Cases in an order that mixes their kinds, in courses of equal length and about ``most`` bytes or less."""
    mixed = [cases[index] for index in np.random.default_rng(SEED).permutation(len(cases))]
    count = max(-(-sum(map(_bytes, cases)) // most), 1)
    return [mixed[start::count] for start in range(count) if mixed[start::count]]


def _bytes(case: TimedNode) -> int:
    weights = case.op.weight.size if isinstance(case.op, ops.Products) else 0
    return weights + sum(map(prod, case.x))


def _courses(row: KernelRow, rows: Sequence[KernelRow]) -> Iterator[Course]:
    other_rows = ascending(other_row for other_row in rows if other_row.family != row.family)
    cases = cases_of(row)
    small = [case for case in cases[::WARM_SHARE] if _bytes(case) <= WARM_BYTES]
    for batch in in_courses(cases, COLD_BYTES) + in_courses(small, WARM_BYTES):
        program = program_of(batch, operands=operands_of(row))
        yield open_course(plan_cases(program, batch, row, other_rows))


def _points(courses: Sequence[Course], cache: int) -> _Points:
    work: list[Work] = []
    seconds: list[float] = []
    for course in courses:
        memory = memory_of(course.plan.program, cache)
        for planned, duration in course.seconds():
            work.append(work_of(planned, course.plan.program, memory))
            seconds.append(duration)
    return _Points(work, seconds, fit(work, seconds))


def work_of(planned: NodePlan, program: IntProgram, memory: Memory) -> Work:
    """Operation counts of one node as planned."""
    op, schedule = planned.node.op, planned.schedule
    x = [program.tensors[name].shape for name in planned.node.inputs]
    y = program.tensors[planned.node.output].shape
    if not isinstance(op, ops.Products) or schedule is None or planned.proof is None:
        return other_work(op, x, y, memory)
    runs = RunCount(schedule.tiles, schedule.steps, schedule.spills, len(schedule.packed))
    raw_bias = planned.proof.folded_bias - planned.proof.shift * op.weight.reshape(len(op.weight), -1).sum(axis=1)
    words = words_share(op, program.tensors[planned.node.output], raw_bias)
    zero_point = program.tensors[planned.node.inputs[0]].affine.zero_point
    site = site_of(op, x[0], y, words, zero_point)
    return sum_work(planned.row, site, runs, memory, one_by_one=runs_one_by_one(op))


def _table(measured: Mapping[str, _Points], cache: int) -> CostTable:
    machine = environment()
    stamp = (
        ("date", machine.date),
        ("commit", machine.commit),
        ("compiler", machine.compiler),
        ("system", machine.system),
    )
    costs = {name: points.fit.cost for name, points in measured.items()}
    facts = {row.name: facts_of(row) for row in native_rows() if row.name in measured}
    errors = {name: points.fit.median_error for name, points in measured.items()}
    return CostTable(machine.cpu, cache, costs, errors, stamp, facts)
