"""Volumes of the NIfTI-1 format (.nii.gz), as far as the recipe needs it: numbers by voxel, and where they lie."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import FormatError

HEADER: Final = 348
TYPES: Final = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2"}
"""NumPy's type by NIfTI's code."""
LARGEST: Final = 1 << 28
"""Bytes of a volume that is read."""


@dataclass(frozen=True, eq=False)
class Volume:
    """A box of voxels.

    Attributes:
        voxels: (x, y, z), as stored.
        origin: millimetres of the centre of voxel (0, 0, 0), by axis.
        spacing: millimetres from one voxel to the next, by axis.
    """

    voxels: NDArray[Any]
    origin: tuple[float, float, float]
    spacing: tuple[float, float, float]


def read_volume(content: bytes, where: str) -> Volume:
    """A volume whose axes are those of the head, not turned, from the bytes of a .nii or .nii.gz file.

    Args:
        content: of the file.
        where: its name, for messages.

    Raises:
        FormatError: it is not such a file, or its axes are turned.
    """
    data = _inflated(content, where)
    if len(data) < HEADER + 4 or data[344:348] != b"n+1\0":
        raise FormatError(f"{where}: is not a NIfTI-1 volume in one file ('n+1' is expected at byte 344)")
    order = next((end for end in "<>" if struct.unpack(f"{end}i", data[:4])[0] == HEADER), None)
    if order is None:
        raise FormatError(f"{where}: is not a NIfTI-1 volume: its header does not have {HEADER} bytes")
    axes, *sides = struct.unpack(f"{order}4h", data[40:48])
    code = struct.unpack(f"{order}h", data[70:72])[0]
    start = struct.unpack(f"{order}f", data[108:112])[0]
    if axes != 3 or min(sides) < 1 or code not in TYPES or not HEADER <= start <= len(data):
        raise FormatError(
            f"{where}: {axes} axes of {sides}, type {code}: volumes of three axes and plain numbers are read"
        )
    kind = np.dtype(order + TYPES[code])
    count = int(np.prod([int(side) for side in sides], dtype=np.int64))
    if int(start) + count * kind.itemsize > len(data):
        raise FormatError(
            f"{where}: {count} voxels of {kind.itemsize} bytes are announced, {len(data)} bytes are there"
        )
    voxels = np.frombuffer(data, kind, count, int(start)).reshape(sides, order="F")
    rows = np.array(struct.unpack(f"{order}12f", data[280:328])).reshape(3, 4)
    turn = rows[:, :3] - np.diag(np.diag(rows[:, :3]))
    if not np.isfinite(rows).all() or turn.any() or (np.diag(rows[:, :3]) <= 0).any():
        raise FormatError(f"{where}: its axes are turned, or not known; volumes in the order of the head are read")
    x, y, z = (float(value) for value in rows[:, 3])
    dx, dy, dz = (float(value) for value in np.diag(rows[:, :3]))
    return Volume(voxels, (x, y, z), (dx, dy, dz))


def _inflated(content: bytes, where: str) -> bytes:
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        data = zlib.decompressobj(wbits=31).decompress(content, LARGEST)
    except zlib.error as error:
        raise FormatError(f"{where}: is not a gzip file that opens: {error}") from error
    if len(data) == LARGEST:
        raise FormatError(f"{where}: holds {LARGEST} bytes or more; smaller volumes are read")
    return data


def resampled(volume: Volume, target: Volume) -> NDArray[Any]:
    """Voxels of ``volume`` (the nearest) at the places of ``target``'s; 0 where it has none."""
    result = volume.voxels
    for axis in range(3):
        millimetres = target.origin[axis] + target.spacing[axis] * np.arange(target.voxels.shape[axis])
        index = np.rint((millimetres - volume.origin[axis]) / volume.spacing[axis]).astype(np.int64)
        inside = (index >= 0) & (index < volume.voxels.shape[axis])
        picked = np.take(result, index.clip(0, volume.voxels.shape[axis] - 1), axis)
        shape = [1, 1, 1]
        shape[axis] = -1
        result = np.where(inside.reshape(shape), picked, np.zeros((), picked.dtype))
    return result
