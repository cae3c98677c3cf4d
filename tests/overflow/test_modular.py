"""Layers whose sums count modulo 2**b: nothing of them is bounded but saturating groups and the output's range."""

from __future__ import annotations

import numpy as np
import pytest

from oaq import operators as ops
from oaq.errors import AccumulatorOverflow, ProgramError
from oaq.numerics.accumulator import AVX2_ACC16, AVX2_ACC32, NEON_ACC16, WASM_ACC16, Accumulator, modulo_of, pure
from oaq.numerics.modular import Modular
from oaq.numerics.requantize import Requantize
from oaq.overflow.analyze import analyze
from oaq.overflow.certificate import certify
from oaq.overflow.settle import settle
from oaq.overflow.spill import schedule
from oaq.reference import run, simulate
from tests.modular import KINDS, modular_op, modular_program, ternary_program


@pytest.mark.parametrize("kind", KINDS)
def test_the_range_of_the_output_is_the_image_of_what_sums_can_be(kind: str) -> None:
    program = modular_program(*modular_op(np.random.default_rng(1), kind, 5), zero=0)
    proved = analyze(program).ranges["y"]
    table = program.nodes[0].products.requantize.table  # type: ignore[union-attr]
    assert proved.lo.tolist() == table.min(axis=1).tolist()
    assert proved.hi.tolist() == table.max(axis=1).tolist()


def test_sums_of_fewer_values_than_residues_reach_only_theirs() -> None:
    table = np.arange(16, dtype=np.uint8)[None]
    op = ops.Linear(np.array([[1, -1]], np.int8), np.array([14], np.int32), Modular(table))
    program = modular_program(op, (2,))
    narrow = modular_program(op, (2,), 0, type(program.tensors["x"].range)(0, 2))
    ranges = analyze(narrow).ranges["y"]
    assert (ranges.lo.tolist(), ranges.hi.tolist()) == ([0], [15])  # 12..16: 12, 13, 14, 15 and, around the end, 0
    pairs = np.stack(np.meshgrid(*[np.arange(3)] * 2), axis=-1).reshape(-1, 2).astype(np.uint8)
    assert set(np.unique(run(narrow, pairs).outputs[0])) == {0, 12, 13, 14, 15}


def test_sums_beyond_32_bits_are_no_error_where_they_wrap_by_design_and_are_one_elsewhere() -> None:
    weight, bias = np.full((1, 70_000), 127, np.int8), np.array([2**31 - 1], np.int32)
    table = np.arange(256, dtype=np.uint8)[None]
    program = modular_program(ops.Linear(weight, bias, Modular(table)), (70_000,))
    x = np.full((1, 70_000), 255, np.uint8)
    assert int(run(program, x).outputs[0][0, 0]) == (127 * 255 * 70_000 + 2**31 - 1) % 256
    assert analyze(program)["layer"].modulo == 8
    exact = ops.Linear(weight, bias, Requantize(np.ones(1, np.float32)))
    with pytest.raises(AccumulatorOverflow):
        analyze(modular_program(exact, (70_000,)))


@pytest.mark.parametrize("accumulator", [AVX2_ACC16, NEON_ACC16, WASM_ACC16], ids=lambda register: register.name)
def test_lanes_that_wrap_are_not_spilled_and_the_total_has_the_residue(accumulator: Accumulator) -> None:
    rng = np.random.default_rng(5)
    weight = rng.integers(-60, 61, (8, 400)).astype(np.int8)
    low, high = np.zeros(400, np.int64), np.full(400, 255, np.int64)
    free = schedule(weight, low, high, accumulator.counting(8), 8)
    assert free.spills == free.tiles and not free.splits and modulo_of(free.accumulator) == 8
    assert schedule(weight, low, high, accumulator, 8).spills > 3
    x = np.pad(rng.integers(0, 256, (3, 400)), ((0, 0), (0, -400 % accumulator.step)))[None].astype(np.uint8)
    simulated = simulate(accumulator, x, free.segments, free.packed, 8)
    exact = x[0, :, :400].astype(np.int64) @ weight.T.astype(np.int64)
    assert np.any(simulated.sums != exact)
    assert np.all((simulated.sums - exact) % 256 == 0)


def test_saturating_pairs_are_still_bounded_and_split() -> None:
    weight = np.full((8, 40), 127, np.int8)
    low, high = np.zeros(40, np.int64), np.full(40, 255, np.int64)
    proved = schedule(weight, low, high, AVX2_ACC16.counting(8), 8)
    assert proved.splits == proved.steps * proved.tiles
    assert AVX2_ACC16.range.contains(proved.group_bound)


def test_a_row_that_spills_every_step_still_does() -> None:
    weight = np.ones((8, 40), np.int8)
    proved = schedule(weight, np.zeros(40, np.int64), np.full(40, 3), AVX2_ACC32.counting(8), 8)
    assert proved.segments[:, 2].max() == 1


def test_lanes_narrower_than_the_residue_and_lanes_that_saturate_hold_the_sum_itself() -> None:
    weight, low, high = np.ones((1, 200), np.int8), np.zeros(200, np.int64), np.full(200, 3)
    assert schedule(weight, low, high, pure(8).counting(8), 1).spills == 1
    assert schedule(weight, low, high, pure(8).counting(9), 1).spills > 1
    assert schedule(weight, low, high, pure(8, "saturates").counting(8), 1).spills > 1


def test_biases_of_sums_that_wrap_are_never_moved() -> None:
    program = modular_program(*modular_op(np.random.default_rng(2), "matrix", 8))
    assert settle(program).program is program


def test_a_certificate_names_the_layers_that_wrap_and_no_others() -> None:
    program = ternary_program()
    (stated,) = certify(program, analyze(program)).content["nodes"]
    assert stated["modular"]["bits"] == 6
    assert set(stated["modular"]) == {"bits", "table", "weight"}


@pytest.mark.parametrize("rows", [2, 23])
def test_tables_for_other_outputs_are_refused(rows: int) -> None:
    with pytest.raises(ProgramError, match=f"{rows} tables of residues for 24 outputs"):
        ops.Linear(np.ones((24, 3), np.int8), np.zeros(24, np.int32), Modular(np.zeros((rows, 16), np.uint8)))


def test_entries_outside_the_range_of_the_output_are_refused() -> None:
    from dataclasses import replace

    from oaq.numerics.ranges import IntRange

    program = ternary_program()
    narrow = replace(program.tensors["y"], range=IntRange(0, 2))
    with pytest.raises(ProgramError, match=r"tables of residues hold 0\.\.3"):
        replace(program, tensors={**program.tensors, "y": narrow})
