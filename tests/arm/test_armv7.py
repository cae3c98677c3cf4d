"""The rows for any CPU on an emulated ARMv7, which has 32 bits: equal to the reference in every integer."""

from __future__ import annotations

import pytest

from benchmarks.arm.build import ARMV7, build
from benchmarks.arm.emulator import CPUS_OF_32_BITS, run_program
from oaq.kernels.plan import plan
from oaq.kernels.targets import SCALAR_ROWS
from tests.arm.machine import differences, require_emulator
from tests.foreign.cases import DRAWN, drawn_cases, forced, random_images
from tests.foreign.detector import detector
from tests.foreign.rows import RowTable
from tests.foreign.steps import requantized_cases, step_cases, step_rows

pytestmark = pytest.mark.xdist_group("armv7")

TABLE = RowTable({row.name: row for row in SCALAR_ROWS}, threads=(2,))
EVERY = 2
"""Every second of the programs that the rows of AArch64 are tried on: the code is the same, the words are shorter."""


@pytest.fixture(params=CPUS_OF_32_BITS)
def cpu(request: pytest.FixtureRequest) -> str:
    require_emulator(ARMV7)
    return request.param


@pytest.mark.parametrize("row", TABLE.summing)
def test_a_row_computes_the_integers_of_the_reference(row: str, cpu: str) -> None:
    assert list(differences(TABLE.cases_of(row), cpu)) == []


@pytest.mark.parametrize("row", step_rows(TABLE))
def test_a_row_without_sums_computes_the_integers_of_the_reference(row: str, cpu: str) -> None:
    assert list(differences(step_cases(TABLE, row, 4), cpu)) == []


def test_sums_are_requantized_by_any_numbers_as_the_law_says(cpu: str) -> None:
    assert list(differences(requantized_cases(SCALAR_ROWS), cpu)) == []


def test_whole_programs_compute_the_integers_of_the_reference(cpu: str) -> None:
    program = detector()
    whole = forced("detector", plan(program, table=SCALAR_ROWS), random_images(program), threads=2)
    cases = [whole, *drawn_cases(SCALAR_ROWS, threads=(1, 2), every=EVERY)]
    assert len(cases) > DRAWN // (2 * EVERY)
    assert TABLE.others.difference(step_rows(TABLE)) <= {node.row.name for each in cases for node in each.planned.nodes}
    assert list(differences(cases, cpu)) == []


def test_the_rows_are_those_of_the_cross_build(cpu: str) -> None:
    lines = run_program(build(machine=ARMV7), ["--rows"], cpu).splitlines()
    rows = {line.split("\t")[0] for line in lines}
    assert rows == set(TABLE.rows) | {"gemm_s8s8_scalar", "depthwise_s8s8_scalar"}
