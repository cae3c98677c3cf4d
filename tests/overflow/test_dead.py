"""Channels that no result depends on: what goes, what stays, and that every output keeps its integers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaq import operators as ops
from oaq.numerics.affine import Affine
from oaq.numerics.modular import Modular
from oaq.numerics.ranges import IntRange
from oaq.overflow.dead import without_dead_units
from oaq.program.int_program import IntProgram
from oaq.reference import run
from tests.strategies import INPUT_KINDS, Builder, conv2d, linear, programs_with_inputs, random_input


def same(program: IntProgram, kept: IntProgram) -> None:
    """Both give the same outputs on corners and on random inputs."""
    specs = [program.tensors[name] for name in program.inputs]
    rng = np.random.default_rng(5)
    for kind in INPUT_KINDS:
        x = tuple(random_input(rng, (3, *spec.shape), spec.range, kind) for spec in specs)
        for one, other in zip(run(program, x).outputs, run(kept, x).outputs, strict=True):
            np.testing.assert_array_equal(one, other)


def changed(op: ops.Products, *, rows: list[int] | None = None, columns: list[int] | None = None) -> ops.Products:
    """``op`` with some outputs and some input channels of zeros."""
    weight = op.weight.copy()
    weight[rows or []] = 0
    weight[..., columns or []] = 0
    return replace(op, weight=weight)


def image(padding: tuple[int, int, int, int], zero: int = 7, bias: int = 3000) -> IntProgram:
    """A stem whose outputs 1 and 4 are zero; pooling; a depthwise layer; a window that skips channel 2; a head."""
    rng = np.random.default_rng(3)
    builder = Builder()
    x = builder.input((6, 6, 3))
    stem = changed(conv2d(rng, (6, 1, 1, 3)), rows=[1, 4])
    stem = replace(stem, bias=np.full(6, bias, np.int32))
    x = builder.add(stem, [x], Affine(0.05, zero), name="stem")
    x = builder.add(ops.MaxPool((2, 2), (1, 1)), [x], Affine(0.05, zero))
    deep = replace(conv2d(rng, (6, 1, 1, 1), groups=6), bias=np.zeros(6, np.int32))
    x = builder.add(deep, [x], Affine(0.05, zero), name="deep")
    mid = replace(conv2d(rng, (5, 3, 3, 6), padding=padding), bias=np.zeros(5, np.int32))
    x = builder.add(changed(mid, columns=[2]), [x], Affine(0.05, 100), name="mid")
    x = builder.add(ops.Reshape((int(np.prod(builder.tensors[x].shape)),)), [x], name="flat")
    head = linear(rng, (4, builder.tensors[x].shape[0]))
    builder.add(head, [x], Affine(0.05, 128), name="head")
    return builder.finish()


def test_constants_go_into_the_next_biases_and_what_nothing_reads_goes() -> None:
    program = image((0, 0, 0, 0))
    trimmed = without_dead_units(program)
    assert trimmed.removed == {"stem": 3}
    assert trimmed.program.by_name["stem"].products.outputs == 3
    assert trimmed.program.by_name["deep"].products.channel_groups == 3
    assert trimmed.program.by_name["mid"].products.weight.shape == (5, 3, 3, 3)
    assert trimmed.program.by_name["mid"].products.bias.tolist() != program.by_name["mid"].products.bias.tolist()
    same(program, trimmed.program)


def test_a_constant_is_not_folded_where_a_padded_position_holds_another_integer() -> None:
    program = image((1, 1, 1, 1))
    trimmed = without_dead_units(program)
    assert trimmed.removed == {"stem": 1}  # the channel that nothing reads
    same(program, trimmed.program)


def test_a_constant_that_is_the_zero_point_adds_nothing_anywhere_and_goes() -> None:
    """The zero of a ReLU's output: sums far below it are clamped there, through depthwise biases far below as well."""
    program = image((1, 1, 1, 1), zero=0, bias=-(1 << 20))
    deep = program.by_name["deep"]
    op = replace(deep.products, bias=np.full(6, -(1 << 20), np.int32))
    nodes = tuple(replace(node, op=op) if node is deep else node for node in program.nodes)
    program = replace(program, nodes=nodes)
    trimmed = without_dead_units(program)
    assert trimmed.removed["stem"] == 5  # all but the one that stays
    same(program, trimmed.program)


def test_flattened_channels_go_at_every_position() -> None:
    rng = np.random.default_rng(1)
    builder = Builder()
    x = builder.input((3, 2, 4))
    x = builder.add(changed(conv2d(rng, (5, 1, 1, 4)), rows=[0]), [x], Affine(0.05, 9), name="stem")
    x = builder.add(ops.Reshape((30,)), [x], name="flat")
    head = changed(linear(rng, (7, 30)), columns=[3, 8, 13, 18, 23, 28])
    x = builder.add(head, [x], Affine(0.05, 50), IntRange(50, 255), name="head")
    builder.add(linear(rng, (3, 7)), [x], Affine(0.05, 128), name="last")
    program = builder.finish()
    trimmed = without_dead_units(program)
    assert trimmed.removed["stem"] == 2
    assert trimmed.program.by_name["head"].products.weight.shape[1] == 18
    same(program, trimmed.program)


