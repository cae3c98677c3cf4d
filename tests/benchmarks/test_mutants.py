"""Defects that are seeded: each edit changes what it says, and nothing that cannot decide an integer."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.mutants.choice import GUARDS, guards_of, in_turn, likely
from benchmarks.mutants.edit import edit
from benchmarks.mutants.native_edits import native_edits
from benchmarks.mutants.python_edits import python_edits
from benchmarks.mutants.recorded import Recorded, entering_tests, function_at, recorded, rounds
from benchmarks.mutants.seeded import SEEDED, seeded_edits

PYTHON = '''"""Doc 1 < 2."""
LIMIT: int = 3

def f(x: "a < b") -> int:
    if x < 4 and not x:
        raise ValueError(f"{x < 5}")
    g(x)
    return max(x, -1) + x
'''


def after(kind: str) -> list[str]:
    return [mutant.after for mutant in python_edits("f.py", PYTHON.encode()) if mutant.kind == kind]


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("comparison", ["if x <= 4 and not x:"]),
        ("condition", ["if x < 4 or not x:"]),
        ("branch", ["if False:"]),
        ("boundary", ["if x < 5 and not x:", "return max(x, -2) + x"]),
        ("call", ["None"]),
        ("extreme", ["return min(x, -1) + x"]),
        ("sign", ["if x < 4 and x:", "return max(x, -1) - x", "return max(x, 1) + x"]),
    ],
)
def test_every_kind_of_edit_of_python(kind: str, lines: list[str]) -> None:
    assert sorted(after(kind)) == sorted(lines)


def test_every_edited_file_is_python_still() -> None:
    for mutant in python_edits("f.py", PYTHON.encode()):
        ast.parse(mutant.applied(PYTHON.encode()))


def test_native_edits_leave_includes_comments_templates_and_errors_alone() -> None:
    content = b"""#include <a>  // 1 < 2
template <int N>
int f(int x) {
  if (x < 4) throw Error(1);
  return std::min(x, 7) + 2;  // + 3
}
"""
    lines = {mutant.after.partition("  //")[0] for mutant in native_edits("f.cc", content)}
    assert lines == {
        "return std::max(x, 7) + 2;",
        "return std::min(x, 8) + 2;",
        "return std::min(x, 7) + 3;",
        "return std::min(x, 7) - 2;",
    }


def test_a_name_stays_when_the_line_moves() -> None:
    first, second = (
        edit("f.py", "boundary", text, (at, at + 1), "2") for text, at in ((b"x = 1\n", 4), (b"\n\nx = 1", 6))
    )
    assert (first.name, first.line) == (second.name, second.line - 2)


def test_the_first_mutants_are_spread_over_files_and_kinds() -> None:
    mutants = [
        edit(f"{file}.py", kind, b"1" * 9, (at, at + 1), "2")
        for file in "ab"
        for kind in ("sign", "call")
        for at in range(9)
    ]
    first = in_turn(mutants, 1)[:8]
    assert {(mutant.path, mutant.kind) for mutant in first[:4]} == {(mutant.path, mutant.kind) for mutant in first[4:]}
    assert len({(mutant.path, mutant.kind) for mutant in first}) == 4
    assert in_turn(mutants, 1) == in_turn(mutants, 1)


def test_every_place_has_tests_that_guard_it() -> None:
    assert all(guards_of(f"{place}/x.py") == tests for place, tests in GUARDS)


SOURCE = b"""X = 1

def f(x):
    def g(y):
        return y
    return g

@decorated
def h():
    return 3
