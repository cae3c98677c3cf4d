"""What every test shares: hypothesis without deadlines, because machines that build are slow and uneven."""

from __future__ import annotations

import importlib

import pytest
from hypothesis import settings

settings.register_profile("oaq", deadline=None, print_blob=True)
settings.load_profile("oaq")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly which kernels this machine could not test, and that it trained on no GPU."""
    skipped = [one.nodeid for one in terminalreporter.stats.get("skipped", []) if "test_cuda.py" in one.nodeid]
    if skipped:
        terminalreporter.section("training on CUDA NOT RUN: there is no such GPU here", red=True, bold=True)
        terminalreporter.write_line(f"{len(skipped)} tests of tests/qat/test_cuda.py")
    try:
        table = importlib.import_module("oaq.kernels._native").kernel_table()
    except ImportError as error:
        terminalreporter.section("kernel rows NOT RUN: all of them", red=True, bold=True)
        terminalreporter.write_line(f"the native module does not load: {error}")
        return
    missing = [row["name"] for row in table if not row["available"]]
    if missing:
        terminalreporter.section("kernel rows NOT RUN: this CPU lacks their instructions", red=True, bold=True)
        terminalreporter.write_line(", ".join(missing))
