"""Islands of an ONNX file: the connected parts that stay in float, and where they or callers touch the program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from oaq.capture.from_onnx.graph import OnnxNode
from oaq.capture.from_onnx.values import View
from oaq.capture.from_onnx.walk import Walk
from oaq.capture.imported import Island, Place, connected
from oaq.capture.layout import Layout
from oaq.program.edges import Edge


@dataclass(frozen=True)
class End:
    """Where the program holds a tensor of the file that is needed outside it.

    Attributes:
        view: of the program's tensor.
        plain: it has the order of axes that a program gives it.
    """

    view: View
    plain: bool


@dataclass
class Demand:
    """What the graph's outputs depend on.

    Attributes:
        outputs: tensors of the program that are needed outside it, by number, with what the file calls them there.
        ends: where the program holds each tensor of the file that is needed outside it.
        entries: inputs of the program that are needed, by number.
        outside: nodes that stay in float, by name.
        visited: tensors of the file that were looked at.
    """

    outputs: dict[int, str] = field(default_factory=dict)
    ends: dict[str, End] = field(default_factory=dict)
    entries: list[int] = field(default_factory=list)
    outside: dict[str, OnnxNode] = field(default_factory=dict)
    visited: dict[str, None] = field(default_factory=dict)


def find_islands(walk: Walk, demand: Demand, names: Mapping[int, str]) -> tuple[Island, ...]:
    """Connected parts of ``demand.outside``, in execution order of their first nodes.

    Args:
        walk: the import.
        demand: what is outside.
        names: of the program's tensors, by number.
    """
    nodes = [node for node in walk.graph.nodes if node.name in demand.outside]
    entered = {walk.entries[number]: names[number] for number in demand.entries}
    tensors = {name: names[number] for number, name in demand.outputs.items()}
    tensors |= {name: names[number] for name, number in _aliases(walk, demand).items()}
    islands = []
    for part in connected(nodes, lambda node: node.inputs, lambda node: filter(None, node.outputs)):
        written = dict.fromkeys(name for node in part for name in node.outputs if name)
        read = dict.fromkeys(name for node in part for name in node.inputs if name and name not in written)
        reads = tuple(dict.fromkeys(tensors[name] for name in read if name in tensors))
        writes = tuple(entered[name] for name in written if name in entered)
        where: Place = "output" if not writes else "inside" if reads else "input"
        reason = next((walk.reasons[node.name] for node in part if node.name in walk.reasons), "")
        islands.append(Island(tuple((node.name, node.kind) for node in part), reads, writes, where, reason))
    return tuple(islands)


def edges_of(walk: Walk, demand: Demand, names: Mapping[int, str]) -> tuple[list[Edge], list[Edge]]:
    """How the file sees the program's inputs, in the program's order, and its outputs, in the file's.

    Outputs that only islands read come last.

    Args:
        walk: the import.
        demand: what is outside.
        names: of the program's tensors, by number.
    """
    inputs = [_edge(walk, walk.entries[number], names[number], walk.entry_layouts[number]) for number in demand.entries]
    order = [name for name in walk.graph.outputs if name in demand.ends]
    views = {name: demand.ends[name].view for name in dict.fromkeys([*order, *demand.ends])}
    return inputs, [_edge(walk, name, names[view.tensor], view.layout) for name, view in views.items()]


def _edge(walk: Walk, name: str, tensor: str, layout: Layout) -> Edge:
    dtype = walk.graph.dtype(name)
    return Edge(name, tensor, "float32" if dtype is None else dtype.name, layout.sizes, layout.axes)


def _aliases(walk: Walk, demand: Demand) -> dict[str, int]:
    """Further names under which the file reads the program's outputs: the same integers, dequantized twice."""
    aliases = {}
    numbers = set(demand.outputs)
    for name in demand.visited:
        view = getattr(walk.values.get(name), "view", None)
        if view is not None and view.tensor in numbers:
            aliases[name] = view.tensor
    return aliases
