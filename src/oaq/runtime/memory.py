"""One arena for all tensors of a program, planned ahead from their lifetimes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Final

from oaq import operators as ops
from oaq.program.int_program import IntProgram

ALIGNMENT: Final = 64
"""Bytes: a cache line and the widest vector."""
SLACK: Final = 64
"""Bytes behind each tensor that belong to it alone. Vector loads read up to so many past a tensor's end and discard
them; in a neighbour's bytes that would be a data race with the thread that writes the neighbour."""


@dataclass(frozen=True)
class Arena:
    """Where each tensor of one sample lies.

    Attributes:
        size: bytes, a multiple of ``ALIGNMENT``.
        offsets: of every tensor, multiples of ``ALIGNMENT``. Tensors that live at the same time do not overlap, nor
            does any overlap the ``SLACK`` bytes behind another, except a reshape's result, which *is* its input's
            storage.
        in_place: names of the nodes that so have nothing to do.
    """

    size: int
    offsets: Mapping[str, int]
    in_place: frozenset[str]


@dataclass
class _Block:
    """Storage that one or several tensors share: bytes, and the first and last node that touches it."""

    size: int
    first: int
    last: int


def plan_memory(program: IntProgram) -> Arena:
    """Greedy best fit: the largest block first, into the smallest gap that holds it for its whole life.

    A tensor lives from the node that writes it (inputs: from the start) to the last node that reads it (outputs: to
    the end), both included, so no kernel reads and writes one block.
    """
    blocks, owner, in_place = _blocks(program)
    placed: list[tuple[_Block, int]] = []
    offsets: dict[int, int] = {}
    for block in sorted(blocks, key=lambda block: (-block.size, block.first)):
        occupied = sorted(
            (offset, offset + neighbour.size)
            for neighbour, offset in placed
            if neighbour.first <= block.last and block.first <= neighbour.last
        )
        offset = _best_gap(occupied, block.size)
        placed.append((block, offset))
        offsets[id(block)] = offset
    size = max((offset + block.size for block, offset in placed), default=0)
    return Arena(
        size, MappingProxyType({name: offsets[id(block)] for name, block in owner.items()}), frozenset(in_place)
    )


def _blocks(program: IntProgram) -> tuple[list[_Block], dict[str, _Block], set[str]]:
    """The blocks, the block of each tensor, and the reshapes done by sharing one."""
    owner: dict[str, _Block] = {}
    blocks: list[_Block] = []
    in_place: set[str] = set()

    def new(name: str, time: int) -> None:
        size = prod(program.tensors[name].shape) + SLACK
        owner[name] = _Block(-(-size // ALIGNMENT) * ALIGNMENT, time, time)
        blocks.append(owner[name])

    for name in program.inputs:
        new(name, -1)
    for time, node in enumerate(program.nodes):
        for name in node.inputs:
            owner[name].last = time
        if isinstance(node.op, ops.Reshape):
            owner[node.output] = owner[node.inputs[0]]
            in_place.add(node.name)
        else:
            new(node.output, time)
    for name in program.outputs:
        owner[name].last = len(program.nodes)
    return blocks, owner, in_place


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
