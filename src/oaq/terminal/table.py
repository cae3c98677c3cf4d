"""Tables of text: values, and their plain form, which survives a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oaq.escape import escape_name, escape_text


@dataclass(frozen=True)
class Table:
    """A table of text: right-aligned columns are listed by index. Cells may hold any text; it is escaped when drawn."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()


def render(tables: Sequence[Table]) -> str:
    """Tables in plain text, two spaces between columns."""
    return "\n\n".join(_plain(table) for table in tables)


def _plain(table: Table) -> str:
    lines = [tuple(map(escape_name, line)) for line in (table.head, *table.rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.head))]

    def written(line: tuple[str, ...]) -> str:
        cells = (
            c.rjust(w) if i in table.right else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([escape_text(table.title), written(lines[0]), rule, *map(written, lines[1:])])
