"""Steps of zeros that schedules leave out: the law, the bounds, and what a register does with the rest."""

from __future__ import annotations

import numpy as np
import pytest

from oaq.numerics.accumulator import AVX2_ACC16, EXACT_S32, Accumulator
from oaq.numerics.cells import TileShape
from oaq.overflow.skipped import begins_after_gap, zero_steps
from oaq.overflow.spill import Schedule, count_runs, schedule
from oaq.reference.register import simulate
from tests.overflow.test_spill import REGISTERS, case, extremes, unpacked


def with_holes(seed: int, shape: tuple[int, int], step: int, tile_n: int) -> np.ndarray:
    """A mask that leaves most steps of each tile empty."""
    rng = np.random.default_rng([seed, *shape])
    kept = rng.random((-(-shape[0] // tile_n), -(-shape[1] // step))) < 0.4
    return kept.repeat(tile_n, axis=0)[: shape[0]].repeat(step, axis=1)[:, : shape[1]]


def executed(plan: Schedule) -> set[tuple[int, int]]:
    return {(tile, step) for tile, start, count in plan.segments.tolist() for step in range(start, start + count)}


@pytest.mark.parametrize("register", REGISTERS, ids=lambda r: f"{r.name}-{r.overflow}")
@pytest.mark.parametrize("low", [False, True], ids=["zero-inside", "zero-outside"])
@pytest.mark.parametrize("gap", [1, 2, 5])
def test_schedules_that_leave_steps_out_keep_the_law_and_never_overflow(
    register: Accumulator, low: bool, gap: int
) -> None:
    outputs, terms, tile_n = 7, 67, 3
    for seed in range(2):
        weight, lo, hi = case(seed, outputs, terms, 1, low=low)
        weight = weight * with_holes(seed, weight.shape, register.step, tile_n)
        plan = schedule(weight, lo, hi, register, tile_n, gap=gap)
        assert np.array_equal(unpacked(plan, outputs, terms, 1), weight)
        counted = count_runs(weight, lo, hi, register, tile_n, gap=gap)
        assert (counted.segments, counted.issues) == (plan.spills, len(plan.packed))
        assert counted.skipped == plan.skipped == plan.tiles * plan.steps - len(executed(plan))
        assert counted.distinct == len(executed(plan))
        assert plan.average_run == counted.average_run
        operands = extremes(weight, lo, hi, register.step, seed)
        run = simulate(register, operands, plan.segments, plan.packed, outputs)
        assert run.is_exact
        assert not run.wrong_lanes.any()
        assert not run.total_overflows.any()
        everything = schedule(weight, lo, hi, register, tile_n)
        assert everything.skipped == 0
        assert len(plan.packed) < len(everything.packed)


@pytest.mark.parametrize("gap", [1, 2, 3])
def test_a_run_ends_at_gaps_of_that_length_and_goes_on_over_shorter_ones(gap: int) -> None:
    weight = np.ones((1, 4 * 12), np.int8)
    weight[:, 4 * 3 : 4 * 5] = 0  # two steps inside
    weight[:, :4] = weight[:, -4:] = 0  # one at each end
    zeros, full = np.zeros(48, np.int64), np.full(48, 255, np.int64)
    plan = schedule(weight, zeros, full, AVX2_ACC16, 1, gap=gap)
    whole = [[0, 1, 10]]
    assert plan.segments.tolist() == (whole if gap > 2 else [[0, 1, 2], [0, 5, 6]])
    assert plan.skipped == (2 if gap > 2 else 4)


def test_lanes_that_are_emptied_at_a_gap_hold_more_behind_it() -> None:
    """The run behind a gap begins anew, so the schedule is greedy from there."""
    weight = np.zeros((1, 4 * 20), np.int8)
    weight[:, : 4 * 8] = weight[:, 4 * 12 :] = 10
    zeros, full = np.zeros(80, np.int64), np.full(80, 255, np.int64)
    plan = schedule(weight, zeros, full, AVX2_ACC16, 1, gap=1)
    assert plan.segments.tolist() == [[0, 0, 6], [0, 6, 2], [0, 12, 6], [0, 18, 2]]


@pytest.mark.parametrize("register", [AVX2_ACC16, EXACT_S32])
def test_a_tile_of_zeros_keeps_one_step(register: Accumulator) -> None:
    weight = np.zeros((6, 40), np.int8)
    weight[4, 17] = -3
    zeros, full = np.zeros(40, np.int64), np.full(40, 255, np.int64)
    plan = schedule(weight, zeros, full, register, 2, gap=1)
    assert plan.segments.tolist() == [[0, 0, 1], [1, 0, 1], [2, 17 // register.step, 1]]
    assert np.array_equal(unpacked(plan, 6, 40, 1), weight)


def test_a_gap_begins_nothing_before_the_first_step_that_holds_something() -> None:
    held = np.array([[0, 0, 1, 0, 1, 0, 0, 1, 1]], bool)
    assert np.nonzero(begins_after_gap(held, 1)[0])[0].tolist() == [4, 7]
    assert np.nonzero(begins_after_gap(held, 2)[0])[0].tolist() == [7]
    assert np.nonzero(begins_after_gap(held, 3)[0])[0].tolist() == []


def test_steps_of_zeros_are_counted_by_tile_and_group() -> None:
    weight = np.ones((6, 12), np.int8)
    assert zero_steps(weight, TileShape(6, 12, 4, 2, 1)) == 0
    weight[:2, 4:8] = 0  # one tile's
    weight[5, :] = 0  # half a tile, or a whole one
    assert zero_steps(weight, TileShape(6, 12, 4, 2, 1)) == 1
    assert zero_steps(weight, TileShape(6, 12, 4, 2, 2)) == 1 + 2
    weight[:] = 0
    assert zero_steps(weight, TileShape(6, 12, 4, 2, 1)) == 6
