"""The tables of sums that wrap by design, from what ``benchmarks.wrapnet`` stored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks.harness import Result, load

NAMES: Final[Mapping[str, str]] = {"wrap-fashion": "wrapnet_fashion", "wrap-cifar10": "wrapnet_cifar10"}
"""Result file of each table."""
HEAD: Final = ("", "top-1, mean", "by seed", "outside, worst layer", "gate")
COLUMNS: Final = ("row", "top-1", "by seed", "worst layer outside", "gate")


def block(name: str, folder: Path) -> str:
    """What belongs between the markers of a table."""
    path = folder / f"{NAMES[name]}.json"
    if not path.exists():
        return "Not run.\n"
    result = load(path)
    lines = [HEAD, tuple("---" if at in (0, len(HEAD) - 1) else "---:" for at in range(len(HEAD)))]
    lines += [tuple(dict(row)[column] for column in COLUMNS) for row in result.rows]
    return _trained_on(result) + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _trained_on(result: Result) -> str:
    """How much rows were trained, where the file says so."""
    facts = dict(result.facts)
    if "training images" not in facts:
        return ""
    return f"Training images: {facts['training images']}; epochs: {facts['epochs']}.\n`{result.command}`.\n\n"
