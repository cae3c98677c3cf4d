"""Nodes that the reader of quantized files does not take, set aside so that the remainder of their file can be read.

They hold subgraphs (If, Loop, Scan), or tensors that are no arrays (sequences, texts), or read what has no fixed shape.
They become float regions as they stand in the file; where they touch the remainder, it gets outputs and inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from oaq.capture.from_onnx.graph import OnnxNode
from oaq.mixed.inferred import infer, subgraphs, with_sizes

if TYPE_CHECKING:
    import onnx

NOT_ARRAYS: Final = frozenset(
    {"SequenceConstruct", "SequenceEmpty", "SequenceAt", "SequenceInsert", "SequenceErase", "SequenceLength"}
    | {"SplitToSequence", "ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement"}
    | {"StringConcat", "StringSplit", "StringNormalizer", "RegexFullMatch", "TfIdfVectorizer"}
)
"""Operators on what is no array of numbers."""
OPEN_SHAPES: Final = frozenset({"NonZero", "NonMaxSuppression", "Unique", "Compress"})
"""Operators the shape of whose results depends on values."""


@dataclass(frozen=True, eq=False)
class Rest:
    """A file without the nodes that are set aside.

    Attributes:
        content: the remainder as a model, serialized.
        aside: the nodes set aside, in the file's order; what their subgraphs read from outside is among their inputs.
        protos: they themselves, serialized, by name.
    """

    content: bytes
    aside: tuple[OnnxNode, ...]
    protos: Mapping[str, bytes]


def set_aside(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> Rest | None:
    """``model`` without what cannot be read; None if there is no such node, or nothing else.

    Args:
        model: the file; it is not changed.
        shapes: of its inputs.
    """
    if not any(_is_unread(node) for node in model.graph.node):
        return None
    types = _inferred(model, shapes)
    aside, written = set[int](), set[str]()
    for index, node in enumerate(model.graph.node):
        open_inputs = [name for name in node.input if name in written and name not in types]
        if _is_unread(node) or open_inputs:
            aside.add(index)
            written.update(name for name in node.output if name)
    nodes = [node for index, node in enumerate(model.graph.node) if index not in aside]
    if not nodes:
        return None
    separate = [_with_unique_name(node, index) for index, node in enumerate(model.graph.node) if index in aside]
    read_by_rest = {name for node in nodes for name in node.input}
    entering = [name for name in written if name in read_by_rest]
    if any(name not in types for name in entering):
        return None
    read_aside = {name for node in separate for name in reads(node)}
    remainder = _without(model, nodes, [types[name] for name in entering], read_aside)
    return Rest(
        remainder.SerializeToString(),
        tuple(
            OnnxNode(node.name, node.op_type, node.domain, tuple(reads(node)), tuple(node.output), {})
            for node in separate
        ),
        {node.name: node.SerializeToString() for node in separate},
    )


def reads(node: onnx.NodeProto) -> list[str]:
    """What a node reads, its subgraphs included, once each; ``""`` where an optional input is left out."""
    names = list(node.input)
    for graph in subgraphs(node):
        names += _free(graph)
    return list(dict.fromkeys(names))


def _free(graph: onnx.GraphProto) -> Iterable[str]:
    """Names that a subgraph reads and does not define."""
    defined = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    free: list[str] = []
    for node in graph.node:
        free += [name for name in reads(node) if name and name not in defined]
        defined.update(node.output)
    return free + [value.name for value in graph.output if value.name not in defined]


def _is_unread(node: onnx.NodeProto) -> bool:
    from onnx import AttributeProto

    graphs = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    odd = (AttributeProto.SPARSE_TENSOR, AttributeProto.TYPE_PROTO, AttributeProto.TENSORS)
    return node.op_type in (NOT_ARRAYS | OPEN_SHAPES) or any(
        attribute.type in (*graphs, *odd) for attribute in node.attribute
    )


def _inferred(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> dict[str, onnx.ValueInfoProto]:
    """Type and shape of every tensor whose sizes are all fixed once the inputs' are."""
    fixed = with_sizes(model, shapes)
    for value in fixed.graph.input:
        for dim in value.type.tensor_type.shape.dim if value.name not in shapes else ():
            dim.dim_value = max(dim.dim_value, 1)
    return {value.name: value for value in infer(fixed, data_prop=True) if _is_fixed(value)}


def _is_fixed(value: onnx.ValueInfoProto) -> bool:
    tensor = value.type.tensor_type
    return tensor.HasField("shape") and all(dim.dim_value > 0 for dim in tensor.shape.dim)


def _with_unique_name(node: onnx.NodeProto, index: int) -> onnx.NodeProto:
    """A copy whose name is unique."""
    import onnx

    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = f"{node.name or node.op_type}#{index}"
    return copy


def _without(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], entering: Sequence[onnx.ValueInfoProto], read: set[str]
) -> onnx.ModelProto:
    """``model`` of some of its nodes; ``entering`` are further inputs, ``read`` what the others read of it."""
    import onnx

    remainder = onnx.ModelProto()
    remainder.CopyFrom(model)
    graph = remainder.graph
    del graph.node[:]
    graph.node.extend(nodes)
    graph.input.extend(entering)
    written = {name for node in nodes for name in node.output if name}
    outputs = [value for value in graph.output if value.name in written]
    names = {value.name for value in outputs}
    outputs += [onnx.ValueInfoProto(name=name) for name in sorted(read & written - names)]
    copies = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in outputs]
    del graph.output[:]
    graph.output.extend(copies)
    return remainder
