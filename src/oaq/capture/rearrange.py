"""Movements of memory: what brings the integers of a tensor into the order that a reader needs.

A front end keeps account of axes (``Layout``) for as long as nothing has to move. Where something has to, one
``Transpose`` does it, between reshapes that cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.capture.layout import Layout
from oaq.errors import ProgramError
from oaq.operators import Shape
from oaq.program.layout import channels_last


def movements(shape: Shape, layout: Layout, order: Sequence[int]) -> tuple[ops.Op, ...]:
    """Operators of integers that put a file's axes into ``order``, the slowest first.

    Args:
        shape: of the tensor, one sample, channels last.
        layout: of its memory, by the file's axes.
        order: of these axes, wanted in memory.

    Returns:
        At most a Reshape, a Transpose and a Reshape: the first and the last where channels, before or after, are no
        whole stretches of what moves.

    Raises:
        ProgramError: more stretches move than a Transpose has.
    """
    target = tuple(layout.shape[axis] for axis in order) or (1,)
    used = [stretch for axis in order for stretch in layout.axes[axis]]
    places = (*used, *(stretch for stretch in range(len(layout.sizes)) if stretch not in used))  # those are of size 1
    vector = (prod(target),)
    if layout.is_in(order):
        return (ops.Reshape(target),)
    whole = ops.Transpose.joining(layout.sizes, places, target)
    if _takes(whole, shape):
        return (whole,)
    before: tuple[ops.Op, ...] = ()
    if not _takes(ops.Transpose.joining(layout.sizes, places, vector), shape):
        before, shape = (ops.Reshape(vector),), vector
    if _takes(whole, shape):
        return (*before, whole)
    return (*before, ops.Transpose.joining(layout.sizes, places, vector), ops.Reshape(target))


def _takes(op: ops.Transpose, shape: Shape) -> bool:
    try:
        op.stretches(shape[-1])
    except ProgramError:
        return False
    return True


def in_channels_first_order(shape: Shape, layout: Layout) -> tuple[ops.Op, ...]:
    """Operators that give a tensor of a float graph the file's axes in their order, channels first.

    Args:
        shape: of the tensor, one sample, channels first; a program holds its channels last.
        layout: of (C, ...) memory, by the file's axes.

    Raises:
        ProgramError: more stretches move than a Transpose has.
    """
    order = (*range(1, len(layout.axes)), 0) if layout.axes else ()
    last = channels_behind(shape, layout)
    if last is not None:
        return movements(channels_last(shape), last, order)
    count = prod(shape)
    vector = ops.Transpose.joining((count // shape[0], shape[0]), (1, 0), (count,))  # channels begin inside a stretch
    return (vector, *movements((count,), layout, order))


def channels_behind(shape: Shape, layout: Layout) -> Layout | None:
    """The layout of a program's memory, channels last, for that of (C, ...); None where a stretch holds some of both.

    >>> channels_behind((6, 4), Layout.in_order((6, 4), (0, 1))).sizes
    (4, 6)
    """
    if len(shape) == 1:
        return layout
    product = 1
    for stretch, size in enumerate(layout.sizes):
        if product == shape[0]:
            return _rotated(layout, stretch)
        if product * size > shape[0]:
            if shape[0] % product or size % (shape[0] // product):
                return None
            return _rotated(_halved(layout, stretch, shape[0] // product), stretch + 1)
        product *= size
    return layout  # one position


def _halved(layout: Layout, stretch: int, outer: int) -> Layout:
    """With one stretch in two, of which ``outer`` is the size of the slower."""
    sizes = (*layout.sizes[:stretch], outer, layout.sizes[stretch] // outer, *layout.sizes[stretch + 1 :])

    def places(axis: Shape) -> Shape:
        return tuple(
            new for place in axis for new in ((place, place + 1) if place == stretch else (place + (place > stretch),))
        )

    return Layout(sizes, tuple(places(axis) for axis in layout.axes))


def _rotated(layout: Layout, first: int) -> Layout:
    """With the first stretches behind the others."""
    count = len(layout.sizes)
    return Layout(
        (*layout.sizes[first:], *layout.sizes[:first]),
        tuple(tuple((place - first) % count for place in axis) for axis in layout.axes),
    )


def channel_order(shape: Shape, layout: Layout) -> NDArray[np.int64] | None:
    """Which of the file's channels each channel of a tensor is, where nothing else is in another place.

    Args:
        shape: of the tensor, one sample, channels first.
        layout: of (C, ...) memory, by the file's axes.

    Returns:
        (C,); None where positions move too, or axes are not those of the tensor.
    """
    if layout.shape != shape or prod(shape) == 1:
        return None
    product, count = 1, 0
    while product < shape[0]:
        product, count = product * layout.sizes[count], count + 1
    channels = [place for place in layout.axes[0] if layout.sizes[place] > 1]
    positions = [place for axis in layout.axes[1:] for place in axis if layout.sizes[place] > 1]
    if product != shape[0] or any(place >= count for place in channels) or positions != sorted(positions):
        return None
    return Layout(layout.sizes[:count], (tuple(channels),)).order_of_elements()
