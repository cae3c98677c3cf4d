"""What was proved, planned, observed and measured, for people: values, terminal tables, one HTML file."""

from __future__ import annotations

from oaq.report.build import build_report
from oaq.report.codec import from_json, load, to_json
from oaq.report.data import Evidence, ReportData
from oaq.report.html import to_html
from oaq.report.text import to_text

__all__ = ["Evidence", "ReportData", "build_report", "from_json", "load", "to_html", "to_json", "to_text"]
