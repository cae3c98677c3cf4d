"""Weights that leave int8: their parts, their schedules, and what sums hold between the passes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaq import operators as ops
from oaq.errors import AccumulatorOverflow, ProgramError
from oaq.numerics.accumulator import AVX2_ACC16, AVX2_ACC32, EXACT_S32, Accumulator, pure
from oaq.numerics.cells import lane_of
from oaq.numerics.requantize import Requantize
from oaq.overflow.analyze import analyze
from oaq.overflow.spill import Schedule, count_runs, schedule, split_rows
from oaq.overflow.wide import byte_parts
from oaq.program.int_program import IntProgram
from oaq.reference.register import simulate
from tests.overflow.test_spill import REGISTERS, extremes, unpacked
from tests.strategies import Builder, linear
from tests.weights import WIDE_KINDS, random_weight


@pytest.mark.parametrize("weight", range(-255, 256))
def test_a_weight_is_the_sum_of_its_parts_which_all_have_its_sign(weight: int) -> None:
    parts = [int(part[0]) for part in byte_parts(np.array([weight], np.int16))]
    assert sum(parts) == weight
    assert all(part * weight >= 0 for part in parts)
    assert len(parts) == (1 if -128 <= weight <= 127 else 2 if -256 < weight <= 254 else 3)


def test_int8_is_its_own_only_part() -> None:
    weight = np.array([[-128, 127]], np.int8)
    (part,) = byte_parts(weight)
    assert part is weight


@pytest.mark.parametrize(
    "weight", [np.array([256], np.int16), np.array([-256], np.int16), np.array([1], np.int32), np.array([1.0])]
)
def test_what_is_no_weight_is_refused(weight: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"int8, or int16 in \[-255, 255\]"):
        byte_parts(weight)


def wide_case(
    seed: int, kind: str, outputs: int, terms: int, *, low: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    weight = random_weight(rng, (outputs, terms), kind)
    hi = rng.choice([255, 255, 180, 31], (1, terms))
    lo = rng.integers(0, 32, (1, terms)) if low else np.zeros_like(hi)
    return weight, lo, hi


@pytest.mark.parametrize("register", REGISTERS, ids=lambda r: f"{r.name}-{r.overflow}")
@pytest.mark.parametrize("low", [False, True], ids=["zero-inside", "zero-outside"])
@pytest.mark.parametrize("kind", WIDE_KINDS)
def test_schedules_of_wide_weights_keep_the_law_in_the_bit_true_register(
    register: Accumulator, low: bool, kind: str
) -> None:
    for seed in range(3):
        weight, lo, hi = wide_case(seed, kind, 5, 37, low=low)
        plan = schedule(weight, lo, hi, register, 3)
        assert np.array_equal(unpacked(plan, 5, 37, 1), weight)
        counted = count_runs(weight, lo, hi, register, 3)
        assert (counted.segments, counted.issues) == (plan.spills, len(plan.packed))
        operands = extremes(weight, lo, hi, register.step, seed)
        run = simulate(register, operands, plan.segments, plan.packed, 5)
        assert run.is_exact
        assert not run.wrong_lanes.any()
        assert not run.total_overflows.any()
        if register.group_overflow == "saturates":
            assert not run.group_overflows.any()
        if register.overflow == "saturates":
            assert not run.lane_overflows.any()


def sums_after_each_segment(plan: Schedule, operands: np.ndarray, tile: int) -> list[np.ndarray]:
    """(M, tile_n) raw s32 sums of one tile as they grow."""
    found, total, at = [], np.zeros((operands.shape[1], plan.tile_n), np.int64), 0
    step = plan.accumulator.step
    for one, start, count in plan.segments.tolist():
        packed = plan.packed[at : at + count].astype(np.int64)
        at += count
        if one == tile:
            weight = packed.transpose(1, 0, 2).reshape(plan.tile_n, -1)
            total = total + operands[0, :, start * step : (start + count) * step] @ weight.T
            found.append(total)
    return found


@pytest.mark.parametrize("register", [AVX2_ACC16, AVX2_ACC32, EXACT_S32], ids=lambda r: r.name)
@pytest.mark.parametrize("kind", WIDE_KINDS)
def test_what_sums_hold_between_passes_stays_inside_the_partial_bound(register: Accumulator, kind: str) -> None:
    rng = np.random.default_rng(5)
    builder = Builder()
    op = linear(rng, (4, 23), kind=kind)
    builder.add(op, [builder.input((23,))], name="fc")
    sums = analyze(builder.finish())["fc"]
    plan = schedule(op.weight, sums.operands.lo, sums.operands.hi, register, 4)
    operands = extremes(op.weight, sums.operands.lo, sums.operands.hi, register.step, 0)
    for held in sums_after_each_segment(plan, operands, 0):
        assert (held.min(axis=0) >= np.minimum(sums.raw_partial.lo, 0)).all()
        assert (held.max(axis=0) <= np.maximum(sums.raw_partial.hi, 0)).all()


def test_later_passes_execute_only_steps_that_hold_something() -> None:
    weight = np.zeros((1, 40), np.int16)
    weight[0, [3, 20, 21, 24]] = [255, 130, -129, -255]
    plan = schedule(weight, np.zeros(40, int), np.full(40, 255), EXACT_S32, 1)
    # All ten quads; then the parts beyond int8 of quads 0 and 5 and 6; then what two parts of 255 leave.
    assert plan.segments.tolist() == [[0, 0, 10], [0, 0, 1], [0, 5, 2], [0, 0, 1]]
    assert plan.packed[10:, 0].tolist() == [[0, 0, 0, 127], [3, -1, 0, 0], [-127, 0, 0, 0], [0, 0, 0, 1]]
    assert plan.splits == 3
    assert split_rows(plan).tolist() == [0, 5, 6, 10, 11, 12, 13]


def test_every_tile_executes_its_own_passes_one_after_the_other() -> None:
    weight = np.array([[255, 1, 1, 1], [1, 1, 1, 1], [1, 200, 1, 1]], np.int16)
    plan = schedule(weight, np.zeros(4, int), np.full(4, 255), EXACT_S32, 1)
    assert plan.segments.tolist() == [[0, 0, 1]] * 3 + [[1, 0, 1]] + [[2, 0, 1]] * 2
    assert plan.packed[:, 0].tolist() == [
        [127, 1, 1, 1], [127, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1], [1, 127, 1, 1], [0, 73, 0, 0],
    ]  # fmt: skip


def test_a_wide_weight_whose_first_part_cannot_fit_is_refused() -> None:
    weight = np.array([[1, 1, 255]], np.int16)
    with pytest.raises(AccumulatorOverflow, match=r"fc, output 0: the 15-bit lane 0 needs 16 bits in steps 2\.\.2"):
        schedule(weight, np.zeros(3, int), np.full(3, 255), pure(15), 1, where="fc")


@given(st.integers(0, 10**6), st.sampled_from(WIDE_KINDS), st.sampled_from(REGISTERS))
@settings(max_examples=60, deadline=None)
def test_every_segments_bound_is_what_its_own_weights_reach(seed: int, kind: str, register: Accumulator) -> None:
    weight, lo, hi = wide_case(seed, kind, 4, 19, low=bool(seed % 2))
    plan, at = schedule(weight, lo, hi, register, 2), 0
    pad = plan.steps * register.step - 19
    low, high = (np.pad(end[0], (0, pad)) for end in (lo, hi))
    for (_, start, count), (least, most) in zip(plan.segments.tolist(), plan.bounds.tolist(), strict=True):
        k = np.arange(start * register.step, (start + count) * register.step)
        packed = plan.packed[at : at + count].astype(int).transpose(1, 0, 2).reshape(2, -1)
        at += count
        lane = np.array([lane_of(register, int(one)) for one in k])
        ends = np.sort(np.stack([packed * low[k], packed * high[k]]), axis=0)
        if register.overflow == "wraps":
            sums = [ends[:, :, lane == one].sum(axis=2) for one in range(register.lanes)]
            assert (least, most) == (min(int(s[0].min()) for s in sums), max(int(s[1].max()) for s in sums))
        assert register.range.lo <= least <= most <= register.range.hi


def program(weight: np.ndarray) -> IntProgram:
    builder = Builder()
    requantize = Requantize(np.full(len(weight), 0.001, np.float32))
    builder.add(ops.Linear(weight, np.zeros(len(weight), np.int32), requantize), [builder.input(weight.shape[1:])])
    return builder.finish()


def test_int16_that_fits_int8_becomes_int8_so_that_a_program_has_one_form() -> None:
    op = program(np.array([[-128, 127]], np.int16)).nodes[0].op
    assert isinstance(op, ops.Linear)
    assert op.weight.dtype == np.int8
    op = program(np.array([[-129, 127]], np.int16)).nodes[0].op
    assert isinstance(op, ops.Linear)
    assert op.weight.dtype == np.int16


@pytest.mark.parametrize("value", [256, -256, 32767])
def test_weights_beyond_a_u8_less_a_zero_point_are_refused(value: int) -> None:
    with pytest.raises(ProgramError, match=r"Linear: weights lie in \[-255, 255\]"):
        program(np.array([[value, 0]], np.int16))
