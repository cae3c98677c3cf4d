"""Reports as JSON, and back."""

from __future__ import annotations

import json
from pathlib import Path

from oaq.data.records import decode, encode
from oaq.errors import FormatError
from oaq.report.data import SCHEMA, ReportData

__all__ = ["decode", "encode", "from_json", "load", "to_json"]


def to_json(data: ReportData) -> str:
    """The report as JSON text, keys in declaration order. Infinities become the strings "inf" and "-inf"."""
    return json.dumps(encode(data), indent=1, allow_nan=False)


def from_json(text: str, where: str = "report") -> ReportData:
    """The inverse of ``to_json``.

    Args:
        text: JSON.
        where: what to call it in errors, a path for example.

    Raises:
        FormatError: not JSON, not a report, or of another schema version.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise FormatError(f"{where}: is not JSON: {error}") from error
    if not isinstance(value, dict) or "schema" not in value:
        raise FormatError(f"{where}: is not an oaq report: it has no 'schema'")
    if value["schema"] != SCHEMA:
        raise FormatError(f"{where}: has report schema {value['schema']!r}; this oaq reads {SCHEMA}. Make it again")
    return decode(ReportData, value, where)


def load(path: Path) -> ReportData:
    """Read a report written by ``to_json``.

    Raises:
        FormatError: the file cannot be read or is not a report.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read: {error}") from error
    return from_json(text, str(path))
