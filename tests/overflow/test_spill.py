"""Schedules: their law, their bounds, their optimality, and what the bit-true register does with them."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaq.errors import AccumulatorOverflow
from oaq.numerics.accumulator import (
    AVX2_ACC16,
    AVX2_ACC32,
    DEPTHWISE_ACC16,
    EXACT_S32,
    NEON_ACC16,
    NEON_MLAL_PAIR,
    Accumulator,
    pure,
)
from oaq.numerics.cells import lane_of
from oaq.overflow.spill import Schedule, count_runs, schedule
from oaq.reference.register import simulate

REGISTERS = [
    AVX2_ACC16,
    AVX2_ACC32,
    DEPTHWISE_ACC16,
    EXACT_S32,
    NEON_ACC16,
    NEON_MLAL_PAIR,
    pure(17),
    pure(17, "saturates"),
    Accumulator("saturating-pairs", 16, "saturates", step=4, group=2, group_overflow="saturates", lanes=1),
    Accumulator("modulo-lanes", 18, "wraps", step=1, lanes=3, max_run=5),
    Accumulator("long-lanes", 16, "wraps", step=2, group=1, lanes=8),
]


def case(seed: int, outputs: int, terms: int, rows: int, *, low: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights with extremes sprinkled in, and operand ranges (holding zero unless ``low``)."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(-128, 128, (outputs, terms))
    weight = np.where(rng.random(weight.shape) < 0.3, rng.choice([-128, 0, 127], weight.shape), weight).astype(np.int8)
    hi = rng.choice([255, 255, 180, 31], (rows, terms))
    lo = rng.integers(0, 32, (rows, terms)) if low else np.zeros_like(hi)
    return weight, lo, hi


def unpacked(plan: Schedule, outputs: int, terms: int, groups: int) -> np.ndarray:
    """The weights the segments add up to, in the program's shape; also checks that padding is zero."""
    step, tile_n = plan.packed.shape[2], plan.tile_n
    total = np.zeros((plan.tiles, tile_n, plan.steps, step), np.int64)
    at = 0
    for tile, start, count in plan.segments.tolist():
        total[tile, :, start : start + count] += plan.packed[at : at + count].transpose(1, 0, 2)
        at += count
    assert at == len(plan.packed)
    grouped = total.reshape(groups, -1, plan.steps * step)
    per_group = outputs // groups
    assert not grouped[:, per_group:].any()
    assert not grouped[:, :, terms:].any()
    return grouped[:, :per_group, :terms].reshape(outputs, terms)


@pytest.mark.parametrize("register", REGISTERS, ids=lambda r: f"{r.name}-{r.overflow}")
@pytest.mark.parametrize("low", [False, True], ids=["zero-inside", "zero-outside"])
@pytest.mark.parametrize(("outputs", "terms", "groups", "rows"), [(5, 37, 1, 1), (6, 18, 2, 2), (4, 9, 1, 4)])
def test_schedules_keep_the_law_and_never_overflow_in_the_bit_true_register(
    register: Accumulator, low: bool, outputs: int, terms: int, groups: int, rows: int
) -> None:
    for seed in range(4):
        weight, lo, hi = case(seed, outputs, terms, rows, low=low)
        plan = schedule(weight, lo, hi, register, 3, groups=groups)
        assert np.array_equal(unpacked(plan, outputs, terms, groups), weight)
        counted = count_runs(weight, lo, hi, register, 3, groups=groups)
        assert (counted.segments, counted.issues) == (plan.spills, len(plan.packed))
        operands = extremes(weight, lo, hi, register.step, seed)
        if groups != rows:  # depthwise: tiles span the groups
            run = simulate(register, operands, plan.segments, plan.packed, outputs, tiles_span_groups=True)
        else:
            run = simulate(register, operands, plan.segments, plan.packed, outputs)
        assert run.is_exact
        assert not run.wrong_lanes.any()
        if register.group_overflow == "saturates":
            assert not run.group_overflows.any()
        if register.overflow == "saturates":
            assert not run.lane_overflows.any()


def extremes(weight: np.ndarray, lo: np.ndarray, hi: np.ndarray, step: int, seed: int) -> np.ndarray:
    """(rows, M, K padded): for each output the operands that reach both ends, then random ones."""
    rng = np.random.default_rng(seed)
    rows = len(lo)
    per_row = len(weight) // rows
    samples = []
    for n in range(per_row):
        w = weight.reshape(rows, per_row, -1)[:, n]
        samples += [np.where(w > 0, hi, lo), np.where(w > 0, lo, hi)]
    samples += [rng.integers(lo, hi + 1) for _ in range(6)] + [lo, hi]
    x = np.stack(samples, axis=1)
    return np.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % step)))


