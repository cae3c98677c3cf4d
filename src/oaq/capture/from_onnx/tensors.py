"""From a TensorProto to a NumPy array, believing none of its sizes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from oaq.capture.from_onnx.graph import Array
from oaq.errors import FormatError, UnsupportedOp
from oaq.program.safetensors import is_array_shape

PLAIN: Final[Mapping[int, np.dtype[Any]]] = {
    TensorProto.FLOAT: np.dtype("<f4"),
    TensorProto.UINT8: np.dtype("u1"),
    TensorProto.INT8: np.dtype("i1"),
    TensorProto.UINT16: np.dtype("<u2"),
    TensorProto.INT16: np.dtype("<i2"),
    TensorProto.INT32: np.dtype("<i4"),
    TensorProto.INT64: np.dtype("<i8"),
    TensorProto.BOOL: np.dtype("?"),
    TensorProto.FLOAT16: np.dtype("<f2"),
    TensorProto.DOUBLE: np.dtype("<f8"),
    TensorProto.UINT32: np.dtype("<u4"),
    TensorProto.UINT64: np.dtype("<u8"),
}
"""Element types that NumPy has."""
PACKED: Final[Mapping[int, tuple[int, np.dtype[Any]]]] = {
    TensorProto.INT4: (4, np.dtype("i1")),
    TensorProto.UINT4: (4, np.dtype("u1")),
    26: (2, np.dtype("i1")),  # INT2 and UINT2 by number: onnx before 1.20 has no names for them
    25: (2, np.dtype("u1")),
}
"""Bits of integers that lie several to a byte, the first in the lowest bits; read as int8 and uint8."""
BITS_IN_INT32: Final = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
LARGEST_RANK: Final = 16
EXTERNAL_KEYS: Final = {"location", "offset", "length", "checksum"}


def numpy_dtype(kind: int) -> np.dtype[Any] | None:
    """The type arrays of that ONNX element type are read as; None if they are not."""
    if kind == TensorProto.BFLOAT16:
        return np.dtype(np.float32)
    return PACKED[kind][1] if kind in PACKED else PLAIN.get(kind)


def narrow_bits(kind: int) -> int | None:
    """Bits of an integer type that is narrower than the NumPy type it is read as; None for all others."""
    return PACKED[kind][0] if kind in PACKED else None


def to_array(tensor: onnx.TensorProto, where: str, folder: Path | None) -> Array:
    """The numbers of ``tensor``, read-only.

    Args:
        tensor: trusted in nothing.
        where: begins every message.
        folder: of the model file, which external data must lie in; None if there is none.

    Raises:
        FormatError: sizes, types or places of the data do not fit each other.
        UnsupportedOp: an element type that is not read.
    """
    shape = _shape(tensor, where)
    kind = tensor.data_type
    dtype = numpy_dtype(kind)
    if dtype is None:
        raise UnsupportedOp(
            f"{where}: element type {type_name(kind)} is not read; convert it to float32, int8 or uint8"
        )
    if tensor.HasField("segment"):
        raise UnsupportedOp(f"{where}: comes in segments; save the model anew with onnx.save")
    if tensor.data_location == TensorProto.EXTERNAL:
        array = _from_bytes(_external(tensor, where, folder, _byte_count(kind, shape)), kind, shape, where)
    elif tensor.HasField("raw_data"):
        array = _from_bytes(tensor.raw_data, kind, shape, where)
    else:
        array = _from_field(tensor, kind, shape, where)
    array = array.astype(dtype.newbyteorder("="), copy=not array.flags.owndata)
    array.flags.writeable = False
    return array


def type_name(kind: int) -> str:
    """``FLOAT8E5M2``, or the number where ONNX has no name for it."""
    names = {value: name for name, value in TensorProto.DataType.items()}
    return names.get(kind, str(kind))


def _shape(tensor: onnx.TensorProto, where: str) -> tuple[int, ...]:
    shape = tuple(tensor.dims)
    if len(shape) > LARGEST_RANK or min(shape, default=0) < 0 or not is_array_shape(shape):
        raise FormatError(f"{where}: {_shape_text(shape)} is not a shape; the file is damaged")
    return shape


def _shape_text(shape: tuple[int, ...]) -> str:
    return str(shape) if len(shape) <= LARGEST_RANK else f"one of {len(shape)} axes"


def _byte_count(kind: int, shape: tuple[int, ...]) -> int:
    if kind in PACKED:
        return -(-prod(shape) * PACKED[kind][0] // 8)
    return prod(shape) * (2 if kind == TensorProto.BFLOAT16 else PLAIN[kind].itemsize)


def _from_bytes(data: bytes, kind: int, shape: tuple[int, ...], where: str) -> Array:
    size = _byte_count(kind, shape)
    if len(data) != size:
        raise FormatError(
            f"{where}: {type_name(kind)} of shape {shape} is {size} bytes, the file holds {len(data)}; it is damaged"
        )
    if kind in PACKED:
        return _unpacked(np.frombuffer(data, np.uint8), kind, shape)
    if kind == TensorProto.BFLOAT16:
        return _widened(np.frombuffer(data, "<u2")).reshape(shape)
    if kind == TensorProto.BOOL:
        return (np.frombuffer(data, np.uint8) != 0).reshape(shape)
    return np.frombuffer(data, PLAIN[kind]).reshape(shape)


def _from_field(tensor: onnx.TensorProto, kind: int, shape: tuple[int, ...], where: str) -> Array:
    """The typed field that the ONNX specification says this element type lies in."""
    match kind:
        case TensorProto.FLOAT:
            values = np.array(tensor.float_data, np.float32)
        case TensorProto.DOUBLE:
            values = np.array(tensor.double_data, np.float64)
        case TensorProto.INT64:
            values = np.array(tensor.int64_data, np.int64)
        case TensorProto.UINT32 | TensorProto.UINT64:
            values = np.array(tensor.uint64_data, np.uint64)
        case _:
            values = np.array(tensor.int32_data, np.int32)
    count = _byte_count(kind, shape) if kind in PACKED else prod(shape)
    if len(values) != count:
        raise FormatError(
            f"{where}: {type_name(kind)} of shape {shape} is {count} numbers, the file holds {len(values)}; it is "
            "damaged"
        )
    if kind in PACKED:
        return _unpacked(_narrowed(values, np.dtype(np.uint8), where), kind, shape)
    if kind in BITS_IN_INT32:
        bits = _narrowed(values, np.dtype(np.uint16), where)
        return (_widened(bits) if kind == TensorProto.BFLOAT16 else bits.view(np.float16)).reshape(shape)
    return _narrowed(values, PLAIN[kind], where).reshape(shape)


def _narrowed(values: Array, dtype: np.dtype[Any], where: str) -> Array:
    if values.dtype.kind == "f" or values.dtype == dtype:
        return values
    ends = np.iinfo(np.uint8 if dtype == np.bool_ else dtype)
    if values.size and (int(values.min()) < ends.min or int(values.max()) > ends.max):
        raise FormatError(f"{where}: holds {values.min()}..{values.max()}, which {dtype} does not; the file is damaged")
    return values.astype(dtype)


def _unpacked(packed: NDArray[np.uint8], kind: int, shape: tuple[int, ...]) -> Array:
    bits, dtype = PACKED[kind]
    parts = [(packed >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    values = np.stack(parts, axis=-1).reshape(-1)[: prod(shape)]
    sign = np.int8(1 << (bits - 1))
    return ((values.astype(np.int8) ^ sign) - sign if dtype.kind == "i" else values).astype(dtype).reshape(shape)


def _widened(bits: NDArray[np.uint16]) -> Array:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _external(tensor: onnx.TensorProto, where: str, folder: Path | None, count: int) -> bytes:
    """Bytes from a file beside the model.

    Raises:
        FormatError: the file lies outside the model's folder, is missing, or is too short.
    """
    keys: dict[str, str] = {}
    for entry in tensor.external_data:
        if entry.key in keys or entry.key not in EXTERNAL_KEYS:
            raise FormatError(
                f"{where}: external data is described by {entry.key[:40]!r}, which is unknown or there twice"
            )
        keys[entry.key] = entry.value
    path = _inside(keys.get("location", ""), where, folder)
    offset, length = (_number(keys.get(key), fallback, where) for key, fallback in (("offset", 0), ("length", count)))
    if length != count:
        raise FormatError(f"{where}: needs {count} bytes of {path.name!r}, its external data says {length}")
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if offset + count > size:
                raise FormatError(
                    f"{where}: bytes {offset} to {offset + count} of {path.name!r}, which has {size}; copy it whole"
                )
            file.seek(offset)
            return file.read(count)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise FormatError(f"{where}: its data {path.name!r} cannot be read: {reason}") from error


def _inside(location: str, where: str, folder: Path | None) -> Path:
    """The file at ``location`` in ``folder``: relative, no step upwards, no link that leads out."""
    if folder is None:
        raise FormatError(f"{where}: its data lies in another file, but the model was given as bytes")
    parts = (*PurePosixPath(location).parts, *PureWindowsPath(location).parts)
    absolute = PurePosixPath(location).is_absolute() or bool(PureWindowsPath(location).anchor)
    if not location or "\0" in location or absolute or ".." in parts:
        raise FormatError(
            f"{where}: its data lies at {location[:80]!r}, outside the model's folder; that is not followed. Put the "
            "file beside the model and save it with a plain relative location"
        )
    try:
        path = (folder / location).resolve()
        inside = path.is_relative_to(folder.resolve())
        if inside and not path.is_file():
            raise FormatError(
                f"{where}: its data {location[:80]!r} is not a file in {folder}; copy it beside the model"
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise FormatError(f"{where}: its data {location[:80]!r} cannot be read: {error}") from error
    if not inside:
        raise FormatError(
            f"{where}: its data {location[:80]!r} is a link out of the model's folder; that is not followed"
        )
    return path


def _number(text: str | None, fallback: int, where: str) -> int:
    if text is None:
        return fallback
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise FormatError(f"{where}: {text[:40]!r} is not a place in a file")
    return int(text)
