"""Decision records: numbered without gaps, each with a status, and replacements said in both."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "decisions"
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))
STATUS = re.compile(r"^\*\*Status\.\*\* (Accepted|Withdrawn)\b(.*?)\.?$", re.MULTILINE)
REPLACES = re.compile(r"replaces (in part )?\[(\d+)\]\(([\w.-]+)\)")
REPLACED = re.compile(r"replaced (in part )?by \[(\d+)\]\(([\w.-]+)\)")
INDEX = (FOLDER / "README.md").read_text(encoding="utf-8")


def number(path: Path) -> int:
    return int(path.name[:4])


def status(path: Path) -> str:
    """The status line of a record, directly below its title."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert STATUS.match(lines[2]), f"{path.name}: line 3 is its status: **Status.** Accepted."
    return lines[2].removeprefix("**Status.** ").removesuffix(".")


def relations(pattern: re.Pattern[str]) -> set[tuple[int, int, bool]]:
    """(record, the record it names, in part) of every status line."""
    pairs = set()
    for path in RECORDS:
        for part, other, file in pattern.findall(status(path)):
            assert file.startswith(f"{int(other):04d}-"), f"{path.name}: [{other}] links to {file}"
            pairs.add((number(path), int(other), bool(part)))
    return pairs


def test_records_are_numbered_without_gaps() -> None:
    assert [number(path) for path in RECORDS] == list(range(1, len(RECORDS) + 1))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_the_index_has_title_and_status(path: Path) -> None:
    title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    assert f"| {number(path)} | [{title}]({path.name}) | {status(path)} |" in INDEX.splitlines()


def test_replacements_are_said_in_both_records() -> None:
    forward = {(new, old, part) for new, old, part in relations(REPLACES)}
    backward = {(new, old, part) for old, new, part in relations(REPLACED)}
    assert forward == backward
    assert all(new > old for new, old, _ in forward)
