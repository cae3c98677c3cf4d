"""The native core for AArch64 Linux as a static program, by the compiler of the ziglang wheel.

python -m benchmarks.arm.build       prints where the program is
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from benchmarks.cmake_build import cmake_build

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "arm"
CACHE = ROOT / "build" / "zig"
"""The compiler's cache: C and C++ libraries for AArch64, built once."""
PROGRAM = "run_plans"


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


def build() -> Path:
    """Build ``run_plans`` where anything changed; returns its path.

    Raises:
        CannotBuild: there is no cross compiler, or the build failed.
    """
    settings = (
        f"CMAKE_TOOLCHAIN_FILE={ROOT / 'native' / 'cross' / 'aarch64-linux.cmake'}",
        f"OAQ_ZIG={cross_compiler()}",
        "OAQ_PYTHON=OFF",
        "OAQ_RUN_PLANS=ON",
    )
    try:
        cmake_build(BUILD, settings, environment=environment())
    except RuntimeError as error:
        raise CannotBuild(f"cross build: {error}") from error
    return BUILD / PROGRAM
