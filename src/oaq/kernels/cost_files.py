"""Cost tables as files: the one that ships with oaq, those that ``oaq calibrate`` writes, and which of them is used.

A plan does not depend on the machine that makes it unless it is asked to: by default the shipped table is used,
everywhere. ``OAQ_COSTS=calibrated``, or ``costs="calibrated"``, asks for this CPU's own; a path, for that file.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

from oaq.errors import FormatError
from oaq.kernels.cost import CostTable
from oaq.kernels.cpu import cpu_name
from oaq.kernels.facts import facts_from_json, facts_to_json
from oaq.kernels.work import KINDS
from oaq.program.atomic import make_folder, write_atomically

COSTS_VARIABLE: Final = "OAQ_COSTS"
SHIPPED, CALIBRATED = "shipped", "calibrated"
FORMAT: Final = "oaq costs 1"
DIGITS: Final = 5
LARGEST_FILE: Final = 1 << 20
CostSource = CostTable | Path | str | None
"""A table, a file of one, "shipped", "calibrated", or None: what ``OAQ_COSTS`` says, else "shipped"."""


def costs_from(source: CostSource = None) -> CostTable:
    """The table that ``source`` stands for.

    Raises:
        FormatError: there is no such file, or it is not a cost table.
    """
    if isinstance(source, CostTable):
        return source
    source = source if source is not None else os.environ.get(COSTS_VARIABLE) or SHIPPED
    if source == SHIPPED:
        return shipped_costs()
    if source == CALIBRATED:
        path = calibrated_file()
        if not path.exists():
            raise FormatError(f"{path}: this CPU ({cpu_name()}) was never calibrated. Run: oaq calibrate")
        return load_costs(path)
    return load_costs(Path(source))


@cache
def shipped_costs() -> CostTable:
    """The table in the package: made by ``oaq calibrate`` on the CPU it names."""
    file = resources.files("oaq.kernels").joinpath("costs.json")
    return parse_costs(file.read_text(encoding="utf-8"), "oaq/kernels/costs.json")


def calibrated_file() -> Path:
    """This CPU's own table, whether or not it is there: in XDG_CACHE_HOME or ~/.cache, by name of the CPU."""
    home = os.environ.get("XDG_CACHE_HOME")
    folder = Path(home) if home else Path.home() / ".cache"
    name = re.sub(r"[^a-z0-9]+", "-", cpu_name().lower()).strip("-")
    return folder / "oaq" / f"costs-{name}.json"


def file_to_write() -> Path:
    """Where ``oaq calibrate`` writes: the path in ``OAQ_COSTS``, else this CPU's place in the cache."""
    variable = os.environ.get(COSTS_VARIABLE)
    return Path(variable) if variable and variable not in (SHIPPED, CALIBRATED) else calibrated_file()


def load_costs(path: str | Path) -> CostTable:
    """Read a table.

    Raises:
        FormatError: missing, not JSON, or not a cost table; the message names the file and the place.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise FormatError(
            f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}. Make it with: oaq calibrate"
        ) from error
    if len(content) > LARGEST_FILE:
        raise FormatError(f"{path}: is larger than any cost table; make it again with: oaq calibrate")
    return parse_costs(content.decode("utf-8", errors="replace"), str(path))


def save_costs(table: CostTable, path: str | Path) -> None:
    """Write a table, whole or not at all; the folder is made if it is missing.

    Raises:
        FormatError: it cannot be written.
    """
    path = Path(path)
    make_folder(path.parent)
    write_atomically(path, [(json.dumps(to_json(table), indent=1) + "\n").encode()])


def to_json(table: CostTable) -> dict[str, Any]:
    """What a file holds: seconds with ``DIGITS`` digits."""
    rows = {
        name: {kind: float(f"{seconds:.{DIGITS}g}") for kind, seconds in sorted(costs.items())}
        for name, costs in sorted(table.rows.items())
    }
    error = {name: float(f"{share:.3g}") for name, share in sorted(table.error.items())}
    return {
        "format": FORMAT,
        "cpu": table.cpu,
        "cache_bytes": table.cache,
        "stamp": dict(table.stamp),
        "median_error": error,
        "rows": {name: facts_to_json(facts) for name, facts in sorted(table.facts.items())},
        "seconds": rows,
    }


def parse_costs(text: str, where: str) -> CostTable:
    """A table from JSON.

    Raises:
        FormatError: it is not one; the message begins with ``where``.
    """

    def refuse(reason: str) -> FormatError:
        return FormatError(f"{where}: is not a cost table: {reason}. Make it again with: oaq calibrate")

    def take(document: object, key: str, kind: type) -> Any:  # noqa: ANN401 (whatever ``kind`` is)
        value = document.get(key) if isinstance(document, dict) else None
        if not isinstance(value, kind) or isinstance(value, bool):
            raise refuse(f"{key!r} is missing or no {kind.__name__}")
        return value

    def numbers(costs: Mapping[str, Any], place: str) -> dict[str, float]:
        for key, value in costs.items():
            good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
            if not good:
                raise refuse(f"{place}, {key!r} is {value!r}, not a number >= 0")
        return {key: float(value) for key, value in costs.items()}

    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise refuse(f"no JSON ({error})") from error
    if take(document, "format", str) != FORMAT:
        raise refuse(f"its format is {document['format']!r}, this oaq reads {FORMAT!r}")
    rows = take(document, "seconds", dict)
    seconds_by_row = {name: numbers(take(rows, name, dict), name) for name in rows}
    for name, costs in seconds_by_row.items():
        if unknown := set(costs) - set(KINDS):
            raise refuse(f"{name} costs {', '.join(sorted(unknown))}, which oaq does not count")
    cache_bytes = take(document, "cache_bytes", int)
    if cache_bytes < 1:
        raise refuse(f"'cache_bytes' is {cache_bytes}")
    stamp = tuple((str(key), str(value)) for key, value in take(document, "stamp", dict).items())
    error = numbers(take(document, "median_error", dict), "median_error")
    # Tables of earlier versions name their rows only; those are the shipped ones.
    plain = take(document, "rows", dict) if "rows" in document else None
    facts = shipped_costs().facts if plain is None else {name: facts_from_json(row) for name, row in plain.items()}
    timed_rows = {name: row for name, row in facts.items() if row is not None}
    if len(timed_rows) != len(facts):
        raise refuse("'rows' gives family, isa, includes and spills of each row")
    return CostTable(take(document, "cpu", str), cache_bytes, seconds_by_row, error, stamp, timed_rows)
