"""What is timed: the same every time, of every family, held to the runs asked for, and equal to the reference."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from oaq import operators as ops
from oaq import reference
from oaq.calibration import calibrate, measure
from oaq.calibration.cases import LEAST, MOST, RUNS, TimedNode, depthwise_cases, gemm_cases
from oaq.calibration.course import open_course, operands_of, plan_cases, program_of
from oaq.calibration.measure import COLD_BYTES, cases_of, in_courses, work_of
from oaq.errors import ConfigError
from oaq.kernels.cost import memory_of
from oaq.kernels.cost_files import load_costs, save_costs
from oaq.kernels.cpu import cpu_name
from oaq.kernels.table import KernelRow, ascending, native_rows
from oaq.kernels.work import KINDS, Memory
from oaq.report.build import macs

HERE = [row for row in native_rows() if row.available]
NARROW = [row for row in HERE if row.accumulator is not None and not row.accumulator.is_exact]


def others(row: KernelRow) -> list[KernelRow]:
    return ascending(one for one in HERE if one.family != row.family)


def small(row: KernelRow, count: int = 4) -> list[TimedNode]:
    """The cheapest cases of a row, runs of every kind among them."""
    return sorted(cases_of(row), key=lambda case: macs(case.op, case.y) or np.prod(case.y))[:count]


@pytest.mark.parametrize("row", HERE, ids=lambda row: row.name)
def test_the_same_cases_are_drawn_every_time(row: KernelRow) -> None:
    first, again = cases_of(row), cases_of(row)
    assert [(one.x, one.y, one.run) for one in first] == [(one.x, one.y, one.run) for one in again]
    for one, other in zip(first, again, strict=True):
        if isinstance(one.op, ops.Products):
            assert np.array_equal(one.op.weight, other.op.weight)


def test_every_family_that_takes_time_has_cases() -> None:
    assert all(bool(cases_of(row)) == (row.family != "copy") for row in HERE)


def test_layers_are_neither_tiny_nor_huge_and_of_every_kind() -> None:
    row = next(one for one in NARROW if one.family == "gemm")
    cases = gemm_cases(row)
    counts = [macs(case.op, case.y) for case in cases]
    assert min(counts) >= LEAST / 10
    assert max(counts) <= MOST
    assert {case.run for case in cases} == set(RUNS)
    convolutions = [case.op for case in cases if isinstance(case.op, ops.Conv2d)]
    assert {op.kernel[0] for op in convolutions} >= {1, 3, 5, 7}
    assert any(op.groups > 1 for op in convolutions)
    assert any(case.x[0][2] == 3 for case in cases if len(case.x[0]) == 3)
    assert any(isinstance(case.op, ops.Linear) for case in cases)
    assert {case.op.stride[0] for case in depthwise_cases(row)} == {1, 2}


@pytest.mark.parametrize("row", NARROW, ids=lambda row: row.name)
def test_runs_are_as_long_as_asked_for(row: KernelRow) -> None:
    cases = [case for case in cases_of(row) if case.run is not None][:6]
    plan = plan_cases(program_of(cases, operands=operands_of(row)), cases, row, others(row))
    for index, case in enumerate(cases):
        found = plan[f"case{index}"].schedule
        assert found is not None
        if row.accumulator is not None and row.accumulator.max_run == 1:
            split = -(-found.steps // case.run)  # every run-th step is issued twice
            assert len(found.packed) == found.tiles * (found.steps + split)
        elif row.looks_up:  # a byte may hold less
            assert 1 < found.segments[:, 2].max() <= case.run or case.run == 1
        else:
            limit = row.accumulator.max_run if row.accumulator is not None else None
            assert found.spills == found.tiles * -(-found.steps // min(case.run, limit or case.run))


@pytest.mark.parametrize("row", HERE, ids=lambda row: row.name)
def test_what_is_timed_is_what_the_reference_computes(row: KernelRow) -> None:
    cases = small(row)
    if not cases:
        assert row.family == "copy"
        return
    program = program_of(cases, operands=operands_of(row))
    course = open_course(plan_cases(program, cases, row, others(row)))
    tensors = reference.run(program, course.x).tensors
    got = course.session.run_integers(course.x)
    assert np.array_equal(got[0], tensors[program.outputs[0]])
    course.lap()
    timed = list(course.seconds())
    assert len(timed) == len(cases)
    assert all(taken > 0 for _, taken in timed)


def test_work_is_counted_in_known_kinds() -> None:
    for row in HERE:
        cases = small(row)
        if not cases:
            continue
        program = program_of(cases, operands=operands_of(row))
        for planned in plan_cases(program, cases, row, others(row)).nodes:
            work = work_of(planned, program, Memory(1 << 20))
            assert set(work) <= set(KINDS)
            assert all(count >= 0 for count in work.values())


def test_courses_share_the_cases_and_do_not_fit_a_second_cache() -> None:
    cases = gemm_cases(next(one for one in NARROW if one.family == "gemm"))
    courses = in_courses(cases, COLD_BYTES)
    assert len(courses) > 1
    assert sorted(map(id, (case for course in courses for case in course))) == sorted(map(id, cases))
    assert all(memory_of(program_of(course), 1 << 20).cold for course in courses)


def test_a_calibration_covers_its_rows_and_is_a_table_that_plans_can_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    families = ("lookup", "add", "depthwise")
    rows = [row for row in HERE if row.family in families and (row.family != "depthwise" or row.isa == "scalar")]
    monkeypatch.setattr(measure, "native_rows", lambda: tuple(rows))
    steps: list[str] = []

    def watch(items: Iterable[int], label: str) -> Iterable[int]:
        steps.append(label)
        return items

    found = calibrate(1, watch)
    assert steps == ["prepare", "measure"]
    assert set(found.table.rows) == set(found.fits) == {row.name for row in rows}
    assert all(cost > 0 for costs in found.table.rows.values() for cost in costs.values())
    assert all(found.table.rows.values())
    assert found.table.cpu == cpu_name()
    assert {"date", "commit", "compiler"} <= dict(found.table.stamp).keys()
    save_costs(found.table, tmp_path / "costs.json")
    assert load_costs(tmp_path / "costs.json").rows.keys() == found.table.rows.keys()


def test_no_rounds_are_no_calibration() -> None:
    with pytest.raises(ConfigError, match="at least 1 round, not 0"):
        calibrate(0)
