"""Answers about robustness as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from oaq.report.html.markup import section, table, text
from oaq.report.robust import Asked, headline, sentence

CHIP = {"robust": "proved", "refuted": "observed", "undecided": ""}


CHECKED = (
    "Certificates that the independent checker has derived again from this program while the page was written, without "
    "a search or a solver. Robust holds for every input of the set; refuted names an input that was run."
)


def robust_section(questions: Sequence[Asked], lead: str = "") -> str:
    """A card with a line per set; any page may hold it.

    Args:
        questions: a line each.
        lead: the sentences above the table; those of a search if empty.
    """
    rows = [
        (question.name, question.region, question.answer.state, question.answer.label, sentence(question.answer))
        for question in questions
    ]
    lead = lead or (
        f"{headline(questions)}. Robust is proved for every input of the set and can be checked without the search; "
        "refuted names an input that was run; undecided is neither."
    )
    kinds = " ".join(dict.fromkeys(CHIP[q.answer.state] for q in questions if CHIP[q.answer.state]))
    return section(
        "Robustness", kinds, lead, table(("Input", "Set", "State", "Label", "How"), rows, (3,)), "robustness"
    )


def render(program: str, questions: Sequence[Asked]) -> str:
    """The page as HTML text; no network, no scripts."""
    style = resources.files("oaq.report.html").joinpath("style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(program)}: oaq robust</title><style>{style}</style></head>"
        f'<body><main><header><div class="over">oaq robust</div><h1>{text(program)}</h1></header>'
        f"{robust_section(questions)}"
        "<footer>Made by oaq, overflow-aware quantization.</footer></main></body></html>\n"
    )
