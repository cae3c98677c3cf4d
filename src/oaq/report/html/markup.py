"""Pieces of markup every section uses. Text is escaped here, once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from oaq.escape import escape_text

CHIPS = ("proved", "modular", "observed", "measured", "predicted")


def text(value: object) -> str:
    """A value as escaped text."""
    return escape(escape_text(value), quote=True)


def chip(kind: str, label: str = "") -> str:
    """The coloured word that says what kind of statement stands beside it."""
    return f'<span class="chip {kind}">{text(label or kind)}</span>'


def section(title: str, kind: str, lead: str, body: str, anchor: str) -> str:
    """A card: heading, chips (space-separated kinds), one sentence, content."""
    chips = " ".join(chip(word) for word in kind.split())
    return (
        f'<section id="{anchor}"><h2>{text(title)} {chips}</h2>'
        + (f'<p class="lead">{text(lead)}</p>' if lead else "")
        + f"{body}</section>"
    )


def table(
    head: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[int] = (), ours: Iterable[int] = ()
) -> str:
    """A table that scrolls sideways inside its card.

    Args:
        head: column titles.
        rows: cells; a cell that is a ``Raw`` is not escaped.
        numbers: columns aligned right.
        ours: rows drawn bold.
    """
    bold = set(ours)
    cells = ["".join(_cell("td", cell, i in numbers) for i, cell in enumerate(row)) for row in rows]
    body = "".join(f"<tr{' class=ours' if i in bold else ''}>{row}</tr>" for i, row in enumerate(cells))
    titles = "".join(_cell("th", title, i in numbers) for i, title in enumerate(head))
    return f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'


class Raw(str):
    """Markup that is escaped already."""

    __slots__ = ()


def facts(pairs: Iterable[tuple[str, object]], style: str = "") -> str:
    """A definition list."""
    items = "".join(f"<dt>{text(key)}</dt><dd>{_content(value)}</dd>" for key, value in pairs)
    return f"<dl{f' class={style}' if style else ''}>{items}</dl>"


def _content(value: object) -> str:
    return str(value) if isinstance(value, Raw) else text(value)


def _cell(tag: str, value: object, number: bool) -> str:
    return f"<{tag}{' class=n' if number else ''}>{_content(value)}</{tag}>"
