"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from oaq.errors import FormatError


def write_atomically(path: str | Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write ``chunks`` to a new file beside ``path``, flush it to the disk, then rename it over ``path``.

    Whatever goes wrong, ``path`` holds either what it held before or all of ``chunks``, and no temporary file stays.

    Raises:
        FormatError: the folder is missing or cannot be written, the disk is full, ``path`` is a folder, ...
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        try:
            # O_EXCL: never through a link somebody left there; 0o666 so that the caller's umask decides, as for open()
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _flush_folder(path.parent)
    except OSError as error:
        raise FormatError(
            f"{path}: cannot be written: {error.strerror or error}. Nothing was changed; choose another folder or make "
            "room"
        ) from error


def _flush_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system can; the file is complete either way."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
