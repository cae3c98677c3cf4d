"""What tests of WebAssembly's rows share: their table, and what an engine computes of cases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from benchmarks.cross_build import CannotBuild, cross_compiler
from benchmarks.web.node import NoChromium, NoNode, chromium, node, run_cases
from oaq.kernels.targets import TARGETS
from tests.foreign.cases import Forced, wrong
from tests.foreign.rows import RowTable

TABLE = RowTable({row.name: row for name in ("wasm", "wasm-relaxed") for row in TARGETS[name].table})
"""Every row that plans for WebAssembly may take, by name."""
ROWS = TABLE.rows
BUILDS_OF = {"scalar": ("simd128",), "simd128": ("simd128", "relaxed"), "relaxed": ("relaxed",)}
"""Builds that have the rows of each instruction set and are tested with them."""

NOT_RUN = "WebAssembly rows NOT RUN"
"""What a test that needs an engine says where there is none; tests/conftest.py lists it loudly."""


def require_engine() -> None:
    """Skip, loudly, where there is no engine or no compiler."""
    try:
        node()
        cross_compiler()
    except (NoNode, CannotBuild) as error:
        pytest.skip(f"{NOT_RUN}: {error}")


def require_chromium(what: str) -> str:
    """Chromium's program; skip, loudly, where it is not installed: ``what`` is not run then."""
    try:
        return chromium()
    except NoChromium as error:
        pytest.skip(f"{NOT_RUN}: {what}: {error}")


def differences(cases: Iterable[Forced], build: str) -> Iterator[str]:
    """The cases that fail in a build, or compute other integers than the reference."""
    cases = list(cases)
    return wrong(cases, run_cases([case.case for case in cases], build))
