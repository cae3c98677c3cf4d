"""Which tests run a line: recorded once for each folder of tests, file on the disk as long as source and tests stay."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from oaq.program.atomic import write_atomically

BUDGETS: Final = (1.5, 6.0, 25.0, 60.0)
"""Seconds of tests, as recorded, that are run together: the fastest first, so that most mutants take a moment."""


@dataclass(frozen=True)
class Recorded:
    """What the tests of some places do without a defect.

    Attributes:
        seconds: of CPU time, by test.
        functions: tests by function of oaq that they enter ("path:line of def"); empty for tests of native code.
    """

    seconds: dict[str, float]
    functions: dict[str, list[str]]

    def merged(self, more: Recorded) -> Recorded:
        """Both records as one."""
        functions = dict(self.functions)
        for name, tests in more.functions.items():
            functions[name] = [*functions.get(name, []), *tests]
        return Recorded(self.seconds | more.seconds, functions)


NOTHING: Final = Recorded({}, {})


def recorded(place: str, root: Path, cache: Path, record: Callable[[str], dict[str, Any]]) -> Recorded:
    """What the tests of ``place`` do: from the cache if nothing changed, else recorded now.

    Args:
        place: folder or file of tests, from ``root``.
        root: of the source.
        cache: folder of earlier records.
        record: runs ``place`` and returns what ``benchmarks.mutants.runner`` says.

    Raises:
        RuntimeError: no test of ``place`` ran.
    """
    file = cache / f"{place.replace('/', '-')}-{_state(root, place)}.json"
    if not file.exists():
        outcome = record(place)
        if outcome["failed"]:
            raise RuntimeError(f"{place}: {outcome['failed']}")
        cache.mkdir(parents=True, exist_ok=True)
        write_atomically(file, [json.dumps(outcome).encode()])  # another campaign may read it
    outcome = json.loads(file.read_text(encoding="utf-8"))
    harmed = set(outcome["harmed"])
    seconds = {name: value for name, value in outcome["seconds"].items() if name not in harmed}
    functions = {name: [test for test in tests if test in seconds] for name, tests in outcome["functions"].items()}
    return Recorded(seconds, functions)


def _state(root: Path, place: str) -> str:
    """A digest of what decides the record: source, the tests of the place, what tests share."""
    files = [*(root / "src").rglob("*.py"), *(root / "native").rglob("*.*"), *(root / "tests").glob("*.py")]
    target = root / place
    files += target.rglob("*.py") if target.is_dir() else [target]
    state = hashlib.sha256()
    for path in sorted(files):
        state.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return state.hexdigest()[:16]


def function_at(source: bytes, line: int) -> int:
    """First line, decorators included, of the innermost function that holds ``line``; 0 for code of the module."""
    begin = 0
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first <= line <= (node.end_lineno or 0):
                begin = max(begin, first)
    return begin


def entering_tests(records: Recorded, path: str, source: bytes, line: int) -> list[str]:
    """Tests that enter the function around ``line``, or, of code that is run when it is imported, any of the file."""
    begin = function_at(source, line)
    tests = records.functions.get(f"{path}:{begin}", [])
    if not tests:
        tests = [test for name, all_of in records.functions.items() if name.startswith(f"{path}:") for test in all_of]
    return list(dict.fromkeys(tests)) or list(records.seconds)


def rounds(records: Recorded, tests: Iterable[str], likely: Callable[[str], bool]) -> Iterator[list[str]]:
    """Tests in turn: likely ones, then the fastest; as many together as fit a budget, module by module."""
    order = sorted(set(tests), key=lambda name: (not likely(name), records.seconds[name], name))
    at = 0
    for budget in BUDGETS:
        first, used = at, 0.0
        while at < len(order) and (at == first or used + records.seconds[order[at]] <= budget):
            used += records.seconds[order[at]]
            at += 1
        if at > first:
            yield _by_module(order[first:at])


def _by_module(names: list[str]) -> list[str]:
    """Tests of a module together: its fixtures are made once."""
    return [name for _, group in groupby(sorted(names, key=_module), _module) for name in group]


def _module(name: str) -> str:
    return name.partition("::")[0]
