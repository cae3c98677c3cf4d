"""The arena: nothing that lives at the same time overlaps, and it is not larger than it must be."""

from __future__ import annotations

from math import prod

import numpy as np
from hypothesis import given, settings

from oaq import operators as ops
from oaq.numerics.affine import Affine
from oaq.program.int_program import IntProgram
from oaq.program.placement import _best_gap
from oaq.runtime.memory import ALIGNMENT, SLACK, plan_memory
from tests.strategies import Builder, conv2d, programs


def lives(program: IntProgram) -> dict[str, tuple[int, int]]:
    """First and last time each tensor is touched."""
    first = dict.fromkeys(program.inputs, -1) | {node.output: time for time, node in enumerate(program.nodes)}
    last = dict(first)
    for time, node in enumerate(program.nodes):
        for name in node.inputs:
            last[name] = time
    for name in program.outputs:
        last[name] = len(program.nodes)
    return {name: (first[name], last[name]) for name in first}


@settings(max_examples=150, deadline=None)
@given(programs(max_nodes=8))
def test_tensors_that_live_together_never_overlap_unless_one_is_the_others_reshape(program: IntProgram) -> None:
    arena = plan_memory(program)
    life = lives(program)
    root = {name: name for name in program.tensors}
    for node in program.nodes:
        if isinstance(node.op, ops.Reshape):
            root[node.output] = root[node.inputs[0]]
            assert node.name in arena.in_place
            assert arena.offsets[node.output] == arena.offsets[node.inputs[0]]
    assert arena.offsets.keys() == program.tensors.keys()
    for name, offset in arena.offsets.items():
        size = prod(program.tensors[name].shape) + SLACK
        assert offset % ALIGNMENT == 0
        assert offset >= 0
        assert offset + size <= arena.size
        for other, place in arena.offsets.items():
            if root[name] == root[other] or life[name][0] > life[other][1] or life[other][0] > life[name][1]:
                continue
            assert offset + size <= place or place + prod(program.tensors[other].shape) + SLACK <= offset


def test_a_reshape_keeps_its_storage_alive_for_the_readers_of_both_names() -> None:
    builder = Builder("shared")
    x = builder.input((4, 4, 4))
    flat = builder.add(ops.Reshape((64,)), [x])
    y = builder.add(conv2d(np.random.default_rng(0), (4, 1, 1, 4)), [x], Affine(0.05, 128))
    again = builder.add(ops.Reshape((4, 4, 4)), [flat])
    builder.add(ops.Slice((0, 0, 0), (1, 1, 1)), [again])
    arena = plan_memory(builder.finish())
    assert arena.offsets[again] == arena.offsets[flat] == arena.offsets[x] != arena.offsets[y]


def test_a_chain_of_equal_tensors_needs_two_blocks() -> None:
    builder = Builder("chain")
    x = builder.input((8, 8, 8))
    for _ in range(6):
        x = builder.add(conv2d(np.random.default_rng(0), (8, 1, 1, 8)), [x])
    assert plan_memory(builder.finish()).size == 2 * (512 + SLACK)


def test_of_gaps_that_hold_a_block_the_smallest_is_taken_not_the_first() -> None:
    taken = [(0, 64), (256, 320), (384, 448)]  # gaps of 192 and 64 bytes
    assert [_best_gap(taken, size) for size in (64, 128, 192, 256)] == [320, 64, 64, 448]


def test_a_branch_has_its_place_from_the_first_node_that_it_could_be_computed_beside() -> None:
    """A shortcut that is computed last may not take the place of what the other branch has finished with."""
    rng = np.random.default_rng(0)
    builder = Builder("branches")
    x = builder.add(conv2d(rng, (8, 1, 1, 8)), [builder.input((16, 16, 8))])  # the peak
    x = builder.add(conv2d(rng, (8, 1, 1, 8), stride=(2, 2)), [x])
    body = [builder.add(conv2d(rng, (8, 1, 1, 8)), [x])]
    body.append(builder.add(conv2d(rng, (8, 1, 1, 8)), [body[-1]]))
    shortcut = builder.add(conv2d(rng, (8, 1, 1, 8)), [x])
    arena = plan_memory(builder.finish())
    assert arena.size == 2 * (2048 + SLACK)
    assert len({arena.offsets[name] for name in (x, *body, shortcut)}) == 4


def test_the_arena_does_not_grow_by_more_than_an_eighth_for_that() -> None:
    rng = np.random.default_rng(0)
    builder = Builder("wide branch")
    x = builder.input((8, 8, 4))
    wide = builder.add(conv2d(rng, (64, 1, 1, 4)), [x])
    builder.add(conv2d(rng, (4, 1, 1, 64)), [wide])
    shortcut = builder.add(conv2d(rng, (64, 1, 1, 4)), [x])
    arena = plan_memory(builder.finish())
    assert arena.offsets[shortcut] == arena.offsets[wide]
