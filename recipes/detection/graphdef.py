"""Constants of a frozen TensorFlow graph (GraphDef), read without TensorFlow.

A GraphDef is protocol-buffer bytes: a list of nodes, each with a name, an operator and attributes; a constant holds its
numbers in the attribute ``value``. Only what constants need is read; lengths are checked before anything is sliced.
Field numbers are those of tensorflow/core/framework: graph.proto, node_def.proto, attr_value.proto, tensor.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import FormatError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types of protocol buffers."""
DTYPES: Final = {1: np.dtype("<f4"), 3: np.dtype("<i4"), 9: np.dtype("<i8")}
"""DataType numbers of float32, int32 and int64."""
LISTS: Final = {1: 5, 3: 7, 9: 10}
"""Field of a TensorProto that lists numbers of a type one by one."""
Field = tuple[int, int, int | memoryview]


def read_constants(path: Path) -> dict[str, NDArray[Any]]:
    """Every constant of float32, int32 or int64 by the name of its node.

    Raises:
        FormatError: the file cannot be read, or is not a GraphDef.
    """
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from error
    constants: dict[str, NDArray[Any]] = {}
    try:
        for number, _, node in fields(data):
            if number == 1 and isinstance(node, memoryview):
                name, array = _constant(node)
                if array is not None:
                    constants[name] = array
    except (ValueError, OverflowError, IndexError) as error:
        raise FormatError(f"{path}: is not a frozen TensorFlow graph: {error}") from error
    if not constants:
        raise FormatError(f"{path}: is not a frozen TensorFlow graph: it holds no constant")
    return constants


def fields(data: memoryview) -> Iterator[Field]:
    """(number, wire type, value) of each field of a message; a value is an integer or the bytes of what is inside.

    Raises:
        ValueError: the bytes end inside a field, or have a wire type that protocol buffers no longer use.
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield number, kind, value
            continue
        if kind not in (FIXED64, BYTES, FIXED32):
            raise ValueError(f"wire type {kind} at byte {at}")
        size = 8 if kind == FIXED64 else 4
        if kind == BYTES:
            size, at = _varint(data, at)
        if size > len(data) - at:
            raise ValueError(f"a field of {size} bytes at byte {at} of {len(data)}")
        yield number, kind, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError(f"the bytes end inside a number at byte {at}")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    raise ValueError(f"a number of more than ten bytes before byte {at}")


def _inner(message: memoryview, number: int) -> memoryview | None:
    """The last message of a field, None if there is none."""
    value = None
    for own_number, _, content in fields(message):
        if own_number == number and isinstance(content, memoryview):
            value = content
    return value


def _constant(node: memoryview) -> tuple[str, NDArray[Any] | None]:
    """Name and numbers of a node; None if it is not a constant of a type that is read."""
    name, operator, tensor = "", "", None
    for number, _, content in fields(node):
        if not isinstance(content, memoryview):
            continue
        if number == 1:
            name = bytes(content).decode()
        elif number == 2:
            operator = bytes(content).decode()
        elif number == 5 and bytes(_inner(content, 1) or b"") == b"value":
            attribute = _inner(content, 2)
            tensor = None if attribute is None else _inner(attribute, 8)
    return name, None if operator != "Const" or tensor is None else _tensor(tensor, name)


def _tensor(message: memoryview, name: str) -> NDArray[Any] | None:
    dtype, shape, content, single = 0, (), None, []
    for number, kind, value in fields(message):
        if number == 1 and isinstance(value, int):
            dtype = value
        elif number == 2 and isinstance(value, memoryview):
            shape = tuple(_size(size) for at, _, size in fields(value) if at == 2 and isinstance(size, memoryview))
        elif number == 4 and isinstance(value, memoryview):
            content = value
        elif dtype in LISTS and number == LISTS[dtype]:
            single += _numbers(value, kind, dtype)
    if dtype not in DTYPES:
        return None
    array = np.frombuffer(content or b"", DTYPES[dtype]) if content else np.array(single, DTYPES[dtype])
    count = prod(shape)
    if array.size == 1 and count > 1 and count <= 1 << 24:  # one number stands for all
        array = np.broadcast_to(array, (count,))
    if array.size != count:
        raise ValueError(f"the constant {name!r} of shape {shape} holds {array.size} numbers")
    return array.reshape(shape)


def _size(dimension: memoryview) -> int:
    return next((value for number, _, value in fields(dimension) if number == 1 and isinstance(value, int)), 0)


def _numbers(value: int | memoryview, kind: int, dtype: int) -> list[float]:
    """Numbers of a list, packed or by themselves."""
    if isinstance(value, int):
        return [_signed(value)]
    if dtype == 1:
        return np.frombuffer(value, "<f4").tolist()
    if kind != BYTES:
        raise ValueError(f"wire type {kind} for whole numbers")
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(_signed(number))
    return numbers


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number
