"""``import_quantized``: from an ONNX file that holds 8-bit integers to the program that computes them.

Every node is offered to a rule (``layers``, ``quantizers``, ``qlinear``, ``joins``, ``moves``, ``curves``). What no
rule takes stays in float and becomes part of an island (``islands``). From the graph's outputs backwards it is then
decided which of the program's tensors are needed outside it: those are its outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from oaq import operators as ops
from oaq.capture.from_onnx import curves, joins, layers, moves, qlinear, quantizers, transposed
from oaq.capture.from_onnx.attribute_table import QONNX, TABLE, attribute_flaw
from oaq.capture.from_onnx.draft import Draft, DraftNode, order_of, spatial
from oaq.capture.from_onnx.graph import OnnxGraph, OnnxNode
from oaq.capture.from_onnx.islands import Demand, End, edges_of, find_islands
from oaq.capture.from_onnx.own import restore_names
from oaq.capture.from_onnx.reader import read
from oaq.capture.from_onnx.sums import Sums
from oaq.capture.from_onnx.values import Integers, Meaning, Pending, Reals, Stays, arranged, settled
from oaq.capture.from_onnx.walk import Walk
from oaq.capture.imported import Imported, Island
from oaq.errors import OaqError, ProgramError, UnsupportedOp
from oaq.program.edges import INTEGERS, REALS, with_edges
from oaq.program.int_program import IntProgram
from oaq.program.layout import layout_key

Rule = Callable[[Walk, OnnxNode], None]
OWN: Final[Mapping[str, Rule]] = {
    **layers.RULES,
    "ConvTranspose": transposed.conv_transpose,
    **moves.RULES,
    **curves.RULES,
    **joins.RULES,
    **quantizers.RULES,
}
"""Rules of ONNX's own operators, by name."""
ROUNDED: Final = (
    "{}: the file adds real biases to its sums; the program adds them as whole steps of s_x * s_w, so what adds "
    "them in float may be one step away"
)
SUMMING: Final = (*layers.RULES, "ConvTranspose", "QLinearConv", "QLinearMatMul", "QGemm")
"""Operators that sum products."""
REAL_SUMS: Final = (
    "{}: the file leaves its results real; the program's 8 bits of them cover all that the sums can reach, so they are "
    "coarser than the file's"
)


def import_quantized(path: str | Path, input_shapes: Mapping[str, Sequence[int]] | None = None) -> Imported:
    """The integers of a quantized ONNX file: QDQ, QOperator, QONNX.

    Args:
        path: of the file.
        input_shapes: by input, for files that leave more open than the batch.

    Raises:
        FormatError: the file is missing, cut off, damaged or contradicts itself.
        UnsupportedOp: it holds no layer of 8-bit integers, or something that cannot be read at all.
    """
    return import_graph(read(path, input_shapes))


def import_graph(graph: OnnxGraph, *, real_sums: bool = True) -> Imported:
    """``import_quantized`` of a file that has been read.

    Args:
        graph: the file.
        real_sums: layers whose results the file leaves real are in the program too, rounded to 8 bits of our own, so
            that they can be proved; without it they stay in float, as the file computes them.
    """
    try:
        walk = Walk(graph, quantizers.meanings(graph))
        for node in graph.nodes:
            _offer(walk, node)
        if real_sums:
            _keep_real_sums(walk)
        return _assembled(walk, _demand(walk))
    except OaqError as error:
        raise type(error)(f"{graph.where}: {error}") from error


def _offer(walk: Walk, node: OnnxNode) -> None:
    rule = _rule_of(node)
    try:
        if rule is None:
            raise Stays(f"oaq has no integer operator for {node.kind}")
        flaw = attribute_flaw(node, walk.graph.opsets)
        if flaw:
            raise Stays(flaw)
        if not any(node.outputs[: None if node.op == "Split" else 1]):
            raise Stays("its result is not read")
        walk.attempt(rule, node)
    except (Stays, UnsupportedOp) as stay:
        if node.op == "QuantizeLinear" or any(_is_of_integers(walk, name) for name in node.inputs):
            walk.reasons[node.name] = _printable(f"{node.name} ({node.kind}): {stay}")


def _is_of_integers(walk: Walk, name: str) -> bool:
    """Whether a tensor is, or stands for, integers of few bits that are not a constant."""
    dtype = walk.graph.dtype(name)
    is_short = dtype is not None and dtype.kind in "iu" and dtype.itemsize <= np.dtype(np.int16).itemsize
    return name in walk.values or (is_short and name not in walk.graph.constants)


def _printable(words: str) -> str:
    """On one line, whatever the file calls its nodes."""
    return "".join(letter if letter.isprintable() else "?" for letter in words)


