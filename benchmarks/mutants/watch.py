"""Plugins of pytest: which functions of oaq each test runs and how long it takes; or only some tests, in an order."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType

import pytest


class Watch:
    """Notes of every test its CPU time and, of files under ``source``, the functions that it entered.

    A function is named "path:line", the path from ``root``, the line that of ``def`` or of its first decorator. What a
    test finds in a cache that an earlier one filled is noted of the earlier one only.
    """

    def __init__(self, root: Path, source: Path | None) -> None:
        self.root, self.source = root, None if source is None else f"{source}/"
        self.seconds: dict[str, float] = {}
        self.functions: dict[str, set[str]] = {}
        self.failed: set[str] = set()
        self._entered: dict[int, CodeType] = {}

    def _trace(self, frame: FrameType, _event: str, _argument: object) -> None:
        if id(frame.f_code) not in self._entered:
            self._entered[id(frame.f_code)] = frame.f_code

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Trace one test, its fixtures included."""
        self._entered = {}
        begun = time.process_time()
        if self.source is not None:
            threading.settrace(self._trace)
            sys.settrace(self._trace)
        yield
        if self.source is not None:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
        self.seconds[item.nodeid] = round(time.process_time() - begun, 4)
        for code in self._entered.values():
            if self.source is not None and code.co_filename.startswith(self.source):
                path = Path(code.co_filename).relative_to(self.root).as_posix()
                self.functions.setdefault(f"{path}:{code.co_firstlineno}", set()).add(item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what fails: it can say nothing of a mutant."""
        if report.failed:
            self.failed.add(report.nodeid)


class Chosen:
    """Runs only the given tests, modules and tests of a module in the order given; notes the first that fails."""

    def __init__(self, names: list[str]) -> None:
        self.ranks = {name: rank for rank, name in enumerate(names)}
        self.failed = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave the others out."""
        items[:] = sorted((item for item in items if item.nodeid in self.ranks), key=lambda i: self.ranks[i.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the first failure."""
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that cannot be imported any more notices the mutant, too."""
        if report.failed and not self.failed:
            self.failed = f"{report.nodeid} (import)"
