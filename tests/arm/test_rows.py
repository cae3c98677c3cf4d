"""Every row for Arm, cross-built, forced, and run on emulated CPUs: equal to the reference in every integer."""

from __future__ import annotations

from functools import cache

import pytest

from benchmarks.arm.build import build
from benchmarks.arm.emulator import CPUS, run_program
from tests.arm.machine import CPUS_OF, ROWS, TABLE, differences, require_emulator
from tests.foreign.cases import Forced
from tests.foreign.steps import requantized_cases, step_cases, step_rows

pytestmark = pytest.mark.xdist_group("arm")


@cache
def cases_of(row: str) -> tuple[Forced, ...]:
    return TABLE.cases_of(row)


@pytest.mark.parametrize(("row", "cpu"), [(row, cpu) for row in TABLE.summing for cpu in CPUS_OF[ROWS[row].isa]])
def test_a_row_computes_the_integers_of_the_reference(row: str, cpu: str) -> None:
    require_emulator()
    assert list(differences(cases_of(row), cpu)) == []


@cache
def cases_of_step(row: str, every: int) -> tuple[Forced, ...]:
    return step_cases(TABLE, row, every)


@pytest.mark.parametrize(("row", "cpu"), [(row, cpu) for row in step_rows(TABLE) for cpu in CPUS_OF[ROWS[row].isa]])
def test_a_row_without_sums_computes_the_integers_of_the_reference(row: str, cpu: str) -> None:
    require_emulator()
    is_first = cpu == CPUS[0] and ROWS[row].isa != "scalar"  # x86 tests the rows for any CPU too
    assert list(differences(cases_of_step(row, 1 if is_first else 4), cpu)) == []


@pytest.mark.parametrize("cpu", CPUS)
def test_sums_are_requantized_by_any_numbers_as_the_law_says(cpu: str) -> None:
    require_emulator()
    assert list(differences(requantized_cases("neon"), cpu)) == []


def test_the_rows_of_the_targets_are_those_of_the_cross_build() -> None:
    require_emulator()
    lines = run_program(build(), ["--rows"], "max").splitlines()
    compiled = {line.split("\t")[0]: line.split("\t")[1:] for line in lines}
    twins = {"gemm_s8s8_scalar", "depthwise_s8s8_scalar"}
    assert compiled.keys() == ROWS.keys() | twins
    for name, row in ROWS.items():
        register, fields = row.accumulator, compiled[name]
        assert fields[:5] == [row.family, row.isa, *map(str, (row.tile_m, row.tile_n, row.parts))]
        assert fields[5:8] == [str(row.shift), str(row.x_range.lo), str(row.x_range.hi)]
        if register is not None:
            model = (register.bits, register.overflow, register.step, register.group, register.group_overflow)
            assert fields[8:15] == [*map(str, model), str(register.lanes), str(register.max_run or 0)]


@pytest.mark.parametrize("cpu", CPUS)
def test_the_cpu_is_asked_for_what_it_adds_to_neon(cpu: str) -> None:
    require_emulator()
    lines = [line.split("\t") for line in run_program(build(), ["--rows"], cpu).splitlines()]
    isas = {fields[2] for fields in lines if fields[-1] == "1"}
    assert isas == ({"scalar", "neon", "dotprod", "i8mm"} if cpu == "max" else {"scalar", "neon"})
    if cpu != "max":
        answers = list(differences(cases_of("gemm_s8s8_dotprod")[:1], cpu))
        assert "this CPU does not run dotprod, which the row gemm_s8s8_dotprod needs" in answers[0]
