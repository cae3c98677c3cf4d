"""What every test shares: hypothesis without deadlines, because machines that build are slow and uneven."""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("oaq", deadline=None, print_blob=True)
settings.load_profile("oaq")


# Several processes test at once: threads of torch that compute while they wait take the time of the others. It is read
# once, as torch is loaded, and children have it too.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SET_BY_OTHERS = ("PYTEST_", "TORCH", "KMP_DUPLICATE_LIB_OK")
"""Prefixes of variables that pytest sets for each test, torch on first use, and threadpoolctl as it is loaded."""


def process_state() -> dict[str, object]:
    """What a module could leave behind that would change a later one."""
    state: dict[str, object] = {
        f"environment variable {key}": value for key, value in os.environ.items() if not key.startswith(SET_BY_OTHERS)
    }
    torch = sys.modules.get("torch")
    return state | {
        "folder": str(Path.cwd()),
        "numpy's floating point errors": str(np.geterr()),
        "native module": id(sys.modules["oaq.kernels._native"]) if "oaq.kernels._native" in sys.modules else None,
        "threads of torch": torch.get_num_threads() if torch is not None else None,
    }


def changes(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """What differs, except what was loaded for the first time."""
    loaded_late = ("native module", "threads of torch")
    return [
        f"{key}: {before.get(key)!r}, now {after.get(key)!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key) and not (key in loaded_late and before.get(key) is None)
    ]


def pytest_runtest_setup() -> None:
    """Every test draws the same numbers from torch and sees the same lines of progress, however long it takes."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
    if say := sys.modules.get("oaq.terminal.say"):
        say.SILENCE = math.inf  # seconds


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a module that leaves the process another than it was: a later one would pass, or fail, by its order."""
    before = process_state()
    yield
    differences = changes(before, process_state())
    assert not differences, f"{request.node.nodeid} leaves behind: {'; '.join(differences)}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly which kernels this machine could not test, and that it trained on no GPU."""
    skipped = [one.nodeid for one in terminalreporter.stats.get("skipped", []) if "test_cuda.py" in one.nodeid]
    if skipped:
        terminalreporter.section("training on CUDA NOT RUN: there is no such GPU here", red=True, bold=True)
        terminalreporter.write_line(f"{len(skipped)} tests of tests/qat/test_cuda.py")
    for rows, folder in (("Arm", "arm"), ("ARMv7", "arm"), ("WebAssembly", "web")):
        skips = [
            report
            for report in terminalreporter.stats.get("skipped", [])
            if f"{rows} rows NOT RUN" in str(report.longrepr)
        ]
        if skips:
            terminalreporter.section(f"kernel rows NOT RUN: every row of {rows}", red=True, bold=True)
            terminalreporter.write_line(f"{len(skips)} tests of tests/{folder}: {skips[0].longrepr[2]}")
    untyped = [one for one in terminalreporter.stats.get("skipped", []) if "TypeScript NOT RUN" in str(one.longrepr)]
    if untyped:
        terminalreporter.section("types of the npm package NOT RUN: there is no TypeScript here", red=True, bold=True)
        terminalreporter.write_line(f"{untyped[0].nodeid}: {untyped[0].longrepr[2]}")
    try:
        native = importlib.import_module("oaq.kernels._native")
        table = native.kernel_table()
    except ImportError as error:
        terminalreporter.section("kernel rows NOT RUN: all of them", red=True, bold=True)
        terminalreporter.write_line(f"the native module does not load: {error}")
        return
    missing = [row["name"] for row in table if not row["available"]]
    if missing:
        terminalreporter.section("kernel rows NOT RUN: this CPU lacks their instructions", red=True, bold=True)
        terminalreporter.write_line(", ".join(missing))
    emulated = native.build_info()["tiles"] == "emulated"
    if emulated or any("_amx" in name for name in missing):
        terminalreporter.section("rows of AMX: emulated, never run on a CPU with AMX", red=True, bold=True)
        by = (
            "this module emulates tile registers"
            if emulated
            else "tests/native/test_tiles.py; all: make emulated-tiles"
        )
        terminalreporter.write_line(by)
