"""One arena for all tensors of a program, planned ahead from their lifetimes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Final

from oaq import operators as ops
from oaq.program.int_program import IntProgram
from oaq.program.placement import Block, place

ALIGNMENT: Final = 64
"""Bytes: a cache line and the widest vector."""
SLACK: Final = 64
"""Bytes behind each tensor that belong to it alone. Vector loads read up to so many past a tensor's end and discard
them; in a neighbour's bytes that would be a data race with the thread that writes the neighbour."""

EARLIER: Final = 8
"""Nodes by which a result may be written earlier; ``native/session/stages.cc`` looks no further back."""
MOST_GROWTH: Final = 1.125
"""The most that an arena grows for the sake of nodes side by side."""


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


def plan_memory(program: IntProgram) -> Arena:
    """Lay every tensor of one sample where ``placement.place`` finds room for it.

    A tensor lives from the node that writes it (inputs: from the start) to the last node that reads it (outputs: to
    the end), both included, so no kernel reads and writes one block.

    Where that takes little more memory (``MOST_GROWTH``), a result's place is its own from the first node that it could
    be computed beside. Then native code, which joins nodes that touch no memory of each other, has threads compute
    nodes of independent branches side by side.
    """
    plain, side_by_side = (_placed(program, nodes) for nodes in (0, EARLIER))
    return side_by_side if side_by_side.size <= plain.size * MOST_GROWTH else plain


def _placed(program: IntProgram, earlier: int) -> Arena:
    """A plan in which a result may be written up to so many nodes earlier, once its operands are there."""
    blocks, owner, in_place = _blocks(program, earlier)
    offsets, size = place(blocks)
    return Arena(size, MappingProxyType({name: offsets[index] for name, index in owner.items()}), frozenset(in_place))


def _blocks(program: IntProgram, earlier: int) -> tuple[list[Block], dict[str, int], set[str]]:
    """The blocks, which of them holds each tensor, and the reshapes done by sharing one."""
    owner: dict[str, int] = {}
    blocks: list[Block] = []
    in_place: set[str] = set()
    written: dict[str, int] = {}  # by which node that computes something

    def new(name: str, first: int, time: int) -> None:
        size = prod(program.tensors[name].shape) + SLACK
        owner[name], written[name] = len(blocks), time
        blocks.append(Block(-(-size // ALIGNMENT) * ALIGNMENT, first, time))

    for name in program.inputs:
        new(name, -1, -1)
    for time, node in enumerate(program.nodes):
        for name in node.inputs:
            blocks[owner[name]].last = time
        if isinstance(node.op, ops.Reshape):
            owner[node.output], written[node.output] = owner[node.inputs[0]], written[node.inputs[0]]
            in_place.add(node.name)
        else:
            operands = max(written[name] for name in node.inputs)
            new(node.output, max(operands + 1, time - earlier), time)
    for name in program.outputs:
        blocks[owner[name]].last = len(program.nodes)
    return blocks, owner, in_place
