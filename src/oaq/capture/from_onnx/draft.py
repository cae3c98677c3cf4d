"""``Draft``: an ``IntProgram`` while an importer writes it, when names and ranges may still change."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from oaq import operators as ops
from oaq.capture.from_onnx.graph import OnnxGraph, TensorType
from oaq.capture.imported import TensorSource
from oaq.capture.layout import Layout
from oaq.numerics.affine import Affine
from oaq.numerics.formats import U8
from oaq.numerics.ranges import IntRange
from oaq.operators import TensorSpec, output_shape
from oaq.operators.tensor import Shape
from oaq.program.int_program import Node


@dataclass
class DraftTensor:
    """A tensor of the program to be.

    Attributes:
        shape: of one sample, as the program has it.
        affine: its map.
        range: its effective range.
        file: the tensor of the file that holds the same numbers, integers if there are any.
        layout: of ``file``.
        offset: this integer minus the file's.
        is_integer: ``file`` holds integers.
        is_stated: the file itself says what the map is.
        name: in the program; "" until the end unless the file's own inputs and outputs ask for one.
        readers: how many nodes of the program read it.
        is_of_file: False where the file has no such numbers under any name: before a clamp that is a node of its own.
    """

    shape: Shape
    affine: Affine
    range: IntRange
    file: str
    layout: Layout
    offset: int = 0
    is_integer: bool = False
    is_stated: bool = True
    name: str = ""
    readers: int = 0
    is_of_file: bool = True


@dataclass
class DraftNode:
    """A node of the program to be; tensors by number."""

    name: str
    op: ops.Op
    inputs: tuple[int, ...]
    output: int


class Draft:
    """Tensors by number, nodes in order.

    Attributes:
        tensors: all.
        nodes: in execution order.
        inputs: numbers of the tensors that the caller gives.
        moved: numbers of tensors moved into another order, by tensor, layout and order.
        is_own: oaq has written the file.
    """

    def __init__(self) -> None:
        self.tensors: list[DraftTensor] = []
        self.nodes: list[DraftNode] = []
        self.inputs: list[int] = []
        self.moved: dict[tuple[int, Layout, tuple[int, ...]], int] = {}
        self.is_own = False
        self._writers: dict[int, DraftNode] = {}

    def tensor(self, tensor: DraftTensor) -> int:
        """One more."""
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def emit(self, name: str, op: ops.Op, inputs: Sequence[int], like: DraftTensor) -> int:
        """Apply ``op``; the result is like ``like`` in all but its shape, and where ``op`` only moves integers its map.

        Raises:
            ProgramError: the inputs do not fit.
        """
        shape = output_shape(op, [self.tensors[number].shape for number in inputs])
        result = replace(like, shape=shape, name="", readers=0, is_of_file=True)
        if ops.rules_of(op).same_affine:
            source = self.tensors[inputs[0]]
            result.affine, result.range, result.is_stated = source.affine, source.range, source.is_stated
        number = self.tensor(result)
        for read in inputs:
            self.tensors[read].readers += 1
        self._writers[number] = DraftNode(name, op, tuple(inputs), number)
        self.nodes.append(self._writers[number])
        return number

    def emit_inner(self, name: str, op: ops.Op, inputs: Sequence[int], like: DraftTensor) -> int:
        """``emit`` of what the file has under no name: the result is called after the node."""
        number = self.emit(name, op, inputs, like)
        tensor = self.tensors[number]
        tensor.file, tensor.is_integer, tensor.is_of_file = name, False, False
        return number

    def mark(self) -> tuple[int, int, int]:
        """Where the draft ends now; ``undo`` cuts it off there."""
        return len(self.tensors), len(self.nodes), len(self.inputs)

    def undo(self, mark: tuple[int, int, int]) -> None:
        """Take back everything that came after ``mark``."""
        tensors, nodes, inputs = mark
        for node in self.nodes[nodes:]:
            del self._writers[node.output]
            for read in node.inputs:
                self.tensors[read].readers -= 1
        self.moved = {key: number for key, number in self.moved.items() if number < tensors}
        del self.tensors[tensors:], self.nodes[nodes:], self.inputs[inputs:]

    def writer(self, number: int) -> DraftNode | None:
        """The node that writes a tensor; None for inputs."""
        return self._writers.get(number)

    def name_tensors(self, numbers: Collection[int]) -> dict[int, str]:
        """A name for each of the tensors ``numbers``: its own, or the file's, or that with a number."""
        unique = _Names()
        order = sorted(numbers)
        own_names = {number: unique.take(self.tensors[number].name) for number in order if self.tensors[number].name}
        return {number: own_names.get(number) or unique.take(self.tensors[number].file) for number in order}

    def specs(self, names: Mapping[int, str]) -> dict[str, TensorSpec]:
        """The tensors under their names."""
        return {
            name: TensorSpec(name, tensor.shape, tensor.affine, tensor.range)
            for name, tensor in ((name, self.tensors[number]) for number, name in names.items())
        }

    def named_nodes(self, nodes: Sequence[DraftNode], names: Mapping[int, str]) -> tuple[Node, ...]:
        """Some nodes, their names made unique, tensors under their names."""
        unique = _Names()
        return tuple(
            Node(unique.take(node.name), node.op, tuple(names[number] for number in node.inputs), names[node.output])
            for node in nodes
        )

    def sources(self, names: Mapping[int, str], graph: OnnxGraph) -> dict[str, TensorSource]:
        """Where each tensor stands in the file ``graph``."""
        return {
            name: TensorSource(tensor.file, tensor.offset, _axes_in(graph, tensor))
            for name, tensor in ((name, self.tensors[number]) for number, name in names.items())
        }


