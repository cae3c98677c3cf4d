"""Where values pass between integers and float, and which nodes there are better left in float."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from oaq import operators as ops
from oaq.capture.from_float_onnx.builder import Builder, View
from oaq.capture.from_float_onnx.split_walk import Walked
from oaq.capture.graph import FloatFunction, FloatNode, FloatReshape, FloatSlice, Unquantized

FINAL: Final = ("sigmoid", "tanh", "hardsigmoid")
"""Functions that flatten: 8 bits of their results are few where scores are close to their ends."""


def demand(walked: Walked, outputs: Sequence[str]) -> tuple[dict[str, None], dict[str, str], dict[str, str]]:
    """What the file's outputs need: exits, float nodes with reasons, and nodes that have to become float.

    The last are those whose result the graph holds in an order of memory that cannot be given to the caller.
    """
    build, file = walked.build, walked.build.file
    exits: dict[str, None] = {}
    floats: dict[str, str] = {}
    refused: dict[str, str] = {}
    visited: set[str] = set()
    pending = list(reversed(outputs))
    readers = _entries_behind(build)
    names = entry_names(walked)
    while pending:
        name = pending.pop()
        if name in visited or file.constant(name) is not None:
            continue
        visited.add(name)
        producer = file.producers.get(name)
        if name in build.values and name not in walked.orders and name not in walked.moves:
            if axes_of(build, name) is None:
                assert producer is not None
                refused[producer.name] = "its result would have to be permuted"
                continue
            exits[name] = None
            view = build.values[name]
            assert isinstance(view, View)
            pending += [names[tensor] for tensor in readers(view.tensor)]
        elif producer is not None and producer.name not in floats:
            reason = "only counts axes" if name in walked.moves else walked.reasons.get(producer.name, "")
            floats[producer.name] = reason
            pending += [source for source in producer.inputs if source]
    order = {node.name: index for index, node in enumerate(file.nodes)}
    return exits, dict(sorted(floats.items(), key=lambda item: order[item[0]])), refused


def entry_names(walked: Walked) -> dict[str, str]:
    """The file's names of the graph's inputs, by ours."""
    views = ((name, walked.build.values[name]) for name in walked.orders)
    return {view.tensor: name for name, view in views if isinstance(view, View)}


def _entries_behind(build: Builder) -> Callable[[str], list[str]]:
    """A function from a tensor of the graph to the inputs that it depends on, those told before left out."""
    visited: set[str] = set()

    def behind(tensor: str) -> list[str]:
        inputs, pending = [], [tensor]
        while pending:
            current = pending.pop()
            if current in visited:
                continue
            visited.add(current)
            if current in build.nodes:
                pending += build.nodes[current].inputs
            else:
                inputs.append(current)
        return inputs

    return behind


def axes_of(build: Builder, name: str) -> tuple[int, ...] | None:
    """For each of the file's axes of ``name`` which of the tensor's own it is; None if they are not the same."""
    view = build.values[name]
    assert isinstance(view, View)
    return view.axes(build.shapes[view.tensor])


def late_nodes(walked: Walked, exits: Mapping[str, None]) -> dict[str, str]:
    """Nodes at the regions' ends that are better left in float; see the module."""
    build = walked.build
    views = (build.values[name] for name in exits)
    needed: dict[str, list[FloatNode]] = {}
    alive = {view.tensor for view in views if isinstance(view, View)}
    refused: dict[str, str] = {}
    late: set[str] = set()
    for node in reversed(list(build.nodes.values())):
        if node.output not in alive:
            continue
        alive.update(node.inputs)
        for name in node.inputs:
            needed.setdefault(name, []).append(node)
        reason = _late_reason(build, node)
        if reason and all(reader.output in late for reader in needed.get(node.output, ())):
            late.add(node.output)
            for name in walked.writers.get(node.output, ()):
                refused[name] = reason
    return refused


def _late_reason(build: Builder, node: FloatNode) -> str:
    """Why ``node`` is not rounded if no layer comes after it; "" if it is."""
    if any(name in build.inner for name in node.inputs):  # part of a layer itself
        return ""
    match node.op:
        case FloatSlice() | FloatReshape() | ops.Pad() | ops.DepthToSpace() | ops.Transpose():
            return "only moves values, and no layer comes after it"
        case FloatFunction(name=name) if name in FINAL:
            return "its results are scores, and no layer comes after it"
        case Unquantized(operator=operator) if operator is ops.Concat:
            return "joins results, and no layer comes after it"
        case Unquantized() if any(name in build.inputs for name in node.inputs):
            return "one of its sides is float, and no layer comes after it"
    return ""
