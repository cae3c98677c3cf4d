"""A text of all parts of a program, for file formats that have room for strings only.

JSON with exactly these keys: ``version``; ``model``, the sha256 of every other byte of the file; ``sha256``, of this
very text with zeros in its place; ``parts``, of each its ``content`` and its ``arrays``: dtype, shape, and bytes
(little-endian, deflated, base64).

Both hashes find accidents. What stops a forger who computes them again is the certificate and its independent checker.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Mapping
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import FormatError
from oaq.program.files import Part
from oaq.program.safetensors import DTYPES, is_array_shape, naturals, parse_json

KEY: Final = "oaq"
"""Under which a file of another format keeps the text."""
PROGRAM: Final = "program"
"""Part that holds what such a file cannot say of its program in its own words."""
REGION: Final = "region"
"""Part that says which nodes of such a file are the program's, where others stay in float."""
VERSION: Final = 2
BLANK: Final = "0" * 64
LARGEST: Final = 1 << 30
"""Bytes that all arrays of a text may take together: what a hostile text may make its reader allocate."""


def to_text(parts: Mapping[str, Part], model: str) -> str:
    """``parts`` as a text that names the file it lies in.

    Args:
        parts: by name.
        model: sha256 (hex) of the rest of the file.

    Raises:
        FormatError: a part cannot be stored.
    """
    document = {
        "version": VERSION,
        "model": model,
        "sha256": BLANK,
        "parts": {
            name: {"content": part.content, "arrays": {key: _packed(array) for key, array in part.arrays.items()}}
            for name, part in parts.items()
        },
    }
    try:
        text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"the parts {sorted(parts)} cannot be stored as JSON: {error}") from error
    return text.replace(BLANK, hashlib.sha256(text.encode()).hexdigest(), 1)


def from_text(text: str, where: str) -> tuple[str, dict[str, Part]]:
    """The hash of the rest of the file, and the parts.

    Raises:
        FormatError: the text is of another version, has been edited, or is none; ``where`` begins every message.
    """
    document = parse_json(text, where)
    if not isinstance(document, dict) or document.get("version") != VERSION:
        version = document.get("version") if isinstance(document, dict) else document
        raise FormatError(f"{where}: is of version {str(version)[:40]}, this oaq reads {VERSION}; seal the file again")
    if set(document) != {"version", "model", "sha256", "parts"} or not isinstance(document["parts"], dict):
        raise FormatError(f"{where}: needs exactly version, model, sha256 and parts")
    stored = document["sha256"]
    if not isinstance(stored, str) or hashlib.sha256(text.replace(stored, BLANK, 1).encode()).hexdigest() != stored:
        raise FormatError(f"{where}: its checksum does not fit its text; it has been edited or damaged")
    sizes: list[int] = []
    return str(document["model"]), {
        name: _part(part, sizes, f"{where}, part {name!r}") for name, part in document["parts"].items()
    }


def _packed(array: NDArray[Any]) -> dict[str, object]:
    dtype = array.dtype.newbyteorder("<")
    names = {dtype: name for name, dtype in DTYPES.items()}
    if dtype not in names:
        raise FormatError(f"an array of {array.dtype} cannot be stored")
    data = zlib.compress(np.ascontiguousarray(array, dtype).tobytes(), 6)
    return {"dtype": names[dtype], "shape": list(array.shape), "data": base64.b64encode(data).decode()}


def _part(plain: object, sizes: list[int], where: str) -> Part:
    if not isinstance(plain, dict) or set(plain) != {"content", "arrays"} or not isinstance(plain["arrays"], dict):
        raise FormatError(f"{where}: needs exactly content and arrays")
    return Part(
        plain["content"], {key: _unpacked(array, sizes, f"{where}: {key}") for key, array in plain["arrays"].items()}
    )


def _unpacked(plain: object, sizes: list[int], where: str) -> NDArray[Any]:
    if not isinstance(plain, dict) or set(plain) != {"dtype", "shape", "data"}:
        raise FormatError(f"{where}: needs exactly dtype, shape and data")
    name, data = plain["dtype"], plain["data"]
    shape = naturals(plain["shape"], f"{where}: shape")
    if not isinstance(name, str) or name not in DTYPES or not isinstance(data, str) or len(shape) > 32:
        raise FormatError(f"{where}: is not an array")
    if not is_array_shape(shape):
        raise FormatError(f"{where}: no array has the shape {list(shape)}")
    size = prod(shape) * DTYPES[name].itemsize
    sizes.append(size)
    if sum(sizes) > LARGEST:
        raise FormatError(f"{where}: its arrays take more than {LARGEST} bytes")
    reader = zlib.decompressobj()
    try:
        content = reader.decompress(base64.b64decode(data, validate=True), size + 1)
    except (ValueError, binascii.Error, zlib.error) as error:
        raise FormatError(f"{where}: its bytes are damaged: {error}") from error
    if len(content) != size or not reader.eof or reader.unused_data:
        raise FormatError(f"{where}: {name} of shape {list(shape)} takes {size} bytes, not these")
    return np.frombuffer(content, DTYPES[name]).reshape(shape).copy()
