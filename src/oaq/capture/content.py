"""The bytes of a file from anywhere: not more of them than its format allows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Final

from oaq.errors import FormatError

PIECE: Final = 1 << 20
"""Bytes that are asked for at once where the system does not know how many there are."""


def read_content(path: str | Path, limit: int, message: str) -> bytes:
    """All of the file.

    Args:
        path: of the file.
        limit: bytes that are the most.
        message: what to say of a file that has more.

    Raises:
        FormatError: it cannot be read, or is larger.
    """
    try:
        with Path(path).open("rb") as file:
            content = _at_most(file, limit + 1)
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > limit:
        raise FormatError(f"{path}: {message}")
    return content


def _at_most(file: BinaryIO, most: int) -> bytes:
    """What the file holds, cut off at ``most`` bytes. Python takes all the memory that a read asks for, at once."""
    content = file.read(min(os.fstat(file.fileno()).st_size + 1, most))
    while 0 < len(content) < most and (more := file.read(min(PIECE, most - len(content)))):
        content += more
    return content
