"""Rows of a table that are measured one after the other, and taken from the file of a run that stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from oaq.terminal import say
from recipes import result_file
from recipes.result_file import Result, stamp

Row = tuple[tuple[str, str], ...]
LABEL = "levels"
"""Head of the column of labels."""


class Ledger:
    """Rows by label, written to a result file as they come.

    Args:
        path: of the file; rows that it holds are taken, unless ``anew``.
        command: for the file.
        notes: for the file.
        anew: measure all of them.
        benchmark: name in the file.
    """

    def __init__(
        self, path: Path, command: str, notes: tuple[str, ...], *, anew: bool = False, benchmark: str = "daq"
    ) -> None:
        self._path, self._command, self._notes, self._benchmark = path, command, notes, benchmark
        earlier = () if anew or not path.exists() else result_file.load(path).rows
        self._earlier = {dict(row).get(LABEL, ""): row for row in earlier}
        self._rows: list[Row] = []

    def row(self, label: str, measure: Callable[[], Row]) -> None:
        """Append what ``measure`` says of ``label``, or said in an earlier run."""
        row = self._earlier.pop(label, None)
        if row is None:
            row = ((LABEL, label), *measure())
        self._rows.append(row)
        say.words(f"  {'  '.join(value for _, value in row)}")
        result_file.write(self.result(pending=True), self._path)

    def result(self, *, pending: bool = False) -> Result:
        """The rows so far; ``pending``: and those of an earlier run that have not come yet."""
        rows = (*self._rows, *(self._earlier.values() if pending else ()))
        return Result(self._benchmark, self._command, stamp(), rows=rows, notes=self._notes)
