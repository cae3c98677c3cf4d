"""Answers about robustness in a terminal: a line per input, then counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from oaq.terminal.table import Table

if TYPE_CHECKING:
    from oaq.robust.verdict import Robustness


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


def checked_certificate(name: str, header: Mapping[str, Any]) -> Asked:
    """The line of a certificate that the checker has accepted: what it claims, not how it was found.

    Args:
        name: of its file.
        header: of the certificate.
    """
    from oaq.robust.verdict import Robustness  # only here: most reports hold no certificate of robustness

    if header["tier"] == "refuted":
        answer = Robustness("refuted", header["label"], witness_label=header["witness_label"], stage="its certificate")
    else:
        answer = Robustness("robust", header["label"], stage=header["proof"])
    claim = {key: value for key, value in header["set"].items() if key != "kind"}
    details = ", ".join(f"{key} {value}" for key, value in claim.items())
    return Asked(name, f"{header['set']['kind']}{f': {details}' if details else ''}", answer)


def certificate_table(certificates: Sequence[Asked]) -> Table:
    """A line per certificate that holds."""
    rows = tuple(
        (line.name, line.region, line.answer.state, str(line.answer.label), sentence(line.answer))
        for line in certificates
    )
    return Table(
        "Certificates of robustness, checked", ("certificate", "set", "state", "label", "how"), rows, frozenset({3})
    )
