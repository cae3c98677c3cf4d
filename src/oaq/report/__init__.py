"""What was proved, planned, observed and measured, for people: values, terminal tables, one HTML file."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from oaq.report.build import build_report
from oaq.report.data import Evidence, ReportData

if TYPE_CHECKING:
    from oaq.report.codec import from_json, load, to_json
    from oaq.report.html import to_html
    from oaq.report.text import to_text

_HOMES = {"from_json": "codec", "load": "codec", "to_html": "html", "to_json": "codec", "to_text": "text"}
__all__ = ["Evidence", "ReportData", "build_report", "from_json", "load", "to_html", "to_json", "to_text"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (PEP 562)
    """What ``import oaq`` must not load."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
