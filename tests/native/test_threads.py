"""Threads: every chunk of every stage is computed once, in order, whoever claims it, and whoever stalls."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NATIVE = HERE.parents[1] / "native"
FLAGS = ("-std=c++20", "-O1", "-g", "-pthread", "-Wall", "-Wextra", "-Wconversion", "-Werror", f"-I{NATIVE}")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pool alone; ``benchmarks.races`` runs whole sessions under ThreadSanitizer."""
    path = tmp_path_factory.mktemp("threads") / "threads"
    sources = (HERE / "threads.cc", *(NATIVE / "base" / f"{name}.cc" for name in ("threads", "shared_threads", "isa")))
    subprocess.run([os.environ.get("CXX", "c++"), *FLAGS, "-o", path, *sources], check=True)
    return path


@pytest.mark.parametrize(("threads", "runs", "stalls"), [(1, 40, 0), (2, 200, 0), (3, 60, 1), (16, 20, 0)])
def test_each_chunk_is_computed_once_after_the_stage_before(
    program: Path, threads: int, runs: int, stalls: int
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(
        [program, str(threads), str(runs), str(stalls)], capture_output=True, text=True, timeout=300, env=environment
    )
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr[-3000:]
