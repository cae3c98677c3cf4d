"""Quantization targets: rows known without the native module are those that are compiled in; all of them plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oaq.errors import NoKernel
from oaq.kernels.alike import without_twins
from oaq.kernels.plan import plan
from oaq.kernels.table import KernelRow, native_rows
from oaq.kernels.targets import ARM, AVX2, AVX2_ROWS, DEFAULT_TARGET, TARGETS, WASM, target_named, target_of
from oaq.program.int_program import IntProgram
from oaq.runtime.certify import check_plan
from tests.kernels.tables import TABLE
from tests.strategies import Builder, conv2d
from tests.weights import WEIGHT_KINDS

NATIVE = {row.name: row for row in native_rows()}


def network(kind: str = "uniform") -> IntProgram:
    rng = np.random.default_rng(3)
    builder = Builder("targets")
    x = builder.input((6, 5, 21))
    y = builder.add(conv2d(rng, (19, 3, 3, 21), kind=kind, padding=(1, 1, 1, 1)), [x], name="conv")
    builder.add(conv2d(rng, (19, 3, 3, 1), kind=kind, groups=19), [y], name="depthwise")
    return builder.finish()


def bare(row: KernelRow) -> KernelRow:
    """The row, whether or not this CPU has it."""
    return replace(row, available=False)


@pytest.mark.parametrize("name", TARGETS)
def test_the_rows_of_a_target_are_those_compiled_in(name: str) -> None:
    """A target quantizes on machines where nothing is compiled, so its rows are written twice."""
    for row in TARGETS[name].table:
        if row.isa not in {**ARM, **WASM} or row.name in NATIVE:  # tests/arm and tests/web compare those
            assert bare(row) == bare(NATIVE[row.name])


def test_a_target_has_a_row_for_every_family() -> None:
    families = {row.family for row in NATIVE.values()}
    for target in TARGETS.values():
        assert {row.family for row in target.table} == families
        assert len({row.name for row in target.table}) == len(target.table)


def test_the_first_row_of_a_family_is_its_measure() -> None:
    assert AVX2.measure("gemm").name == "gemm_u8s8_avx2_acc16"
    assert target_named("neon").measure("depthwise").name == "depthwise_s8s8_neon_acc16"
    assert [name for name, target in TARGETS.items() if not target.is_narrow] == ["vnni", "avxvnni", "dotprod", "i8mm"]
    assert next(iter(TARGETS)) == DEFAULT_TARGET


def test_an_unknown_target_is_named_beside_those_there_are() -> None:
    with pytest.raises(NoKernel, match=r"no quantization target 'mmx'; there are avx2, avx512bw, vnni, avxvnni, neon"):
        target_named("mmx")
    with pytest.raises(NoKernel, match="'mmx'"):
        plan(network(), table="mmx")


def test_a_table_is_measured_by_the_first_target_whose_measures_it_has() -> None:
    assert target_of(native_rows()) is AVX2
    assert target_of(TABLE) is AVX2
    assert target_of(TARGETS["neon"].table).name == "neon"
    assert target_of(()) is AVX2


@pytest.mark.parametrize("kind", WEIGHT_KINDS)
@pytest.mark.parametrize("name", TARGETS)
def test_a_program_plans_for_the_table_of_any_target_and_the_checker_agrees(name: str, kind: str) -> None:
    planned = plan(network(kind), table=name)
    assert {node.row.isa for node in planned.nodes} <= TARGETS[name].isas
    verdict = check_plan(planned)
    assert verdict.safe, verdict.findings
    assert not any("register" in assumed for assumed in verdict.assumed)


def test_light_layers_cost_what_the_measure_of_their_own_target_costs() -> None:
    for target in TARGETS.values():
        if target.most_steps == 255:  # other measures do not take this network's operands
            assert plan(network("small"), table=target.name).cost <= 1.0


def test_a_shifted_twin_of_an_exact_raw_row_is_chosen_by_force_only() -> None:
    twins = ("gemm_s8s8_scalar", "depthwise_s8s8_scalar")
    names = {row.name for row in without_twins(native_rows())}
    assert set(NATIVE) - names == set(twins)
    assert "gemm_s8s8_scalar" in {row.name for row in without_twins(native_rows(), ["gemm_s8s8_scalar"])}
    forced = plan(network(), rows=twins)
    assert {node.row.name for node in forced.nodes} == set(twins)


def test_no_timing_makes_a_shifted_twin_win() -> None:
    """Neither the chosen row nor a reason why it is not chosen names it, however fast it seems."""
    usual = plan(network(), "scalar")
    assert usual.costs is not None
    quick = {name: {kind: seconds / 9 for kind, seconds in usual.costs.rows["gemm_u8s8_scalar"].items()}
             for name in ("gemm_s8s8_scalar", "depthwise_s8s8_scalar")}  # fmt: skip
    for isa in ("scalar", "avx2"):
        planned = plan(network(), isa, costs=replace(usual.costs, rows={**usual.costs.rows, **quick}))
        assert "s8s8" not in planned.explain()


def test_rows_of_narrow_lanes_and_rows_without_a_raw_twin_stay() -> None:
    neon = TARGETS["neon"].table
    assert without_twins(neon) == neon
    narrow = AVX2_ROWS[0]
    shifted = replace(narrow, name="shifted", shift=128, x_range=neon[0].x_range)
    assert without_twins((narrow, shifted)) == (narrow, shifted)
