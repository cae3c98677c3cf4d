"""The part of an ``.oaq`` file that keeps what was seen when the file was made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from oaq.program.files import Part
from oaq.report.codec import decode, encode, with_empty, without_empty
from oaq.report.data import Evidence
from oaq.tasks.classify import TOP1

EVIDENCE: Final = "evidence"
"""Name of the part."""


def evidence_part(evidence: Evidence) -> Part:
    """``evidence`` as a part for ``oaq.save``."""
    return Part(without_empty(encode(evidence)))


def stored_evidence(parts: Mapping[str, Part], where: str) -> Evidence | None:
    """The evidence among the parts of a file; None if it has none.

    Raises:
        FormatError: the part is damaged; the message begins with ``where``.
    """
    part = parts.get(EVIDENCE)
    return None if part is None else decode(Evidence, with_empty(_of_today(part.content)), f"{where}: {EVIDENCE}")


def _of_today(content: Any) -> Any:  # noqa: ANN401
    """Evidence as it is written today: once every agreement was one of classifiers, with counts of its own."""
    old = content.get("agreement") if isinstance(content, dict) else None
    if not isinstance(old, dict) or not {"images", "top1_agree", "logit_sqnr_db"} <= set(old):
        return content
    score = {
        "metric": TOP1.name,
        "unit": TOP1.unit,
        "better": TOP1.better,
        "agreement": old["top1_agree"],
        "float_value": old.get("top1_float"),
        "int_value": old.get("top1_int"),
    }
    agreement = {
        "images": old["images"],
        "task": "classify",
        "scores": [score],
        "sqnr_db": [["output", old["logit_sqnr_db"]]],
        "points": old.get("points", []),
    }
    return {**content, "agreement": agreement}
