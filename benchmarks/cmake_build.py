"""Builds of the native code beside the installed one: for sanitizers, other machines, other modules."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]


def cmake_build(
    folder: Path,
    settings: Sequence[str],
    *,
    source: Path = ROOT,
    target: str = "",
    environment: Mapping[str, str] | None = None,
) -> None:
    """Configure ``folder`` and build what changed; a process that comes meanwhile waits.

    Args:
        folder: of the build; made where it is missing.
        settings: "NAME=VALUE" of CMake.
        source: holds CMakeLists.txt.
        target: what is built; empty is all.
        environment: of the tools, in place of this process's own.

    Raises:
        RuntimeError: a command failed; the message ends with what it printed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tools = Path(sys.executable).parent
    cmake = str(tools / "cmake")
    python, ninja = f"Python_EXECUTABLE={sys.executable}", f"CMAKE_MAKE_PROGRAM={tools / 'ninja'}"
    configure = [cmake, "-S", str(source), "-B", str(folder), "-G", "Ninja"]
    configure += [f"-D{setting}" for setting in (*settings, python, ninja)]
    build = [cmake, "--build", str(folder), *(("--target", target) if target else ())]
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (configure, build):
            process = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            if process.returncode:
                printed = f"{process.stdout[-4000:]}{process.stderr[-2000:]}"
                raise RuntimeError(f"the build failed: {' '.join(command)}\n{printed}")
