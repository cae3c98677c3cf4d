"""Edges: the caller's order of what a program holds, there and back, and what metadata may say of it."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from oaq.errors import ProgramError
from oaq.program.edges import (
    Edge,
    canonical,
    channel_blocks,
    input_edges,
    output_edges,
    plain_edge,
    to_caller,
    to_program,
    with_edges,
)
from tests.runtime.test_values import program

SIZES = (2, 1, 3, 4)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_every_order_is_undone_and_joining_stretches_changes_nothing(order: tuple[int, ...]) -> None:
    memory = np.arange(48).reshape(2, 4, 6)
    for cut in ((4,), (1, 3), (2, 2), (1, 1, 1, 1)):
        ends = np.cumsum(cut)
        axes = tuple(tuple(order[end - size : end]) for end, size in zip(ends, cut, strict=True))
        edge = Edge("y", "y", "float32", SIZES, axes)
        seen = to_caller(edge, memory)
        assert seen.shape == (2, *edge.shape)
        np.testing.assert_array_equal(to_program(edge, seen, (4, 6)), memory)
        joined = canonical(edge)
        assert joined.shape == edge.shape
        np.testing.assert_array_equal(to_caller(joined, memory), seen)
        assert canonical(joined) == joined
        blocks = channel_blocks(edge)
        if blocks is not None:
            first, last = blocks
            np.testing.assert_array_equal(memory.reshape(2, last, first).transpose(0, 2, 1).ravel(), seen.ravel())


def test_metadata_say_no_more_than_there_is_to_say() -> None:
    net = program("NCHW")
    plain = [plain_edge(net, net.inputs[0])], [plain_edge(net, net.outputs[0])]
    assert with_edges(net, *plain) is net
    named = [replace(plain[0][0], name="image")], plain[1]
    changed = with_edges(net, *named)
    assert set(changed.metadata) - set(net.metadata) == {"file_inputs"}
    assert input_edges(changed)[0].name == "image"
    assert output_edges(changed) == tuple(plain[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("[", "is not a list of edges"),
        ("3", "is not a list of edges"),
        ('[{"name": "x"}]', "an edge has the fields"),
        ({"tensor": "t9"}, "speaks of other tensors"),
        ({"sizes": [2, 3, 5]}, "do not hold the 24 numbers"),
        ({"axes": [[0], [1], [1]]}, "do not hold the 24 numbers"),
        ({"axes": [[0], [1], [-1]]}, "whole numbers"),
        ({"dtype": "int4"}, "arrays are of float32, float16, float64, uint8, int8, not 'int4'"),
        ({"name": 3}, "names are texts"),
    ],
)
def test_metadata_that_contradict_the_program_are_refused(change: object, message: str) -> None:
    net = program("NCHW")
    edge = {"name": "x", "tensor": "t0", "dtype": "float32", "sizes": [2, 3, 4], "axes": [[2], [0], [1]]}
    text = change if isinstance(change, str) else json.dumps([{**edge, **change}])  # type: ignore[dict-item]
    with pytest.raises(ProgramError, match=message):
        input_edges(replace(net, metadata={**net.metadata, "file_inputs": text}))
