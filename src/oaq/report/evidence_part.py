"""The part of an ``.oaq`` file that keeps what was seen when the file was made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from oaq.program.files import Part
from oaq.report.codec import decode, encode
from oaq.report.data import Evidence

EVIDENCE: Final = "evidence"
"""Name of the part."""


def evidence_part(evidence: Evidence) -> Part:
    """``evidence`` as a part for ``oaq.save``."""
    return Part(encode(evidence))


def stored_evidence(parts: Mapping[str, Part], where: str) -> Evidence | None:
    """The evidence among the parts of a file; None if it has none.

    Raises:
        FormatError: the part is damaged; the message begins with ``where``.
    """
    part = parts.get(EVIDENCE)
    return None if part is None else decode(Evidence, part.content, f"{where}: {EVIDENCE}")
