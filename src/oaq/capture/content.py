"""The bytes of a file from anywhere: not more of them than its format allows."""

from __future__ import annotations

from pathlib import Path

from oaq.errors import FormatError


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
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > limit:
        raise FormatError(f"{path}: {message}")
    return content
