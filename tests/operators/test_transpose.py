"""Transpose: written in one way only, cut where channels begin, refused where that is inside what moves."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oaq import operators as ops
from oaq.checker.program import Node, Tensor
from oaq.checker.ranges import Range
from oaq.checker.ranges import image as checked_image
from oaq.errors import ProgramError
from oaq.numerics.ranges import ChannelRanges
from oaq.operators.transpose import image

VALUES: dict[str, tuple[str, Callable[[], object]]] = {
    "an order that names a stretch twice": ("an order of them", lambda: ops.Transpose((2, 3), (1, 1), (6,))),
    "no stretch": ("stretches of memory", lambda: ops.Transpose((), (), (1,))),
    "a stretch of nothing": ("stretches of memory", lambda: ops.Transpose.joining((2, 0), (1, 0), (2,))),
    "stretches that fill less": ("do not fill", lambda: ops.Transpose((2, 3), (1, 0), (5,))),
    "stretches that could be one": ("as few stretches", lambda: ops.Transpose((2, 3), (0, 1), (6,))),
    "a stretch of 1": ("as few stretches", lambda: ops.Transpose((1, 3), (1, 0), (3,))),
    "stretches without end": ("more than 8", lambda: ops.Transpose((2,) * 200_000, (0,), (2,))),
    "a shape without end": ("more than 8", lambda: ops.Transpose((2,), (0,), (2,) * 200_000)),
    "nine stretches": ("more than 8", lambda: ops.Transpose((2,) * 9, tuple(reversed(range(9))), (512,))),
}


@pytest.mark.parametrize("name", VALUES)
def test_what_is_no_movement_or_written_in_another_way_is_refused(name: str) -> None:
    words, make = VALUES[name]
    with pytest.raises(ProgramError, match=words):
        make()


def test_a_movement_is_written_with_as_few_stretches_as_do() -> None:
    assert ops.Transpose.joining((3, 1, 4, 5), (3, 0, 1, 2), (5, 12)) == ops.Transpose((12, 5), (1, 0), (5, 12))
    assert ops.Transpose.joining((3, 4), (0, 1), (12,)) == ops.Transpose((12,), (0,), (12,))
    assert ops.Transpose.joining((2,) * 8, tuple(reversed(range(8))), (256,)).split == (2,) * 8


@pytest.mark.parametrize(("shape", "fits"), [((4, 5), True), ((5, 4), False), ((2, 10), True), ((5, 3), False)])
def test_channels_of_the_input_are_whole_parts_of_what_moves(shape: tuple[int, ...], fits: bool) -> None:
    op = ops.Transpose((4, 5), (1, 0), (5, 4))
    if fits:
        assert ops.output_shape(op, [shape]) == (5, 4)
        return
    with pytest.raises(ProgramError, match=r"begin inside a stretch|do not hold"):
        ops.output_shape(op, [shape])


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_the_range_of_each_channel_is_that_of_the_channels_it_holds_and_the_checker_says_the_same(
    data: st.DataObject,
) -> None:
    shape = tuple(data.draw(st.lists(st.sampled_from((1, 2, 3, 4, 6)), min_size=1, max_size=3)))
    split, rest = [], prod(shape)
    while rest > 1:
        split.append(data.draw(st.sampled_from([part for part in range(2, rest + 1) if rest % part == 0])))
        rest //= split[-1]
    split = split or [1]
    order = data.draw(st.permutations(range(len(split))))
    channels = data.draw(st.sampled_from([part for part in range(1, prod(shape) + 1) if prod(shape) % part == 0]))
    y = (prod(shape) // channels, channels)
    try:
        op = ops.Transpose.joining(tuple(split), order, y)
        ops.output_shape(op, [shape])
    except ProgramError:
        assume(False)
        return
    element = np.arange(prod(shape)).reshape(op.split).transpose(op.order).reshape(y)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    lo = rng.integers(0, 100, shape[-1])
    hi = lo + rng.integers(0, 100, shape[-1])
    ends = image(op, [ChannelRanges(lo, hi)], [SimpleNamespace(channels=shape[-1])], None, "")  # type: ignore[list-item, arg-type]
    np.testing.assert_array_equal(ends.lo, lo[element % shape[-1]].min(axis=0))
    np.testing.assert_array_equal(ends.hi, hi[element % shape[-1]].max(axis=0))
    fields = {"split": list(op.split), "order": list(op.order), "shape": list(y)}
    node = Node("node", "Transpose", ("x",), "y", fields, {})
    checked = checked_image(node, [Range(lo, hi)], [Tensor("x", shape, 0, 0, 255)], Tensor("y", y, 0, 0, 255))
    np.testing.assert_array_equal(checked.lo, ends.lo)
    np.testing.assert_array_equal(checked.hi, ends.hi)
