"""Counts on data agree with the bit-true register."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oaq.errors import ProgramError
from oaq.numerics.accumulator import AVX2_ACC16, NEON_ACC16, Accumulator, pure
from oaq.overflow.count import count_overflows
from oaq.overflow.spill import schedule
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