def _rule_of(node: OnnxNode) -> Rule | None:
    if node.domain in QONNX:
        return quantizers.fake_quantize if node.op in ("Quant", "IntQuant") else None
    if (node.domain, node.op) in qlinear.RULES:
        return qlinear.RULES[node.domain, node.op]
    return OWN.get(node.op) if (node.domain, node.op) in TABLE else None


def _keep_real_sums(walk: Walk) -> None:
    """Compute layers whose results are not quantized all the same, under a map of our own."""
    offered: dict[str, list[tuple[str, Pending]]] = {}
    for name, value in walk.values.items():
        if isinstance(value, Pending) and isinstance(value.sums, Sums) and not value.moves:
            offered.setdefault(value.sums.node.name, []).append((name, value))
    for layer, stages in offered.items():
        if layer not in walk.results:
            name, pending = stages[_last_private(walk, [name for name, _ in stages])]
            try:
                _keep(walk, name, pending)
            except Stays as stay:
                walk.reasons[layer] = _printable(f"{layer}: {stay}")


def _last_private(walk: Walk, names: Sequence[str]) -> int:
    """The last of a chain of results that is reached without another reader of an earlier one."""
    for index, name in enumerate(names[:-1]):
        readers = walk.graph.consumers.get(name, ())
        if len(readers) != 1 or name in walk.graph.outputs or names[index + 1] not in readers[0].outputs:
            return index
    return len(names) - 1


def _keep(walk: Walk, name: str, pending: Pending) -> None:
    sums = pending.sums
    assert isinstance(sums, Sums)
    affine = sums.own_map(walk.draft)
    view = walk.materialized(pending, Meaning(affine.scale, affine.zero_point, False), name)
    tensor = walk.draft.tensors[view.tensor]
    tensor.is_integer = tensor.is_stated = False
    for number in (view.tensor, walk.results[sums.node.name]):
        if number in walk.sources:
            walk.sources[number] = replace(walk.sources[number], y_scale=None, y_zero_point=0)
    walk.values[name] = Reals(view)
    walk.notes.append(REAL_SUMS.format(sums.node.name))


def _demand(walk: Walk) -> Demand:
    """What the graph's outputs need, of the program and of the rest."""
    demand = Demand()
    pending = list(reversed(walk.graph.outputs))
    visited: set[int] = set()
    while pending:
        name = pending.pop()
        if name in demand.visited or name in walk.graph.constants:
            continue
        demand.visited[name] = None
        end = _holder(walk, name)
        if end is not None:
            number = end.view.tensor
            demand.outputs.setdefault(number, name)
            demand.ends[name] = end
            fresh = _inputs_behind(walk, number, visited)
            demand.entries += fresh
            pending += [walk.entries[source] for source in reversed(fresh)]
        else:
            node = walk.graph.producers.get(name)
            if node is not None and node.name not in demand.outside:
                demand.outside[node.name] = node
                pending += reversed([source for source in node.inputs if source])
    demand.entries.sort()
    return demand


def _holder(walk: Walk, name: str) -> End | None:
    """Where the program holds ``name``; None if it does not."""
    value, producer = walk.values.get(name), walk.graph.producers.get(name)
    if not isinstance(value, Integers | Reals):
        return None
    if (isinstance(value, Reals) and value.curve is not None) or (isinstance(value, Integers) and value.index):
        return None
    if walk.entries.get(value.view.tensor) == name:
        return None  # what enters the program is taken from where it comes from, not from a copy
    moved = producer is not None and producer.name in walk.transparent
    order = order_of(value.view.layout, walk.draft.tensors[value.view.tensor].shape)
    plain = value.view.layout.is_in(order)
    if moved and name not in walk.graph.outputs:
        return None  # an island does for itself what costs nothing
    if walk.graph.dtype(name) is not None and walk.graph.types[name].dtype.name not in (*REALS, *INTEGERS):  # type: ignore[union-attr]
        return None
    if plain:
        view = arranged(walk.draft, value.view, order)
    else:
        # What only counts axes in another way is undone where values leave the program.
        view = value.view if moved else settled(walk.draft, value.view)
    # A program input is taken from its producer, not copied as an output.
    return None if walk.draft.writer(view.tensor) is None else End(view, plain)


def _inputs_behind(walk: Walk, number: int, visited: set[int]) -> list[int]:
    """Inputs of the program that a tensor depends on, in order; those ``visited`` are not looked at again."""
    inputs, pending = [], [number]
    while pending:
        tensor = pending.pop()
        if tensor in visited:
            continue
        visited.add(tensor)
        writer = walk.draft.writer(tensor)
        if writer is None:
            inputs.append(tensor)
        else:
            pending += writer.inputs
    return sorted(inputs)


