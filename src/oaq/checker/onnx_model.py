"""An ONNX file as oaq writes them, read by the checker itself: nodes, constants, ends, metadata."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.checker.protobuf import BYTES, fields, parse
from oaq.errors import FormatError

KEY: Final = "oaq"
"""The one key of ``metadata_props`` that is ours."""
METADATA_PROPS: Final = 14
GRAPH, OPSETS, FUNCTIONS = 7, 8, 25
"""Fields of a ``ModelProto``."""
NODES, INITIALIZERS, INPUTS, SPARSE = 1, 5, 11, 15
"""Fields of a ``GraphProto``."""
OPSET: Final = 17
PART_OPSETS: Final = range(17, 28)
"""Versions in which the operators that oaq writes mean the same."""
FLOAT: Final = 1
DTYPES: Final[Mapping[int, np.dtype]] = {
    FLOAT: np.dtype("<f4"),
    2: np.dtype("u1"),
    3: np.dtype("i1"),
    6: np.dtype("<i4"),
    7: np.dtype("<i8"),
}
"""dtypes by ``TensorProto.DataType``."""
ATTRIBUTES: Final[Mapping[int, tuple[str, int | str]]] = {2: ("i", 0), 3: ("s", ""), 7: ("ints", "")}
"""The field that holds the value, and what its absence means, by ``AttributeProto.AttributeType``."""

Attribute = int | str | tuple[int, ...]
Dims = tuple[int | str, ...]


@dataclass(frozen=True)
class OnnxNode:
    """One node: the first name it writes is the only one."""

    kind: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """What decides the values an ONNX file computes, and its metadata.

    Attributes:
        nodes: in the file's order.
        constants: initializers.
        inputs: sizes of each input; all are float32. A text where the file leaves a size open.
        outputs: likewise.
        metadata: ``metadata_props``.
        digest: sha256 (hex) of the file without its entry ``KEY``.
        is_part: nodes are some of the file's: inputs and outputs are what passes between these and the others.
        others: operators of the other nodes, one name per node.
    """

    nodes: tuple[OnnxNode, ...]
    constants: Mapping[str, NDArray[Any]]
    inputs: Mapping[str, Dims]
    outputs: Mapping[str, Dims]
    metadata: Mapping[str, str]
    digest: str
    is_part: bool = False
    others: tuple[str, ...] = ()


def metadata(content: bytes, where: str) -> dict[str, str]:
    """``metadata_props`` of any ONNX file, written by oaq or not.

    Raises:
        FormatError: it is not a protobuf; ``where`` begins every message.
    """
    entries: dict[str, str] = {}
    for number, _, value, _, _ in fields(memoryview(content), where):
        if number == METADATA_PROPS and isinstance(value, memoryview):
            entry = parse(value, "StringStringEntryProto", f"{where}: metadata_props")
            key = entry.get("key", "")
            if key == KEY and key in entries:
                raise FormatError(f"{where}: holds two certificates; it has been edited. Export it again")
            entries[key] = entry.get("value", "")
    return entries


def read(content: bytes, where: str) -> OnnxModel:
    """Every part of the file that has to do with what it computes.

    Raises:
        FormatError: it is damaged, or holds something that oaq does not write; ``where`` begins every message.
    """
    try:
        return _read(content, where)
    except (KeyError, ValueError, OverflowError) as error:
        raise FormatError(f"{where}: is malformed: {type(error).__name__}: {error}") from error


def read_part(content: bytes, where: str, names: Sequence[str]) -> OnnxModel:
    """The nodes that write ``names``, in this order; other nodes may be of any kind.

    What these nodes read is one of their own results, a constant that they alone decide on, or a value of any size
    that other nodes or the caller give.

    Raises:
        FormatError: a node is missing, a name is written twice, a constant may be replaced by the caller, or something
            is not what oaq writes.
    """
    try:
        return _read_part(content, where, names)
    except (KeyError, ValueError, OverflowError, IndexError) as error:
        raise FormatError(f"{where}: is malformed: {type(error).__name__}: {error}") from error


def _only_graph(content: bytes, where: str) -> memoryview:
    """The graph of a file, if nothing beside it decides what it computes and its operators mean what ours do."""
    graphs, opsets = [], []
    for number, wire, value, _, _ in fields(memoryview(content), where):
        if wire != BYTES or not isinstance(value, memoryview):
            continue
        if number == GRAPH:
            graphs.append(value)
        elif number == OPSETS:
            opset = parse(value, "OperatorSetIdProto", where)
            opsets += [opset.get("version")] if opset.get("domain", "") in ("", "ai.onnx") else []
        elif number == FUNCTIONS:
            raise FormatError(f"{where}: defines functions, which could stand for any operator; write them out")
    if len(graphs) != 1 or len(opsets) != 1 or opsets[0] not in PART_OPSETS:
        raise FormatError(
            f"{where}: {len(graphs)} graphs in operators {opsets}; one is read, of a version in {PART_OPSETS}"
        )
    return graphs[0]


def _read_part(content: bytes, where: str, names: Sequence[str]) -> OnnxModel:
    written: list[str] = []
    nodes: dict[str, memoryview] = {}
    tensors: dict[str, memoryview] = {}
    kinds: list[tuple[str, str]] = []
    for number, wire, value, _, _ in fields(_only_graph(content, where), where):
        if wire != BYTES or not isinstance(value, memoryview):  # of another wire type it is not what its number says
            continue
        if number == NODES:
            outputs = _texts(value, 2, where)
            named = list(filter(None, outputs))
            written += named
            nodes |= dict.fromkeys(named, value)
            kinds.append((outputs[0], "".join(_texts(value, 4, where))))
        elif number == INITIALIZERS:
            names_of_tensor = _texts(value, 8, where)  # of several, runtimes take the last
            written += names_of_tensor or [""]
            tensors |= dict.fromkeys(names_of_tensor, value)
        elif number == SPARSE:
            parts = [part for number, wire, part, _, _ in fields(value, where) if (number, wire) == (1, BYTES)]
            written += [name for part in parts if isinstance(part, memoryview) for name in _texts(part, 8, where)]
        elif number == INPUTS:
            written += _texts(value, 1, where)
    if len(set(written)) != len(written) or "" in written:
        raise FormatError(f"{where}: a name is written twice, or is empty")
    missing = [name for name in names if name not in nodes]
    own_names = set(names)
    if missing or len(own_names) != len(names):
        raise FormatError(f"{where}: a node that its certificate names is missing, or named twice: {missing[:3]}")
    own = tuple(_node(parse(nodes[name], "NodeProto", where), where) for name in names)
    constants = {}
    for name in dict.fromkeys(name for node in own for name in node.inputs):
        if name in tensors:
            constants[name] = _array(parse(tensors[name], "TensorProto", where), f"{where}: initializer {name!r}")
    unlisted = tuple(kind for name, kind in kinds if name not in own_names)
    digest = _digest_without_key(content, where)
    return OnnxModel(own, constants, {}, {}, metadata(content, where), digest, True, unlisted)


def _texts(message: memoryview, number: int, where: str) -> list[str]:
    """Every value of one field of texts."""
    values = [value for field, wire, value, _, _ in fields(message, where) if (field, wire) == (number, BYTES)]
    return [bytes(value).decode() for value in values if isinstance(value, memoryview)]


def _read(content: bytes, where: str) -> OnnxModel:
    model = parse(memoryview(content), "ModelProto", where)
    opsets = [(opset.get("domain", ""), opset.get("version")) for opset in model["opset_import"]]
    if opsets != [("", OPSET)]:
        raise FormatError(f"{where}: is written in {opsets}, not in ONNX's operators of version {OPSET}")
    graph = model["graph"]
    constants = {}
    for tensor in graph["initializer"]:
        name = tensor["name"]
        if name in constants:
            raise FormatError(f"{where}: two initializers are called {name!r}")
        constants[name] = _array(tensor, f"{where}: initializer {name!r}")
    inputs, outputs = (_ends(graph[end], f"{where}: {end}") for end in ("input", "output"))
    nodes = tuple(_node(node, where) for node in graph["node"])
    written = [*constants, *inputs, *(node.output for node in nodes)]
    if len(set(written)) != len(written) or "" in written:
        raise FormatError(f"{where}: a name is written twice, or is empty")
    return OnnxModel(nodes, constants, inputs, outputs, metadata(content, where), _digest_without_key(content, where))


def _digest_without_key(content: bytes, where: str) -> str:
    """sha256 of all bytes but those of our own entry."""
    state, view, end_of_kept = hashlib.sha256(), memoryview(content), 0
    for number, _, value, begin, end in fields(view, where):
        if number != METADATA_PROPS or not isinstance(value, memoryview):
            continue
        if parse(value, "StringStringEntryProto", where).get("key") == KEY:
            state.update(view[end_of_kept:begin])
            end_of_kept = end
    state.update(view[end_of_kept:])
    return state.hexdigest()


def _array(tensor: Mapping[str, Any], where: str) -> NDArray[Any]:
    dtype, shape, data = DTYPES.get(tensor.get("data_type", 0)), tuple(tensor["dims"]), tensor.get("raw_data", b"")
    is_shape = len(shape) <= 32 and all(size >= 0 for size in shape)
    is_shape = is_shape and (0 not in shape or prod(size or 1 for size in shape) < 1 << 59)  # NumPy multiplies them
    if dtype is None or not is_shape or prod(shape) * dtype.itemsize != len(data):
        raise FormatError(
            f"{where}: {len(data)} bytes of type {tensor.get('data_type')} and shape {shape[:8]} are not a constant "
            "that oaq writes"
        )
    return np.frombuffer(data, dtype).reshape(shape)


def _ends(values: list[dict[str, Any]], where: str) -> dict[str, Dims]:
    sizes: dict[str, Dims] = {}
    for value in values:
        name, tensor = value["name"], value["type"]["tensor_type"]
        if name in sizes or tensor["elem_type"] != FLOAT:
            raise FormatError(f"{where} {name!r}: occurs twice, or is not float32")
        sizes[name] = tuple(dim.get("dim_value", dim.get("dim_param", "")) for dim in tensor["shape"]["dim"])
    return sizes


def _node(node: Mapping[str, Any], where: str) -> OnnxNode:
    kind, outputs = node["op_type"], node["output"]
    place = f"{where}: node {node.get('name', '')!r} ({kind})"
    if len(outputs) != 1 or node.get("domain", ""):
        raise FormatError(f"{place}: writes {len(outputs)} values, or is not ONNX's own")
    attributes: dict[str, Attribute] = {}
    for attribute in node["attribute"]:
        name = attribute["name"]
        if name in attributes:
            raise FormatError(f"{place}: has {name!r} twice")
        attributes[name] = _attribute(attribute, f"{place}: {name!r}")
    return OnnxNode(kind, tuple(node["input"]), outputs[0], attributes)


def _attribute(attribute: Mapping[str, Any], where: str) -> Attribute:
    filled = {key for key in ("i", "s", "ints") if attribute.get(key, []) != []}
    key, absent = ATTRIBUTES.get(attribute["type"], ("", ""))
    if not key or not filled <= {key}:
        raise FormatError(f"{where}: an attribute of type {attribute['type']} that holds {sorted(filled)}")
    value = attribute.get(key, absent)
    return tuple(value) if key == "ints" else value
