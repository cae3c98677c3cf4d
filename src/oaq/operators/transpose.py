"""Transpose: the same integers in another order of memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.ranges import ChannelRanges
from oaq.numerics.requantize import Semantics
from oaq.operators.operator import Arrays, Case, Op, Ranges, Rules, Specs, pointwise_work
from oaq.operators.tensor import LARGEST_RANK, Shape, TensorSpec


@dataclass(frozen=True)
class Transpose(Op):
    """y = x.reshape(split).transpose(order).reshape(shape), without the batch: memory cut into nested stretches.

    A permutation of axes is ``split`` = shape of x; a channel shuffle of (H, W, g * n) is ``split`` = (H, W, g, n),
    ``order`` = (0, 1, 3, 2), ``shape`` = (H, W, n * g). No stretch is 1, and none two follow each other in both orders,
    so that a movement of memory is written in one way only; see ``joining``.

    The channels of x, cut off the innermost stretches, must be whole stretches or whole parts of one, and so must those
    of y: each channel of y holds what some channels of x hold in full, so that its range is exact.

    Attributes:
        split: 1 to 8 stretches, the slowest first.
        order: of the stretches in y, the slowest first.
        shape: of y, one sample, channels last.
    """

    split: tuple[int, ...]
    order: tuple[int, ...]
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("split", "order", "shape"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        split, order, target = self.split, self.order, self.shape
        rank = len(split)
        if rank > LARGEST_RANK or len(target) > LARGEST_RANK:  # first: what follows multiplies them all
            longest = max(rank, len(target))
            raise ProgramError(f"Transpose: moves {longest} stretches of memory, more than {LARGEST_RANK}")
        if not rank or min(split) < 1 or sorted(order) != list(range(rank)):
            raise ProgramError(
                f"Transpose: {split} in the order {order} are not stretches of memory and an order of them"
            )
        if not target or min(target) < 1 or prod(target) != prod(split):
            raise ProgramError(f"Transpose: stretches of {split} do not fill {target}")
        if (split, order) != joined(split, order):
            raise ProgramError(
                f"Transpose: {split} in the order {order} is {' in the order '.join(map(str, joined(split, order)))}; "
                "a movement is written with as few stretches as do (Transpose.joining)"
            )

    @classmethod
    def joining(cls, split: Shape, order: Sequence[int], shape: Shape) -> Transpose:
        """A movement told by any stretches, written with as few as do."""
        if not split or min(split) < 1 or sorted(order) != list(range(len(split))):
            return cls(tuple(split), tuple(order), tuple(shape))  # which says so
        return cls(*joined(tuple(split), tuple(order)), tuple(shape))

    def stretches(self, channels: int) -> tuple[Shape, Shape, int, int]:
        """Stretches of an x of so many channels, cut where channels begin on either side.

        Returns:
            (split, order, number of stretches of the channels of x, of the channels of y).

        Raises:
            ProgramError: channels begin inside what moves as a whole.
        """
        pieces = [(place, 0, size) for place, size in enumerate(self.split)]  # place, place inside it, size
        before = _cut(pieces, channels)
        after = _cut([piece for place in self.order for piece in before if piece[0] == place], self.shape[-1])
        in_memory = sorted(after)
        places = {piece[:2]: index for index, piece in enumerate(in_memory)}
        order = tuple(places[piece[:2]] for piece in after)
        split = tuple(size for _, _, size in in_memory)
        return split, order, _innermost(split, channels), _innermost([size for *_, size in after], self.shape[-1])


Pieces = list[tuple[int, int, int]]


def joined(split: Shape, order: Shape) -> tuple[Shape, Shape]:
    """A movement by as few stretches as do: (split, order)."""
    runs: list[list[int]] = []
    for place in order:
        if split[place] > 1:
            inner = runs[-1][-1] if runs else None
            if inner is not None and inner < place and all(split[skipped] == 1 for skipped in range(inner + 1, place)):
                runs[-1].append(place)
            else:
                runs.append([place])
    in_memory = sorted(runs)
    sizes = tuple(prod(split[place] for place in run) for run in in_memory)
    return sizes or (1,), tuple(in_memory.index(run) for run in runs) or (0,)


def _cut(pieces: Pieces, channels: int) -> Pieces:
    """Stretches, the slowest first, of which the one that the channels begin in is cut in two.

    Raises:
        ProgramError: they do not begin between equal parts of it.
    """
    product = 1
    for index in range(len(pieces) - 1, -1, -1):
        place, inside, size = pieces[index]
        if product == channels:
            break
        if channels % product or (product * size > channels and size % (channels // product)):
            raise ProgramError(
                f"Transpose: {channels} channels begin inside a stretch of {size}, {product} in: move it in two steps, "
                "a vector between"
            )
        if product * size > channels:
            inner = channels // product
            return [
                *pieces[:index],
                (place, inside, size // inner),
                (place, inside + 1, inner),
                *((at, part + (at == place), wide) for at, part, wide in pieces[index + 1 :]),
            ]
        product *= size
    return pieces


def _innermost(sizes: Sequence[int], channels: int) -> int:
    """How many of the last ``sizes`` multiply to ``channels``; as few as do."""
    count, product = 0, 1
    while product < channels:
        count += 1
        product *= sizes[-count]
    return count


def shape(op: Transpose, inputs: Sequence[Shape]) -> Shape:
    """Its own."""
    if prod(inputs[0]) != prod(op.split):
        raise ProgramError(f"Transpose: stretches of {op.split} do not hold {inputs[0]}")
    op.stretches(inputs[0][-1])
    return op.shape


def law(op: Transpose, inputs: Arrays, _specs: Specs, _y: TensorSpec) -> NDArray[np.int64]:
    """(batch, ...) to (batch, *shape)."""
    batch = len(inputs[0])
    parts = inputs[0].reshape(batch, *op.split).transpose(0, *(1 + place for place in op.order))
    return parts.reshape(batch, *op.shape).astype(np.int64)


def image(op: Transpose, inputs: Ranges, specs: Specs, _y: TensorSpec, _where: str) -> ChannelRanges:
    """Each channel of y holds what all channels of x hold that differ from it in stretches of x's channels alone."""
    split, order, of_x, of_y = op.stretches(specs[0].channels)
    first, last = len(split) - of_x, order[len(split) - of_y :]
    reduced = tuple(place - first for place in range(first, len(split)) if place not in last)
    shared = [place for place in range(first, len(split)) if place in last]
    in_order = [shared.index(place) for place in last if place in shared]
    broad, full = [split[place] if place in shared else 1 for place in last], [split[place] for place in last]

    def moved(ends: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.broadcast_to(ends.transpose(in_order).reshape(broad), full).reshape(-1)

    lo, hi = (ends.reshape(split[first:]) for ends in (inputs[0].lo, inputs[0].hi))
    return ChannelRanges(moved(lo.min(axis=reduced)), moved(hi.max(axis=reduced)))


def cases(_semantics: Semantics) -> tuple[Case, ...]:
    """Axes of images, lines and volumes, channels shuffled, an image flattened in the order of its channels."""
    return (
        Case(Transpose.joining((1,), (0,), (1,)), ((1,),)),
        Case(Transpose.joining((3, 4, 5), (2, 0, 1), (5, 3, 4)), ((3, 4, 5),)),
        Case(Transpose.joining((3, 2, 2, 5), (0, 1, 3, 2), (3, 2, 10)), ((3, 2, 10),)),
        Case(Transpose.joining((12, 5), (1, 0), (60,)), ((3, 4, 5),)),
        Case(Transpose.joining((7, 2, 3), (1, 0, 2), (2, 7, 3)), ((7, 6),)),
        Case(Transpose.joining((2, 3, 2, 5), (3, 1, 0, 2), (15, 4)), ((2, 3, 2, 5),)),
    )


RULES = Rules(
    Transpose,
    arity=1,
    shape=shape,
    law=law,
    image=image,
    family="transpose",
    work=lambda _op, _x, y: pointwise_work(y),
    cases=cases,
    same_affine=True,
)
