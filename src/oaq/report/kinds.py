"""Kinds of nodes of a program, and which of them compute with integers alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from oaq.numerics.requantize import Requantize
from oaq.operators import Op
from oaq.program.int_program import IntProgram
from oaq.terminal.table import Table


@dataclass(frozen=True)
class NodeKind:
    """Nodes of one operator.

    Attributes:
        operator: its name.
        nodes: how many there are.
        floats: of them, those that multiply an integer by a float32 when they requantize. None computes on floats.
    """

    operator: str
    nodes: int
    floats: int


def node_kinds(program: IntProgram) -> tuple[NodeKind, ...]:
    """Kinds in the order of their first nodes."""
    operators: dict[str, list[Op]] = {}
    for node in program.nodes:
        operators.setdefault(type(node.op).__name__, []).append(node.op)
    return tuple(NodeKind(name, len(values), sum(map(has_float, values))) for name, values in operators.items())


def has_float(op: Op) -> bool:
    """Whether an operator's law multiplies by a float32: one that requantizes by ``float32_half_even``."""
    requantize = getattr(op, "requantize", None)
    return isinstance(requantize, Requantize) and requantize.shift is None


def kind_rows(kinds: Iterable[NodeKind]) -> list[tuple[str, str, str, str]]:
    """A line for each kind, and one for all: nodes, with integers alone, with float32 multipliers."""
    kinds = list(kinds)
    every = NodeKind("all", sum(kind.nodes for kind in kinds), sum(kind.floats for kind in kinds))
    return [
        (kind.operator, str(kind.nodes), str(kind.nodes - kind.floats), str(kind.floats)) for kind in (*kinds, every)
    ]


def kind_table(kinds: Iterable[NodeKind]) -> Table:
    """The lines of ``kind_rows``."""
    return Table("Kinds of nodes", HEAD, tuple(kind_rows(kinds)), frozenset({1, 2, 3}))


HEAD = ("operator", "nodes", "integers alone", "float32 multipliers")
