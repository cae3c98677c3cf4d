"""What the controller or the ditherer did, over training: a CSV file that survives a resume, a table, a plot."""

from __future__ import annotations

import csv
import dataclasses
import io
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from oaq.errors import FormatError
from oaq.program.atomic import write_atomically
from oaq.qat.alpha import LayerState

S = TypeVar("S")
TABLE_HEADER: Final = ("layer", "alpha", "weight bits", "operand bits", "overflows", "of sums")


class CsvLog:
    """Appends states to a file: ``OverflowController(log=...)`` gives it every count, in the first process.

    Args:
        path: of the file; begun anew unless ``after`` is given.
        after: iteration of the checkpoint that training resumes from: later lines are dropped, as they come again.
        kind: of the states, a dataclass of plain values with an ``iteration``.

    Raises:
        FormatError: the file cannot be written, or is not one of ours.
    """

    def __init__(self, path: str | Path, after: int | None = None, kind: Any = LayerState) -> None:  # noqa: ANN401
        self.path = Path(path)
        states = read_states(self.path, kind) if after and self.path.exists() else []
        earlier = [state for state in states if state.iteration <= after]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_fields(kind))
        writer.writerows(dataclasses.astuple(state) for state in earlier)
        write_atomically(self.path, [text.getvalue().encode()])

    def __call__(self, states: Sequence[Any]) -> None:
        """Append one count."""
        try:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(dataclasses.astuple(state) for state in states)
        except OSError as error:
            raise FormatError(f"{self.path}: the training log cannot be written: {error.strerror}") from error


def read_log(path: str | Path) -> list[LayerState]:
    """What a controller counted: ``read_states`` of it."""
    return read_states(path, LayerState)


def read_states(path: str | Path, kind: type[S]) -> list[S]:
    """The states in a file of ``CsvLog``; a last line that was cut off is left out.

    Raises:
        FormatError: the file is missing or is not one of ours.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: the training log cannot be read: {error}") from error
    fields, hints = _fields(kind), typing.get_type_hints(kind)
    if tuple(header) != fields:
        raise FormatError(f"{path}: a training log has the columns {', '.join(fields)}, not {', '.join(header[:9])}")
    states = []
    for number, row in enumerate(rows):
        try:
            states.append(kind(*(_READ[hints[name]](row[at]) for at, name in enumerate(fields))))
        except (ValueError, IndexError) as error:
            if number == len(rows) - 1:
                break
            raise FormatError(f"{path}, line {number + 2}: {row} is not a state of a layer") from error
    return states


def table(states: Sequence[LayerState]) -> list[tuple[str, ...]]:
    """Rows under ``TABLE_HEADER``."""
    return [
        (
            state.layer,
            "32 bits" if state.fallback else f"{state.alpha:.2f}",
            f"{state.weight_bits:.2f}",
            f"{state.operand_bits:.2f}",
            str(state.overflows),
            str(state.sums),
        )
        for state in states
    ]


def plot(states: Sequence[LayerState], path: str | Path) -> None:
    """Alpha, effective bits and overflows of every layer over training, as an SVG or PNG file by its ending.

    Raises:
        FormatError: there is nothing to plot, the file cannot be written, or matplotlib is not installed.
    """
    if not states:
        raise FormatError(f"{path}: the training log holds no counts to plot")
    try:
        import matplotlib as mpl
        from matplotlib import pyplot
    except ImportError as error:
        raise FormatError(f"{path}: plots need the package matplotlib: pip install matplotlib") from error
    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "oaq"
    figure, panels = pyplot.subplots(1, 3, figsize=(14, 3.6))
    names = list(dict.fromkeys(state.layer for state in states))
    for index, name in enumerate(names):
        layer_states = [state for state in states if state.layer == name]
        x, colour = (
            [state.iteration for state in layer_states],
            mpl.colormaps["viridis"](index / max(len(names) - 1, 1)),
        )
        panels[0].plot(x, [state.alpha for state in layer_states], color=colour, linewidth=1)
        panels[1].plot(x, [state.operand_bits for state in layer_states], color=colour, linewidth=1)
        panels[2].plot(x, [state.overflows for state in layer_states], color=colour, linewidth=1, label=name)
    for panel, title in zip(panels, ("alpha", "effective bits of the operands", "overflows in a batch"), strict=True):
        panel.set(title=title, xlabel="iteration")
        panel.grid(alpha=0.3)
    panels[2].set_yscale("symlog")
    panels[2].legend(fontsize=5, ncols=-(-len(names) // 24), loc="center left", bbox_to_anchor=(1.01, 0.5))
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format=Path(path).suffix.lstrip(".") or "svg", metadata={"Date": None})
    pyplot.close(figure)
    write_atomically(path, [buffer.getvalue()])


def _fields(kind: Any) -> tuple[str, ...]:  # noqa: ANN401
    return tuple(field.name for field in dataclasses.fields(kind))


def _truth(text: str) -> bool:
    if text not in ("True", "False"):
        raise ValueError(text)
    return text == "True"


_READ: Final[Mapping[type, Callable[[str], Any]]] = {int: int, float: float, str: str, bool: _truth}
