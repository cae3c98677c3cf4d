"""Builds for machines that this one is not, by the compiler of the ziglang wheel."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Final

from benchmarks.cmake_build import ROOT, cmake_build

CACHE: Final = ROOT / "build" / "zig"
"""The compiler's cache: C and C++ libraries of other machines, built once."""


class CannotBuild(RuntimeError):
    """The cross compiler is not there, or it failed; the message says which and how to mend it."""


def cross_compiler() -> Path:
    """The program ``zig`` of the ziglang wheel.

    Raises:
        CannotBuild: it is not installed.
    """
    spec = importlib.util.find_spec("ziglang")
    if spec is None or not spec.submodule_search_locations:
        raise CannotBuild("the cross compiler is not installed; run: pip install ziglang (make env-dev does)")
    return Path(spec.submodule_search_locations[0]) / "zig"


def environment() -> dict[str, str]:
    """For the compiler: its caches inside ``build``, no launcher of another compiler, no sanitizer's libraries."""
    foreign = ("LD_PRELOAD", "CMAKE_CXX_COMPILER_LAUNCHER", "CXX", "CC", "CXXFLAGS", "CFLAGS", "LDFLAGS")
    variables = {key: value for key, value in os.environ.items() if key not in foreign}
    return variables | {"ZIG_GLOBAL_CACHE_DIR": str(CACHE), "ZIG_LOCAL_CACHE_DIR": str(CACHE / "local")}


def cross_build(folder: Path, toolchain: str, *settings: str) -> None:
    """Build the native core without its Python module where anything changed.

    Args:
        folder: of the build.
        toolchain: a file of ``native/cross``, without its suffix.
        settings: further "NAME=VALUE" of CMake.

    Raises:
        CannotBuild: there is no cross compiler, or the build failed.
    """
    fixed = (
        f"CMAKE_TOOLCHAIN_FILE={ROOT / 'native' / 'cross' / f'{toolchain}.cmake'}",
        f"OAQ_ZIG={cross_compiler()}",
        "OAQ_PYTHON=OFF",
    )
    try:
        cmake_build(folder, (*fixed, *settings), environment=environment())
    except RuntimeError as error:
        raise CannotBuild(f"cross build, {toolchain}: {error}") from error
