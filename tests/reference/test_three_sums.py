"""Layers of three sums: the law against plain arithmetic, corners of their bounds, and what cannot be made."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaq.errors import AccumulatorOverflow, ProgramError
from oaq.numerics.ranges import IntRange
from oaq.overflow.three_sums import three_bounds
from oaq.program.int_program import IntProgram
from oaq.program.three_sums import ExactProgram, ThreeSums
from oaq.reference import compute_three, run, run_exact
from tests.strategies import Builder, conv2d, linear


def layer(shape: tuple[int, ...], seed: int = 0, most: int = 7) -> ThreeSums:
    """Three random weights, as a quantizer would make them."""
    rng = np.random.default_rng(seed)
    sign = rng.choice([-1, 0, 0, 0, 1], shape).astype(np.int8)
    centre = np.where(sign == 0, rng.integers(-most, most + 1, shape), 0).astype(np.int8)
    tail = (sign * rng.integers(0, most + 1, shape)).astype(np.int8)
    multipliers = rng.uniform(1e-4, 1e-2, (3, shape[0])).astype(np.float32)
    return ThreeSums(centre, tail, sign, rng.integers(-500, 500, shape[0]).astype(np.int32), multipliers)


def programs() -> list[tuple[IntProgram, str]]:
    """A padded convolution, a depthwise one, and a linear layer."""
    rng = np.random.default_rng(0)
    cases = []
    for name, op, size in (
        ("conv", conv2d(rng, (5, 3, 3, 2), padding=(1, 1, 1, 1)), (4, 4, 2)),
        ("depthwise", conv2d(rng, (4, 3, 3, 1), padding=(1, 0, 0, 1), groups=4), (4, 5, 4)),
        ("linear", linear(rng, (3, 6)), (6,)),
    ):
        builder = Builder(name)
        x = builder.input(size)
        builder.add(op, [x], name=name)
        cases.append((builder.finish(), name))
    return cases


CASES = programs()


def inputs(program: IntProgram, count: int, seed: int = 0) -> np.ndarray:
    spec = program.tensors[program.inputs[0]]
    rng = np.random.default_rng(seed)
    return rng.integers(spec.range.lo, spec.range.hi + 1, (count, *spec.shape)).astype(np.uint8)


@pytest.mark.parametrize(("program", "name"), CASES, ids=[name for _, name in CASES])
def test_the_law_is_three_sums_of_the_operator_and_one_rounding_in_float32(program: IntProgram, name: str) -> None:
    node = program.by_name[name]
    three = layer(node.products.weight.shape)
    x, y = inputs(program, 3), program.tensors[node.output]
    written, sums = compute_three(node, three, [x], program.specs(node), y)
    for part, acc in zip(three.parts(node.products), sums, strict=True):
        alone = dataclasses.replace(program, nodes=(dataclasses.replace(node, op=part),))
        np.testing.assert_array_equal(run(alone, x, accumulators=True).accumulators[name], acc)
    for index in np.ndindex(*sums[0].shape):
        m1, m2, m3 = (np.float32(value) for value in three.multipliers[:, index[-1]])
        first, second, third = (np.float32(acc[index]) for acc in sums)
        real = np.float32(np.float32(np.float32(first * m1) + np.float32(second * m2)) + np.float32(third * m3))
        expected = min(max(int(np.rint(real)) + y.affine.zero_point, y.range.lo), y.range.hi)
        assert written[index] == expected
    tensors = run_exact(ExactProgram(program, {name: three}), x)
    np.testing.assert_array_equal(tensors[node.output], written)


@pytest.mark.parametrize(("program", "name"), CASES, ids=[name for _, name in CASES])
def test_without_tails_three_sums_are_one(program: IntProgram, name: str) -> None:
    node = program.by_name[name]
    op = node.products
    nothing = np.zeros_like(op.weight)
    multipliers = np.stack([op.requantize.multiplier, *2 * [np.zeros_like(op.requantize.multiplier)]])
    three = ThreeSums(op.weight, nothing, nothing, op.bias, multipliers)
    x = inputs(program, 3)
    np.testing.assert_array_equal(
        run_exact(ExactProgram(program, {name: three}), x)[node.output], run(program, x).outputs[0]
    )
    np.testing.assert_array_equal(run_exact(ExactProgram(program, {}), x)[node.output], run(program, x).outputs[0])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31 - 1), st.sampled_from(range(len(CASES))))
def test_bounds_hold_for_every_input_and_each_is_reached(seed: int, case: int) -> None:
    program, name = CASES[case]
    node = program.by_name[name]
    three = layer(node.products.weight.shape, seed)
    exact = ExactProgram(program, {name: three})
    bounds = three_bounds(exact, name)
    assert bounds.fits
    spec = program.specs(node)[0]
    corners = np.stack([np.full(spec.shape, end, np.uint8) for end in (spec.range.lo, spec.range.hi)])
    x = np.concatenate([inputs(program, 4, seed), corners])
    written, sums = compute_three(node, three, [x], [spec], program.tensors[node.output])
    for acc, bound in zip(sums, (bounds.centre, bounds.tail, bounds.sign), strict=True):
        flat = acc.reshape(-1, acc.shape[-1])
        assert (flat.min(axis=0) >= bound.lo).all()
        assert (flat.max(axis=0) <= bound.hi).all()
    flat = written.reshape(-1, written.shape[-1])
    assert (flat.min(axis=0) >= bounds.outputs.lo).all()
    assert (flat.max(axis=0) <= bounds.outputs.hi).all()
    if name == "linear":  # the operands that reach an end of one sum are an input
        for part, bound in zip(three.parts(node.products), (bounds.centre, bounds.tail, bounds.sign), strict=True):
            for output, weights in enumerate(part.weight):
                worst = np.where(weights > 0, spec.range.hi, spec.range.lo).astype(np.uint8)[None]
                alone = dataclasses.replace(program, nodes=(dataclasses.replace(node, op=part),))
                assert run(alone, worst, accumulators=True).accumulators[name][0, output] == bound.hi[output]


def test_a_sum_that_leaves_s32_is_not_returned() -> None:
    program, name = CASES[2]
    node = program.by_name[name]
    three = layer(node.products.weight.shape)
    bias = np.full_like(three.bias, np.iinfo(np.int32).max)
    over = dataclasses.replace(three, bias=bias, centre=np.where(three.sign == 0, 7, 0).astype(np.int8))
    exact = ExactProgram(program, {name: over})
    assert not three_bounds(exact, name).fits
    spec = program.specs(node)[0]
    with pytest.raises(AccumulatorOverflow, match="leaves s32"):
        run_exact(exact, np.full((1, *spec.shape), spec.range.hi, np.uint8))


def test_the_largest_multipliers_make_no_number_that_is_none() -> None:
    three = dataclasses.replace(layer((2, 3)), multipliers=np.full((3, 2), 2.0**64, np.float32))
    ends = np.array([[-(2**31), 2**31 - 1]], np.int32)
    assert three.apply((ends, -ends - 1, ends), 3, IntRange(0, 255)).tolist() == [[0, 255]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"centre": np.zeros((2, 4), np.int8)}, "one shape"),
        ({"centre": np.zeros((2, 3), np.int16)}, "int8"),
        ({"bias": np.zeros(2, np.int64)}, "int32 bias"),
        ({"bias": np.zeros(3, np.int32)}, "a bias for each output"),
        ({"multipliers": np.zeros((3, 2), np.float32)}, "greater than 0"),
        ({"multipliers": np.full((3, 2), np.nan, np.float32)}, "from 0 to"),
        ({"multipliers": np.full((3, 2), np.inf, np.float32)}, "from 0 to"),
        ({"multipliers": np.ones((2, 2), np.float32)}, "multipliers"),
        ({"multipliers": np.ones((3, 2))}, "float32 multipliers"),
        ({"sign": np.full((2, 3), 2, np.int8)}, "in the centre or in a tail"),
        ({"sign": np.full((2, 3), -128, np.int8)}, "in the centre or in a tail"),
        ({"centre": np.ones((2, 3), np.int8), "sign": np.ones((2, 3), np.int8)}, "in the centre or in a tail"),
        ({"tail": np.ones((2, 3), np.int8), "sign": np.zeros((2, 3), np.int8)}, "have its sign"),
        ({"tail": np.ones((2, 3), np.int8), "sign": -np.ones((2, 3), np.int8)}, "have its sign"),
    ],
)
def test_what_is_no_layer_of_three_sums_cannot_be_made(change: dict[str, np.ndarray], message: str) -> None:
    nothing = np.zeros((2, 3), np.int8)
    arrays = {"centre": nothing, "tail": nothing, "sign": nothing, "bias": np.zeros(2, np.int32)}
    with pytest.raises(ProgramError, match=message):
        ThreeSums(**{**arrays, "multipliers": np.ones((3, 2), np.float32), **change})


def test_layers_stand_for_layers_of_their_program() -> None:
    program, name = CASES[2]
    for layers, message in (
        ({"gone": layer((3, 6))}, "no layer is called 'gone'"),
        ({name: layer((3, 5))}, "weights have the shape"),
    ):
        with pytest.raises(ProgramError, match=message):
            ExactProgram(program, layers)
    with pytest.raises(ProgramError, match="is no layer of three sums"):
        three_bounds(ExactProgram(program, {}), name)
