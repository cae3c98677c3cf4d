"""Read rows.inc and dynamic_rows.inc: what generators of loops need to know of the rows whose functions they write."""

from __future__ import annotations

import re
from pathlib import Path

LINE = re.compile(r"^([A-Z]+)\((.*)\)$")
FILES = ("rows.inc", "dynamic_rows.inc")
COLUMNS = {
    "GEMM": ("name", "isa", "register", "operand", "leaving", "m", "n", "parts", "functions"),
    "DEPTHWISE": ("name", "isa", "register", "operand", "leaving", "n", "weight_bytes", "copy", "functions", "squares"),
}


def rows(family: str) -> dict[str, dict[str, str]]:
    """The lines of one kind, as columns by the stem of their functions.

    Args:
        family: "GEMM" or "DEPTHWISE".

    Raises:
        SystemExit: a line has another number of columns; the build stops with the line.
    """
    table = {}
    texts = (Path(__file__).with_name(name).read_text() for name in FILES)
    for line in (line for text in texts for line in text.splitlines()):
        match = LINE.match(line)
        if match is None or match[1] != family:
            continue
        columns = [column.strip() for column in match[2].split(",")]
        if len(columns) != len(COLUMNS[family]):
            raise SystemExit(f"rows.inc: {line}: {len(columns)} columns, {family} has {len(COLUMNS[family])}")
        row = dict(zip(COLUMNS[family], columns, strict=True))
        table[row["functions"]] = row
    return table


def offset_checks(struct: str, offsets: dict[str, int]) -> str:
    """C++ that fails to compile unless each member of ``struct`` begins at its offset."""
    return "".join(
        f'static_assert(offsetof({struct}, {member}) == {offset}, "the generator of loops has {struct}::{member} at '
        f'{offset}");\n'
        for member, offset in offsets.items()
    )


def value_checks(values: dict[str, int]) -> str:
    """C++ that fails to compile unless each constant has its value."""
    return "".join(
        f'static_assert(static_cast<int>({name}) == {value}, "the generator of loops has {name} as {value}");\n'
        for name, value in values.items()
    )
