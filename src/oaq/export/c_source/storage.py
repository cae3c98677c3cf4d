"""Where the tensors of a program lie: in the caller's buffers, or in one arena of stated size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from oaq.errors import UnsupportedOp
from oaq.operators import Reshape
from oaq.program.int_program import IntProgram
from oaq.program.placement import Block, place

MOST = 1 << 30
"""Integers of a tensor stay below this, so that sums of indices and strides stay inside 32 bits."""


@dataclass(frozen=True)
class Storage:
    """Where each tensor lies.

    Attributes:
        places: an expression of C for every tensor.
        size: bytes of the arena.
        in_place: names of the nodes that so have nothing to do.
    """

    places: Mapping[str, str]
    size: int
    in_place: frozenset[str]


def plan_storage(program: IntProgram, callers: Mapping[str, str]) -> Storage:
    """Lay every tensor that the caller does not hold into the arena; a tensor lives until it is read last.

    Args:
        program: whose tensors.
        callers: expressions for inputs and outputs.

    Raises:
        UnsupportedOp: a tensor has too many integers to be counted in 32 bits.
    """
    for name, spec in program.tensors.items():
        if prod(spec.shape) >= MOST:
            raise UnsupportedOp(f"{name}: C export counts in 32 bits; {spec.shape} is {prod(spec.shape)} integers")
    places = dict(callers)
    owner: dict[str, int] = {}
    blocks: list[Block] = []
    in_place = set[str]()
    for time, node in enumerate(program.nodes):
        for name in node.inputs:
            if name in owner:
                blocks[owner[name]].last = time
        if node.output in callers:
            continue
        if isinstance(node.op, Reshape):
            in_place.add(node.name)
            source = node.inputs[0]
            if source in owner:
                owner[node.output] = owner[source]
            else:
                places[node.output] = places[source]
        else:
            owner[node.output] = len(blocks)
            blocks.append(Block(prod(program.tensors[node.output].shape), time, time))
    offsets, size = place(blocks)
    places |= {name: f"arena + {offsets[index]}" for name, index in owner.items()}
    return Storage(places, size, frozenset(in_place))
