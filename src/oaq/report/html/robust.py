"""Answers about robustness as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from oaq.report.equivalence import Comparison, comparison_headline, difference_sentence
from oaq.report.html.markup import section, table, text
from oaq.report.robust import Asked, headline, sentence

CHIP = {"robust": "proved", "equivalent": "proved", "refuted": "observed", "undecided": ""}

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
    return section(
        "Robustness",
        _chips(questions),
        lead,
        table(("Input", "Set", "State", "Label", "How"), rows, (3,)),
        "robustness",
    )


def equivalence_section(comparisons: Sequence[Comparison]) -> str:
    """A card with a line per set on which two programs were compared."""
    rows = [(line.name, line.region, line.answer.state, difference_sentence(line.answer)) for line in comparisons]
    lead = (
        f"{comparison_headline(comparisons)}. Equivalent is proved for every input of the set and can be checked "
        "without the search; refuted names an input that both programs were run on; undecided is neither."
    )
    cells = table(("Input", "Set", "State", "How"), rows)
    return section("Equivalence", _chips(comparisons), lead, cells, "equivalence")


def _chips(lines: Sequence[Asked] | Sequence[Comparison]) -> str:
    """Kinds of evidence that the answers rest on, once each."""
    return " ".join(dict.fromkeys(CHIP[line.answer.state] for line in lines if CHIP[line.answer.state]))


def render(program: str, card: str) -> str:
    """The page as HTML text; no network, no scripts.

    Args:
        program: its name, or those of two.
        card: the section that the page shows.
    """
    style = resources.files("oaq.report.html").joinpath("style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(program)}: oaq robust</title><style>{style}</style></head>"
        f'<body><main><header><div class="over">oaq robust</div><h1>{text(program)}</h1></header>'
        f"{card}"
        "<footer>Made by oaq, overflow-aware quantization.</footer></main></body></html>\n"
    )
