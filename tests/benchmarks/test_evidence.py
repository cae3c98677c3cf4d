"""docs/evidence.md says what the result files say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import evidence
from benchmarks.harness import RESULTS


def test_the_page_holds_what_the_files_hold() -> None:
    text = evidence.DOCUMENT.read_text(encoding="utf-8")
    assert evidence.replaced(text) == text, "run: python -m benchmarks.evidence"


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("soundness", {"differences": [[7, "t0"]]}, ": 1 differ"),
        ("mutants", {"survived": 3}, "3 not"),
        ("fuzz_files", {"facts": {"defects": "2"}}, ": 2 defects"),
        ("plan_fuzz", {"facts": {"crashes": "1"}}, ": 1 crashes"),
        ("races", {"facts": {"reports": "4"}}, ": 4 reports"),
    ],
)
def test_a_failure_is_shown(name: str, change: dict[str, object], words: str, tmp_path: Path) -> None:
    for _, other, _ in evidence.CLAIMS:
        (tmp_path / f"{other}.json").write_bytes((RESULTS / f"{other}.json").read_bytes())
    plain = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    for key, value in change.items():
        plain[key] = [*map(list, {**dict(plain[key]), **value}.items())] if isinstance(value, dict) else value
    assert words not in evidence.table()
    (tmp_path / f"{name}.json").write_text(json.dumps(plain), encoding="utf-8")
    assert words in evidence.table(tmp_path)
