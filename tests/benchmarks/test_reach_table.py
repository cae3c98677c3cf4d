"""The how-tos on pages, on Arm and on C say what the result files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import reach_table
from benchmarks.performance_table import MARKED
from benchmarks.reach_table import BLOCKS

DOCUMENTS = sorted({document for document, _ in BLOCKS.values()})


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_tables_are_those_of_the_result_files(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert reach_table.replaced(text) == text, "run: python -m benchmarks.readme"


def test_every_table_has_its_place() -> None:
    places = [(found["name"], document) for document in DOCUMENTS for found in MARKED.finditer(document.read_text())]
    assert sorted(places) == sorted((name, document) for name, (document, _) in BLOCKS.items())


def test_a_folder_without_results_has_no_tables(tmp_path: Path) -> None:
    assert reach_table.block(tmp_path) == ""


def test_a_place_for_no_table_is_an_error() -> None:
    with pytest.raises(KeyError, match="unknown"):
        reach_table.replaced("<!-- unknown: begin -->\n<!-- unknown: end -->")
