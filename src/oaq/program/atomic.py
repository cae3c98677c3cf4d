"""Write an output: whole or not at all where that is possible, and never in place of what is not a file.

A regular file is written beside its place under another name and then renamed, so that readers see the old content or
the new one. Renaming over a device, a pipe or a link would replace it: ``/dev/stdout`` would become a file. A link is
followed, and the file it points to is written as above; anything that is not a regular file is opened and written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import secrets
import stat
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from oaq.errors import FormatError

TEMPORARY: Final = re.compile(r"\.(?P<name>.+)\.(?P<host>[0-9a-f]{8})-(?P<process>[0-9]+)-[0-9a-f]{12}\.oaq-tmp")
"""Name of a file being written: whose it is can be told from it, so that one left by a dead process can be removed."""
MOST_NAME: Final = 160
"""Bytes of the target's name in a temporary one: the whole stays below the 255 bytes of file systems."""
MOST_LINKS: Final = 40
"""As many as systems follow."""


def write_atomically(path: str | Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write ``chunks`` to ``path``.

    A new or a regular file: whatever goes wrong, it holds either what it held before or all of ``chunks``. A process
    that is killed while it writes leaves a temporary file; the next write to that folder on the same machine removes
    it. Links are followed. Devices and pipes get the bytes as they come.

    Raises:
        FormatError: the folder is missing or cannot be written, the disk is full, ``path`` is a folder, ...
    """
    path = Path(path)
    try:
        descriptor, target = _destination(path)
    except OSError as error:
        raise _refusal(path, error) from error
    except ValueError as error:  # a NUL in the path
        raise FormatError(f"{path}: cannot be written: {error}. Choose another name") from error
    if target is None:
        _write_through(path, descriptor, chunks)
        return
    try:
        _replace(target, chunks)
    except OSError as error:
        raise _refusal(path, error) from error


def make_folder(path: Path) -> None:
    """Make a folder that outputs go to, and those above it; nothing if it is there.

    Raises:
        FormatError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise FormatError(f"{path}: cannot be made: {reason}. Choose another folder") from error


def _refusal(path: Path, error: OSError) -> FormatError:
    return FormatError(
        f"{path}: cannot be written: {error.strerror or error}. Nothing was changed; choose another folder or make room"
    )


def _destination(path: Path) -> tuple[int | None, Path | None]:
    """The descriptor of this process that the path names, or the regular file to make or replace; else two Nones."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None, path.resolve() if path.is_symlink() else path
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    links = _links(path)
    for link in links:
        if link.parent in (Path("/proc/self/fd"), Path(f"/proc/{os.getpid()}/fd")) and link.name.isdecimal():
            return int(link.name), None
    if not stat.S_ISREG(mode) or any(link.parts[:2] == ("/", "proc") for link in links):
        return None, None
    return None, links[-1]


def _links(path: Path) -> list[Path]:
    """The path and what each link on the way points to; the last one is not a link. Folders are resolved.

    ``/dev/stdout`` gives ``/dev/stdout``, ``/proc/self/fd/1`` (as this process's own folder) and the file behind it.
    """
    links = [path.parent.resolve() / path.name]
    while links[-1].is_symlink() and len(links) < MOST_LINKS:
        place = links[-1].parent / links[-1].readlink()
        links.append(place.parent.resolve() / place.name)
    return links


def _write_through(path: Path, descriptor: int | None, chunks: Iterable[bytes | memoryview]) -> None:
    """Write to a device, a pipe, or a file that is open already, at the place where its next byte belongs."""
    sys.stdout.flush()  # text printed before comes before
    try:
        handle = os.dup(descriptor) if descriptor is not None else os.open(path, os.O_WRONLY)
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FormatError(f"{path}: cannot be written: {error.strerror or error}. Choose another place") from error


def _replace(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    remove_leftovers(path.parent)
    name = path.name if len(os.fsencode(path.name)) <= MOST_NAME else secrets.token_hex(8)
    temporary = path.with_name(f".{name}.{_host()}-{os.getpid()}-{secrets.token_hex(6)}.oaq-tmp")
    try:
        # O_EXCL: never through a link that lies there; 0o666 so that the caller's umask decides, as for open()
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


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that dead processes of this machine left in ``folder``; what cannot be removed stays.

    Only regular files of our own naming are touched, and only if their process does not exist. Another machine may
    share the folder: files of another host name are left alone.
    """
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            match = TEMPORARY.fullmatch(entry.name)
            if match is None or match["host"] != _host() or _is_alive(int(match["process"])):
                continue
            with contextlib.suppress(OSError):
                if entry.is_file(follow_symlinks=False):
                    Path(entry.path).unlink()


def _host() -> str:
    """Eight digits that tell machines, and containers that share folders but not processes, apart."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 (a link that Path would resolve to nothing)
    except OSError:
        space = 0
    return f"{zlib.crc32(f'{platform.node()} {space}'.encode(errors='surrogateescape')):08x}"


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":  # there signal 0 is Ctrl+C
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # it belongs to another user
    return True


def _flush_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system can; the file is complete either way."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
