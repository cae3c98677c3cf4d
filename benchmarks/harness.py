"""Result files of benchmarks: a benchmark says what is compared, ``oaq.report.comparison`` does it, this writes it.

Documents and tests compare with the files in ``benchmarks/results``. A run writes there only if it is asked to by
``--record``, else into ``build/results``; times lie in a folder per CPU, so that machines stand side by side.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from benchmarks.busy import Disturbance
from recipes.result_file import Result, load, place_of, stamp, store

__all__ = ["RESULTS", "SCRATCH", "Result", "add_record", "cpu_folders", "load", "place", "save", "stamp"]

RESULTS = Path(__file__).parent / "results"
SCRATCH = Path(__file__).parents[1] / "build" / "results"


def add_record(parser: argparse.ArgumentParser) -> None:
    """Add ``--record``."""
    parser.add_argument(
        "--record",
        action="store_true",
        help="write into benchmarks/results, which documents and tests compare with; else into build/results",
    )


def place(result: Result, name: str, *, record: bool) -> Path:
    """Where the file of a result belongs."""
    return place_of(result, RESULTS if record else SCRATCH) / f"{name}.json"


def save(result: Result, name: str, *, record: bool, disturbance: Disturbance | None = None) -> Path:
    """Write the file of ``result``, whole or not at all; returns its path.

    Args:
        result: what was measured.
        name: of the file, without its suffix.
        record: into ``benchmarks/results``, else into ``build/results``.
        disturbance: what ran beside it, if it was timed.

    Raises:
        BusyMachine: the timings were taken beside something else.
    """
    if disturbance is not None:
        disturbance.require_quiet()
    return store(result, RESULTS if record else SCRATCH, name)


def cpu_folders(results: Path, *names: str) -> Iterator[Path]:
    """Folders of CPUs of which there are results of these names (patterns), in order of their names."""
    for folder in sorted(path for path in results.glob("*") if path.is_dir()):
        if all(any(folder.glob(name)) for name in names):
            yield folder
