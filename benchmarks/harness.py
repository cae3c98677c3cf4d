"""Result files of benchmarks: a benchmark says what is compared, ``oaq.report.comparison`` does it, this writes it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.busy import Disturbance
from recipes.result_file import Result, load, stamp, write

__all__ = ["RESULTS", "Result", "load", "save", "stamp"]

RESULTS = Path(__file__).parent / "results"


def save(result: Result, name: str, folder: Path = RESULTS, disturbance: Disturbance | None = None) -> Path:
    """Write ``folder/name.json``, whole or not at all; returns the path.

    Raises:
        BusyMachine: the timings were taken beside something else.
    """
    if disturbance is not None:
        disturbance.require_quiet()
    return write(result, folder / f"{name}.json")
