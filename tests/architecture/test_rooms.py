"""How many files a new operator, kernel row or instruction set touches, by the pages that say how to add them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEP = re.compile(r"^\d+\. \*\*(.+?)\*\*", re.MULTILINE)


@pytest.mark.parametrize(
    ("page", "most"), [("add-a-kernel-row", 3), ("add-an-instruction-set", 7), ("add-an-operator", 12)]
)
def test_adding_one_touches_few_files(page: str, most: int) -> None:
    steps = STEP.findall((ROOT / "docs" / "how-to" / f"{page}.md").read_text(encoding="utf-8"))
    sys.stdout.write(f"\n{page}: {len(steps)} files: {'; '.join(steps)}\n")
    assert 1 < len(steps) <= most
    for step in steps:
        for path in re.findall(r"`([^`<]+)`", step):
            assert (ROOT / path).exists(), f"{page}: there is no {path}"
