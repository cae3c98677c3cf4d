"""The safetensors container with NumPy alone: read distrustfully, written canonically.

A file is an 8-byte little-endian length N, N bytes of JSON, then the arrays' bytes without gaps. The JSON maps each
name to dtype, shape and byte range, and ``__metadata__`` to strings.
Source of the format: https://github.com/huggingface/safetensors#format (version 0.4 and later forbid holes).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import FormatError

LARGEST_HEADER: Final = 100_000_000
"""Bytes of JSON accepted, the limit of the safetensors package too."""
METADATA: Final = "__metadata__"
DTYPES: Final[Mapping[str, np.dtype]] = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
}
NamedArrays = dict[str, NDArray[Any]]


def encode(metadata: Mapping[str, str], arrays: Mapping[str, NDArray[Any]]) -> tuple[bytes, list[bytes]]:
    """The header (length word included) and the arrays' bytes, in file order.

    Wide elements come first, names break ties and the header is padded to 8 bytes: every array is aligned and the same
    content always gives the same bytes.

    Raises:
        FormatError: an array's dtype has no name in the format.
    """
    names = {dtype: name for name, dtype in DTYPES.items()}
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    header: dict[str, object] = {METADATA: dict(sorted(metadata.items()))}
    data, position = [], 0
    for name in order:
        array = arrays[name]
        if array.dtype.newbyteorder("<") not in names or name == METADATA:
            raise FormatError(f"array {name!r}: safetensors has no {array.dtype}")
        dtype = array.dtype.newbyteorder("<")
        data.append(np.ascontiguousarray(array, dtype).tobytes())
        header[name] = {
            "dtype": names[dtype],
            "shape": list(array.shape),
            "data_offsets": [position, position + len(data[-1])],
        }
        position += len(data[-1])
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, data


def split(content: bytes, where: str) -> tuple[bytes, memoryview]:
    """The header's JSON bytes and the arrays' bytes.

    Raises:
        FormatError: too short for the header it announces; ``where`` begins every message.
    """
    if len(content) < 8:
        raise FormatError(
            f"{where}: {len(content)} bytes are too few for a safetensors file; it is cut off or no model"
        )
    length = int.from_bytes(content[:8], "little")
    if length > LARGEST_HEADER or length > len(content) - 8:
        raise FormatError(
            f"{where}: announces a header of {length} bytes, holds {len(content) - 8} after the length word; it is cut "
            "off or not a safetensors file"
        )
    return content[8 : 8 + length], memoryview(content)[8 + length :]


def decode(content: bytes, where: str) -> tuple[dict[str, str], NamedArrays]:
    """Metadata and arrays: read-only views of ``content`` where they are aligned in it, else copies.

    Nothing is allocated before its size has been checked against the bytes that are there.

    Raises:
        FormatError: anything but a well-formed file; ``where`` begins every message.
    """
    text, data = split(content, where)
    header = parse_json(text, f"{where}: header")
    if not isinstance(header, dict):
        raise FormatError(f"{where}: the header is a JSON object, not {type(header).__name__}")
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FormatError(f"{where}: {METADATA} maps names to strings")
    entries = {name: _entry(entry, f"{where}: array {name!r}") for name, entry in header.items()}
    position = 0
    for name, (_, _, begin, end) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if begin != position:
            raise FormatError(f"{where}: array {name!r} begins at byte {begin}; the one before it ends at {position}")
        position = end
    if position != len(data):
        raise FormatError(
            f"{where}: the arrays take {position} bytes, the file holds {len(data)}; it is cut off or edited"
        )
    views = {
        name: np.frombuffer(data[begin:end], dtype).reshape(shape)
        for name, (dtype, shape, begin, end) in entries.items()
    }
    return metadata, {name: view if view.flags.aligned else view.copy() for name, view in views.items()}


def parse_json(text: bytes | str, where: str) -> Any:  # noqa: ANN401 (JSON is anything)
    """JSON without duplicate keys, without NaN, of sane depth.

    Raises:
        FormatError: ``text`` is not that.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError as error:
        raise FormatError(f"{where}: JSON nested deeper than any model's; refused") from error
    except ValueError as error:  # includes JSONDecodeError, UnicodeDecodeError and integers of absurd length
        raise FormatError(f"{where}: is not valid JSON: {str(error)[:200]}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return result


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _entry(entry: object, where: str) -> tuple[np.dtype, tuple[int, ...], int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"{where}: needs exactly dtype, shape and data_offsets")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in DTYPES:
        raise FormatError(f"{where}: unknown dtype {str(entry['dtype'])[:40]!r}")
    shape = naturals(entry["shape"], f"{where}: shape")
    offsets = naturals(entry["data_offsets"], f"{where}: data_offsets")
    if len(shape) > 32 or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise FormatError(f"{where}: shape of {len(shape)} axes, data_offsets {list(offsets)[:4]}: malformed")
    dtype = DTYPES[entry["dtype"]]
    size = prod(shape) * dtype.itemsize
    if size != offsets[1] - offsets[0] or not is_array_shape(shape):
        raise FormatError(
            f"{where}: {entry['dtype']} of shape {list(shape)} takes {size} bytes, data_offsets give "
            f"{offsets[1] - offsets[0]}"
        )
    return dtype, shape, offsets[0], offsets[1]


def is_array_shape(shape: tuple[int, ...]) -> bool:
    """Whether NumPy makes an array of these sizes, given its bytes: beside a 0 it still multiplies the others."""
    return 0 not in shape or prod(size or 1 for size in shape) < 1 << 59


def naturals(value: object, where: str) -> tuple[int, ...]:
    """A JSON list of integers >= 0 as a tuple.

    Raises:
        FormatError: it is not one.
    """
    if not isinstance(value, list) or not all(type(item) is int and 0 <= item < 1 << 63 for item in value):
        raise FormatError(f"{where}: a list of integers in [0, 2**63) expected, not {str(value)[:80]}")
    return tuple(value)
