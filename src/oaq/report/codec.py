"""Reports as JSON, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from oaq.data.records import decode, encode
from oaq.errors import FormatError
from oaq.report.data import SCHEMA, ReportData

__all__ = ["decode", "encode", "from_json", "load", "to_json", "with_empty", "without_empty"]
LATER: Final = ("codebooks",)
"""Lists that reports and evidence have had only since some version: left out where they are empty."""


def to_json(data: ReportData) -> str:
    """The report as JSON text, keys in declaration order. Infinities become the strings "inf" and "-inf"."""
    return json.dumps(without_empty(encode(data)), indent=1, allow_nan=False)


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
    return decode(ReportData, with_empty(value), where)


def without_empty(record: Any) -> Any:  # noqa: ANN401 (JSON is anything)
    """A record as it was before there were ``LATER`` fields, where those say nothing."""
    return {key: value for key, value in record.items() if key not in LATER or value}


def with_empty(record: Any) -> Any:  # noqa: ANN401 (JSON is anything)
    """The inverse of ``without_empty``."""
    return {**{key: [] for key in LATER}, **record} if isinstance(record, dict) else record


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
