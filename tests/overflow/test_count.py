"""Counts on data agree with the bit-true register."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oaq.errors import ProgramError
from oaq.numerics.accumulator import AVX2_ACC16, NEON_ACC16, Accumulator, pure
from oaq.numerics.ranges import IntRange
from oaq.overflow.count import count_overflows
from oaq.overflow.spill import Schedule, schedule
from oaq.reference import simulate


@pytest.mark.parametrize("register", [AVX2_ACC16, NEON_ACC16, pure(16)], ids=lambda r: r.name)
@pytest.mark.parametrize("depthwise", [False, True])
def test_counts_agree_with_the_simulator_where_a_schedule_is_too_long(register: Accumulator, depthwise: bool) -> None:
    rng = np.random.default_rng(0)
    outputs, terms = 6, 48
    weight = rng.integers(-127, 128, (outputs, terms)).astype(np.int8)
    rows = outputs if depthwise else 1
    # Proved for operands up to 15, then met with operands up to 255.
    plan = schedule(weight, np.zeros(terms, int), np.full(terms, 15), register, 4)
    operands = rng.integers(0, 256, (rows, 9, terms))
    seen = count_overflows(plan, operands, outputs, tiles_span_groups=depthwise)
    held = simulate(register, operands, plan.segments, plan.packed, outputs, tiles_span_groups=depthwise)
    assert seen.groups == held.group_overflows.sum()
    assert seen.lanes > 0
    if seen.groups == 0:
        assert seen.lanes == held.wrong_lanes.sum()
    assert seen.spilled == 9 * outputs * register.lanes * plan.spills // plan.tiles
    inside = count_overflows(plan, operands % 16, outputs, tiles_span_groups=depthwise)
    assert inside.overflows == 0
    assert plan.bound.contains(inside.lane_range)


def test_a_saturating_lane_counts_once_however_often_it_is_left() -> None:
    register = pure(16, "saturates")
    plan = schedule(np.array([[1, 1, 1, -1]], np.int8), np.zeros(4, int), np.full(4, 255), register, 1)
    plan = replace(plan, packed=np.array([100, 100, 100, -100], np.int8).reshape(4, 1, 1))
    operands = np.array([[[255, 255, 255, 255], [1, 1, 1, 1]]])
    seen = count_overflows(plan, operands, 1)
    held = simulate(register, operands, plan.segments, plan.packed, 1)
    assert (seen.lanes, seen.spilled, seen.lane_range.hi) == (1, 2, 76500)
    assert (held.lane_overflows[:, 0] > 0).tolist() == [True, False]


def test_operands_of_another_layer_are_refused() -> None:
    plan = schedule(np.array([[1, 1]], np.int8), np.zeros(2, int), np.ones(2, int), pure(16), 1)
    with pytest.raises(ProgramError, match="do not fit"):
        count_overflows(plan, np.zeros((1, 3, 5), int), 1)


REGISTERS = (
    AVX2_ACC16,
    NEON_ACC16,
    pure(16),
    pure(16, "saturates"),
    Accumulator("pairs", 16, "wraps", step=4, group=2, group_overflow="wraps", lanes=2),
    Accumulator("both", 17, "saturates", step=6, group=3, group_overflow="saturates", lanes=2),
    Accumulator("exact", 32, "exact", step=4),
)


@pytest.mark.parametrize("register", REGISTERS, ids=lambda r: r.name)
@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("kind", ["any", "extreme", "least", "most"])
def test_counts_are_those_of_going_through_every_product(register: Accumulator, depthwise: bool, kind: str) -> None:
    rng = np.random.default_rng(register.step)
    outputs, terms, samples = 5, 4 * register.step, 6
    weight = rng.integers(-127, 128, (outputs, terms)).astype(np.int8)
    if kind == "extreme":
        weight = rng.choice([-127, 127], (outputs, terms)).astype(np.int8)
    if kind in ("least", "most"):
        weight = np.full((outputs, terms), -127 if kind == "least" else 127, np.int8)
    rows = outputs if depthwise else 1
    plan = schedule(weight, np.zeros(terms, int), np.full(terms, 3), register, 2)
    operands = rng.integers(0, 256, (rows, samples, terms))
    operands[:, 0] = 255
    count = count_overflows(plan, operands, outputs, tiles_span_groups=depthwise)
    assert (count.groups, count.lanes, count.spilled, count.lane_range) == by_hand(plan, operands, outputs)
    assert count.overflows == count.groups + count.lanes


def by_hand(plan: Schedule, operands: np.ndarray, outputs: int) -> tuple[int, int, int, IntRange]:
    """(groups, lanes, spilled, lane range) product by product, in Python integers."""
    register = plan.accumulator
    inside = register.range
    bounded = register.group_overflow == "saturates"
    bounded |= register.group_overflow == "wraps" and register.overflow != "wraps"
    groups = lanes = spilled = row = least = most = 0
    for tile, start, count in plan.segments.tolist():
        for sample in range(operands.shape[1]):
            for output in range(tile * plan.tile_n, min((tile + 1) * plan.tile_n, outputs)):
                x = operands[output if len(operands) > 1 else 0, sample]
                running = [[0] for _ in range(register.lanes)]
                for step in range(count):
                    for begin in range(0, register.step, register.group):
                        places = range(begin, begin + register.group)
                        k = (start + step) * register.step
                        weights = plan.packed[row + step, output - tile * plan.tile_n].tolist()
                        total = sum(weights[place] * int(x[k + place]) for place in places)
                        groups += bounded and total not in inside
                        lane = running[(k + begin) // register.group % register.lanes]
                        lane.append(lane[-1] + total)
                for sums in running:
                    ends = (sums[-1], sums[-1]) if register.overflow == "wraps" else (min(sums), max(sums))
                    least, most = min(least, ends[0]), max(most, ends[1])
                    lanes += register.overflow != "exact" and not inside.contains(IntRange(*ends))
                    spilled += 1
        row += count
    return groups, lanes, spilled, IntRange(least, most)


@pytest.mark.parametrize("shape", [(1, 3, 5), (2, 3, 4), (3, 3, 4), (1, 3, 8)])
def test_operands_that_do_not_fit_are_refused_for_each_size(shape: tuple[int, int, int]) -> None:
    plan = schedule(np.ones((1, 4), np.int8), np.zeros(4, int), np.ones(4, int), AVX2_ACC16, 1)
    with pytest.raises(ProgramError, match="do not fit"):
        count_overflows(plan, np.zeros(shape, int), 1)
    with pytest.raises(ProgramError, match="do not fit"):
        count_overflows(plan, np.zeros((1, 3, 4), int), 2, tiles_span_groups=True)
