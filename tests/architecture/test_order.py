"""The guard of tests/conftest.py against what a module leaves behind, and that it can fail."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from tests.conftest import changes, process_state

TESTS = Path(__file__).parent.parent


def test_a_variable_that_stays_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    before = process_state()
    monkeypatch.setenv("OAQ_COSTS", "elsewhere.json")
    assert changes(before, process_state()) == ["environment variable OAQ_COSTS: None, now 'elsewhere.json'"]
    monkeypatch.undo()
    assert not changes(before, process_state())


def test_another_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = process_state()
    monkeypatch.chdir(tmp_path)
    assert [text.split(":")[0] for text in changes(before, process_state())] == ["folder"]


def test_what_is_loaded_late_is_no_change() -> None:
    assert not changes({"threads of torch": None}, {"threads of torch": 4})
    assert changes({"threads of torch": 1}, {"threads of torch": 4})


def test_no_test_runs_by_the_costs_of_the_caller() -> None:
    assert "OAQ_COSTS" not in os.environ or "made-up" in os.environ["OAQ_COSTS"]


def test_no_fixture_outlives_a_folder_unnoticed() -> None:
    """Package scope ends with the session here; what lasts as long as that must not change the process."""
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "scope" and isinstance(node.value, ast.Constant):
                assert node.value.value != "package", f"{path}: {ast.unparse(node)}"
