"""A copy of the native sources, soon built (no optimisation, no architecture's own rows): what how-to pages add to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def command(*arguments: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(argument) for argument in arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        cwd=cwd,
    )


def copy_configured(path: Path) -> None:
    """Copy what is built to ``path``, and configure ``path / "build"``."""
    shutil.copytree(ROOT / "native", path / "native")
    shutil.copy(ROOT / "CMakeLists.txt", path)
    tools = Path(sys.executable).parent
    done = command(
        tools / "cmake", "-S", path, "-B", path / "build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug",
        "-DCMAKE_CXX_FLAGS_DEBUG=-O0", "-DOAQ_PORTABLE=ON", f"-DPython_EXECUTABLE={sys.executable}",
        f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def build(tree: Path) -> subprocess.CompletedProcess[str]:
    return command(Path(sys.executable).parent / "cmake", "--build", tree / "build")
