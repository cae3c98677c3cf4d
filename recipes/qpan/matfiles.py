"""Arrays of MATLAB 5 files (.mat), as far as the recipe needs them: named matrices of plain numbers."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import FormatError

HEADER: Final = 128
TYPES: Final = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""NumPy's type by MATLAB's code of an element."""
MATRIX: Final = 14
COMPRESSED: Final = 15
PLAIN: Final = range(6, 16)
"""Classes of arrays whose values are numbers: double to uint64."""
COMPLEX: Final = 0x0800
LARGEST: Final = 1 << 28
"""Bytes of an element that is unpacked."""

Element = tuple[int, bytes]
"""Code and content."""


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The real matrices of a file by name; what is none is left out.

    Raises:
        FormatError: the file cannot be read, or is not such a file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) < HEADER or content[126:128] not in (b"IM", b"MI"):
        raise FormatError(f"{path}: is not a MATLAB 5 file ('IM' is expected at byte 126)")
    order = "<" if content[126:128] == b"IM" else ">"
    try:
        return _arrays(content[HEADER:], order)
    except (struct.error, zlib.error, IndexError, ValueError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: is damaged: {error}") from error


def _arrays(content: bytes, order: str) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for code, element in _elements(content, order):
        inner = _elements(_inflated(element), order) if code == COMPRESSED else [(code, element)]
        for kind, part in inner:  # of which none is packed again
            arrays |= _matrix(part, order) if kind == MATRIX else {}
    return arrays


def _inflated(content: bytes) -> bytes:
    data = zlib.decompressobj().decompress(content, LARGEST)
    if len(data) == LARGEST:
        raise ValueError(f"an element has {LARGEST} bytes or more")
    return data


def _elements(content: bytes, order: str) -> list[Element]:
    """Elements one after the other, padded to 8 bytes but where they are compressed; small ones lie in their tag."""
    elements, at = [], 0
    while at + 8 <= len(content):
        code, size = struct.unpack_from(f"{order}II", content, at)
        if code >> 16:
            code, size, start, at = code & 0xFFFF, code >> 16, at + 4, at + 8
        else:
            start = at + 8
            at = start + (size if code == COMPRESSED else -(-size // 8) * 8)
        if start + size > len(content):
            raise ValueError(f"an element of {size} bytes is announced, {len(content) - start} are there")
        elements.append((code, content[start : start + size]))
    return elements


def _matrix(content: bytes, order: str) -> dict[str, NDArray[Any]]:
    parts = _elements(content, order)
    if len(parts) < 4:
        return {}
    flags = struct.unpack_from(f"{order}I", parts[0][1])[0]
    code, values = parts[3]
    if flags & 0xFF not in PLAIN or flags & COMPLEX or code not in TYPES:
        return {}
    shape = np.frombuffer(parts[1][1], f"{order}i4")
    if (shape < 0).any():
        raise ValueError(f"a matrix has a shape of {shape.tolist()}")
    return {parts[2][1].decode("ascii"): np.frombuffer(values, order + TYPES[code]).reshape(shape, order="F")}
