"""Predicted time: what is counted, that more work never costs less, and rows nobody has timed."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaq import operators as ops
from oaq.errors import NoKernel
from oaq.kernels.cost import CostTable, LayerCost, Predictor, limit, one_run, predict_layer_cost, relative
from oaq.kernels.cost_files import shipped_costs
from oaq.kernels.facts import facts_of
from oaq.kernels.table import KernelRow
from oaq.kernels.targets import AVX2
from oaq.kernels.work import Memory, Site, other_work, sum_work
from oaq.numerics.requantize import Requantize
from oaq.overflow.spill import RunCount
from tests.kernels.tables import LINE, TABLE

ROWS = {row.name: row for row in TABLE}
ACC16 = ROWS["gemm_u8s8_avx2_acc16"]
NEAR = Memory(1 << 20)
POINTWISE = Site((28, 28, 64), (28, 28, 40))


def time(memory: Memory = NEAR) -> Predictor:
    return Predictor(shipped_costs(), memory)


def test_a_pointwise_layer_is_counted_as_its_kernel_walks_it() -> None:
    runs = one_run(ACC16, POINTWISE, 64)
    assert runs == RunCount(3, 16, 3, 48)
    work = sum_work(ACC16, POINTWISE, runs, NEAR)
    assert work["steps"] == 784 * 5 * 16  # 40 outputs are five registers of eight
    assert work["turns"] == 131 * 5 * 16  # 784 positions are 131 groups of six
    assert work["outputs"] == 784 * 5
    assert work["spills"] == work["tails"] == work["far"] == 0
    assert "weights" not in work
    assert "copies" not in work  # operands are read where they lie


def test_windows_gather_their_operands_line_by_line_and_at_the_border_pixel_by_pixel() -> None:
    site = Site((10, 10, 22), (10, 10, 16), (3, 3), (1, 1), (1, 1, 1, 1))
    work = sum_work(ACC16, site, one_run(ACC16, site, 198), NEAR)
    assert site.inside == 8
    assert work["lines"] == 80 * 3
    assert work["copies"] == 80 * 3 * 3  # 66 bytes a line are three pieces of thirty-two, five of sixteen
    scalar = ROWS["gemm_u8s8_scalar"]
    assert sum_work(scalar, site, one_run(scalar, site, 198), NEAR)["copies"] == 80 * 3 * 5
    assert work["taps"] == 20 * 9
    grouped = replace(site, groups=2)
    assert sum_work(ACC16, grouped, one_run(ACC16, grouped, 99), NEAR)["taps"] == 100 * 2 * 9


def test_windows_of_whole_steps_are_read_in_lines() -> None:
    site = Site((10, 10, 24), (10, 10, 16), (3, 3), (1, 1), (1, 1, 1, 1))
    work = sum_work(ACC16, site, one_run(ACC16, site, 216), NEAR)
    assert work["moves"] == 12 * 10 * 24 / 32
    assert "copies" not in work
    assert work["turns"] == 10 * 2 * 54 * 2  # two groups of five in each line
    unpadded = replace(site, x=(12, 12, 24), padding=(0, 0, 0, 0))
    assert "moves" not in sum_work(ACC16, unpadded, one_run(ACC16, unpadded, 216), NEAR)
    narrow = replace(site, x=(10, 8, 24), y=(10, 8, 16))  # groups of four waste too much
    assert "copies" in sum_work(ACC16, narrow, one_run(ACC16, narrow, 216), NEAR)


def test_weights_are_far_in_a_network_that_does_not_fit_the_cache() -> None:
    cold = Memory(1 << 20, cold=True)
    runs = one_run(ACC16, POINTWISE, 64)
    assert sum_work(ACC16, POINTWISE, runs, cold)["weights"] == 48 * 16 * 4
    linear = Site((1, 1, 64), (1, 1, 40))
    assert sum_work(ACC16, linear, runs, cold)["once"] == 48 * 16 * 4


def test_only_what_the_cache_cannot_hold_is_far() -> None:
    add = ops.Add(Requantize(np.ones(2, np.float32)))
    shape = (100, 100, 40)
    assert other_work(add, [shape, shape], shape, Memory(1 << 20))["far"] == 3 * 400_000 - (1 << 20)
    assert other_work(add, [shape, shape], shape, Memory(1 << 21))["far"] == 0


def test_a_reshape_is_no_work() -> None:
    assert other_work(ops.Reshape((8,)), [(2, 2, 2)], (8,), NEAR) == {}


def test_pixels_touch_two_lines_where_they_do_not_begin_on_one() -> None:
    row = ROWS["depthwise_u8s8_avx2_acc16"]

    def crossings(channels: int) -> float:
        site = Site((4, 4, channels), (4, 4, channels), (3, 3), (1, 1), (1, 1, 1, 1), groups=channels)
        work = sum_work(row, site, one_run(row, site, 9), NEAR)
        return work["crossings"] / work["copies"]

    assert [crossings(c) for c in (64, 96, 144, 40, 33)] == [0, 0, 0.25, 0.375, 31 / 64]


def test_depthwise_layers_without_code_of_their_own_go_through_loops() -> None:
    row = ROWS["depthwise_u8s8_avx2_acc16"]

    def loops(side: int, dilation: int = 1, again: int = 0) -> float:
        pad = dilation * (side // 2)
        site = Site((12, 12, 32), (12, 12, 32), (side, side), (1, 1), (pad,) * 4, (dilation, dilation), 32)  # type: ignore[arg-type]
        runs = one_run(row, site, side * side)
        return sum_work(row, site, replace(runs, issues=runs.issues + again), NEAR)["loops"]

    assert loops(3) == loops(5) == 0
    assert loops(7) == 144 * 25
    assert loops(3, dilation=2) == 144 * 5
    assert loops(3, again=1) == 144 * 6


def test_depthwise_lines_are_gathered_once() -> None:
    row = ROWS["depthwise_u8s8_avx2_acc16"]
    site = Site((12, 10, 64), (6, 5, 64), (3, 3), (2, 2), (1, 0, 1, 0), groups=64)
    assert sum_work(row, site, one_run(row, site, 9), NEAR)["copies"] == 2 * 12 * 10


def test_a_row_that_spills_at_every_step_makes_one_run_of_what_it_executes() -> None:
    row = ROWS["gemm_u8s8_avx2_acc32"]
    whole = sum_work(row, POINTWISE, RunCount(3, 16, 48, 48), NEAR)
    assert whole["spills"] == 0
    split = sum_work(row, POINTWISE, RunCount(3, 16, 54, 54), NEAR)
    assert split["spills"] == 0
    assert split["starts"] == whole["starts"]
    assert split["turns"] > whole["turns"]


def test_steps_left_out_cost_nothing_and_going_on_behind_them_a_turn() -> None:
    row = ROWS["gemm_u8s8_avx2_exact"]
    whole = sum_work(row, POINTWISE, RunCount(3, 16, 3, 48), NEAR)
    at_ends = sum_work(row, POINTWISE, RunCount(3, 16, 3, 36, 12), NEAR)
    inside = sum_work(row, POINTWISE, RunCount(3, 16, 9, 36, 12, 6), NEAR)
    assert at_ends["steps"] == inside["steps"] == whole["steps"] * 36 / 48
    assert at_ends["starts"] == inside["starts"] == whole["starts"]
    assert inside["turns"] / at_ends["turns"] == (36 + 6) / 36


def test_a_row_that_spills_leaves_out_what_costs_more_than_a_spill() -> None:
    costs = time().costs
    for row in TABLE:
        gap = costs.least_gap(row)
        if row.family != "gemm":
            assert gap is None
        elif row.never_narrow:
            assert gap == 1
        else:
            assert gap is not None
            few, more = RunCount(1, 64, 1, 64), RunCount(1, 64, 2, 64 - gap, gap, 1)
            site = Site((row.tile_m, 1, 256), (row.tile_m, 1, row.tile_n))
            assert time().sums(row, site, more) <= time().sums(row, site, few)


@given(
    st.sampled_from([row for row in TABLE if row.family in ("gemm", "depthwise")]),
    st.integers(1, 40), st.integers(1, 40), st.integers(0, 40), st.integers(0, 40), st.booleans(),
)  # fmt: skip
def test_more_spills_and_more_steps_never_cost_less(
    row: KernelRow, tiles: int, steps: int, spills: int, again: int, cold: bool
) -> None:
    site = Site((9, 9, 32), (9, 9, tiles * row.tile_n), (3, 3), (1, 1), (1, 1, 1, 1))
    predict = time(Memory(1 << 16, cold))
    few = RunCount(tiles, steps, tiles, tiles * steps)
    more = replace(few, segments=few.segments + spills + again, issues=few.issues + again)
    assert predict.sums(row, site, more) >= predict.sums(row, site, few) > 0


def test_the_cheapest_provable_row_is_taken() -> None:
    rows = AVX2.rows_of("gemm")
    zeros, full = np.zeros(64, np.int64), np.full(64, 255, np.int64)
    light = predict_layer_cost(np.ones((40, 64), np.int8), (zeros, full), rows, POINTWISE, time())
    assert light.row == "gemm_u8s8_avx2_acc16"
    assert light.cost == light.without_spills
    assert light.average_run == 16
    heavy = predict_layer_cost(np.full((40, 64), 127, np.int8), (zeros, full), rows, POINTWISE, time())
    assert heavy.cost > light.cost
    assert heavy.without_spills == light.without_spills


def test_no_row_is_no_kernel() -> None:
    ends = np.zeros(64, np.int64)
    with pytest.raises(NoKernel, match="no row of"):
        predict_layer_cost(np.ones((40, 64), np.int8), (ends, ends), (), POINTWISE, time())


def test_a_network_is_measured_by_itself_without_spills() -> None:
    layers = [LayerCost("a", 3.0, 2.0, 4.0), LayerCost("b", 1.0, 1.0, 9.0)]
    assert relative(layers, 1.0) == 5.0 / 4.0
    assert relative([], 0.0) == 1.0


TIMED = CostTable(
    "somebody's",
    1 << 20,
    {
        "gemm_u8s8_avx2_acc16": {"steps": 1.0},
        "gemm_u8s8_avx512bw_acc16": {"steps": 2.0, "turns": 6.0},
        "gemm_u8s8_vnni": {"steps": 3.0},
    },
    {},
    facts={name: facts_of(row) for name, row in ROWS.items()},
)


def test_a_row_nobody_timed_costs_what_the_most_similar_one_does() -> None:
    def like(row: KernelRow) -> dict[str, float]:
        return dict(TIMED.for_row(row))

    assert like(ACC16) == {"steps": 1.0}
    neon = replace(ACC16, name="any name", isa="neon", includes=frozenset({"scalar"}))
    assert like(neon) == {"steps": 1.0}  # spills alike, and two instruction sets differ
    amx = replace(ROWS["gemm_u8s8_vnni"], name="other", isa="amx", includes=frozenset({*LINE}))
    assert like(amx) == {"steps": 3.0}
    assert like(ROWS["gemm_u8s8_scalar"]) == {"steps": 3.0}  # the only one timed that never spills
    with pytest.raises(NoKernel, match="somebody's know no depthwise kernel; calibrate again"):
        TIMED.for_row(ROWS["depthwise_u8s8_avx2_acc16"])


def test_the_limit_of_a_row_is_that_of_its_inner_loop() -> None:
    assert limit(TIMED, ACC16) == 8 * 4  # a register of eight outputs, four products each, per step
    assert limit(TIMED, replace(ACC16, name="gemm_u8s8_avx512bw_acc16", tile_n=32, tile_m=12)) == 16 * 4 / 2.5
    assert limit(TIMED, ROWS["add_u8_avx2"]) is None


def test_every_native_row_was_timed_for_the_shipped_costs(native_names: list[str]) -> None:
    never_chosen = {"copy_u8_scalar", "gemm_s8s8_scalar", "depthwise_s8s8_scalar"}
    younger = {
        "transpose",
        "channel_lookup",
        "gather",
        "coarsen",
    }  # families that cost what the dearest does until someone calibrates
    timed = set(shipped_costs().rows)
    like_others = {  # they cost what their families' other rows do
        name for name in native_names if re.fullmatch(r"[a-z_]+_u8_(avx2|avx512bw)", name) and name != "add_u8_avx2"
    }
    untimed = {name for name in set(native_names) - never_chosen - like_others - timed if _family(name) not in younger}
    assert untimed == {"gemm_u8s8_amx"}  # chosen only by times of its own: test_tiles.py
    assert {_family(name) for name in like_others} <= {_family(name) for name in timed} | younger


def _family(name: str) -> str:
    return name.partition("_u8_")[0]


@pytest.fixture
def native_names() -> list[str]:
    pytest.importorskip("oaq.kernels._native")
    from oaq.kernels.table import native_rows

    return [row.name for row in native_rows()]
