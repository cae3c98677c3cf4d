"""Text files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from oaq.errors import FormatError


def write_text(path: Path, text: str) -> None:
    """Write beside ``path``, then rename over it.

    Raises:
        FormatError: the folder is missing or read-only, or the disk is full; nothing is left behind.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        reason = error.strerror or error
        raise FormatError(f"{path}: cannot be written: {reason}. Name a folder that exists and is writable") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
