"""A split network in words: how much becomes integers, where regions begin and end, why the rest stays in float."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from oaq.capture.from_float_onnx.split import Split
from oaq.capture.graph import FloatGraph, FloatNode, FloatProducts
from oaq.escape import escape_text

NAMES: Final = 4
"""Tensors at a boundary that are shown."""


def summary(split: Split) -> str:
    """One line."""
    parts = regions(split.graph)
    layers = sum(isinstance(node.op, FloatProducts) for node in split.graph.nodes)
    text = f"{_count(layers, 'layer')} in {_count(len(parts), 'region')} of integers"
    count = len(split.float_kinds)
    return f"{text}; {_count(count, 'node')} in float: {operators(split)}" if count else text


def operators(split: Split) -> str:
    """The kinds of the nodes that stay in float, the most frequent first: ``2 Reshape, Softmax``."""
    counts: dict[str, int] = {}
    for kind in split.float_kinds.values():
        counts[kind] = counts.get(kind, 0) + 1
    order = sorted(counts, key=lambda kind: -counts[kind])
    return ", ".join(f"{counts[kind]} {kind}" if counts[kind] > 1 else kind for kind in order)


def explain(split: Split) -> str:
    """A paragraph per region, then a line per node that stays in float."""
    lines = [summary(split)]
    names = {end.tensor: end.file for end in (*split.entries, *split.exits)}
    exits = {end.tensor for end in split.exits}
    for number, nodes in enumerate(regions(split.graph), 1):
        layers = sum(isinstance(node.op, FloatProducts) for node in nodes)
        inputs = [names[name] for node in nodes for name in node.inputs if name in split.graph.inputs]
        outputs = [names[node.output] for node in nodes if node.output in exits]
        lines.append(f"region {number}: {_count(layers, 'layer')}, {nodes[0].name} .. {nodes[-1].name}")
        lines.append(f"  from {_name_list(inputs)} to {_name_list(outputs)}")
    for name, kind in split.float_kinds.items():
        reason = split.floats.get(name) or f"oaq has no integer operator for {kind}, or for what it reads"
        lines.append(f"float: {name} ({kind}): {reason}")
    return "\n".join(map(escape_text, lines))


def regions(graph: FloatGraph) -> list[list[FloatNode]]:
    """Nodes that hand integers to each other, in execution order."""
    group = {node.output: index for index, node in enumerate(graph.nodes)}
    members = {index: [node] for index, node in enumerate(graph.nodes)}
    written = {node.output for node in graph.nodes}
    readers: dict[str, list[FloatNode]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    for name, users in readers.items():
        joined = [*users, *(node for node in graph.nodes if node.output == name)] if name in written else users
        target = min(group[node.output] for node in joined)
        for node in joined:
            source = group[node.output]
            if source != target:
                members[target] += members.pop(source)
                group.update({node.output: target for node in members[target]})
    order = {node.output: index for index, node in enumerate(graph.nodes)}
    return [sorted(members[key], key=lambda node: order[node.output]) for key in sorted(members)]


def _name_list(names: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(names))
    more = f" and {len(distinct) - NAMES} more" if len(distinct) > NAMES else ""
    return ", ".join(map(repr, distinct[:NAMES])) + more


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
