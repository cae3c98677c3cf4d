"""An ``.oaq`` file around any header, with a checksum that fits, so that what it holds is looked at."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from oaq.program.files import CHECKSUM, NO_CHECKSUM
from oaq.program.safetensors import encode


def oaq_file(documents: Mapping[str, str], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of a file that holds ``documents`` (JSON text by metadata key) and ``arrays``."""
    head, data = encode({**documents, CHECKSUM: NO_CHECKSUM}, dict(arrays))
    return resealed(b"".join([head, *data]))


def resealed(content: bytes) -> bytes:
    """``content`` with the checksum it would have if it had been written so; as it is if it holds none."""
    start = content.find(f'"{CHECKSUM}":"'.encode())
    if start < 0:
        return content
    start += len(f'"{CHECKSUM}":"')
    blank = content[:start] + NO_CHECKSUM.encode() + content[start + 64 :]
    return content[:start] + hashlib.sha256(blank).hexdigest().encode() + content[start + 64 :]
