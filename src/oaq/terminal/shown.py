"""Values of many arrays in a line, and in a small table for notebooks: a whole one would be megabytes of text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from oaq.escape import escape_name, escape_text

MOST_ROWS: Final = 200
"""Rows of a table in a notebook; of the rest only the number is said."""
MOST_OF_A_VALUE: Final = 400
"""Characters of a line."""
Facts = Sequence[tuple[str, object]]


def in_a_line(kind: str, name: str, facts: Facts) -> str:
    """``<kind 'name': fact, fact>``; a fact without a label stands alone.

    >>> in_a_line("Plan", "net", [("nodes", 3), ("", "avx2")])
    "<Plan 'net': nodes 3, avx2>"
    """
    words = ", ".join(f"{label} {value}" if label else str(value) for label, value in facts)
    return escape_text(f"<{kind} {escape_name(name)!r}: {words}>", MOST_OF_A_VALUE)


def in_a_notebook(line: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """HTML: the line, and a table of at most ``MOST_ROWS`` rows below it."""
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(escape_name(str(cell)))}</td>" for cell in row) + "</tr>"
        for row in rows[:MOST_ROWS]
    )
    more = f"<p>and {len(rows) - MOST_ROWS} more</p>" if len(rows) > MOST_ROWS else ""
    table = f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"
    return f"<p><code>{escape(line)}</code></p>{table}{more}"