def test_one_removal_leads_to_the_next() -> None:
    rng = np.random.default_rng(2)
    builder = Builder()
    x = builder.input((4,))
    x = builder.add(linear(rng, (5, 4)), [x], name="first")
    second = linear(rng, (6, 5)).weight.copy()
    second[:5, 2] = 0  # only output 5 reads unit 2
    op = linear(rng, (6, 5))
    x = builder.add(replace(op, weight=second), [x], name="second")
    x = builder.add(changed(linear(rng, (3, 6)), columns=[5]), [x], name="third")  # which nothing reads
    program = builder.finish()
    trimmed = without_dead_units(program)
    assert trimmed.removed == {"second": 1, "first": 1}
    same(program, trimmed.program)


def test_what_others_need_stays() -> None:
    """Outputs of the program, and what is added to another tensor."""
    rng = np.random.default_rng(2)
    builder = Builder()
    x = builder.input((4,))
    one = builder.add(changed(linear(rng, (5, 4)), rows=[0]), [x], name="added")
    two = builder.add(changed(linear(rng, (5, 4)), rows=[0]), [x], name="too")
    numbers = ops.rules_of(next(iter(ops.OPERATORS["Add"].cases("float32_half_even"))).op)
    add = next(iter(numbers.cases("float32_half_even"))).op
    sums = builder.add(add, [one, two])
    builder.add(linear(rng, (3, 5)), [sums], name="last")
    program = builder.finish()
    trimmed = without_dead_units(program)
    assert trimmed.removed == {}
    assert trimmed.program is program


def test_a_bias_that_would_leave_32_bits_is_not_made() -> None:
    rng = np.random.default_rng(2)
    builder = Builder()
    x = builder.input((4,))
    x = builder.add(changed(linear(rng, (2, 4)), rows=[0]), [x], Affine(0.05, 0), IntRange(0, 200), name="first")
    last = linear(rng, (3, 2))
    weight = np.full((3, 2), 127, np.int8)
    last = replace(last, weight=weight, bias=np.full(3, 2**31 - 1 - 127 * 255 * 2, np.int32))
    builder.add(last, [x], name="last")
    program = builder.finish()
    first = program.by_name["first"]
    high = replace(first.products, bias=np.array([1 << 24, 0], np.int32))
    program = replace(program, nodes=(replace(first, op=high), program.nodes[1]))
    trimmed = without_dead_units(program)
    same(program, trimmed.program)


def test_layers_that_wrap_by_design_fold_only_what_adds_nothing() -> None:
    rng = np.random.default_rng(4)
    table = Modular(rng.integers(0, 256, (3, 64)).astype(np.uint8))
    builder = Builder()
    x = builder.input((4,))
    x = builder.add(changed(linear(rng, (6, 4)), rows=[0]), [x], Affine(0.05, 30), name="first")
    op = changed(linear(rng, (3, 6)), columns=[5])
    op = replace(op, bias=np.zeros(3, np.int32), requantize=table)
    x = builder.add(op, [x], Affine(0.05, 0), name="wraps")
    builder.add(linear(rng, (2, 3)), [x], name="last")
    program = builder.finish()
    trimmed = without_dead_units(program)
    assert trimmed.removed == {"first": 1}
    same(program, trimmed.program)


@settings(max_examples=40, deadline=None)
@given(
    programs_with_inputs(("Conv2d", "Depthwise", "MaxPool", "AvgPool", "GlobalAvgPool", "Lookup", "Reshape", "Linear")),
    st.integers(0, 2**31),
)
def test_any_program_keeps_its_outputs(case: tuple[IntProgram, tuple[np.ndarray, ...]], seed: int) -> None:
    program, x = case
    rng = np.random.default_rng(seed)
    nodes = []
    for node in program.nodes:
        op = node.op
        if isinstance(op, ops.Products):
            weight = op.weight.copy()
            weight[rng.random(len(weight)) < 0.4] = 0
            weight[..., rng.random(weight.shape[-1]) < 0.4] = 0
            narrow = weight.min() >= -128 and weight.max() <= 127
            op = replace(op, weight=weight.astype(np.int8 if narrow else np.int16))
        nodes.append(replace(node, op=op))
    program = replace(program, nodes=tuple(nodes))
    trimmed = without_dead_units(program)
    for one, other in zip(run(program, x).outputs, run(trimmed.program, x).outputs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_layer_keeps_an_output(outputs: int) -> None:
    rng = np.random.default_rng(6)
    builder = Builder()
    x = builder.input((4,))
    x = builder.add(changed(linear(rng, (outputs, 4)), rows=list(range(outputs))), [x], name="first")
    builder.add(linear(rng, (2, outputs)), [x], name="last")
    program = builder.finish()
    trimmed = without_dead_units(program)
    assert trimmed.program.by_name["first"].products.outputs == 1
    same(program, trimmed.program)
