"""Print text, tables or one JSON document; draw progress bars on terminals."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from typing import TypeVar

from oaq.escape import MOST_OF_A_MESSAGE, escape_name, escape_text
from oaq.terminal.table import Table, render

T = TypeVar("T")


def words(text: str) -> None:
    """Print text; lines that hold names from files come from ``oaq.escape.escape_lines``, this is a second defence."""
    lines = text.removesuffix("\n").split("\n")
    sys.stdout.write("\n".join(escape_text(line, MOST_OF_A_MESSAGE) for line in lines) + "\n")


def tables(sequence: Sequence[Table]) -> None:
    """Print tables: drawn by rich on a terminal that has it, plain text everywhere else."""
    if sys.stdout.isatty():
        try:
            from rich.console import Console
            from rich.table import Table as RichTable
        except ImportError:
            pass
        else:
            for table in sequence:
                rich_table = RichTable(title=_escaped(table.title), title_justify="left", title_style="bold")
                for index, title in enumerate(table.head):
                    rich_table.add_column(title, justify="right" if index in table.right else "left", overflow="fold")
                for row in table.rows:
                    rich_table.add_row(*map(_escaped, row))
                Console().print(rich_table)
            return
    words(render(sequence))


def _escaped(cell: str) -> str:
    return escape_name(cell).replace("[", r"\[")


def json_text(text: str) -> None:
    """Print a JSON document as it was written: JSON in ASCII needs no escaping, and none of it may be left out."""
    sys.stdout.write(text.removesuffix("\n") + "\n")


def document(value: object) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(value, indent=1, allow_nan=False) + "\n")


def warn(text: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"oaq: {escape_text(text)}\n")


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield ``items``, with a bar on standard error if that is a terminal."""
    count = total if total is not None else len(items) if isinstance(items, Sized) else None
    with bar(label, count) as step:
        for item in items:
            yield item
            step(1)


@contextmanager
def bar(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error; yields a function that moves it by some steps.

    Off a terminal a line whenever nothing was said for ``SILENCE`` seconds.
    """
    if not sys.stderr.isatty():
        yield _logged(label, total)
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        yield from _plain(label, total)
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda steps: progress.advance(task, steps)


def _logged(label: str, total: int | None) -> Callable[[int], None]:
    start, last_line, count = time.monotonic(), 0.0, 0

    def step(steps: int) -> None:
        nonlocal count, last_line
        count, elapsed = count + steps, time.monotonic() - start
        if elapsed - last_line < SILENCE:
            return
        last_line = elapsed
        of, remaining = "", ""
        if total and 0 < count <= total:
            of, remaining = f" of {total}", f", {_minutes(elapsed / count * (total - count))} left"
        sys.stderr.write(f"{label}: {count}{of} ({elapsed:.0f} s{remaining})\n")
        sys.stderr.flush()

    return step


def _plain(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    count = 0

    def step(steps: int) -> None:
        nonlocal count
        count += steps
        sys.stderr.write(f"\r{label}: {count}{f' of {total}' if total else ''} ")
        sys.stderr.flush()

    try:
        yield step
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


Report = Callable[[str, str, float], None]
"""Called with a stage, what is worked on in it, and the part of the whole that is done."""


@contextmanager
def stages(label: str) -> Iterator[Report]:
    """Progress of work in stages on standard error.

    On a terminal one line that changes: stage, item, percent and the time that is left. Elsewhere one line per stage,
    and the whole line whenever nothing was said for ``SILENCE`` seconds, so that a log of minutes is not silent.
    """
    start = time.monotonic()
    current, last_line = "", 0.0
    terminal = sys.stderr.isatty()

    def report(stage: str, item: str, part: float) -> None:
        nonlocal current, last_line
        elapsed = time.monotonic() - start
        remaining = f", {_minutes(elapsed / part - elapsed)} left" if part > EARLY else ""
        line = f"{label}: {stage}{f', {item}' if item else ''}, {100 * part:.0f} %{remaining}"
        if terminal:
            width = max(shutil.get_terminal_size().columns - 1, 20)
            sys.stderr.write(f"\r\x1b[K{escape_text(line, width)}")
        elif stage != current or elapsed - last_line >= SILENCE:
            text = f"{label}: {stage}" if stage != current else line
            sys.stderr.write(f"{escape_text(text)} ({elapsed:.0f} s)\n")
            last_line = elapsed
        current = stage
        sys.stderr.flush()

    try:
        yield report
    finally:
        if terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


SILENCE = 30.0
"""Seconds after which a log gets another line of work that goes on."""
EARLY = 0.03
"""Part of the work before which nothing is said about the rest."""


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
