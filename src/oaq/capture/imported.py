"""What a front end for files that already hold integers returns: the program, and how it relates to the file.

A file need not be integers throughout. Parts that stay in float are *islands*: named, not computed. At the edges of the
network they are what is done to images before, or to results after. An island inside cuts the program: what it reads
becomes a further output of the program and what it writes a further input, so that every layer that sums is in the
program and can be proved, while running the program takes those inputs too.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from oaq.program.int_program import IntProgram
from oaq.terminal.shown import in_a_line

Place = Literal["input", "inside", "output"]
Ints = NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True)
class Island:
    """A connected part of a file that the program does not compute.

    Attributes:
        nodes: (name, operator) of each of its nodes, in execution order.
        reads: tensors of the program whose real values it takes, by the program's names.
        writes: inputs of the program it computes, by the program's names.
        where: "input" reads nothing of the program and writes inputs of it; "inside" does both; "output" writes none.
        why: for the first node that could have been integers but is not: what is in the way; "" if there is none.
    """

    nodes: tuple[tuple[str, str], ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    where: Place
    why: str = ""


def connected(
    operators: Sequence[T], reads: Callable[[T], Iterable[Hashable]], writes: Callable[[T], Iterable[Hashable]]
) -> list[list[T]]:
    """Operators in parts that share no tensor which one of them writes; parts and operators stay in order.

    Args:
        operators: in execution order.
        reads: names of the tensors an operator reads.
        writes: of those it writes, each by one operator only.
    """
    root = list(range(len(operators)))

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = root[root[index]]
            index = root[index]
        return index

    writer = {name: index for index, operator in enumerate(operators) for name in writes(operator)}
    for index, operator in enumerate(operators):
        for name in reads(operator):
            if name in writer:
                first, second = sorted((find(index), find(writer[name])))
                root[second] = first
    parts: dict[int, list[T]] = {}
    for index, operator in enumerate(operators):
        parts.setdefault(find(index), []).append(operator)
    return list(parts.values())


@dataclass(frozen=True)
class StoredArray:
    """An array of a layer as its file stores it.

    Attributes:
        name: of the initializer (or constant) in the file.
        dtype: as stored ("int8", "uint8", "int32", "float32", ...).
        shape: as stored.
        form: "integers"; or "reals" that the file itself divides by a scale and rounds; or "computed": ``name`` is no
            constant of the file but the result of nodes on constants, to be replaced by a constant as a whole.
        shared: something else of the file reads it too: give the layer a copy of its own before changing it.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    form: Literal["integers", "reals", "computed"]
    shared: bool = False


@dataclass(frozen=True, eq=False)
class LayerSource:
    """Where a Conv2d or Linear of the program stands in the file, complete enough to write changed integers back.

    The file's weight ``f`` and the program's ``w`` (N, KH, KW, C) or (N, K) are the same numbers:

        w == (f.reshape(split).transpose(axes).reshape(w.shape) - zero_point[:, None...])[..., columns]

    ``weight_to_file`` undoes it. A weight stands for ``scales[n] * w``, a bias for ``x_scale * scales[n] * b``.

    Attributes:
        nodes: names of the file's nodes that the layer was made from, in execution order.
        weight: in the file.
        weight_scale, weight_zero_point: in the file; None where the file has none (a zero point left out is 0).
        bias: in the file; None if the layer has none there.
        bias_scale: in the file; None where the bias is real, or its scale is implied.
        split: shape that the stored weight is given before its axes are moved.
        axes: its axes in the program's order.
        columns: (K,) of a Linear that reads a flattened image: where each of the program's columns stands among the
            file's; None if they are in the same order.
        zero_point: (N,) stored integer minus the program's, per output.
        scales: (N,) float32 scale of each output's weights, as the multipliers were computed from it.
        scale_per_output: the file has one scale per output, not one for the whole layer.
        input, x_scale, x_zero_point: tensor of the program the layer reads, with its affine map in the file.
        output, y_scale, y_zero_point: likewise written; ``y_scale`` is None if the file leaves the sums real: then the
            program's output map is ours, and covers what the sums can reach.
    """

    nodes: tuple[str, ...]
    weight: StoredArray
    weight_scale: StoredArray | None
    weight_zero_point: StoredArray | None
    bias: StoredArray | None
    bias_scale: StoredArray | None
    split: tuple[int, ...]
    axes: tuple[int, ...]
    columns: Ints | None
    zero_point: Ints
    scales: NDArray[np.float32]
    scale_per_output: bool
    input: str
    x_scale: float
    x_zero_point: int
    output: str
    y_scale: float | None
    y_zero_point: int


@dataclass(frozen=True)
class TensorSource:
    """Where a tensor of the program stands in the file.

    Attributes:
        name: of the integer tensor in the file, or of the real one where the file holds no integers of it.
        offset: the program's integer minus the file's: 128 where the file's are signed, else 0.
        axes: the program's axes (H, W, C) as axes of the file's tensor, the batch being 0; None if the file's is
            no plain permutation of it.
    """

    name: str
    offset: int = 0
    axes: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class Imported:
    """A file as integers.

    Attributes:
        program: every layer of the file that sums 8-bit products is in it.
        islands: the rest, in execution order of their first nodes; empty if the file is integers from end to end.
        notes: what a user should know, one sentence each: cuts, roundings that the file leaves open, what was assumed.
        sources: of every Conv2d and Linear, by node name.
        tensors: of the program, by name.
    """

    program: IntProgram
    islands: tuple[Island, ...]
    notes: tuple[str, ...]
    sources: Mapping[str, LayerSource]
    tensors: Mapping[str, TensorSource] = field(default_factory=dict)

    def __repr__(self) -> str:
        facts = [("", repr(self.program)), ("parts in float", len(self.islands)), ("notes", len(self.notes))]
        return in_a_line("Imported", self.program.name, facts)

    @property
    def is_whole(self) -> bool:
        """True iff running the program needs no more than the file's own inputs."""
        return not any(island.writes for island in self.islands)


def weight_to_file(source: LayerSource, weight: NDArray[np.signedinteger]) -> Ints:
    """The integers that the file would store for a layer's ``weight``, in the file's shape.

    Args:
        source: of the layer.
        weight: of the program's shape; it may differ from the imported one in any number.

    Returns:
        Of shape ``source.weight.shape``. Nothing is clipped: compare with the range of ``source.weight.dtype``. Where
        ``source.weight.form`` is "reals", multiply by the scales before storing.
    """
    changed = weight.astype(np.int64)
    if source.columns is not None:
        back = np.empty_like(changed)
        back[..., source.columns] = changed
        changed = back
    changed = changed + source.zero_point.reshape(-1, *[1] * (changed.ndim - 1))
    moved = changed.reshape([source.split[axis] for axis in source.axes])
    return np.ascontiguousarray(moved.transpose(np.argsort(source.axes))).reshape(source.weight.shape)


def weight_from_file(source: LayerSource, stored: NDArray[np.integer], shape: tuple[int, ...]) -> Ints:
    """The program's integers, of shape ``shape``, for those ``stored`` in the file: what ``weight_to_file`` undoes."""
    weight = stored.astype(np.int64).reshape(source.split).transpose(source.axes).reshape(shape)
    weight = weight - source.zero_point.reshape(-1, *[1] * (weight.ndim - 1))
    return weight if source.columns is None else weight[..., source.columns]
