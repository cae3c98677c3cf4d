"""Files that ``oaq.export.onnx`` has written: nodes and tensors get back the names they had in the program."""

from __future__ import annotations

from typing import Final

from oaq import operators as ops
from oaq.capture.from_onnx.draft import Draft, DraftNode
from oaq.capture.from_onnx.graph import OnnxGraph, OnnxNode

PRODUCER: Final = "oaq"
INTEGERS: Final = "_q"
"""Ends the name of every tensor of integers."""


def is_own(graph: OnnxGraph) -> bool:
    """Whether ``oaq.export.onnx`` has written a file."""
    return graph.producer.split(" ")[0] == PRODUCER


def restore_names(graph: OnnxGraph, draft: Draft) -> None:
    """Undo what the export adds to names; nothing happens to files of other tools."""
    if not is_own(graph):
        return
    for tensor in draft.tensors:
        tensor.name = tensor.name or tensor.file.removesuffix(INTEGERS)
    ends = {*graph.inputs, *graph.outputs}
    of_file = {node.name: node for node in graph.nodes}
    for node in draft.nodes:
        node.name = _numberless(_of_program(graph, node, of_file.get(node.name)), ends)


def _of_program(graph: OnnxGraph, node: DraftNode, of_file: OnnxNode | None) -> str:
    """The name before the export spelled one node as several."""
    match node.op:
        case ops.Lookup():
            cast = graph.producers.get(of_file.input_name(1)) if of_file else None
            return cast.name.removesuffix(".index") if cast else node.name
        case ops.ChannelLookup():
            added = graph.producers.get(of_file.input_name(1)) if of_file else None
            return added.name.removesuffix(".entry") if added else node.name
        case ops.Reshape():
            return node.name.removesuffix(".reshaped")
        case ops.Resize():
            return node.name.removesuffix(".gathered2")
    return node.name


def _numberless(name: str, ends: set[str]) -> str:
    """Without the number that keeps a node apart from an input or output of the same name."""
    stem, _, number = name.rpartition("_")
    return stem if number.isdigit() and stem in ends else name
