"""From the bytes of an ONNX file to its nodes and constants as Python values, each looked at before it is believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np

from oaq.capture.from_onnx.graph import UNNAMED, Array, OnnxNode, Value
from oaq.capture.from_onnx.tensors import narrow_bits, numpy_dtype, to_array, type_name
from oaq.errors import FormatError, UnsupportedOp

try:
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import AttributeProto
except ImportError as error:  # pragma: no cover (the test environment has it)
    raise FormatError("reading ONNX needs the package onnx: pip install onnx") from error

from oaq.capture.from_onnx.inline import FunctionId, TooMuchWritten, called_by, identity_of, nodes_within, write_out

LARGEST_GRAPH: Final = 200_000
"""Nodes, functions written out: beyond it is a damaged file, not a network."""
LARGEST_DIMENSION: Final = 1 << 31
SMALLEST_OPSET: Final = 7
OWN_DOMAINS: Final = ("", "ai.onnx")
OPEN: Final = -1
"""A size that some exporters write where they leave one open."""

Dims = tuple[int | str, ...]
"""Sizes; a text where the file leaves one open."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """The parts of a file that matter, none of them compared with another yet.

    Attributes:
        name: of the graph.
        nodes: in the file's order, names made unique.
        constants: initializers.
        inputs: type and shape of each input that is not an initializer.
        outputs: names.
        declared: what ``value_info`` and outputs say of other tensors; a shape of None if it says none.
        opsets: version by domain.
        producer: "name version".
        metadata: ``metadata_props``.
        bits: of tensors whose integers are narrower than the NumPy type they are read as: 4 for INT4.
    """

    name: str
    nodes: tuple[OnnxNode, ...]
    constants: Mapping[str, Array]
    inputs: Mapping[str, tuple[np.dtype | None, Dims]]
    outputs: tuple[str, ...]
    declared: Mapping[str, tuple[np.dtype | None, Dims | None]]
    opsets: Mapping[str, int]
    producer: str
    metadata: Mapping[str, str]
    bits: Mapping[str, int]


def parse(content: bytes, where: str) -> onnx.ModelProto:
    """The file as protobuf classes.

    Raises:
        FormatError: it is not an ONNX model, or holds a text that is none.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except (DecodeError, ValueError, RecursionError, MemoryError) as error:
        raise FormatError(f"{where}: is not an ONNX model, or is truncated. Fetch or export it again") from error
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise FormatError(f"{where}: is not an ONNX model: it holds no graph. Fetch or export it again")
    _check_texts(model, where)
    return model


def decode(content: bytes, where: str, folder: Path | None) -> Decoded:
    """Parse ``content``; names and values only, nothing is computed.

    Raises:
        FormatError: it is not an ONNX model, or one of its parts is not what it claims to be.
        UnsupportedOp: it holds something that is not read: subgraphs, sparse tensors, sequences.
    """
    model = parse(content, where)
    opsets = _opsets(model, where)
    model = without_functions(model, where)
    graph = model.graph
    if graph.sparse_initializer:
        raise UnsupportedOp(f"{where}: holds sparse initializers; store them densely")
    if len(graph.node) > LARGEST_GRAPH:
        raise FormatError(f"{where}: holds {len(graph.node)} nodes; the limit is {LARGEST_GRAPH}")
    constants: dict[str, Array] = {}
    for tensor in graph.initializer:
        if not tensor.name or tensor.name in constants:
            raise FormatError(f"{where}: an initializer is called {tensor.name!r}, like another one or like nothing")
        constants[tensor.name] = to_array(tensor, f"{where}: initializer {tensor.name!r}", folder)
    inputs = {}
    for value in graph.input:
        if value.name in inputs:
            raise FormatError(f"{where}: two inputs are called {value.name!r}")
        if value.name not in constants:
            inputs[value.name] = _input(value, where)
    return Decoded(
        graph.name,
        _nodes(graph.node, where, folder),
        constants,
        inputs,
        tuple(value.name for value in graph.output),
        _declared([*graph.value_info, *graph.output]),
        opsets,
        f"{model.producer_name} {model.producer_version}".strip(),
        {entry.key: entry.value for entry in model.metadata_props},
        _bits(graph),
    )


