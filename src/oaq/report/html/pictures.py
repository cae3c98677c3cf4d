"""Pictures in the page: answers of the float network and of the integers side by side."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from oaq.report.html.markup import section, text


@dataclass(frozen=True, eq=False)
class Sheet:
    """A row of a contact sheet.

    Attributes:
        caption: what is shown.
        pictures: (title, content of a JPEG file), from left to right.
    """

    caption: str
    pictures: tuple[tuple[str, bytes], ...]


def pictures_section(sheets: Sequence[Sheet]) -> str:
    """The contact sheet, each picture in the page itself; "" without any."""
    if not sheets:
        return ""
    rows = "".join(_row(sheet) for sheet in sheets)
    lead = "What each network answers on the same photo. Chosen by their place in the set, not by how they look."
    return section("Pictures", "observed", lead, rows, "pictures")


def _row(sheet: Sheet) -> str:
    share = 100 / max(len(sheet.pictures), 1)
    figures = "".join(
        f'<figure style="width:{share:.1f}%"><figcaption>{text(title)}</figcaption>'
        f'<img style="width:100%" alt="{text(f"{sheet.caption}: {title}")}" '
        f'src="data:image/jpeg;base64,{base64.b64encode(content).decode()}"></figure>'
        for title, content in sheet.pictures
    )
    return f'<h3>{text(sheet.caption)}</h3><div style="display:flex;gap:8px">{figures}</div>'
