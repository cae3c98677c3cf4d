"""``FrameSession``: images of any size through plans for a part of them, with the integers of the whole image."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.kernels.plan import plan
from oaq.program.edges import input_edges
from oaq.program.frames import Pane, Size, at_size, evenly, panes_of, stride_of
from oaq.program.inputs import checked
from oaq.program.int_program import IntProgram
from oaq.runtime.session import Images, Session, Values
from oaq.runtime.values import by_native, reals_by_native, to_floats, to_integers

PANE: Final[Size] = (256, 256)
"""Rows and columns of a pane where nothing else is asked for."""
MOST: Final = 4
"""Sizes of frames whose programs, and of panes whose sessions, are held ready; the oldest makes room."""


@dataclass(frozen=True, eq=False)
class _Cut:
    """A frame's program, and the panes that hold the frame along rows and columns."""

    program: IntProgram
    session: Session
    panes: tuple[list[Pane], list[Pane]]


class FrameSession:
    """Runs a program on frames of any size, pane by pane (``oaq.program.frames``).

    Every integer is that of the program for the whole frame. Panes overlap by what outputs depend on; of each, those
    places are kept that depend on nothing outside it, or on what lies outside the frame too. Memory is that of a pane.

    Attributes:
        program: as it was given.
        pane: rows and columns that one run takes at most; a side of a frame that is no longer is taken whole.
        threads: as of ``Session``.
    """

    def __init__(
        self, program: IntProgram, pane: Size = PANE, *, threads: int | None = None, isa: str | None = None
    ) -> None:
        """Check that the program slides over images.

        Args:
            program: of one image, of operators that mean the same at every place, for images of any size.
            pane: see the class. Sides should be some times as long as what an output depends on.
            threads: as of ``Session``.
            isa: as of ``oaq.plan``.

        Raises:
            ProgramError: an operator depends on the image's size, or the pane has no place.
        """
        self._strides = stride_of(program)
        if min(pane) < 1:
            raise ProgramError(f"{program.name}: panes have 1 row and 1 column at least, not {pane}")
        self.program, self.pane, self.threads, self._isa = program, pane, threads, isa
        self._cuts: dict[Size, _Cut] = {}
        self._sessions: dict[Size, Session] = {}

    def run(self, x: NDArray[Any]) -> Values | tuple[Values, ...]:
        """Real values in, real values out, as ``Session.run`` of a plan for frames of the size of ``x``.

        Raises:
            ProgramError: shape, type or integers do not fit, panes are too small, or a value is NaN.
            AccumulatorOverflow, NoKernel, MemoryLimit: as of ``Session``.
        """
        shape = np.shape(x)
        edge = input_edges(self.program)[0]
        are_stored = getattr(x, "dtype", None) == np.uint8 and not edge.is_integer
        if len(shape) != 4 or not (are_stored or edge.axes in (((0,), (1,), (2,)), ((2,), (0,), (1,)))):
            raise ProgramError(f"{self.program.name}: a batch of frames has four axes, not {shape}")
        first = 1 if are_stored or edge.axes[0] == (0,) else 2
        cut = self._cut((shape[first], shape[first + 1]))
        results = _run(cut, to_integers(cut.program, x, by_native)[0])
        outputs = to_floats(cut.program, results, reals_by_native)
        return outputs[0] if len(outputs) == 1 else outputs

    def run_integers(self, x: Images) -> tuple[Images, ...]:
        """Integers in, integers out: uint8 (batch, rows, columns, channels), one array per output.

        Raises:
            ProgramError, AccumulatorOverflow, NoKernel, MemoryLimit: as of ``run``.
        """
        shape = np.shape(x)
        if len(shape) != 4:
            raise ProgramError(f"{self.program.name}: a batch of frames has four axes, not {shape}")
        cut = self._cut(shape[1:3])
        return _run(cut, checked(cut.program, (x,))[0])

    def panes(self, frame: Size) -> int:
        """Runs that a frame of so many rows and columns takes.

        Raises:
            ProgramError, AccumulatorOverflow, NoKernel, MemoryLimit: as of ``run``.
        """
        rows, columns = self._cut(frame).panes
        return len(rows) * len(columns)

    def session(self, frame: Size) -> Session:
        """The session that runs the panes of frames of a size.

        Raises:
            ProgramError, AccumulatorOverflow, NoKernel, MemoryLimit: as of ``run``.
        """
        return self._cut(frame).session

    def _cut(self, frame: Size) -> _Cut:
        if frame in self._cuts:
            return self._cuts[frame]
        if min(frame) < 1:
            raise ProgramError(f"{self.program.name}: a frame has 1 row and 1 column at least, not {frame}")
        program = at_size(self.program, *frame)
        rows, columns = (
            side - max(-(-(side - part) // step), 0) * step
            for side, part, step in zip(frame, self.pane, self._strides, strict=True)
        )
        if min(rows, columns) < 1:
            raise ProgramError(
                f"{self.program.name}: panes of {self.pane} are too small, for they lie multiples of {self._strides} "
                "apart: take that at least"
            )
        largest = at_size(program, rows, columns)
        rows, columns = (evenly(largest, axis, side) for axis, side in enumerate(frame))
        small = at_size(largest, rows, columns)
        panes = panes_of(small, 0, frame[0]), panes_of(small, 1, frame[1])
        if (rows, columns) not in self._sessions:
            _make_room(self._sessions)
            self._sessions[rows, columns] = Session(plan(small, self._isa), self.threads)
        _make_room(self._cuts)
        self._cuts[frame] = _Cut(program, self._sessions[rows, columns], panes)
        return self._cuts[frame]


def _make_room(ready: dict[Size, Any]) -> None:
    while len(ready) >= MOST:
        del ready[next(iter(ready))]


def _run(cut: _Cut, frames: Images) -> tuple[Images, ...]:
    program = cut.program
    outputs = {name: np.empty((len(frames), *program.tensors[name].shape), np.uint8) for name in program.outputs}
    rows, columns = cut.session.plan.program.tensors[program.inputs[0]].shape[:2]
    for row, column in product(*cut.panes) if len(frames) else ():
        pane = frames[:, row.begin : row.begin + rows, column.begin : column.begin + columns]
        for name, y in zip(program.outputs, cut.session.run_integers(np.ascontiguousarray(pane)), strict=True):
            (row_offset, top, bottom), (column_offset, first, last) = row.kept[name], column.kept[name]
            rows_of_frame = slice(row_offset + top, row_offset + bottom)
            columns_of_frame = slice(column_offset + first, column_offset + last)
            outputs[name][:, rows_of_frame, columns_of_frame] = y[:, top:bottom, first:last]
    return tuple(outputs.values())
