"""Rows of a table that are measured one after the other, and taken from the file of a run that stopped."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from oaq.errors import FormatError
from oaq.terminal import say
from oaq.terminal.table import Table
from recipes import result_file
from recipes.demo import RECORDED
from recipes.result_file import Result, stamp

Row = tuple[tuple[str, str], ...]
LABEL = "levels"
"""Head of the column of labels."""


class Ledger:
    """Rows by label, written to a result file as they come.

    Rows that the file holds are taken if this very source measured them under the same facts.

    Args:
        path: of the file.
        command: for the file.
        notes: for the file.
        facts: for the file: everything that rows depend on besides their labels and the source.
        anew: measure all of them.
        benchmark: name in the file.
        heads: of the columns that are the label of a row.

    Raises:
        FormatError: the file is damaged.
    """

    def __init__(
        self,
        path: Path,
        command: str,
        notes: tuple[str, ...],
        *,
        facts: Row = (),
        anew: bool = False,
        benchmark: str = "daq",
        heads: tuple[str, ...] = (LABEL,),
    ) -> None:
        self._path, self._heads, self._rows = path, heads, list[Row]()
        self._blank = Result(benchmark, command, stamp(), facts=facts, notes=notes)
        self._earlier = {} if anew or not path.exists() else self._taken()

    def _taken(self) -> dict[tuple[str, ...], Row]:
        try:
            earlier = result_file.load(self._path)
        except FormatError as error:
            raise FormatError(f"{error}. Delete it to begin anew") from error
        made, blank = earlier.environment.commit, self._blank
        if made != blank.environment.commit or earlier.facts != blank.facts:
            say.words(f"  {self._path} is of another source, or of other settings: measured again")
            return {}
        return {tuple(dict(row).get(head, "") for head in self._heads): row for row in earlier.rows}

    def row(self, label: str | tuple[str, ...], measure: Callable[[], Row]) -> Row:
        """Append what ``measure`` says of ``label``, or said in an earlier run; the whole row."""
        key = (label,) if isinstance(label, str) else label
        row = self._earlier.pop(key, None)
        if row is None:
            row = (*zip(self._heads, key, strict=True), *measure())
        self._rows.append(row)
        say.words(f"  {'  '.join(value for _, value in row)}")
        result_file.write(self.result(pending=True), self._path)
        return row

    def result(self, *, pending: bool = False) -> Result:
        """The rows so far; ``pending``: and those of an earlier run that have not come yet."""
        rows = (*self._rows, *(self._earlier.values() if pending else ()))
        blank = self._blank
        return Result(blank.benchmark, blank.command, stamp(), facts=blank.facts, rows=rows, notes=blank.notes)


def files_digest(paths: Iterable[Path]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of files' names and contents, in their order.

    Raises:
        FormatError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise FormatError(f"{path}: cannot be read: {error.strerror}") from error
        digest.update(hashlib.sha256(path.name.encode()).digest() + content)
    return digest.hexdigest()[:16]


def files_in(folder: Path) -> list[Path]:
    """The files that lie in a folder, by name; none if there is no such folder."""
    return sorted(path for path in folder.glob("*") if path.is_file())


def add_options(parser: argparse.ArgumentParser, out: Path) -> None:
    """Options of every recipe whose rows a ledger takes."""
    parser.add_argument("--out", type=Path, default=out, metavar="DIR", help=f"default {out}")
    parser.add_argument("--anew", action="store_true", help="measure rows of an earlier run again")
    parser.add_argument("--record", action="store_true", help="also write the figures to benchmarks/results")


def conclude(result: Result, name: str, *, record: bool) -> None:
    """Print the table of a result; ``record``: first write it to benchmarks/results.

    Raises:
        FormatError: there is no row.
    """
    if not result.rows:
        raise FormatError(f"{name}: --only leaves no row: none of the labels holds it")
    if record:
        say.words(str(result_file.store(result, RECORDED, name)))
    say.tables([table_of(name, [dict(row) for row in result.rows])])


def table_of(title: str, lines: Sequence[Mapping[str, str]]) -> Table:
    """Lines by the heads of their cells, in the order in which these first come."""
    heads = tuple(dict.fromkeys(head for line in lines for head in line))
    cells = tuple(tuple(line.get(head, "") for head in heads) for line in lines)
    return Table(title, heads, cells, frozenset(range(1, len(heads))))
