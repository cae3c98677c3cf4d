"""A copy of the source in which one mutant at a time is tried."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.mutants.choice import GUARDS, guards_of
from benchmarks.mutants.edit import Edit

PARTS: Final = ("src", "native", "tests", "benchmarks", "recipes", "docs", "CMakeLists.txt", "pyproject.toml")
QUICK_SECONDS: Final = 120
TESTS_SECONDS: Final = 900
"""Limits on a busy machine; a mutant that takes longer is killed: it hangs."""
NOT_COMPILED: Final = "does not compile"
SURVIVED: Final = "survived"


@dataclass(frozen=True)
class Tree:
    """A copy of the repository.

    Attributes:
        root: of the copy.
        build: folder in which its native code is built.
    """

    root: Path
    build: Path


def copied(source: Path, to: Path) -> Tree:
    """Copy what tests need, with the native module that is installed."""
    shutil.rmtree(to / "tree", ignore_errors=True)
    for part in PARTS:
        origin, copy = source / part, to / "tree" / part
        if origin.is_dir():
            shutil.copytree(origin, copy, ignore=shutil.ignore_patterns("__pycache__", "results"))
        elif origin.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(origin, copy)
    native = Path(str(importlib.import_module("oaq.kernels._native").__file__))
    shutil.copy(native, to / "tree" / "src" / "oaq" / "kernels" / native.name)
    return Tree(to / "tree", to / "build")


def configure(tree: Tree) -> None:
    """Build the copy's native code once, so that a mutant builds what it touches only.

    Raises:
        RuntimeError: it does not build.
    """
    cmake, ninja = (str(Path(sys.executable).parent / name) for name in ("cmake", "ninja"))
    command = [cmake, "-S", str(tree.root), "-B", str(tree.build), "-G", "Ninja"]
    command += [f"-DPython_EXECUTABLE={sys.executable}", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    for step in (command, _building(tree)):
        process = subprocess.run(step, capture_output=True, text=True, check=False)
        if process.returncode:
            raise RuntimeError(f"{step}: {process.stdout[-2000:]}{process.stderr[-2000:]}")


def require_unharmed(tree: Tree) -> None:
    """Without a defect every test passes in the copy, on both native modules, or nothing can be said of any mutant.

    Raises:
        RuntimeError: one does not.
    """
    for native in (False, True):
        places = [prefix for prefix, _ in GUARDS if prefix.startswith("native") == native]
        tests = sorted({name for place in places for name in guards_of(place)})
        for command in (_quick(tree, native=native), *(_tests(name) for name in tests if (tree.root / name).exists())):
            if _run(tree, command, TESTS_SECONDS, _module(tree, native=native)):
                raise RuntimeError(f"{' '.join(command)} fails in {tree.root} before any defect is seeded")


def _quick(tree: Tree, *, native: bool) -> list[str]:
    return [*_python(), "-m", "benchmarks.mutants.quick", *([str(tree.build)] if native else [])]


def _tests(name: str) -> list[str]:
    return [*_python(), "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", name]


def _module(tree: Tree, *, native: bool) -> dict[str, str]:
    """Tests of native code run on the copy's own build."""
    return {"OAQ_NATIVE_MODULE": str(tree.build)} if native else {}


def try_out(tree: Tree, mutant: Edit) -> str:
    """What becomes of a mutant: "killed by ...", "survived" or "does not compile"."""
    path = tree.root / mutant.path
    content = path.read_bytes()
    path.write_bytes(mutant.applied(content))
    native = mutant.path.startswith("native")
    try:
        if native and _run(tree, _building(tree), TESTS_SECONDS):
            return NOT_COMPILED
        code = _run(tree, _quick(tree, native=native), QUICK_SECONDS)
        if code:
            return _killed("programs against the oracle", code)
        for tests in guards_of(mutant.path):
            if not (tree.root / tests).exists():
                continue
            code = _run(tree, _tests(tests), TESTS_SECONDS, _module(tree, native=native))
            if code:
                return _killed(tests, code)
        return SURVIVED
    finally:
        path.write_bytes(content)


def _killed(tests: str, code: int) -> str:
    return f"killed by {tests}" + (", which it made hang" if code == -signal.SIGALRM else "")


def _python() -> list[str]:
    """Without site's ``.pth`` files, so that the installed oaq does not stand before the copy."""
    return [sys.executable, "-S"]


def _building(tree: Tree) -> list[str]:
    return [str(Path(sys.executable).parent / "cmake"), "--build", str(tree.build)]


def _run(tree: Tree, command: list[str], seconds: int, more: dict[str, str] | None = None) -> int:
    """Exit code; -SIGALRM if it took too long."""
    paths = (tree.root / "src", tree.root, sysconfig.get_paths()["purelib"])
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("OAQ_")}
    environment = {
        **inherited,
        "PYTHONPATH": ":".join(map(str, paths)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OAQ_NATIVE_WANTED": "",
        **(more or {}),
    }
    process = subprocess.Popen(
        command,
        cwd=tree.root,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return -signal.SIGALRM