def _check_texts(model: onnx.ModelProto, where: str) -> None:
    """Protobuf gives a text that is not UTF-8 as bytes, which nothing here expects.

    Raises:
        FormatError: there is one.
    """
    graph = model.graph
    values = [*graph.input, *graph.output, *graph.value_info]
    nodes = [*graph.node, *(node for function in model.functions for node in function.node)]
    texts = chain(
        (graph.name, model.producer_name, model.producer_version),
        (text for entry in model.metadata_props for text in (entry.key, entry.value)),
        (text for node in nodes for text in (node.name, node.op_type, node.domain, *node.input, *node.output)),
        (text for node in nodes for attribute in node.attribute for text in (attribute.name, attribute.ref_attr_name)),
        (value.name for value in (*values, *graph.initializer)),
        (dim.dim_param for value in values for dim in value.type.tensor_type.shape.dim),
        (entry.domain for entry in model.opset_import),
    )
    for text in texts:
        if not isinstance(text, str):
            raise FormatError(f"{where}: {text!r} is not valid UTF-8; the file is damaged")


def _opsets(model: onnx.ModelProto, where: str) -> dict[str, int]:
    opsets: dict[str, int] = {}
    for entry in model.opset_import:
        domain = "" if entry.domain in OWN_DOMAINS else entry.domain
        if opsets.setdefault(domain, entry.version) != entry.version:
            raise FormatError(f"{where}: imports two versions of the operators {entry.domain or 'ai.onnx'!r}")
    if "" not in opsets:
        raise FormatError(f"{where}: does not say of which version its operators are; it is cut off or damaged")
    if opsets[""] < SMALLEST_OPSET:
        raise UnsupportedOp(
            f"{where}: is written in opset {opsets['']}; at least {SMALLEST_OPSET} is read. Convert it with "
            "onnx.version_converter"
        )
    return opsets


