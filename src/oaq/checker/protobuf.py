"""ONNX's protobufs as plain dictionaries, without the onnx package: the messages that oaq writes, and no others.

A field that is not in ``MESSAGES`` is refused, and so is a single field that occurs twice: a runtime would read it, or
merge the two, and nothing would be known of the result.

Sources: https://protobuf.dev/programming-guides/encoding and onnx.proto of ONNX 1.17.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from oaq.errors import FormatError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST: Final = 10
"""Bytes of a varint of 64 bits."""
TAGS: Final = 1 << 32
"""Tags are below it. Some readers drop the bits above, and so read a field of another number than is written."""


@dataclass(frozen=True)
class Field:
    """One field of a message: its name, its type ("int", "text", "bytes" or another message), whether it repeats."""

    name: str
    kind: str
    many: bool = False


MESSAGES: Final[Mapping[str, Mapping[int, Field]]] = {
    "ModelProto": {
        1: Field("ir_version", "int"),
        2: Field("producer_name", "text"),
        3: Field("producer_version", "text"),
        4: Field("domain", "text"),
        5: Field("model_version", "int"),
        6: Field("doc_string", "text"),
        7: Field("graph", "GraphProto"),
        8: Field("opset_import", "OperatorSetIdProto", many=True),
        14: Field("metadata_props", "StringStringEntryProto", many=True),
    },
    "GraphProto": {
        1: Field("node", "NodeProto", many=True),
        2: Field("name", "text"),
        5: Field("initializer", "TensorProto", many=True),
        10: Field("doc_string", "text"),
        11: Field("input", "ValueInfoProto", many=True),
        12: Field("output", "ValueInfoProto", many=True),
    },
    "NodeProto": {
        1: Field("input", "text", many=True),
        2: Field("output", "text", many=True),
        3: Field("name", "text"),
        4: Field("op_type", "text"),
        5: Field("attribute", "AttributeProto", many=True),
        6: Field("doc_string", "text"),
        7: Field("domain", "text"),
    },
    "AttributeProto": {
        1: Field("name", "text"),
        3: Field("i", "int"),
        4: Field("s", "text"),
        8: Field("ints", "int", many=True),
        13: Field("doc_string", "text"),
        20: Field("type", "int"),
    },
    "TensorProto": {
        1: Field("dims", "int", many=True),
        2: Field("data_type", "int"),
        8: Field("name", "text"),
        9: Field("raw_data", "bytes"),
        12: Field("doc_string", "text"),
    },
    "ValueInfoProto": {1: Field("name", "text"), 2: Field("type", "TypeProto"), 3: Field("doc_string", "text")},
    "TypeProto": {1: Field("tensor_type", "TensorTypeProto")},
    "TensorTypeProto": {1: Field("elem_type", "int"), 2: Field("shape", "TensorShapeProto")},
    "TensorShapeProto": {1: Field("dim", "DimensionProto", many=True)},
    "DimensionProto": {1: Field("dim_value", "int"), 2: Field("dim_param", "text")},
    "OperatorSetIdProto": {1: Field("domain", "text"), 2: Field("version", "int")},
    "StringStringEntryProto": {1: Field("key", "text"), 2: Field("value", "text")},
}

Raw = tuple[int, int, memoryview | int, int, int]
"""(number, wire type, value, where it begins, where it ends)."""


def parse(content: memoryview, message: str, where: str) -> dict[str, Any]:
    """One message as a dictionary: absent single fields are absent, repeated fields are lists.

    Raises:
        FormatError: it is truncated, or holds a field that is not in ``MESSAGES``; ``where`` begins the text.
    """
    by_number = MESSAGES[message]
    result: dict[str, Any] = {field.name: [] for field in by_number.values() if field.many}
    for number, wire, raw, begin, _ in fields(content, where):
        field = by_number.get(number)
        if field is None:
            raise FormatError(f"{where}: field {number} of a {message}, at byte {begin}, is none that oaq writes")
        values = _values(raw, wire, field, f"{where}: {message}.{field.name}")
        if field.many:
            result[field.name] += values
        elif field.name in result or len(values) != 1:
            raise FormatError(f"{where}: a {message} holds {field.name} twice")
        else:
            result[field.name] = values[0]
    return result


def fields(content: memoryview, where: str) -> Iterator[Raw]:
    """The fields of a message in the order they are written, unread.

    Raises:
        FormatError: it is not a protobuf, or truncated.
    """
    position = 0
    while position < len(content):
        begin = position
        tag, position = _varint(content, position, where)
        if tag >= TAGS:
            raise FormatError(f"{where}: the field at byte {begin} has a number beyond 29 bits: the file was forged")
        number, wire = tag >> 3, tag & 7
        value: memoryview | int
        if wire == VARINT:
            value, position = _varint(content, position, where)
        elif wire in (BYTES, FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
            if wire == BYTES:
                size, position = _varint(content, position, where)
            value = content[position : position + size]
            position += size
        else:
            raise FormatError(f"{where}: no field at byte {begin}: the file is damaged or is not ONNX")
        if position > len(content) or not number:
            raise FormatError(f"{where}: the field at byte {begin} leaves the file: it is truncated or is not ONNX")
        yield number, wire, value, begin, position


def _values(raw: memoryview | int, wire: int, field: Field, where: str) -> list[Any]:
    if field.kind == "int":
        if isinstance(raw, int):
            return [_signed(raw)]
        if wire == BYTES and field.many:
            return _packed(raw, where)
    elif wire == BYTES and isinstance(raw, memoryview):
        if field.kind == "bytes":
            return [raw]
        if field.kind != "text":
            return [parse(raw, field.kind, where)]
        try:
            return [bytes(raw).decode()]
        except UnicodeDecodeError as error:
            raise FormatError(f"{where} is not valid UTF-8: {error}") from error
    raise FormatError(f"{where}: is {field.kind}, not of wire type {wire}")


def _packed(raw: memoryview, where: str) -> list[int]:
    values, position = [], 0
    while position < len(raw):
        value, position = _varint(raw, position, where)
        values.append(_signed(value))
    return values


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _varint(content: memoryview, position: int, where: str) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(content[position : position + LONGEST]):
        value |= (byte & 127) << (7 * index)
        if byte < 128 and value < 1 << 64:
            return value, position + index + 1
    raise FormatError(f"{where}: no varint at byte {position}: the file is truncated or is not ONNX")
