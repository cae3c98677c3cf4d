"""``Layout``: in which order a program's tensor lies in memory, as seen from the axes that ONNX gives the same values.

A program keeps images as (H, W, C), ONNX as (C, H, W). What ONNX does to axes (Transpose, Reshape, Squeeze, ...) moves
nothing as long as it is recorded which stretch of memory is which axis. That is all a ``Layout`` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

from oaq.operators.tensor import Shape


@dataclass(frozen=True)
class Layout:
    """Memory, cut into nested stretches.

    Attributes:
        sizes: of the stretches in memory order, the slowest first; their product is the number of elements.
        axes: for each of ONNX's axes of one sample, which stretches it is made of, the slowest first.
    """

    sizes: Shape
    axes: tuple[Shape, ...]

    @classmethod
    def in_order(cls, shape: Shape, order: Sequence[int]) -> Layout:
        """Memory that holds a sample of ONNX's ``shape`` with its axes in ``order``, the slowest first."""
        place = {axis: index for index, axis in enumerate(order)}
        return cls(tuple(shape[axis] for axis in order), tuple((place[axis],) for axis in range(len(shape))))

    @property
    def shape(self) -> Shape:
        """Shape of one sample, as ONNX has it.

        >>> Layout.in_order((3, 4, 5), (1, 2, 0)).shape
        (3, 4, 5)
        """
        return tuple(prod(self.sizes[stretch] for stretch in axis) for axis in self.axes)

    def is_in(self, order: Sequence[int]) -> bool:
        """True iff memory holds ONNX's axes in ``order``, the slowest first.

        >>> image = Layout.in_order((3, 4, 5), (1, 2, 0))
        >>> image.is_in((1, 2, 0)), image.is_in((0, 1, 2))
        (True, False)
        """
        stretches = [stretch for axis in order for stretch in self.axes[axis] if self.sizes[stretch] > 1]
        return all(first < second for first, second in pairwise(stretches))

    @property
    def order(self) -> Shape | None:
        """ONNX's axes in the order in which memory holds them, the slowest first; None if one lies in several pieces.

        >>> Layout.in_order((3, 4, 5), (1, 2, 0)).order
        (1, 2, 0)
        """
        owner = {stretch: axis for axis, stretches in enumerate(self.axes) for stretch in stretches}
        runs: list[int] = []
        for stretch in sorted(stretch for stretch in owner if self.sizes[stretch] > 1):
            if not runs or runs[-1] != owner[stretch]:
                runs.append(owner[stretch])
        return tuple(runs) if len(set(runs)) == len(runs) and self.is_in(runs) else None

    def mismatch(self, order: Sequence[int]) -> str:
        """What to say where axes are needed in ``order`` and memory holds them otherwise, the batch being axis 0.

        >>> Layout.in_order((3, 4, 5), (1, 2, 0)).mismatch((0, 1, 2))
        'axes in the order (1, 2, 3), and memory holds them as (2, 3, 1)'
        """
        held = self.order
        wide = tuple(axis + 1 for axis in order if held is None or axis in held)
        shown = "pieces of several axes in turn" if held is None else str(tuple(axis + 1 for axis in held))
        return f"axes in the order {wide}, and memory holds them as {shown}"

    def transposed(self, order: Sequence[int]) -> Layout:
        """After a Transpose to ``order`` of the sample's axes; nothing moves."""
        return Layout(self.sizes, tuple(self.axes[axis] for axis in order))

    def reshaped(self, shape: Shape) -> Layout | None:
        """After a Reshape to ``shape``; nothing moves. None if an axis would be no run of whole or cut stretches.

        >>> Layout.in_order((12,), (0,)).reshaped((3, 2, 2)).is_in((0, 1, 2))
        True
        >>> Layout.in_order((3, 2, 2), (1, 2, 0)).reshaped((2, 6)) is None  # half of an axis that lies innermost
        True
        """
        blocks = self._blocks()
        pieces: list[tuple[int, int, int]] = []  # place in memory, place inside the block, size
        by_axis = []
        remaining = list(reversed(blocks))
        for size_left in shape:
            axis_pieces: list[int] = []
            while size_left > 1:
                if not remaining:
                    return None
                start, inside, size = remaining.pop()
                if size_left % size == 0:
                    part = size
                elif size % size_left == 0:
                    part = size_left
                    remaining.append((start, inside + 1, size // size_left))
                else:
                    return None
                axis_pieces.append(len(pieces))
                pieces.append((start, inside, part))
                size_left //= part
            by_axis.append(axis_pieces)
        if remaining:
            return None
        in_memory = sorted(range(len(pieces)), key=lambda piece: pieces[piece][:2])
        place = {piece: index for index, piece in enumerate(in_memory)}
        return Layout(
            tuple(pieces[piece][2] for piece in in_memory),
            tuple(tuple(place[piece] for piece in places) for places in by_axis),
        )

    def axes_of(self, shape: Shape) -> Shape | None:
        """For each of the file's axes which axis of a tensor's own ``shape`` it is; None if they are not the same.

        Axes of size 1 stand for each other in their order.

        >>> Layout.in_order((3, 4, 5), (1, 2, 0)).axes_of((4, 5, 3))
        (2, 0, 1)
        """
        sizes = [size for size in self.sizes if size > 1]
        real = [axis for axis, size in enumerate(shape) if size > 1]
        if len(self.axes) != len(shape) or sizes != [shape[axis] for axis in real]:
            return None
        stretches = [stretch for stretch, size in enumerate(self.sizes) if size > 1]
        own_axes = dict(zip(stretches, real, strict=True))
        unit_axes = iter([axis for axis, size in enumerate(shape) if size == 1])
        result = []
        for parts in self.axes:
            wide = [own_axes[part] for part in parts if part in own_axes]
            if len(wide) > 1:
                return None
            result.append(wide[0] if wide else next(unit_axes, -1))
        return tuple(result) if sorted(result) == list(range(len(shape))) else None

    def _blocks(self) -> list[tuple[int, int, int]]:
        """(place, 0, size) of the fewest stretches, in ONNX's order: those that follow each other in both are one."""
        blocks: list[tuple[int, int, int]] = []
        real = [stretch for stretch in range(len(self.sizes)) if self.sizes[stretch] > 1]
        place = {stretch: index for index, stretch in enumerate(real)}
        last = -2
        for stretch in (stretch for axis in self.axes for stretch in axis if stretch in place):
            if place[stretch] == last + 1 and blocks:
                start, _, size = blocks[-1]
                blocks[-1] = (start, 0, size * self.sizes[stretch])
            else:
                blocks.append((place[stretch], 0, self.sizes[stretch]))
            last = place[stretch]
        return blocks

    def order_of_elements(self) -> NDArray[np.int64]:
        """Where each element in memory stands among the sample's elements as ONNX counts them.

        >>> Layout.in_order((2, 3), (1, 0)).order_of_elements().tolist()
        [0, 3, 1, 4, 2, 5]
        """
        counted = np.arange(prod(self.sizes), dtype=np.int64)
        sequence = [stretch for axis in self.axes for stretch in axis]
        shaped = counted.reshape([self.sizes[stretch] for stretch in sequence])
        return shaped.transpose(np.argsort(sequence)).reshape(-1) if sequence else counted
