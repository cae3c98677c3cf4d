"""A report as one HTML file: no network, no scripts, no external assets; light and dark; fit for a phone."""

from oaq.report.html.page import render, to_html

__all__ = ["render", "to_html"]