"""


@pytest.mark.parametrize(("line", "begin"), [(1, 0), (3, 3), (5, 4), (6, 3), (8, 8), (10, 8)])
def test_a_line_belongs_to_the_innermost_function_from_its_first_decorator_on(line: int, begin: int) -> None:
    assert function_at(SOURCE, line) == begin


def test_a_line_is_tried_by_tests_that_enter_its_function_and_code_of_a_module_by_tests_of_its_file() -> None:
    records = Recorded({"a": 1, "b": 2, "c": 3}, {"f.py:3": ["a"], "f.py:8": ["b"], "other.py:1": ["c"]})
    assert entering_tests(records, "f.py", SOURCE, 6) == ["a"]
    assert entering_tests(records, "f.py", SOURCE, 1) == ["a", "b"]
    assert entering_tests(records, "never.py", SOURCE, 6) == ["a", "b", "c"]


def test_rounds_begin_with_likely_and_fast_tests_and_keep_those_of_a_module_together() -> None:
    seconds = {"t/a.py::1": 0.5, "t/b.py::2": 0.1, "t/a.py::3": 0.7, "t/pool.py::4": 0.9, "t/c.py::5": 700.0}
    some = list(rounds(Recorded(seconds, {}), seconds, likely("src/oaq/operators/pool.py")))
    assert some == [["t/a.py::1", "t/b.py::2", "t/pool.py::4"], ["t/a.py::3"], ["t/c.py::5"]]


def test_records_stay_until_source_or_tests_change(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    test = tmp_path / "tests" / "test_a.py"
    test.write_text("1")
    runs: list[str] = []

    def record(place: str) -> dict[str, object]:
        runs.append(place)
        return {"failed": "", "seconds": {"a": 1.0, "b": 2.0}, "functions": {"f.py:1": ["a", "b"]}, "harmed": ["b"]}

    for _ in range(2):
        records = recorded("tests/test_a.py", tmp_path, tmp_path / "cache", record)
    assert records == Recorded({"a": 1.0}, {"f.py:1": ["a"]})
    assert len(runs) == 1
    test.write_text("2")
    recorded("tests/test_a.py", tmp_path, tmp_path / "cache", record)
    assert len(runs) == 2


def test_every_seeded_defect_still_has_its_place() -> None:
    """And the four that once lived are among them."""
    edits = seeded_edits(Path(__file__).parents[2])
    assert len(edits) == len(SEEDED) == 28
    for mutant in edits:
        if mutant.path.endswith(".py"):
            ast.parse(mutant.applied((Path(__file__).parents[2] / mutant.path).read_bytes()))
    titles = [mutant.kind for mutant in edits]
    for words in ("full windows only", "no limit of the vector Add", "ties down", "empty max pool window"):
        assert any(words in title for title in titles)


TESTS = """
from f import double

def test_right():
    assert double(2) == 4

def test_other():
    pass
"""


def asked(folder: Path, *jobs: dict[str, object]) -> list[dict[str, object]]:
    """What the runner says in ``folder``, which holds tests of its own."""
    lines = "".join(json.dumps({"build": "", "cpu": 60} | job) + "\n" for job in jobs)
    paths = [str(folder / "src" / "oaq"), str(Path(__file__).parents[2]), *sys.path]
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.mutants.runner"],
        input=lines,
        cwd=folder,
        env={"PYTHONPATH": ":".join(paths), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in process.stdout.splitlines()]


def test_the_runner_records_what_tests_enter_and_notices_every_way_to_fail(tmp_path: Path) -> None:
    source = tmp_path / "src" / "oaq" / "f.py"
    source.parent.mkdir(parents=True)
    source.write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "test_f.py").write_text(TESTS)
    names = ["test_f.py::test_other", "test_f.py::test_right"]
    job = {"do": "tests", "names": names}
    (record, passed) = asked(tmp_path, {"do": "record", "place": "test_f.py"}, job)
    assert record["functions"] == {"src/oaq/f.py:1": ["test_f.py::test_right"]}
    assert set(record["seconds"]) == set(names)  # type: ignore[call-overload]
    assert passed["failed"] == ""
    for body, words in {
        "return 3 * x": "test_right",
        "while True: pass": "made hang",
        "import os; os._exit(3)": "ended",
        "import os; os.abort()": "ended",
        "return (": "import",
    }.items():
        source.write_text(f"def double(x):\n    {body}\n")
        assert words in str(asked(tmp_path, {**job, "cpu": 3})[0]["failed"]), body
