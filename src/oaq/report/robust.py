"""Answers about robustness in a terminal: a line per input, then counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from oaq.robust.verdict import Robustness
from oaq.terminal.table import Table


@dataclass(frozen=True, eq=False)
class Asked:
    """One input's question and answer.

    Attributes:
        name: file, and sample where it holds several.
        region: the set, in words.
        answer: what is known.
        radius: the largest proved, where that was the question.
    """

    name: str
    region: str
    answer: Robustness
    radius: int | None = None


def answer_table(questions: Sequence[Asked]) -> Table:
    """A line per input."""
    rows = tuple(
        (
            question.name,
            question.region,
            question.answer.state,
            str(question.answer.label),
            sentence(question.answer),
            f"{question.answer.seconds:.3f}",
        )
        for question in questions
    )
    return Table(
        "Every input of each set", ("input", "set", "state", "label", "how", "seconds"), rows, right=frozenset({3, 5})
    )


def sentence(answer: Robustness) -> str:
    """How an answer came about."""
    if answer.state == "refuted":
        return f"an input of the set is called {answer.witness_label} (found by {answer.stage})"
    if answer.state == "undecided":
        rivals = ", ".join(f"{case.rival} (bound {case.bound:.0f})" for case in answer.open[:3])
        return f"open against {rivals}; after {answer.nodes} splits"
    splits = f", {answer.nodes} splits" if answer.nodes else ""
    return f"proved by {answer.stage}{splits}"


def headline(questions: Sequence[Asked]) -> str:
    """Counts and the median time."""
    states = [question.answer.state for question in questions]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("robust", "refuted", "undecided"))
    return f"{len(questions)} sets: {counts}; median {median(question.answer.seconds for question in questions):.3f} s"
