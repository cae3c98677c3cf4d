"""Every row for WebAssembly, forced, in the builds that have it: equal to the reference in every integer."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from benchmarks.web.build import BUILDS, build, packed_size
from benchmarks.web.node import rows_of
from oaq.errors import NoKernel
from oaq.kernels.plan import plan
from oaq.kernels.targets import TARGETS
from oaq.numerics.ranges import IntRange
from tests.foreign.cases import Forced
from tests.foreign.steps import requantized_cases, step_cases, step_rows
from tests.native.machine import layer
from tests.web.machine import BUILDS_OF, ROWS, TABLE, differences, require_engine

pytestmark = pytest.mark.xdist_group("web")


@cache
def cases_of(row: str) -> tuple[Forced, ...]:
    return TABLE.cases_of(row)


@pytest.mark.parametrize(
    ("row", "build_name"), [(row, name) for row in TABLE.summing for name in BUILDS_OF[ROWS[row].isa]]
)
def test_a_row_computes_the_integers_of_the_reference(row: str, build_name: str) -> None:
    require_engine()
    assert list(differences(cases_of(row), build_name)) == []


@cache
def cases_of_step(row: str, every: int) -> tuple[Forced, ...]:
    return step_cases(TABLE, row, every)


@pytest.mark.parametrize(
    ("row", "build_name"), [(row, name) for row in step_rows(TABLE) for name in BUILDS_OF[ROWS[row].isa]]
)
def test_a_row_without_sums_computes_the_integers_of_the_reference(row: str, build_name: str) -> None:
    require_engine()
    is_first = build_name == BUILDS[0] and ROWS[row].isa != "scalar"  # x86 tests the rows for any CPU too
    assert list(differences(cases_of_step(row, 1 if is_first else 4), build_name)) == []


@pytest.mark.parametrize("name", BUILDS)
def test_sums_are_requantized_by_any_numbers_as_the_law_says(name: str) -> None:
    require_engine()
    assert list(differences(requantized_cases("wasm"), name)) == []


def test_the_rows_of_the_targets_are_those_of_the_builds() -> None:
    require_engine()
    twins = {"gemm_s8s8_scalar", "depthwise_s8s8_scalar"}
    assert set(rows_of("simd128")) == {row.name for row in TARGETS["wasm"].table} | twins
    assert set(rows_of("relaxed")) == ROWS.keys() | twins


@pytest.mark.parametrize("row", [name for name in TABLE.summing if ROWS[name].isa == "relaxed"])
def test_relaxed_rows_are_refused_one_step_outside_seven_bits(row: str) -> None:
    wide = layer(replace(ROWS[row], x_range=IntRange(0, 128)), 8, 8)
    with pytest.raises(NoKernel, match=r"takes operands \[0, 127\]"):
        TABLE.plan_for(wide, row)
    TABLE.plan_for(layer(ROWS[row], 8, 8), row)


def test_a_network_of_eight_bits_takes_no_relaxed_row_and_says_why() -> None:
    eight_bits = replace(ROWS["gemm_u7s8_relaxed_acc16"], x_range=IntRange(0, 255))
    planned = plan(layer(eight_bits, 64, 64, size=(9, 9)), table="wasm-relaxed")
    assert planned.nodes[0].row.isa == "simd128"
    assert "not gemm_u7s8_relaxed_acc16: takes operands [0, 127]" in planned.explain()


@pytest.mark.parametrize("name", BUILDS)
def test_a_build_is_small_enough_to_be_sent(name: str) -> None:
    require_engine()
    assert packed_size(build(name)) < 150_000
