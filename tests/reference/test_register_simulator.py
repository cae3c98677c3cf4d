"""The register simulator against one register at a time in Python, and its packing against the operators."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaq import operators as ops
from oaq.errors import ProgramError
from oaq.numerics.accumulator import (
    AVX2_ACC16,
    AVX2_ACC32,
    DEPTHWISE_ACC16,
    EXACT_S32,
    NEON_ACC16,
    Accumulator,
    pure,
)
from oaq.program.int_program import IntProgram
from oaq.reference import lanes, packed_operands, packed_weights, run, simulate
from tests.strategies import programs_with_inputs

MODELS = (
    AVX2_ACC16,
    AVX2_ACC32,
    DEPTHWISE_ACC16,
    EXACT_S32,
    NEON_ACC16,
    pure(9),
    pure(8, "saturates"),
    Accumulator("12-bit-tiles", 12, "saturates", step=4, group=2, group_overflow="wraps", lanes=3, max_run=3),
)


def wrap(value: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half


def held(value: int, bits: int, overflow: str) -> int:
    half = 1 << (bits - 1)
    match overflow:
        case "wraps":
            return wrap(value, bits)
        case "saturates":
            return min(max(value, -half), half - 1)
    return value


def one_output(model: Accumulator, x: list[int], w: list[int], runs: list[tuple[int, int]]) -> int:
    """One output, one register at a time."""
    total = 0
    for start, count in runs:
        registers = [0] * model.lanes
        for k in range(start * model.step, (start + count) * model.step, model.group):
            inner = held(sum(x[k + i] * w[k + i] for i in range(model.group)), model.bits, model.group_overflow)
            lane = (k // model.group) % model.lanes
            registers[lane] = held(registers[lane] + inner, model.bits, model.overflow)
        total = wrap(total + sum(registers), 32)
    return total


def cut(steps: int, longest: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Consecutive runs of random length."""
    runs, start = [], 0
    while start < steps:
        count = int(rng.integers(1, min(longest, steps - start) + 1))
        runs.append((start, count))
        start += count
    return runs


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 5), outputs=st.integers(1, 5))
def test_simulator_equals_one_register_at_a_time(model: Accumulator, seed: int, steps: int, outputs: int) -> None:
    rng = np.random.default_rng(seed)
    tile_n, samples = 2, 3
    x = rng.choice(np.array([0, 1, 128, 254, 255]), (1, samples, steps * model.step))
    w = rng.choice(np.array([-127, -1, 0, 126, 127]), (outputs, steps * model.step))
    runs = {tile: cut(steps, model.max_run or steps, rng) for tile in range(-(-outputs // tile_n))}
    segments = np.array([(tile, *each) for tile, some in runs.items() for each in some])
    wide = np.pad(w, ((0, -outputs % tile_n), (0, 0))).reshape(-1, tile_n, steps, model.step).transpose(0, 2, 1, 3)
    packed = np.concatenate([wide[tile, start : start + count] for tile, start, count in segments])
    result = simulate(model, x, segments, packed, outputs)
    np.testing.assert_array_equal(result.exact, x[0] @ w.T)
    for sample in range(samples):
        for n in range(outputs):
            wanted = one_output(model, x[0, sample].tolist(), w[n].tolist(), runs[n // tile_n])
            assert result.sums[sample, n] == wanted
    quiet = (result.group_overflows + result.lane_overflows + result.total_overflows) == 0
    assert (result.sums[quiet] == result.exact[quiet]).all()
    assert result.is_exact == bool((result.sums == result.exact).all())


def test_a_pair_of_largest_products_saturates_and_is_counted() -> None:
    x = np.full((1, 1, 4), 255)
    w = np.array([[[127, 127, 0, 0]]])
    result = simulate(AVX2_ACC16, x, np.array([[0, 0, 1]]), w, 1)
    assert result.sums[0, 0] == 32767
    assert result.exact[0, 0] == 64770
    assert result.group_overflows[0, 0] == 1


def test_a_split_step_keeps_a_pair_of_largest_products_exact() -> None:
    x = np.full((1, 1, 4), 255)
    split = np.array([[[127, 0, 127, 0]], [[0, 127, 0, 127]]])
    result = simulate(AVX2_ACC32, x, np.array([[0, 0, 1], [0, 0, 1]]), split, 1)
    assert result.is_exact
    assert result.group_overflows.sum() == 0
    assert result.sums[0, 0] == 4 * 255 * 127


def test_a_wrapping_lane_may_leave_and_return_but_a_saturating_one_may_not() -> None:
    x = np.full((1, 1, 4), 100)
    w = np.array([[[1, 1, -1, -1]]]).reshape(4, 1, 1)
    segments = np.array([[0, 0, 4]])
    wrapping = simulate(pure(8), x, segments, w, 1)
    assert wrapping.is_exact
    assert wrapping.lane_overflows[0, 0] == 2  # out at 200, back in at 0
    assert wrapping.wrong_lanes[0, 0] == 0
    saturating = simulate(pure(8, "saturates"), x, segments, w, 1)
    assert not saturating.is_exact
    assert saturating.wrong_lanes[0, 0] == 1


@settings(max_examples=40)
@given(programs_with_inputs(("Conv2d", "Depthwise"), max_nodes=1), st.sampled_from((AVX2_ACC16, EXACT_S32, NEON_ACC16)))
def test_packed_operands_and_weights_sum_to_the_operators_accumulators(
    case: tuple[IntProgram, tuple[np.ndarray, ...]], model: Accumulator
) -> None:
    program, (x,) = case
    (node,) = program.nodes
    op, zx = node.op, program.specs(node)[0].affine.zero_point
    assert isinstance(op, ops.Conv2d)
    folded = op.bias - zx * op.rows.astype(np.int64).sum(axis=1)
    acc = run(program, x, accumulators=True).accumulators[node.name].reshape(-1, op.weight.shape[0])
    np.testing.assert_array_equal(lanes(op, x, zx, model).sum(axis=-1) + folded, acc)
    operands, weight = packed_operands(op, x, zx, model.step), packed_weights(op, model.step)
    steps = weight.shape[1] // model.step
    if op.is_depthwise():
        packed = weight.reshape(-1, steps, model.step).transpose(1, 0, 2)
        sums = simulate(
            pure(32),
            operands,
            np.array([[0, 0, steps * model.step]]),
            _ones(packed),
            len(weight),
            tiles_span_groups=True,
        )
        np.testing.assert_array_equal(sums.sums + folded, acc)


def _ones(packed: np.ndarray) -> np.ndarray:
    """Steps of one operand from steps of several."""
    return packed.transpose(0, 2, 1).reshape(-1, packed.shape[1], 1)


@pytest.mark.parametrize(
    ("segments", "packed", "message"),
    [
        ([[0, 0, 2]], np.zeros((1, 1, 4)), "segments count 2 steps, packed holds 1"),
        ([[0, 1, 2]], np.zeros((2, 1, 4)), "leaves the 2 steps"),
        ([[0, 0, 2]], np.zeros((2, 1, 4)), "runs 1 steps, not 2"),
        ([[0, 0, 1]], np.zeros((1, 1, 2)), "takes steps of 4"),
    ],
)
def test_what_does_not_fit_is_refused_with_numbers(segments: list[list[int]], packed: np.ndarray, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        simulate(AVX2_ACC32, np.zeros((1, 1, 8), np.int64), np.array(segments), packed.astype(np.int8), 1)
