"""An ONNX file as oaq writes them, read by the checker itself: nodes, constants, ends, metadata."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.checker.protobuf import fields, parse
from oaq.errors import FormatError

KEY: Final = "oaq"
"""The one key of ``metadata_props`` that is ours."""
METADATA_PROPS: Final = 14
OPSET: Final = 17
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
    """

    nodes: tuple[OnnxNode, ...]
    constants: Mapping[str, NDArray[Any]]
    inputs: Mapping[str, Dims]
    outputs: Mapping[str, Dims]
    metadata: Mapping[str, str]
    digest: str


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
    if dtype is None or any(size < 0 for size in shape) or prod(shape) * dtype.itemsize != len(data):
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
