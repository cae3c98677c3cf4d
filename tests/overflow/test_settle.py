"""Biases beyond 32 bits: moved only where no integer of any tensor notices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaq import operators as ops
from oaq.errors import AccumulatorOverflow
from oaq.numerics.affine import Affine
from oaq.numerics.formats import S32, U8
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize, Semantics
from oaq.overflow.analyze import analyze
from oaq.overflow.settle import settle
from oaq.program.int_program import IntProgram
from oaq.reference import run
from tests.strategies import Builder, conv2d

EVERY = np.arange(256, dtype=np.uint8)[:, None]


def linear(
    weight: int, bias: int, ratio: float, zero: int = 0, semantics: Semantics = "float32_half_even"
) -> IntProgram:
    """One product and a bias; the output's zero point is 60, its range [5, 250]."""
    requantize = Requantize.from_scales(np.array([ratio], np.float32), semantics)
    op = ops.Linear(np.array([[weight]], np.int8), np.array([bias], np.int32), requantize)
    builder = Builder(semantics=semantics)
    x = builder.input((1,), Affine(0.05, zero), U8)
    builder.add(op, [x], Affine(0.05, 60), IntRange(5, 250), name="n")
    return builder.finish()


def law(program: IntProgram, x: np.ndarray) -> np.ndarray:
    """What the one layer gives on exact integers of any size; the reference refuses what leaves 32 bits."""
    node = program.nodes[0]
    assert isinstance(node.op, ops.Products)
    bare = replace(node, op=replace(node.op, bias=np.zeros_like(node.op.bias)))
    sums = run(replace(program, nodes=(bare,)), x, accumulators=True).accumulators[node.name].astype(np.int64)
    y = program.tensors[node.output]
    return node.op.requantize.apply(sums + node.op.bias, y.affine.zero_point, y.range)


@pytest.mark.parametrize("semantics", ["float32_half_even", "fixed_point"])
@pytest.mark.parametrize(("weight", "bias"), [(-100, S32.lo), (-100, S32.lo + 5), (1, S32.hi), (127, S32.hi - 1)])
def test_what_is_clamped_whatever_comes_in_is_settled(weight: int, bias: int, semantics: Semantics) -> None:
    program = linear(weight, bias, 0.01, semantics=semantics)
    with pytest.raises(AccumulatorOverflow):
        analyze(program)
    settled = settle(program)
    assert settled.outputs == {"n": (0,)}
    analyze(settled.program)
    np.testing.assert_array_equal(run(settled.program, EVERY).outputs[0], law(program, EVERY))


def test_the_bias_moves_no_further_than_it_must() -> None:
    moved = settle(linear(-100, S32.lo, 0.01)).program.nodes[0].op
    assert isinstance(moved, ops.Linear)
    assert int(moved.bias[0]) == S32.lo + 100 * 255


def test_what_a_result_depends_on_is_left_and_refused() -> None:
    """The ratio is so small that the ends of 32 bits are not clamped."""
    program = linear(-100, S32.lo, 2.0**-28)
    assert law(program, EVERY).min() > 5
    settled = settle(program)
    assert settled.program is program and settled.outputs == {}
    with pytest.raises(AccumulatorOverflow):
        analyze(settled.program)


def test_what_fits_is_the_same_program() -> None:
    program = linear(-100, S32.lo + 100 * 255, 0.01)
    analyze(program)
    assert settle(program).program is program


def test_only_the_outputs_that_leave_are_moved_at_padded_borders_too() -> None:
    rng = np.random.default_rng(0)
    op = conv2d(rng, (3, 3, 3, 2), padding=(1, 1, 1, 1))
    bias = np.array([S32.lo, 0, S32.lo + (1 << 24)], np.int32)
    op = ops.Conv2d(op.weight, bias, Requantize(np.full(3, 1e-3, np.float32)), padding=(1, 1, 1, 1))
    builder = Builder()
    x = builder.input((5, 4, 2), Affine(0.05, 131), U8)
    builder.add(op, [x], Affine(0.05, 0), U8, name="n")
    program = builder.finish()
    settled = settle(program)
    assert settled.outputs == {"n": (0,)}
    analyze(settled.program)
    images = np.concatenate([rng.integers(0, 256, (20, 5, 4, 2)), rng.choice([0, 255], (20, 5, 4, 2))]).astype(np.uint8)
    np.testing.assert_array_equal(run(settled.program, images).outputs[0], law(program, images))


@given(
    st.integers(-127, 127),
    st.sampled_from([S32.lo, S32.hi]),
    st.integers(0, 60_000),
    st.floats(2.0**-30, 1.0),
    st.integers(0, 255),
    st.sampled_from(["float32_half_even", "fixed_point"]),
)
@settings(max_examples=200, deadline=None)
def test_no_integer_changes_for_any_input(
    weight: int, end: int, inside: int, ratio: float, zero: int, semantics: Semantics
) -> None:
    program = linear(weight, end + (inside if end < 0 else -inside), ratio, zero, semantics)
    settled = settle(program)
    np.testing.assert_array_equal(law(settled.program, EVERY), law(program, EVERY))
    if settled.outputs:
        analyze(settled.program)


@pytest.mark.parametrize(("weight", "bias"), [(-1, S32.hi), (1, S32.lo), (1, S32.hi - 255), (-1, S32.lo + 255)])
def test_sums_that_end_where_32_bits_end_are_not_moved(weight: int, bias: int) -> None:
    program = linear(weight, bias, 0.01)
    analyze(program)
    assert settle(program).program is program
