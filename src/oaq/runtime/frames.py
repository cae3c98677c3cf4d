"""``FrameSession``: images of any size through a plan for a part of them, with the integers of the whole image."""

from __future__ import annotations

from itertools import product

import numpy as np

from oaq.errors import ProgramError
from oaq.kernels.plan import plan
from oaq.program.frames import Size, at_size, panes_of, stride_of
from oaq.program.inputs import ProgramInputs, checked, in_order
from oaq.program.int_program import IntProgram
from oaq.runtime.session import Images, Session, Values
from oaq.runtime.values import by_native, reals_by_native, to_floats, to_integers

PANE: Size = (128, 128)
"""Rows and columns of a pane where nothing else is asked for."""


class FrameSession:
    """Runs a program on frames of one size, pane by pane (``oaq.program.frames``).

    Every integer is that of the program for the whole frame: panes overlap by what outputs depend on, and of each only
    the places are kept that the frame's edge or no edge at all has a part in. Memory is that of a pane.

    Attributes:
        program: for the whole frame, which is never planned.
        session: of the pane's plan.
        panes: how many there are.
    """

    def __init__(
        self,
        program: IntProgram,
        frame: Size,
        pane: Size = PANE,
        *,
        threads: int | None = None,
        isa: str | None = None,
    ) -> None:
        """Plan and open a pane.

        Args:
            program: of one image, of operators that mean the same at every place, for images of any size.
            frame: rows and columns of the frame.
            pane: rows and columns that one run takes at most; a side of the frame that is no longer is taken whole.
            threads: as of ``Session``.
            isa: as of ``oaq.plan``.

        Raises:
            ProgramError: an operator depends on the image's size, or panes are too small for what outputs depend on.
            AccumulatorOverflow, NoKernel, MemoryLimit: as of ``Session``.
        """
        if min(*frame, *pane) < 1:
            raise ProgramError(f"{program.name}: a frame of {frame} in panes of {pane}: sizes are 1 or more")
        self.program = at_size(program, *frame)
        strides = stride_of(self.program)
        rows, columns = (
            whole - max(-(-(whole - part) // step), 0) * step
            for whole, part, step in zip(frame, pane, strides, strict=True)
        )
        small = at_size(program, rows, columns)
        self._panes = [panes_of(small, axis, whole) for axis, whole in enumerate(frame)]
        self.session = Session(plan(small, isa), threads)

    @property
    def panes(self) -> int:
        """Runs of the session for one frame."""
        return len(self._panes[0]) * len(self._panes[1])

    def run(self, x: ProgramInputs) -> Values | tuple[Values, ...]:
        """Real values in, real values out, as ``Session.run`` of a plan for the whole frame.

        Raises:
            ProgramError: shape, type or integers do not fit, or a value is NaN.
        """
        results = self._run(to_integers(self.program, x, by_native)[0])
        outputs = to_floats(self.program, results, reals_by_native)
        return outputs[0] if len(outputs) == 1 else outputs

    def run_integers(self, x: ProgramInputs) -> tuple[Images, ...]:
        """Integers in, integers out: uint8 (batch, rows, columns, channels), one array per output.

        Raises:
            ProgramError: shape, type or integers do not fit.
        """
        return self._run(checked(self.program, in_order(self.program, x))[0])

    def _run(self, frames: Images) -> tuple[Images, ...]:
        program, batch = self.program, len(frames)
        outputs = {name: np.empty((batch, *program.tensors[name].shape), np.uint8) for name in program.outputs}
        size = self.session.plan.program.tensors[program.inputs[0]].shape
        for row, column in product(*self._panes) if batch else ():
            top, first = row.begin, column.begin
            part = np.ascontiguousarray(frames[:, top : top + size[0], first : first + size[1]])
            for name, y in zip(program.outputs, self.session.run_integers(part), strict=True):
                (y_top, row_first, row_last), (x_first, column_first, column_last) = row.kept[name], column.kept[name]
                inner = y[:, row_first:row_last, column_first:column_last]
                rows, columns = (
                    slice(y_top + row_first, y_top + row_last),
                    slice(x_first + column_first, x_first + column_last),
                )
                outputs[name][:, rows, columns] = inner
        return tuple(outputs.values())
