"""A copy of the source in which one mutant at a time is tried."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.cmake_build import cmake_build
from benchmarks.mutants.choice import guards_of, likely
from benchmarks.mutants.edit import Edit
from benchmarks.mutants.recorded import NOTHING, Recorded, entering_tests, recorded, rounds

PARTS: Final = ("src", "native", "tests", "benchmarks", "recipes", "docs", "CMakeLists.txt", "pyproject.toml")
CACHE: Final = Path(__file__).parents[2] / "build" / "mutants"
"""Records of what tests do, from run to run."""
FIRST, LAST = (0, 70), (70, 150)
"""Programs examined before all tests, and after them."""
PROGRAM_SECONDS: Final = 60
TEST_SECONDS: Final = 300
RECORD_SECONDS: Final = 1800
"""Limits of CPU time; what takes longer hangs."""
NOT_COMPILED: Final = "does not compile"
SURVIVED: Final = "survived"


@dataclass(frozen=True, eq=False)
class Tree:
    """A copy of the repository.

    Attributes:
        root: of the copy.
        build: folder in which its native code is built.
        runner: the warm process of ``benchmarks.mutants.runner`` in it.
        records: what tests do, by place and by whether they run on the copy's own native module.
        narrowed: files of tests to which those that guard a file are narrowed; empty: all of them.
    """

    root: Path
    build: Path
    runner: subprocess.Popen[str]
    records: dict[tuple[str, bool], Recorded] = field(default_factory=dict)
    narrowed: tuple[str, ...] = ()

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        """The outcome of a job of ``benchmarks.mutants.runner``."""
        assert self.runner.stdin is not None
        assert self.runner.stdout is not None
        self.runner.stdin.write(json.dumps(job) + "\n")
        self.runner.stdin.flush()
        return json.loads(self.runner.stdout.readline())


def copied(source: Path, to: Path, narrowed: tuple[str, ...] = ()) -> Tree:
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
    return Tree(to / "tree", to / "build", _runner(to / "tree"), narrowed=narrowed)


def configure(tree: Tree) -> None:
    """Build the copy's native code once, hardly optimized, so that a mutant builds what it touches only.

    Raises:
        RuntimeError: it does not build.
    """
    cmake_build(tree.build, ("CMAKE_CXX_FLAGS_RELEASE=-O1",), source=tree.root)


def require_unharmed(tree: Tree, *, native: bool) -> None:
    """Without a defect no program differs, or nothing can be said of any mutant.

    Tests that fail without a defect are left out of the records.

    Raises:
        RuntimeError: one does.
    """
    for programs in (FIRST, LAST):
        failed = _examined(tree, programs, native=native)
        if failed:
            raise RuntimeError(f"{failed} in {tree.root} before any defect is seeded")


def try_out(tree: Tree, mutant: Edit) -> str:
    """What becomes of a mutant: "killed by ...", "survived" or "does not compile"."""
    content = (tree.root / mutant.path).read_bytes()
    native = mutant.path.startswith("native")
    if native and not tree.build.exists():
        configure(tree)
        require_unharmed(tree, native=True)
    if not native and not tree.narrowed:  # most are over here, before what tests enter need be known
        failed = _with(tree, mutant, content, lambda: _examined(tree, FIRST, native=False))
        if failed:
            return f"killed by {failed}"
    records = _records(tree, mutant.path, native=native)

    def trial() -> str:
        if native and subprocess.run(_building(tree), capture_output=True, check=False).returncode:
            return NOT_COMPILED
        failed = _examined(tree, FIRST, native=True) if native and not tree.narrowed else ""
        tests = list(records.seconds) if native else entering_tests(records, mutant.path, content, mutant.line)
        for names in () if failed else rounds(records, tests, likely(mutant.path)):
            job = {"do": "tests", "names": names, "build": _build(tree, native=native), "cpu": TEST_SECONDS}
            failed = tree.ask(job)["failed"]
            if failed:
                break
        failed = failed or ("" if tree.narrowed else _examined(tree, LAST, native=native))
        return f"killed by {failed}" if failed else SURVIVED

    return _with(tree, mutant, content, trial)


def _with(tree: Tree, mutant: Edit, content: bytes, trial: Callable[[], str]) -> str:
    """What ``trial`` says while the mutant stands in the copy."""
    path = tree.root / mutant.path
    path.write_bytes(mutant.applied(content))
    try:
        return trial()
    finally:
        path.write_bytes(content)


def _examined(tree: Tree, programs: tuple[int, int], *, native: bool) -> str:
    job = {"do": "programs", "first": programs[0], "last": programs[1], "cpu": PROGRAM_SECONDS}
    return tree.ask(job | {"build": _build(tree, native=native)})["failed"]


def _records(tree: Tree, path: str, *, native: bool) -> Recorded:
    """What the tests that guard a file do."""
    result = NOTHING
    guards = guards_of(path)
    own = [file for file in tree.narrowed if file.startswith(guards)]
    for place in own if tree.narrowed else guards:
        if not (tree.root / place).exists():
            continue
        key = place, native
        if key not in tree.records:
            job = {"do": "record", "build": _build(tree, native=native), "cpu": RECORD_SECONDS}
            cache = CACHE / ("native" if native else "python")
            tree.records[key] = recorded(place, tree.root, cache, lambda name: tree.ask({**job, "place": name}))  # noqa: B023
        result = result.merged(tree.records[key])
    return result


def _build(tree: Tree, *, native: bool) -> str:
    """Tests of native code run on the copy's own build."""
    return str(tree.build) if native else ""


def _building(tree: Tree) -> list[str]:
    return [str(Path(sys.executable).parent / "cmake"), "--build", str(tree.build)]


def _runner(root: Path) -> subprocess.Popen[str]:
    """Without site's ``.pth`` files, so that the installed oaq does not stand before the copy."""
    paths = (root / "src", root, sysconfig.get_paths()["purelib"])
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("OAQ_")}
    environment = {**inherited, "PYTHONPATH": ":".join(map(str, paths)), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-S", "-m", "benchmarks.mutants.runner"],
        cwd=root,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
