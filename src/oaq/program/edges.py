"""``Edge``: how a tensor of the program looks to a caller: name, type, shape and order of axes, as its file has them.

A program holds unsigned integers, channels last. The file it was read from may take and give the same numbers under
another name, as int8, in another order or cut into other axes. What an edge says costs nothing inside the program and
is undone where values enter and leave. ``metadata["file_inputs"]`` and ``metadata["file_outputs"]`` hold the edges as
JSON, in the file's order; where they are missing, callers see the program's own names and ``program.layout`` says the
order. Metadata are no part of a fingerprint: an edge changes no integer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import prod
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.operators.tensor import Shape
from oaq.program.int_program import IntProgram
from oaq.program.layout import channels_first, layout_of

INPUTS: Final = "file_inputs"
OUTPUTS: Final = "file_outputs"
REALS: Final = ("float32", "float16", "float64")
INTEGERS: Final = {"uint8": 0, "int8": 128}
"""What is added to integers of a type to make them the program's."""


@dataclass(frozen=True)
class Edge:
    """One tensor where values enter or leave.

    Attributes:
        name: in the file.
        tensor: of the program.
        dtype: of the caller's arrays: one of ``REALS``, or of ``INTEGERS`` where the file itself holds integers.
        sizes: of the stretches that the program's tensor is cut into, the slowest first; their product is its size.
        axes: for each axis of one sample as the caller counts them, which stretches it is made of, the slowest first.
    """

    name: str
    tensor: str
    dtype: str
    sizes: Shape
    axes: tuple[Shape, ...]

    @cached_property
    def shape(self) -> Shape:
        """Shape of one sample as the caller has it.

        >>> Edge("y", "y", "float32", (4, 5, 3), ((2,), (0, 1))).shape
        (3, 20)
        """
        return tuple(prod(self.sizes[stretch] for stretch in axis) for axis in self.axes)

    @property
    def is_integer(self) -> bool:
        """The caller's arrays hold integers, which are taken and given as they are."""
        return self.dtype in INTEGERS

    @cached_property
    def order(self) -> Shape:
        """The stretches as the caller counts them, the slowest first."""
        return tuple(stretch for axis in self.axes for stretch in axis)

    @cached_property
    def blocks(self) -> tuple[int, int] | None:
        """See ``channel_blocks``. It is worked out once, as shape and order are: every run asks for them."""
        stretches = [stretch for stretch in self.order if self.sizes[stretch] > 1]
        turn = next((at for at in range(1, len(stretches)) if stretches[at] < stretches[at - 1]), 0)
        rotated = stretches[turn:] + stretches[:turn]
        if rotated != sorted(rotated):
            return None
        inner = prod(self.sizes[stretch] for stretch in stretches[:turn])
        return inner, prod(self.sizes) // inner if inner else 0


def input_edges(program: IntProgram) -> tuple[Edge, ...]:
    """Edges of the program's inputs, one each, in the program's order; two may be one input of the file.

    Raises:
        ProgramError: the metadata contradict the program.
    """
    return _edges(program, INPUTS, program.inputs)


def output_edges(program: IntProgram) -> tuple[Edge, ...]:
    """Edges of what the caller receives, in the file's order; two may show one output of the program.

    Raises:
        ProgramError: the metadata contradict the program.
    """
    return _edges(program, OUTPUTS, program.outputs)


def plain_edge(program: IntProgram, tensor: str) -> Edge:
    """The edge of a tensor of which a file says nothing: its own name, real values, in the layout of the metadata.

    Raises:
        ProgramError: the layout is none.
    """
    shape = program.tensors[tensor].shape
    rank = len(shape)
    order = channels_first(tuple(range(rank))) if layout_of(program.metadata, tensor) == "NCHW" else tuple(range(rank))
    return Edge(tensor, tensor, "float32", shape, tuple((axis,) for axis in order))


def with_edges(program: IntProgram, inputs: Sequence[Edge], outputs: Sequence[Edge]) -> IntProgram:
    """``program`` with what a file says of its ends in the metadata, where that is more than they say already.

    Args:
        program: the metadata say its layout.
        inputs: one per input of the program, in its order.
        outputs: in the file's order.
    """
    metadata = dict(program.metadata)
    for key, edges, tensors in ((INPUTS, inputs, program.inputs), (OUTPUTS, outputs, program.outputs)):
        forms = [canonical(edge) for edge in edges]
        if forms != [canonical(plain_edge(program, tensor)) for tensor in tensors]:
            metadata[key] = json.dumps([asdict(edge) for edge in forms], separators=(",", ":"))
    return program if metadata == program.metadata else replace(program, metadata=metadata)


def without_edges(program: IntProgram) -> IntProgram:
    """``program`` as its callers would see it if its file said nothing."""
    metadata = {key: value for key, value in program.metadata.items() if key not in (INPUTS, OUTPUTS)}
    return program if len(metadata) == len(program.metadata) else replace(program, metadata=metadata)


