"""Loops that are modelled: found in what the cross compiler makes, with the products that their rows promise."""

from __future__ import annotations

import pytest

from benchmarks.arm.loops import innermost, own_loops, paired_sums, products_of, widening_lanes
from oaq.kernels.table import KernelRow
from tests.arm.machine import ROWS

pytestmark = pytest.mark.xdist_group("arm")


def products(row: KernelRow) -> int:
    assert row.accumulator is not None
    return row.tile_m * row.tile_n * row.accumulator.step


def test_the_inner_loop_of_every_matrix_row_multiplies_a_whole_tile() -> None:
    turns = {loop.name: loop.products / products(ROWS[loop.name]) for loop in own_loops()}
    assert turns.keys() == {name for name, row in ROWS.items() if row.family == "gemm" and row.isa != "scalar"}
    assert all(turn in (1, 4) for turn in turns.values()), turns  # sdot takes four steps a turn


def test_sixteen_bit_sums_take_fewest_instructions_per_product() -> None:
    loops = {loop.name: loop.instructions / loop.products for loop in own_loops()}
    narrow, pairs, exact = (loops[f"gemm_s8s8_neon_{trick}"] for trick in ("acc16", "acc32", "exact"))
    assert narrow < pairs < exact
    assert narrow < 0.2
    published = [loop.instructions / loop.products for loop in (paired_sums(), widening_lanes())]
    assert narrow < min(published)


def test_a_loop_is_what_jumps_back_to_its_own_label_and_holds_no_other() -> None:
    outer = "_Zf:\n.LBB0:\n\tadd x0, x0, #1\n.LBB1:\n\tsmlal v0.8h, v1.8b, v2.8b\n\tb.ne .LBB1\n\tb.ne .LBB0\n"
    ((function, body),) = innermost(outer)
    assert function == "_Zf"
    assert products_of(body) == 8
    assert body.count("\n") == 3