def _assembled(walk: Walk, demand: Demand) -> Imported:
    graph, draft = walk.graph, walk.draft
    nodes = _needed(walk, demand.outputs)
    if not any(isinstance(node.op, ops.Products) for node in nodes):
        raise UnsupportedOp(f"holds no layer of 8-bit integers: {_why_no_layer(walk)}")
    restore_names(graph, draft)
    _name_ends(walk, demand)
    numbers = {*demand.entries, *(node.output for node in nodes)}
    names = draft.name_tensors(numbers)
    layout = _input_layout(draft, demand)
    metadata = {"input_layout": layout, "source": "onnx", "producer": graph.producer or "unknown"}
    metadata |= _line_layouts(walk, demand, names, layout)
    try:
        program = IntProgram(
            graph.name or "onnx",
            tuple(names[number] for number in demand.entries),
            tuple(names[number] for number in demand.outputs),
            draft.specs(names),
            draft.named_nodes(nodes, names),
            metadata=metadata,
        )
        program = with_edges(program, *edges_of(walk, demand, names))
    except ProgramError as error:
        raise UnsupportedOp(str(error)) from error
    layer_names = {node.output: node.name for node in program.nodes}
    sources = {
        layer_names[names[number]]: replace(source, input=names[_reads(draft.writer(number))], output=names[number])
        for number, source in walk.sources.items()
        if number in numbers
    }
    islands = find_islands(walk, demand, names)
    return Imported(program, islands, _notes(walk, islands), sources, draft.sources(names, graph))


def _why_no_layer(walk: Walk) -> str:
    """The reason of the first node that sums products, else of the first node that has one."""
    summing = [node.name for node in walk.graph.nodes if node.op in SUMMING and node.name in walk.reasons]
    if summing or walk.reasons:
        return walk.reasons[summing[0]] if summing else next(iter(walk.reasons.values()))
    if any(node.op == "QuantizeLinear" or node.op.startswith("QLinear") for node in walk.graph.nodes):
        return f"none of its {len(walk.graph.nodes)} nodes sums products of integers"
    return "its numbers are floats throughout. For a float network: oaq quantize"


def _notes(walk: Walk, islands: Sequence[Island]) -> tuple[str, ...]:
    notes = list(dict.fromkeys(walk.notes))
    if walk.rounded:
        notes.append(ROUNDED.format(", ".join(list(walk.rounded)[:3]) + ", ..." * (len(walk.rounded) > 3)))
    notes += [
        f"{', '.join(island.writes)}: computed by {len(island.nodes)} float operators inside the network, so given to "
        "the program."
        for island in islands
        if island.where == "inside"
    ]
    return tuple(notes)


def _input_layout(draft: Draft, demand: Demand) -> str:
    """How the file's caller lays images out; channels last only if all of them are."""
    layouts = [draft.tensors[number].layout for number in demand.entries]
    images = [layout for layout in layouts if len(layout.shape) == 3]
    return "NHWC" if images and all(layout.is_in((0, 1, 2)) for layout in images) else "NCHW"


def _line_layouts(walk: Walk, demand: Demand, names: Mapping[int, str], layout: str) -> dict[str, str]:
    """What the metadata say of lines (C, L) and tokens (T, C) among the ends that are not in the order of all."""
    layouts = {number: walk.entry_layouts[number] for number in demand.entries}
    for number, name in demand.outputs.items():
        value = walk.values.get(name)
        if isinstance(value, Integers | Reals):
            layouts.setdefault(number, value.view.layout)
    by_key = {}
    for number, line_layout in layouts.items():
        shape = walk.draft.tensors[number].shape
        rank = len(shape)
        if rank == len(line_layout.axes) and rank in (2, 4):
            is_first = order_of(line_layout, shape) == spatial(rank)
            by_key[layout_key(names[number])] = "NCHW" if is_first else "NHWC"
    return {key: value for key, value in by_key.items() if value != layout}


def _reads(writer: DraftNode | None) -> int:
    assert writer is not None
    return writer.inputs[0]


def _needed(walk: Walk, outputs: Mapping[int, str]) -> list[DraftNode]:
    """The nodes that the outputs depend on, in order."""
    needed = set(outputs)
    nodes = []
    for node in reversed(walk.draft.nodes):
        if node.output in needed:
            nodes.append(node)
            needed.update(node.inputs)
    return nodes[::-1]


def _name_ends(walk: Walk, demand: Demand) -> None:
    """What the caller gives and gets is called as in the file."""
    names = {tensor.name for tensor in walk.draft.tensors if tensor.name}
    for number, name in demand.outputs.items():
        tensor = walk.draft.tensors[number]
        named = name in walk.graph.outputs and demand.ends[name].plain
        if named and not tensor.name and name not in names:
            tensor.name = name
            names.add(name)
