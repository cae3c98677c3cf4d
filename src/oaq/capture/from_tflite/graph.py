"""``TfliteGraph``: a TFLite file as plain values, checked once, so that the importer need trust nothing.

What every ``TfliteGraph`` keeps: operators are in execution order; every tensor they read is a constant, an input of
the graph, a state, or written by exactly one earlier operator; constants hold exactly the numbers their shape says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.errors import FormatError

Array = NDArray[Any]
Options = Mapping[str, int | float | tuple[int, ...]]
LEFT_OUT = -1
"""Index of an optional input that an operator does not have."""


@dataclass(frozen=True, eq=False)
class TfliteTensor:
    """One tensor.

    Attributes:
        index: in the file's table, which is how operators name it.
        name: for people; need not be unique.
        shape: all axes, the batch first. A batch left open is 1.
        kind: element type as the schema calls it ("INT8", "FLOAT32", "INT4", ...).
        scale: (n,) float32 as stored; empty if the tensor has none.
        zero_point: (n,) int64 as stored; empty if it has none.
        axis: along which scales run, if there are several.
        blocks: it is quantized in a way that is neither per tensor nor per axis.
        constant: its numbers stand in the file.
        data: those numbers, read-only, of ``shape`` (INT4 as int8); None if not constant, or of a kind not read.
        buffer: where they stand: tensors with the same one share them.
        state: keeps its value from one run to the next.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    kind: str
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int
    blocks: bool
    constant: bool
    data: Array | None
    buffer: int
    state: bool = False


@dataclass(frozen=True, eq=False)
class TfliteOperator:
    """One operator applied.

    Attributes:
        name: made from the name of what it writes, unique.
        op: as the schema calls it ("CONV_2D"); "custom NAME" for a custom one.
        inputs: tensors by index; ``LEFT_OUT`` where an optional one is missing.
        outputs: tensors by index.
        options: the fields of its option table, by their names in the schema's Python classes; none if the file holds
            no table, which stands for defaults.
        version: of the operator, as the file says.
    """

    name: str
    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Options
    version: int = 1

    def input_at(self, index: int) -> int:
        """The tensor at that input; ``LEFT_OUT`` if there is none."""
        return self.inputs[index] if index < len(self.inputs) else LEFT_OUT

    def option(self, field: str) -> int | float:
        """A number of its option table; 0 where the file leaves the table out."""
        value = self.options.get(field, 0)
        return 0 if isinstance(value, tuple) else value

    def numbers(self, field: str) -> tuple[int, ...]:
        """A list of its option table; empty where there is none."""
        value = self.options.get(field, ())
        return value if isinstance(value, tuple) else ()

    def __str__(self) -> str:
        return f"operator {self.name!r} ({self.op})"


@dataclass(frozen=True, eq=False)
class TfliteGraph:
    """A whole file; see the module for what it keeps.

    Attributes:
        where: the file, for messages.
        name: of the graph.
        tensors: by index.
        operators: in execution order.
        inputs: tensors that the caller gives.
        outputs: tensors that the caller gets.
    """

    where: str
    name: str
    tensors: tuple[TfliteTensor, ...]
    operators: tuple[TfliteOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def input_of(self, operator: TfliteOperator, index: int) -> TfliteTensor:
        """The input at that place, which must be there.

        Raises:
            FormatError: it is left out.
        """
        if operator.input_at(index) == LEFT_OUT:
            raise FormatError(f"{operator}: its input {index} is left out; the file is damaged")
        return self.tensors[operator.input_at(index)]

    @cached_property
    def readers(self) -> Mapping[int, tuple[int, ...]]:
        """The operators (as indices) that read a tensor, once each, by tensor; one that is not read has no entry."""
        readers: dict[int, list[int]] = {}
        for index, operator in enumerate(self.operators):
            for tensor in dict.fromkeys(operator.inputs):
                readers.setdefault(tensor, []).append(index)
        return MappingProxyType({tensor: tuple(readers) for tensor, readers in readers.items()})

    @cached_property
    def writers(self) -> Mapping[int, int]:
        """The operator that writes a tensor, by tensor; inputs and constants have none."""
        return MappingProxyType(
            {tensor: index for index, operator in enumerate(self.operators) for tensor in operator.outputs}
        )

    def data(self, index: int) -> Array | None:
        """The numbers of a constant; None for anything else, and for what is left out."""
        return None if index == LEFT_OUT else self.tensors[index].data
