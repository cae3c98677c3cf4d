"""Storage shared over time: blocks that live at different moments lie in the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Block:
    """Storage that one or several tensors share: bytes, and the first and last node that touches it."""

    size: int
    first: int
    last: int


def place(blocks: Sequence[Block]) -> tuple[list[int], int]:
    """Greedy best fit: the largest block first, into the smallest gap that holds it for its whole life.

    Returns:
        (offset of every block, bytes altogether); blocks that live at the same time do not overlap.

    >>> place([Block(8, 0, 1), Block(4, 1, 2), Block(8, 2, 3)])
    ([0, 8, 0], 12)
    """
    offsets: dict[int, int] = {}
    for index in sorted(range(len(blocks)), key=lambda index: (-blocks[index].size, blocks[index].first)):
        block = blocks[index]
        occupied = sorted(
            (offset, offset + blocks[neighbour].size)
            for neighbour, offset in offsets.items()
            if blocks[neighbour].first <= block.last and block.first <= blocks[neighbour].last
        )
        offsets[index] = _best_gap(occupied, block.size)
    size = max((offset + blocks[index].size for index, offset in offsets.items()), default=0)
    return [offsets[index] for index in range(len(blocks))], size


def _best_gap(occupied: list[tuple[int, int]], size: int) -> int:
    """The start of the smallest gap between ``occupied`` intervals that holds ``size``, or the end of all."""
    best: tuple[int, int] | None = None
    end = 0
    for begin, stop in occupied:
        room = begin - end
        if room >= size and (best is None or room < best[0]):
            best = (room, end)
        end = max(end, stop)
    return best[1] if best is not None else end
