"""Movements of memory: whatever a file does to axes, what moves has them in the order that a reader needs."""

from __future__ import annotations

from math import prod
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaq import operators as ops
from oaq.capture.layout import Layout
from oaq.capture.rearrange import channel_order, in_channels_first_order, movements
from oaq.operators import output_shape
from oaq.program.layout import channels_last


@st.composite
def seen(draw: st.DrawFn) -> tuple[tuple[int, ...], np.ndarray, Layout]:
    """A shape (C, ...), its element numbers as a file sees them after a few moves, and the layout that says so."""
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)))
    values, layout = np.arange(prod(shape)).reshape(shape), Layout.in_order(shape, range(len(shape)))
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            order = draw(st.permutations(range(values.ndim)))
            values, layout = values.transpose(order), layout.transposed(order)
            continue
        sizes, count = [], values.size
        while count > 1 and len(sizes) < 3:
            sizes.append(draw(st.sampled_from([part for part in range(1, count + 1) if count % part == 0])))
            count //= sizes[-1]
        target = (*sizes, count)
        reshaped = layout.reshaped(target)
        if reshaped is not None:
            values, layout = values.reshape(target), reshaped
    return shape, values, layout


def run(moves: tuple[ops.Op, ...], memory: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Each operator as its value says, on one sample in the shape of the program."""
    array = memory.reshape(shape)
    for op in moves:
        assert output_shape(op, [array.shape]) == op.shape  # type: ignore[attr-defined]
        if isinstance(op, ops.Transpose):
            array = array.reshape(op.split).transpose(op.order)
        array = array.reshape(op.shape)  # type: ignore[attr-defined]
    return array


@settings(max_examples=300, deadline=None)
@given(seen())
def test_a_tensor_of_a_float_graph_gets_the_files_axes_channels_first(
    case: tuple[tuple[int, ...], np.ndarray, Layout],
) -> None:
    shape, values, layout = case
    memory = np.moveaxis(np.arange(prod(shape)).reshape(shape), 0, -1)  # programs hold channels last
    moves = in_channels_first_order(shape, layout)
    assert sum(isinstance(op, ops.Transpose) for op in moves) <= 2
    result = run(moves, memory, channels_last(shape))
    np.testing.assert_array_equal(np.moveaxis(result, -1, 0), values)


@settings(max_examples=300, deadline=None)
@given(seen(), st.randoms())
def test_a_tensor_of_a_program_gets_axes_in_any_order(
    case: tuple[tuple[int, ...], np.ndarray, Layout], random: Random
) -> None:
    shape, values, layout = case
    order = list(range(values.ndim))
    random.shuffle(order)
    moves = movements(shape, layout, order)
    assert len(moves) <= 3
    np.testing.assert_array_equal(run(moves, np.arange(prod(shape)), shape), values.transpose(order))


def test_what_lies_in_order_is_reshaped_only() -> None:
    layout = Layout.in_order((4, 6), (0, 1))
    assert movements((24,), layout, (0, 1)) == (ops.Reshape((4, 6)),)


@pytest.mark.parametrize(
    ("order", "expected"), [((0, 2, 1, 3), [0, 2, 4, 1, 3, 5]), ((0, 1, 2, 3), [0, 1, 2, 3, 4, 5])]
)
def test_channels_alone_in_another_order_are_an_order_of_channels(order: tuple[int, ...], expected: list[int]) -> None:
    image = Layout.in_order((6, 4, 5), (0, 1, 2)).reshaped((3, 2, 4, 5))
    assert image is not None
    shuffled = image.transposed((1, 0, 2, 3) if order[1] == 2 else (0, 1, 2, 3)).reshaped((6, 4, 5))
    assert shuffled is not None
    found = channel_order((6, 4, 5), shuffled)
    assert found is not None
    assert np.argsort(found).tolist() == expected


def test_positions_that_move_are_no_order_of_channels() -> None:
    turned = Layout.in_order((6, 4, 4), (0, 1, 2)).transposed((0, 2, 1))
    assert channel_order((6, 4, 4), turned) is None
    assert channel_order((4, 4, 6), Layout.in_order((4, 4, 6), (0, 1, 2)).transposed((1, 0, 2))) is None
