"""What a training shows while it runs: a bar and a table of overflows on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from oaq.qat import LayerState
from oaq.qat.log import TABLE_HEADER, table
from oaq.terminal import say
from oaq.terminal.table import Table


def overflow_table(states: Sequence[LayerState]) -> Table:
    """What was counted last, by layer."""
    title = f"overflows at iteration {states[0].iteration}"
    return Table(title, TABLE_HEADER, tuple(table(states)), frozenset(range(1, len(TABLE_HEADER))))


class Board:
    """A context in which progress is shown.

    Args:
        label: of the bar.
        steps: to come.
        events: folder for TensorBoard's event files; used if the package ``tensorboard`` is installed.
        silent: show and write nothing: every process but the first.
    """

    def __init__(self, label: str, steps: int, events: Path | None = None, *, silent: bool = False) -> None:
        self._silent, self._label, self._steps, self._steps_done = silent, label, steps, 0
        self._live = self._progress = None
        if not silent:
            self._live, self._progress = _live(label, steps)
        self._writer = None if silent or events is None else _writer(events)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
        if self._writer is not None:
            self._writer.close()

    def on_step(self, iteration: int, loss: float, rate: float) -> None:
        """After a step; off a terminal twenty lines in all."""
        self._steps_done += 1
        if self._live is None and not self._silent and self._steps_done % max(self._steps // 20, 1) == 0:
            say.warn(f"{self._label}: step {self._steps_done} of {self._steps}, loss {loss:.3f}")
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], advance=1, description=f"loss {loss:.3f}")
        if self._writer is not None:
            self._writer.add_scalar("loss", loss, iteration)
            self._writer.add_scalar("learning rate", rate, iteration)

    def counted(self, states: Sequence[LayerState]) -> None:
        """After a count."""
        wrong, alpha = sum(state.overflows for state in states), max(state.alpha for state in states)
        if self._live is not None:
            self._live.update(_rendered(self._progress, overflow_table(states)))
        elif not self._silent:
            say.warn(f"iteration {states[0].iteration}: {wrong} overflows, largest alpha {alpha:.2f}")
        if self._writer is not None:
            for state in states:
                self._writer.add_scalar(f"alpha/{state.layer}", state.alpha, state.iteration)
                self._writer.add_scalar(f"overflows/{state.layer}", state.overflows, state.iteration)


def _live(label: str, steps: int) -> tuple[Any, Any]:
    """(live display, bar) of rich on a terminal; None each where there is no terminal or no rich."""
    if not sys.stderr.isatty():
        return None, None
    try:
        from rich.console import Console
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        return None, None
    columns = (
        TextColumn(label),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    progress = Progress(*columns, auto_refresh=False)
    progress.add_task("", total=steps)
    return Live(progress, console=Console(stderr=True), refresh_per_second=4), progress


def _rendered(progress: Any, table: Table) -> Any:  # noqa: ANN401 (rich is optional)
    from rich.console import Group
    from rich.table import Table as Drawn

    rich_table = Drawn(title=table.title)
    for title in table.head:
        rich_table.add_column(title, overflow="fold")
    for row in table.rows:
        rich_table.add_row(*row)
    return Group(rich_table, progress)


def _writer(folder: Path) -> Any:  # noqa: ANN401 (tensorboard is optional)
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))
