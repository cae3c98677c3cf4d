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
from oaq.calibration.course import Course, open_course, plan_cases, program_of
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
    if rounds < 1:
        raise ConfigError(f"a calibration has at least 1 round, not {rounds}")
    cache = second_cache()
    rows = [row for row in native_rows() if row.available and cases_of(row)]
    with pinned(1):
        courses = [list(_courses(rows[index], rows)) for index in progress(range(len(rows)), "prepare")]
        for _ in progress(range(rounds), "measure"):
            for course in chain.from_iterable(courses):
                course.session.run_integers(course.x)
                for _ in range(LAPS):
                    course.lap()
    fits = {row.name: _fit(row_courses, cache) for row, row_courses in zip(rows, courses, strict=True)}
    return Calibration(_table(fits, cache), MappingProxyType(fits))


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
        yield open_course(plan_cases(program_of(batch), batch, row, other_rows))


def _fit(courses: Sequence[Course], cache: int) -> Fit:
    work: list[Work] = []
    seconds: list[float] = []
    for course in courses:
        memory = memory_of(course.plan.program, cache)
        for planned, duration in course.seconds():
            work.append(work_of(planned, course.plan.program, memory))
            seconds.append(duration)
    return fit(work, seconds)


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
    return sum_work(planned.row, site_of(op, x[0], y, words), runs, memory, one_by_one=runs_one_by_one(op))


def _table(fits: Mapping[str, Fit], cache: int) -> CostTable:
    machine = environment()
    stamp = (
        ("date", machine.date),
        ("commit", machine.commit),
        ("compiler", machine.compiler),
        ("system", machine.system),
    )
    costs = {name: fitted.cost for name, fitted in fits.items()}
    facts = {row.name: facts_of(row) for row in native_rows() if row.name in fits}
    return CostTable(
        machine.cpu, cache, costs, {name: fitted.median_error for name, fitted in fits.items()}, stamp, facts
    )
