"""Numbers in documents that are computed where they stand."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
WITH_EXAMPLES = sorted(path for path in DOCS.rglob("*.md") if ">>> " in path.read_text(encoding="utf-8"))


def test_there_is_something_to_run() -> None:
    assert WITH_EXAMPLES


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.name)
def test_examples_print_what_the_page_says(path: Path) -> None:
    failures, tries = doctest.testfile(str(path), module_relative=False)
    assert tries
    assert not failures
