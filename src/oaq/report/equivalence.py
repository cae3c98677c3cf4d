"""Answers about two programs on sets of inputs in a terminal: a line per input, then counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from oaq.terminal.table import Table

if TYPE_CHECKING:
    from oaq.robust.equivalence import Equivalence

MOST_OUTPUTS = 6
"""Open outputs that a line names."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """One input's set and the answer on it.

    Attributes:
        name: file, and sample where it holds several.
        region: the set, in words.
        answer: how far outputs of the two programs lie apart there.
    """

    name: str
    region: str
    answer: Equivalence


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """A line per input."""
    rows = tuple(
        (line.name, line.region, line.answer.state, difference_sentence(line.answer), f"{line.answer.seconds:.3f}")
        for line in comparisons
    )
    return Table(
        "Two programs on every input of each set",
        ("input", "set", "state", "how", "seconds"),
        rows,
        right=frozenset({4}),
    )


def difference_sentence(answer: Equivalence) -> str:
    """How an answer came about."""
    if answer.state == "refuted":
        return f"at an input of the set outputs differ by {answer.difference}, more than {answer.steps}"
    if answer.state == "undecided":
        names = ", ".join(map(str, answer.open[:MOST_OUTPUTS]))
        rest = len(answer.open) - MOST_OUTPUTS
        return f"open at outputs {names}{f' and {rest} more' if rest > 0 else ''}"
    proof = "" if answer.certificate is None else f" by {answer.certificate.header['proof']}"
    return f"proved{proof}: outputs differ by at most {answer.steps}"


def comparison_headline(comparisons: Sequence[Comparison]) -> str:
    """Counts and the median time."""
    states = [line.answer.state for line in comparisons]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("equivalent", "refuted", "undecided"))
    return f"{len(comparisons)} sets: {counts}; median {median(line.answer.seconds for line in comparisons):.3f} s"