@given(st.integers(0, 10**6), st.sampled_from([AVX2_ACC16, DEPTHWISE_ACC16, pure(16), pure(16, "saturates")]))
@settings(max_examples=60, deadline=None)
def test_greedy_needs_as_few_segments_as_any_schedule(seed: int, register: Accumulator) -> None:
    rng = np.random.default_rng(seed)
    terms, outputs = register.step * 7, 2
    weight = rng.integers(-60, 61, (outputs, terms)).astype(np.int8)
    hi = rng.integers(100, 256, terms)
    plan = schedule(weight, np.zeros_like(hi), hi, register, outputs)
    steps = plan.steps

    def fits(first: int, last: int) -> bool:
        part = slice(first * register.step, last * register.step)
        for row in weight[:, part].astype(int):
            products = row * hi[part]
            lanes = [
                products[[lane_of(register, k) == lane for k in range(len(row))]] for lane in range(register.lanes)
            ]
            if any(
                lane[lane > 0].sum() > register.range.hi or lane[lane < 0].sum() < register.range.lo for lane in lanes
            ):
                return False
        return True

    @cache
    def fewest(first: int) -> int:
        if first == steps:
            return 0
        return min(1 + fewest(last) for last in range(first + 1, steps + 1) if fits(first, last))

    assert plan.splits == 0
    assert plan.spills == fewest(0)


def test_segment_bounds_are_reached_by_some_input() -> None:
    weight, _, _ = case(3, 3, 12, 1, low=False)
    lo, hi = np.zeros(12, int), np.full(12, 255)
    plan = schedule(weight, lo, hi, AVX2_ACC16, 3)
    at = 0
    for (_, start, count), (low, high) in zip(plan.segments.tolist(), plan.bounds.tolist(), strict=True):
        packed = plan.packed[at : at + count].astype(int)
        at += count
        sums = {0}
        for output, lane in product(range(3), range(2)):
            w = packed[:, output, 2 * lane : 2 * lane + 2]
            sums |= {int((w * 255)[w > 0].sum()), int((w * 255)[w < 0].sum())}
        assert (low, high) == (min(sums), max(sums))
        assert start >= 0


def test_a_pair_that_saturates_is_issued_twice_and_only_for_its_output() -> None:
    weight = np.array([[127, 127, -127, -127, 1, 0, -1, 0], [5, 6, 7, 8, 1, 1, 1, 1]], np.int8)
    x = np.full(8, 255)
    plan = schedule(weight, np.zeros(8, int), x, AVX2_ACC16, 2)
    assert plan.splits == 1
    assert plan.segments.tolist() == [[0, 0, 1], [0, 0, 2]]
    assert plan.packed[0].tolist() == [[127, 0, -127, 0], [5, 6, 7, 8]]
    assert plan.packed[1].tolist() == [[0, 127, 0, -127], [0, 0, 0, 0]]
    assert plan.packed[2].tolist() == [[1, 0, -1, 0], [1, 1, 1, 1]]


def test_acc32_spills_every_step_and_splits_only_bad_pairs() -> None:
    weight = np.array([[64, 64, 64, 64, 65, 64, 0, 0, 1, 1, 1, 1]], np.int8)
    plan = schedule(weight, np.zeros(12, int), np.full(12, 255), AVX2_ACC32, 1)
    # 255 * 128 = 32640 fits; 255 * 129 = 32895 does not.
    assert plan.segments.tolist() == [[0, 0, 1], [0, 1, 1], [0, 1, 1], [0, 2, 1]]
    assert plan.splits == 1


def test_exact_registers_need_one_segment_per_tile() -> None:
    weight, lo, hi = case(0, 10, 50, 1, low=False)
    plan = schedule(weight, lo, hi, EXACT_S32, 4)
    assert plan.segments.tolist() == [[0, 0, 13], [1, 0, 13], [2, 0, 13]]