def canonical(edge: Edge) -> Edge:
    """An edge with the fewest stretches: neighbours in memory and for the caller, inside one axis, are joined.

    >>> canonical(Edge("y", "y", "float32", (2, 1, 3), ((0, 1, 2),))).sizes
    (6,)
    """
    real = [stretch for stretch in range(len(edge.sizes)) if edge.sizes[stretch] > 1]
    place = {stretch: index for index, stretch in enumerate(real)}
    start: dict[int, int] = {}  # first stretch of the joined one that each belongs to, by place in memory
    for axis in edge.axes:
        last = -2
        for stretch in (place[stretch] for stretch in axis if stretch in place):
            start[stretch] = start[last] if stretch == last + 1 else stretch
            last = stretch
    starts = sorted(set(start.values()))
    index = {first: number for number, first in enumerate(starts)}
    sizes = [prod(edge.sizes[real[at]] for at, first in start.items() if first == begin) for begin in starts]
    axes = [
        tuple(dict.fromkeys(index[start[place[stretch]]] for stretch in axis if stretch in place)) for axis in edge.axes
    ]
    return Edge(edge.name, edge.tensor, edge.dtype, tuple(sizes), tuple(axes))


def to_caller(edge: Edge, array: NDArray[Any]) -> NDArray[Any]:
    """Values (batch, ...) of the program's tensor in the caller's order and shape, contiguous."""
    order = edge.order
    shaped = array.reshape(len(array), *edge.sizes).transpose(0, *(axis + 1 for axis in order))
    return np.ascontiguousarray(shaped).reshape(len(array), *edge.shape)


def to_program(edge: Edge, array: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Values (batch, ...) in the caller's order as the program's tensor of ``shape`` holds them, contiguous."""
    order = edge.order
    shaped = array.reshape(len(array), *(edge.sizes[stretch] for stretch in order))
    moved = shaped.transpose(0, *(int(axis) + 1 for axis in np.argsort(order)))
    return np.ascontiguousarray(moved).reshape(len(array), *shape)


def channel_blocks(edge: Edge) -> tuple[int, int] | None:
    """(A, B) such that the caller's order is (A, B) where memory's is (B, A); (1, B) if they agree; else None.

    >>> channel_blocks(Edge("y", "y", "float32", (4, 5, 3), ((2,), (0,), (1,))))
    (3, 20)
    """
    return edge.blocks


_READ: Final[WeakKeyDictionary[IntProgram, dict[str, tuple[Edge, ...]]]] = WeakKeyDictionary()
"""Edges by program and key of its metadata: programs do not change, and every run asks."""


def _edges(program: IntProgram, key: str, tensors: Sequence[str]) -> tuple[Edge, ...]:
    by_key = _READ.setdefault(program, {})
    if key not in by_key:
        by_key[key] = _read_edges(program, key, tensors)
    return by_key[key]


def _read_edges(program: IntProgram, key: str, tensors: Sequence[str]) -> tuple[Edge, ...]:
    text = program.metadata.get(key)
    if text is None:
        return tuple(plain_edge(program, tensor) for tensor in tensors)
    try:
        edges = tuple(_edge(item) for item in json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ProgramError(f"{program.name}: metadata {key!r} is not a list of edges: {error}") from error
    expected = [edge.tensor for edge in edges] if key == OUTPUTS else list(tensors)
    if [edge.tensor for edge in edges] != expected or {edge.tensor for edge in edges} != set(tensors):
        raise ProgramError(f"{program.name}: metadata {key!r} speaks of other tensors than {list(tensors)}")
    for edge in edges:
        _check(program, key, edge)
    return edges


def _edge(item: dict[str, Any]) -> Edge:
    if not isinstance(item, dict) or set(item) != set(Edge.__dataclass_fields__):
        raise ValueError(f"an edge has the fields {list(Edge.__dataclass_fields__)}")
    name, tensor, dtype = texts = [item[key] for key in ("name", "tensor", "dtype")]
    sizes, axes = tuple(item["sizes"]), tuple(tuple(axis) for axis in item["axes"])
    if not all(isinstance(value, str) for value in texts) or not all(
        type(number) is int and number >= 0 for numbers in (sizes, *axes) for number in numbers
    ):
        raise ValueError("names are texts, sizes and axes are whole numbers")
    return Edge(name, tensor, dtype, sizes, axes)


def _check(program: IntProgram, key: str, edge: Edge) -> None:
    spec = program.tensors[edge.tensor]
    where = f"{program.name}: metadata {key!r}, {edge.name!r}"
    if edge.dtype not in (*REALS, *INTEGERS):
        raise ProgramError(f"{where}: arrays are of {', '.join((*REALS, *INTEGERS))}, not {edge.dtype!r}")
    if sorted(edge.order) != list(range(len(edge.sizes))) or prod(edge.sizes) != prod(spec.shape):
        raise ProgramError(f"{where}: its axes do not hold the {prod(spec.shape)} numbers of {spec.shape}")
