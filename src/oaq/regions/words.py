"""A split network in words: how much becomes integers, where regions begin and end, why the rest stays in float."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from oaq.capture.from_float_onnx.split import Split
from oaq.capture.graph import FloatGraph, FloatNode, FloatProducts
from oaq.escape import escape_text
from oaq.mixed.counts import count_text, tally

NAMES: Final = 4
"""Tensors at a boundary that are shown."""


def summary(split: Split) -> str:
    """One line."""
    parts = regions(split.graph)
    layers = sum(isinstance(node.op, FloatProducts) for node in split.graph.nodes)
    text = f"{count_text(layers, 'layer')} in {count_text(len(parts), 'region')} of integers"
    count = len(split.float_kinds)
    return f"{text}; {count_text(count, 'node')} in float: {operators(split)}" if count else text


def operators(split: Split) -> str:
    """The kinds of the nodes that stay in float, the most frequent first: ``2 Reshape, Softmax``."""
    return tally(split.float_kinds.values())


def explain(split: Split) -> str:
    """A paragraph per region, then a line per node that stays in float."""
    lines = [summary(split)]
    names = {end.tensor: end.file for end in (*split.entries, *split.exits)}
    exits = {end.tensor for end in split.exits}
    for number, nodes in enumerate(regions(split.graph), 1):
        layers = sum(isinstance(node.op, FloatProducts) for node in nodes)
        inputs = [names[name] for node in nodes for name in node.inputs if name in split.graph.inputs]
        outputs = [names[node.output] for node in nodes if node.output in exits]
        lines.append(f"region {number}: {count_text(layers, 'layer')}, {nodes[0].name} .. {nodes[-1].name}")
        lines.append(f"  from {_name_list(inputs)} to {_name_list(outputs)}")
    for name, kind in split.float_kinds.items():
        reason = split.floats.get(name) or f"oaq has no integer operator for {kind}, or for what it reads"
        lines.append(f"float: {name} ({kind}): {reason}")
    return "\n".join(map(escape_text, lines))


def regions(graph: FloatGraph) -> list[list[FloatNode]]:
    """Nodes that hand integers to each other, in execution order."""
    group = {node.output: index for index, node in enumerate(graph.nodes)}
    members = {index: [node] for index, node in enumerate(graph.nodes)}
    touching: dict[str, list[FloatNode]] = {}
    for node in graph.nodes:
        for name in (*node.inputs, node.output):
            touching.setdefault(name, []).append(node)
    for joined in touching.values():
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
