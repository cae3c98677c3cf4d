"""docs/coverage.md: every cell has a state, and what it links to is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "coverage.md"
STATES = ("works", "part", "not")
LINK = re.compile(r"\]\(\.\./(tests/[\w/.]+)(?:#(\w+))?\)")


def _cells() -> list[tuple[str, str, str]]:
    rows = [line.strip().strip("|").split("|") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [(row[0].strip(), row[1].strip(), "|".join(row[2:])) for row in rows[1:]]


def _test_names(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


CELLS = _cells()


def test_the_page_has_the_cells_of_the_survey() -> None:
    assert len(CELLS) >= 29
    assert len({cell for cell, _, _ in CELLS}) == len(CELLS)


@pytest.mark.parametrize(("cell", "state", "text"), CELLS, ids=[cell for cell, _, _ in CELLS])
def test_a_cell_links_to_a_test_that_is_there_or_gives_its_reason(cell: str, state: str, text: str) -> None:
    assert state in STATES, cell
    links = LINK.findall(text)
    assert links or state == "not", f"{cell}: a state {state!r} needs a test that shows it"
    assert len(text.strip()) > 40, f"{cell}: says neither what there is nor why not"
    for path, name in links:
        assert (ROOT / path).is_file(), f"{cell}: {path} is not there"
        assert name, f"{cell}: the link to {path} names no test"
        assert name in _test_names(ROOT / path), f"{cell}: {path} has no test {name}"
