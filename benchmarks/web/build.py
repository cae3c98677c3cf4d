"""The native core for WebAssembly, for one thread and for several, by the compiler of the ziglang wheel.

python -m benchmarks.web.build       builds the modules and puts them where the npm package has them (web/wasm)
"""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Final

from benchmarks.cmake_build import ROOT
from benchmarks.cross_build import cross_build

BUILD: Final = ROOT / "build" / "web"
PACKAGE: Final = ROOT / "web"
BUILDS: Final = ("simd128", "relaxed")
"""Builds of the module; the second has every row of the first."""
MODULES: Final = tuple(f"{name}{threads}" for name in BUILDS for threads in ("", "-threads"))
"""Files: each build for one thread, and on memory that workers share."""


def build(name: str) -> Path:
    """Build all modules where anything changed; returns the path of one.

    Args:
        name: of ``MODULES``.

    Raises:
        CannotBuild: there is no cross compiler, or the build failed.
    """
    cross_build(BUILD, "wasm", "OAQ_WASM=ON")
    return BUILD / f"oaq-{name}.wasm"


def install() -> list[Path]:
    """Build all modules into the npm package; returns their paths.

    Raises:
        CannotBuild: there is no cross compiler, or the build failed.
    """
    (PACKAGE / "wasm").mkdir(exist_ok=True)
    paths = []
    for name in MODULES:
        paths.append(PACKAGE / "wasm" / f"oaq-{name}.wasm")
        shutil.copyfile(build(name), paths[-1])
    return paths


def packed_size(path: Path) -> int:
    """Bytes of a file as a server sends it: gzip, level 9."""
    return len(gzip.compress(path.read_bytes(), 9, mtime=0))


if __name__ == "__main__":
    for path in install():
        print(f"{path}: {path.stat().st_size} bytes, {packed_size(path)} compressed")  # noqa: T201
