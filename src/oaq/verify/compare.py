"""Integers of one executor against the reference's: how many differ, and where first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from oaq.program.int_program import IntProgram
from oaq.verify.report import Difference

Tensors = Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Comparison:
    """What two sets of tensors have in common.

    Attributes:
        compared: integers.
        mismatches: integers that differ.
        first: at the earliest node that differs.
    """

    compared: int = 0
    mismatches: int = 0
    first: Difference | None = None

    def plus(self, other: Comparison) -> Comparison:
        """Both together; the first difference of whichever was first."""
        return Comparison(self.compared + other.compared, self.mismatches + other.mismatches, self.first or other.first)


def compare(program: IntProgram, expected: Tensors, actual: Tensors, sample: int = 0) -> Comparison:
    """Compare every tensor in ``actual``, in the order the program writes them.

    Args:
        program: says which node writes which tensor.
        expected: the reference's.
        actual: uint8, shaped alike.
        sample: number of the first sample, for messages about a part of a batch.
    """
    result = Comparison()
    written = [(node.name, node.output) for node in program.nodes]
    for node, name in [*((f"input {name}", name) for name in program.inputs), *written]:
        if name in actual:
            result = result.plus(_compare(node, expected[name], actual[name], sample))
    return result


def all_tensors(program: IntProgram) -> IntProgram:
    """``program`` with the result of every node as an output, so that every tensor can be compared."""
    outputs = dict.fromkeys((*program.outputs, *(node.output for node in program.nodes)))
    return replace(program, outputs=tuple(outputs))


def in_parts(arrays: Iterable[NDArray[np.uint8]], size: int) -> Iterable[tuple[int, tuple[NDArray[np.uint8], ...]]]:
    """(number of the first sample, the arrays of at most ``size`` samples), until all are through."""
    arrays = tuple(arrays)
    for start in range(0, len(arrays[0]), size):
        yield start, tuple(array[start : start + size] for array in arrays)


def _compare(node: str, expected: NDArray[np.uint8], actual: NDArray[np.uint8], sample: int) -> Comparison:
    wrong = expected != actual
    count = int(np.count_nonzero(wrong))
    if not count:
        return Comparison(expected.size)
    at = tuple(int(index) for index in np.argwhere(wrong)[0])
    first = Difference(node, (at[0] + sample, *at[1:]), int(expected[at]), int(actual[at]), count, expected.size)
    return Comparison(expected.size, count, first)