def arrangement(rank: int) -> tuple[int, ...]:
    """The order in which a program holds a sample of ``rank`` axes: channels last, images (H, W, C).

    Of two axes it is ONNX's own, (T, C); lines that windows slide over are (L, C), ``spatial``.
    """
    return (1, 2, 0) if rank == 3 else tuple(range(rank))


def spatial(rank: int) -> tuple[int, ...]:
    """The order of what ONNX counts (C, L), (C, H, W): the channels, which windows do not slide over, last."""
    return (*range(1, rank), 0)


def order_of(layout: Layout, shape: Shape) -> tuple[int, ...]:
    """The order in which a tensor of the program's ``shape`` holds its axes: that of ``layout`` where there are two.

    >>> order_of(Layout.in_order((3, 9), (1, 0)), (9, 3)), order_of(Layout.in_order((9, 3), (0, 1)), (9, 3))
    ((1, 0), (0, 1))
    """
    rank = len(layout.axes)
    natural = tuple(range(rank))
    if rank not in (2, 4):
        return arrangement(rank)
    orders = [order for order in (natural, spatial(rank)) if layout.is_in(order)]
    return next((order for order in orders if program_shape(layout.shape, order) == shape), (orders or [natural])[0])


def program_shape(shape: Shape, order: Sequence[int]) -> Shape:
    """The shape a program gives a sample of ONNX's ``shape`` whose axes lie in ``order``, channels last.

    >>> program_shape((3, 4, 5), (1, 2, 0)), program_shape((7, 64), (0, 1)), program_shape((10,), (0,))
    ((4, 5, 3), (7, 64), (10,))
    """
    return tuple(shape[axis] for axis in order) or (1,)


def _axes_in(graph: OnnxGraph, tensor: DraftTensor) -> tuple[int, ...] | None:
    """``_axes``, if the file's tensor has the axes of the layout, and behind them none but of size 1."""
    shape, rank = graph.types.get(tensor.file, TensorType()).shape, len(tensor.layout.shape)
    counted = shape is None or (shape[1 : 1 + rank] == tensor.layout.shape and set(shape[1 + rank :]) <= {1})
    return _axes(tensor.layout, tensor.shape) if counted and tensor.is_of_file else None


def _axes(layout: Layout, shape: Shape) -> tuple[int, ...] | None:
    rank = len(layout.shape)
    natural = tuple(range(rank))
    orders = (natural, spatial(rank)) if rank in (2, 4) else (arrangement(rank), natural)
    for order in dict.fromkeys(orders):
        if rank and layout.is_in(order) and program_shape(layout.shape, order) == shape:
            return tuple(axis + 1 for axis in order)
    return None


class _Names:
    """Names not yet given."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def take(self, name: str) -> str:
        """``name``, or ``name`` with the first number that makes it new."""
        candidate = name
        while candidate in self._counts:
            self._counts[name] += 1
            candidate = f"{name}.{self._counts[name]}"
        self._counts[candidate] = self._counts.get(candidate, 1)
        return candidate


def full(affine: Affine, file: str, layout: Layout) -> DraftTensor:
    """A tensor that may hold any u8; its shape follows from the node that writes it."""
    return DraftTensor((), affine, U8, file, layout)
