"""Defects that are seeded: each edit changes what it says, and nothing that cannot decide an integer."""

from __future__ import annotations

import ast

import pytest

from benchmarks.mutants.choice import GUARDS, guards_of, in_turn
from benchmarks.mutants.edit import edit
from benchmarks.mutants.native_edits import native_edits
from benchmarks.mutants.python_edits import python_edits

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