def test_a_product_that_cannot_fit_is_refused_with_output_lane_and_bits() -> None:
    weight = np.zeros((5, 3), np.int8)
    weight[4, 2] = -127
    with pytest.raises(AccumulatorOverflow) as error:
        schedule(weight, np.zeros(3, int), np.full(3, 255), pure(14), 2, where="features.3")
    assert str(error.value).startswith(
        "features.3, output 4: the 14-bit lane 0 needs 16 bits in steps 2..2: its sum can reach [-32385, 0]."
    )


@pytest.mark.parametrize("register", [AVX2_ACC16, AVX2_ACC32, DEPTHWISE_ACC16, NEON_ACC16], ids=lambda r: r.name)
def test_every_layer_is_provable_at_the_widest_weights_and_activations(register: Accumulator) -> None:
    for sign in (-128, -127, 127):
        weight = np.full((4, 64), sign, np.int8)
        plan = schedule(weight, np.zeros(64, int), np.full(64, 255), register, 4)
        assert plan.bound.lo >= -32768
        assert plan.bound.hi <= 32767
        assert np.array_equal(unpacked(plan, 4, 64, 1), weight)


def test_one_step_inside_the_limit_is_one_run_and_one_step_outside_is_two() -> None:
    hi = np.full(8, 255)
    inside = np.array([[64, 0, 0, 0, 64, 0, 0, 0]], np.int8)  # lane 0 reaches 255 * 128 = 32640
    outside = np.array([[64, 0, 0, 0, 65, 0, 0, 0]], np.int8)  # 255 * 129 = 32895
    below = np.array([[-64, 0, 0, 0, -64, 0, 0, 0]], np.int8)  # -32640 >= -32768
    zero = np.zeros(8, int)
    assert schedule(inside, zero, hi, AVX2_ACC16, 1).spills == 1
    assert schedule(outside, zero, hi, AVX2_ACC16, 1).spills == 2
    assert schedule(below, zero, hi, AVX2_ACC16, 1).spills == 1


def test_the_negative_end_of_a_register_is_one_further_than_the_positive() -> None:
    zero, x = np.zeros(2, int), np.full(2, 128)
    assert schedule(np.array([[-127, -1]], np.int8), zero, x, pure(15), 1).spills == 1  # -16384 fits 15 bits
    assert schedule(np.array([[127, 1]], np.int8), zero, x, pure(15), 1).spills == 2  # +16384 does not


def test_a_transient_wrap_needs_no_spill_but_a_saturating_register_does() -> None:
    weight = np.array([[100, -100]], np.int8)
    x = np.full(2, 200)  # constants: 20000 - 20000 = 0
    assert schedule(weight, x, x, pure(16), 1).bounds.tolist() == [[0, 0]]
    weight = np.array([[100, 100, -100, -100]], np.int8)
    x = np.full(4, 200)
    # Saturating: every order counts, so the two positive products may meet.
    assert schedule(weight, x, x, pure(16, "saturates"), 1).spills > 1


def test_minus_128_is_a_weight_like_any_other_and_its_pairs_are_split() -> None:
    weight = np.array([[-128, 0, -128, -128]], np.int8)
    plan = schedule(weight, np.zeros(4, int), np.full(4, 255), AVX2_ACC16, 1)
    assert plan.splits == 1  # -128 * 255 * 2 leaves 16 bits, -128 * 255 = -32640 does not
    assert plan.packed.tolist() == [[[-128, 0, -128, 0]], [[0, 0, 0, -128]]]
    assert plan.bounds.tolist() == [[-32640, 0], [-32640, 0]]


def test_the_bound_of_a_schedule_is_the_least_and_the_most_of_its_segments() -> None:
    weight = np.array([[127] * 8 + [-128] * 8], np.int8)
    plan = schedule(weight, np.zeros(16, np.int64), np.full(16, 100), AVX2_ACC16, 16)
    assert plan.bounds.tolist() == [[0, 25400], [-25600, 25400], [-25600, 0]]
    assert (plan.bound.lo, plan.bound.hi) == (-25600, 25400)


@pytest.mark.parametrize("k", range(4))
def test_a_product_that_cannot_fit_is_refused_by_its_lane_where_lanes_are_fewer_than_groups(k: int) -> None:
    register = Accumulator("narrow", 8, "wraps", step=4, lanes=2)
    weight = np.zeros((1, 4), np.int8)
    weight[0, k] = 127
    with pytest.raises(AccumulatorOverflow, match=f"lane {k % 2}"):
        schedule(weight, np.zeros(4, int), np.full(4, 255), register, 1)
