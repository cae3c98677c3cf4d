"""From a file that was read, and what of it is integers, to regions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from oaq.capture.from_onnx.graph import Array, OnnxGraph, OnnxNode, TensorType
from oaq.capture.imported import Imported
from oaq.mixed.program import FloatBody, IntegerBody, Region
from oaq.mixed.schedule import FLOAT, INTEGER, Step, regions_of
from oaq.overflow.settle import settle
from oaq.program.edges import INPUTS, OUTPUTS, Edge, input_edges, output_edges
from oaq.program.int_program import IntProgram, Node


@dataclass(frozen=True, eq=False)
class Source:
    """What a file holds besides an ``OnnxGraph``; see ``FloatBody``."""

    ir_version: int
    protos: Mapping[str, bytes]
    tensors: Mapping[str, bytes]


@dataclass(frozen=True, eq=False)
class FloatParts:
    """What float regions are made of besides nodes.

    Attributes:
        constants: of the file, by name.
        types: of its tensors, as far as they are known.
        opsets: version by domain.
    """

    constants: Mapping[str, Array]
    types: Mapping[str, TensorType]
    opsets: Mapping[str, int]


def cut(graph: OnnxGraph, imported: Imported | None, source: Source) -> tuple[Region, ...]:
    """The regions of a file, in execution order.

    Args:
        graph: the file.
        imported: what of it is integers; None if nothing is.
        source: of what ``graph`` cannot say.
    """
    floats = _float_nodes(graph, imported)
    nodes = imported.program.nodes if imported is not None else ()
    entries = input_edges(imported.program) if imported is not None else ()
    exits = output_edges(imported.program) if imported is not None else ()
    steps = _steps(graph, nodes, entries, exits, floats)
    order = _execution_order(steps)
    groups = [sorted(order[at] for at in group) for group in regions_of([steps[index] for index in order])]
    needs = _Needs(graph.outputs, steps, groups)
    regions: list[Region] = []
    for number, group in enumerate(groups):
        if imported is not None and steps[group[0]].kind == INTEGER:
            regions.append(_integer_region(imported, [nodes[index] for index in group], needs, number))
        else:
            members = [floats[index - len(nodes)] for index in group]
            parts = FloatParts(graph.constants, graph.types, graph.opsets)
            regions.append(float_region(members, parts, source, partial(needs.is_needed, group=number)))
    return tuple(_with_name(region, regions, _reason(region, imported)) for region in regions)


def _with_name(region: Region, regions: Sequence[Region], reason: str) -> Region:
    alike = [neighbour for neighbour in regions if neighbour.kind == region.kind]
    return replace(region, name=f"{region.kind} {alike.index(region) + 1}", reason=reason)


def _reason(region: Region, imported: Imported | None) -> str:
    """What is in the way of integers, of the first island that the region holds nodes of and that has a reason."""
    names = {name for name, _ in region.nodes} if region.kind == FLOAT else set()
    islands = imported.islands if imported is not None else ()
    return next((island.why for island in islands if island.why and names & {name for name, _ in island.nodes}), "")


def _float_nodes(graph: OnnxGraph, imported: Imported | None) -> list[OnnxNode]:
    """The nodes that no integers stand for and that the outputs need, in execution order."""
    if imported is not None:
        names = {name for island in imported.islands for name, _ in island.nodes}
        return [node for node in graph.nodes if node.name in names]
    needed, members = set(graph.outputs), []
    for node in reversed(graph.nodes):
        if needed.intersection(filter(None, node.outputs)):
            members.append(node)
            needed.update(node.inputs)
    return members[::-1]


def _steps(
    graph: OnnxGraph,
    nodes: Sequence[Node],
    entries: Sequence[Edge],
    exits: Sequence[Edge],
    floats: Sequence[OnnxNode],
) -> list[Step]:
    """Integer nodes, then float nodes; tensors of the file are keyed by name, integers by (name,)."""
    by_tensor = {edge.tensor: edge.name for edge in entries}
    names: dict[str, list[str]] = {}
    for edge in exits:
        names.setdefault(edge.tensor, []).append(edge.name)
    steps = []
    for node in nodes:
        reads = tuple(by_tensor.get(name, (name,)) for name in node.inputs)
        steps.append(Step(INTEGER, reads, ((node.output,), *names.get(node.output, ()))))
    for node in floats:
        reads = tuple(name for name in node.inputs if name and name not in graph.constants)
        steps.append(Step(FLOAT, reads, tuple(filter(None, node.outputs))))
    return steps


def _execution_order(steps: Sequence[Step]) -> list[int]:
    """Both kinds together in an order in which they can run, each kind in its own."""
    writers = {key: index for index, step in enumerate(steps) for key in step.writes}
    waits = [{writers[key] for key in step.reads if key in writers} for step in steps]
    order: list[int] = []
    finished: set[int] = set()
    pending = list(range(len(steps)))
    while pending:
        unready = []
        for index in pending:
            if waits[index] <= finished:
                order.append(index)
                finished.add(index)
            else:
                unready.append(index)
        assert len(unready) < len(pending), "a graph that was read has no cycle"
        pending = unready
    return order


class _Needs:
    """Who reads what: groups by the keys of ``Step``.

    Args:
        outputs: of the file.
        steps: all.
        groups: of steps, in execution order.
    """

    def __init__(self, outputs: Sequence[str], steps: Sequence[Step], groups: Sequence[Sequence[int]]) -> None:
        self._outputs = set(outputs)
        self._readers: dict[Hashable, set[int]] = {}
        for number, group in enumerate(groups):
            for key in (key for index in group for key in steps[index].reads):
                self._readers.setdefault(key, set()).add(number)

    def is_needed(self, key: Hashable, group: int) -> bool:
        """It is an output of the file, or something outside ``group`` reads it."""
        return key in self._outputs or bool(self._readers.get(key, set()) - {group})


def _integer_region(imported: Imported, nodes: Sequence[Node], needs: _Needs, number: int) -> Region:
    program = imported.program
    written = dict.fromkeys(node.output for node in nodes)
    read = dict.fromkeys(name for node in nodes for name in node.inputs if name not in written)
    entries = tuple(edge for edge in input_edges(program) if edge.tensor in read)
    ends = [edge for edge in output_edges(program) if edge.tensor in written]
    exits = tuple(edge for edge in ends if needs.is_needed(edge.name, number))
    carried = tuple(name for name in written if needs.is_needed((name,), number))
    outputs = {*(edge.tensor for edge in exits), *carried}
    part = _part(program, nodes, tuple(read), tuple(name for name in written if name in outputs))
    body = integer_body(part, entries, exits, carried)
    names = tuple((node.name, type(node.op).__name__) for node in nodes)
    reads = tuple(dict.fromkeys(edge.name for edge in entries))
    return Region("", INTEGER, names, reads, tuple(edge.name for edge in exits), "", body)


def integer_body(
    program: IntProgram, entries: Sequence[Edge], exits: Sequence[Edge], carried: Sequence[str]
) -> IntegerBody:
    """A program with its biases settled, and how it meets the remainder of its file."""
    settled = settle(program)
    spots = tuple(f"{name}:{output}" for name, outputs in settled.outputs.items() for output in outputs)
    return IntegerBody(settled.program, tuple(entries), tuple(exits), tuple(carried), spots)


def _part(program: IntProgram, nodes: Sequence[Node], inputs: Sequence[str], outputs: Sequence[str]) -> IntProgram:
    """The program of some of ``program``'s nodes; ``program`` itself if they are all of it."""
    if len(nodes) == len(program.nodes):
        return program
    specs = {name: program.tensors[name] for name in (*inputs, *(node.output for node in nodes))}
    metadata = {key: value for key, value in program.metadata.items() if key not in (INPUTS, OUTPUTS)}
    return IntProgram(program.name, tuple(inputs), tuple(outputs), specs, tuple(nodes), program.requantize, metadata)


def float_region(
    nodes: Sequence[OnnxNode], file: FloatParts, source: Source, is_needed: Callable[[str], bool]
) -> Region:
    """Nodes that stay in float, without a name.

    Args:
        nodes: in execution order.
        file: what they read that no node writes.
        source: of what ``file`` cannot say.
        is_needed: whether a later region, or the file's caller, reads a tensor.
    """
    written = dict.fromkeys(name for node in nodes for name in node.outputs if name)
    read = dict.fromkeys(name for node in nodes for name in node.inputs if name and name not in written)
    constants = {name: file.constants[name] for name in read if name in file.constants}
    body = FloatBody(
        nodes=tuple(nodes),
        constants=constants,
        types={name: file.types.get(name, TensorType()) for name in (*read, *written)},
        opsets=file.opsets,
        protos={node.name: source.protos[node.name] for node in nodes if node.name in source.protos},
        tensors={name: source.tensors[name] for name in constants if name in source.tensors},
        ir_version=source.ir_version,
    )
    reads = tuple(name for name in read if name not in constants)
    writes = tuple(name for name in written if is_needed(name))
    return Region("", FLOAT, tuple((node.name, node.kind) for node in nodes), reads, writes, "", body)
