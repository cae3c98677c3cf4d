"""docs/performance.md says what the result files say."""

from __future__ import annotations

import pytest

from benchmarks import performance_table
from benchmarks.performance_table import BLOCKS, DOCUMENT, MARKED

TEXT = DOCUMENT.read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_result_files() -> None:
    assert performance_table.replaced(TEXT) == TEXT, "run: python -m benchmarks.readme"


def test_every_table_has_its_place() -> None:
    assert [found["name"] for found in MARKED.finditer(TEXT)] == list(BLOCKS)


def test_a_place_for_no_table_is_an_error() -> None:
    with pytest.raises(KeyError, match="unknown"):
        performance_table.replaced("<!-- unknown: begin -->\n<!-- unknown: end -->")