def without_functions(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """The file with calls of its own functions written out.

    Raises:
        FormatError: a function calls itself, two have one name, or they write out to more than a network has.
    """
    if not model.functions:
        return model
    calls = {
        identity_of(function): [called_by(node) for node in nodes_within(function.node)] for function in model.functions
    }
    if len(calls) < len(model.functions):
        raise FormatError(f"{where}: two of its {len(model.functions)} functions have one name; the file is damaged")
    try:
        order = tuple(
            TopologicalSorter({key: calls.keys() & set(inner) for key, inner in calls.items()}).static_order()
        )
    except CycleError as error:
        raise FormatError(f"{where}: the function {error.args[1][0].name!r} calls itself") from error
    size: dict[FunctionId, int] = {}
    for key in order:
        size[key] = sum(size.get(call, 1) for call in calls[key])
    total = sum(size.get(called_by(node), 1) for node in nodes_within(model.graph.node))
    if max(total, *size.values()) > LARGEST_GRAPH:
        raise FormatError(f"{where}: its functions write out to {total} nodes; the limit is {LARGEST_GRAPH}")
    try:
        return write_out(model)
    except TooMuchWritten as error:
        raise FormatError(f"{where}: {error}") from error


def _input(value: onnx.ValueInfoProto, where: str) -> tuple[np.dtype | None, Dims]:
    place = f"{where}: input {value.name!r}"
    if not value.name or value.type.WhichOneof("value") != "tensor_type":
        raise UnsupportedOp(f"{place}: is not a tensor")
    tensor = value.type.tensor_type
    dims = _dims(tensor)
    if dims is None:
        raise UnsupportedOp(f"{place}: the file says nothing of its shape; give it one")
    for axis, size in enumerate(dims):
        if isinstance(size, int) and not 0 < size < LARGEST_DIMENSION:
            raise FormatError(
                f"{place}: has size {size} on axis {axis}; a size is 1 or more, below 2**31, or left open by -1"
            )
    dtype = numpy_dtype(tensor.elem_type)
    if dtype is None:
        raise UnsupportedOp(f"{place}: element type {type_name(tensor.elem_type)} is not read")
    return dtype, dims


def _dims(tensor: onnx.TypeProto.Tensor) -> Dims | None:
    if not tensor.HasField("shape"):
        return None
    return tuple(_size(dim, axis) for axis, dim in enumerate(tensor.shape.dim))


def _size(dim: onnx.TensorShapeProto.Dimension, axis: int) -> int | str:
    """A size; a text where it is left open: by a name, by nothing, or by -1, as Paddle's exporters write it."""
    if dim.HasField("dim_value") and dim.dim_value != OPEN:
        return dim.dim_value
    return dim.dim_param or f"{UNNAMED}{axis}"


def _declared(values: Sequence[onnx.ValueInfoProto]) -> dict[str, tuple[np.dtype | None, Dims | None]]:
    tensors = {value.name: value.type.tensor_type for value in values if value.type.HasField("tensor_type")}
    return {name: (numpy_dtype(tensor.elem_type), _dims(tensor)) for name, tensor in tensors.items()}


def _bits(graph: onnx.GraphProto) -> dict[str, int]:
    """Bits of every tensor of narrow integers that the file itself names the type of."""
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    values = (*graph.input, *graph.output, *graph.value_info)
    kinds |= {value.name: value.type.tensor_type.elem_type for value in values if value.name not in kinds}
    for node in graph.node:
        if node.op_type == "Constant" and node.output:
            tensors = [attribute.t for attribute in node.attribute if attribute.name == "value"]
            kinds.update((node.output[0], tensor.data_type) for tensor in tensors)
    narrow = {name: narrow_bits(kind) for name, kind in kinds.items()}
    return {name: bits for name, bits in narrow.items() if bits is not None}


def _nodes(nodes: Sequence[onnx.NodeProto], where: str, folder: Path | None) -> tuple[OnnxNode, ...]:
    names: dict[str, int] = {}
    result = []
    for index, node in enumerate(nodes):
        name = _unique(node.name or f"{node.op_type}_{next(iter(filter(None, node.output)), index)}", names)
        place = f"{where}: node {name!r} ({node.op_type})"
        if not node.op_type:
            raise FormatError(f"{where}: node {name!r} has no operator; the file is damaged")
        attributes: dict[str, Value] = {}
        for attribute in node.attribute:
            if not attribute.name or attribute.name in attributes:
                raise FormatError(f"{place}: an attribute is called {attribute.name!r}, like another or like nothing")
            attributes[attribute.name] = _attribute(attribute, place, folder)
        domain = "" if node.domain in OWN_DOMAINS else node.domain
        result.append(OnnxNode(name, node.op_type, domain, tuple(node.input), tuple(node.output), attributes))
    return tuple(result)


def _unique(name: str, names: dict[str, int]) -> str:
    candidate = name
    while candidate in names:
        candidate = f"{name}_{names[name]}"
        names[name] += 1
    names[candidate] = 1
    return candidate


def _attribute(attribute: onnx.AttributeProto, place: str, folder: Path | None) -> Value:
    subject = f"{place}: attribute {attribute.name!r}"
    if attribute.ref_attr_name:
        raise FormatError(f"{subject}: refers to the attribute of a function, but stands in none")
    try:
        match attribute.type:
            case AttributeProto.FLOAT:
                return attribute.f
            case AttributeProto.INT:
                return attribute.i
            case AttributeProto.STRING:
                return attribute.s.decode()
            case AttributeProto.TENSOR:
                return to_array(attribute.t, subject, folder)
            case AttributeProto.FLOATS:
                return tuple(attribute.floats)
            case AttributeProto.INTS:
                return tuple(attribute.ints)
            case AttributeProto.STRINGS:
                return tuple(text.decode() for text in attribute.strings)
            case AttributeProto.GRAPH | AttributeProto.GRAPHS:
                raise UnsupportedOp(f"{place}: holds a subgraph; oaq runs networks without branches and loops")
    except UnicodeDecodeError as error:
        raise FormatError(f"{subject}: is not valid UTF-8: {error}") from error
    raise UnsupportedOp(f"{subject}: is of type {attribute.type}, which is not read")
