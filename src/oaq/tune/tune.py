"""``tune``, the public function: what it takes, gives and refuses. The work is in ``choice``, loaded when called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from oaq.program.inputs import ProgramInputs
from oaq.program.int_program import IntProgram

if TYPE_CHECKING:
    from oaq.tune.facts import Progress
    from oaq.tune.goal import Tuned
    from oaq.tune.record import Record

DEFAULT_BUDGET: Final = 1.05
SAMPLES: Final = 32


def tune(
    program: IntProgram,
    data: Iterable[ProgramInputs] | None = None,
    *,
    isa: str | Sequence[str] = "avx2",
    budget: float | None = DEFAULT_BUDGET,
    seconds: float | None = None,
    sqnr: float | None = None,
    record: Record | None = None,
    samples: int = SAMPLES,
    threads: int | None = None,
    progress: Progress = lambda items, label: items,
) -> Tuned:
    """Choose narrower integers where they pay on this machine.

    Args:
        program: any; its integers count as the real values.
        data: batches as ``Session.run`` takes them: floats in the caller's layout, or the integers themselves. None
            draws synthetic ones; the choice is rougher then.
        isa: instruction set, or several, all of whose budgets hold at once.
        budget: most seconds, as a multiple of the fastest choice there is here.
        seconds: most seconds of one sample on one thread; instead of ``budget``.
        sqnr: least signal to noise of the outputs beside the program's own, in dB; time is minimised then.
        record: of an earlier run on this machine with this program: no layer is measured again.
        samples: most that are taken from ``data``.
        threads: of the runs that measure effects, None for as many as this process may use CPUs; times are of one
            thread.
        progress: wraps an iterable of steps under a label.

    Returns:
        The program, what it was chosen from and everything measured; the program given if nothing can be gained, or if
            nothing was gained when the choice was timed.

    Raises:
        ConfigError: the goal cannot be reached, or the record is of another program or machine.
        NoKernel: this CPU lacks an instruction set.
        ProgramError: ``data`` do not fit the program, or hold nothing.
    """
    from oaq.kernels.cpus import thread_count
    from oaq.tune.choice import choose
    from oaq.tune.goal import Goal

    goal = Goal((isa,) if isinstance(isa, str) else tuple(isa), budget, seconds, sqnr)
    return choose(program, data, goal, record=record, samples=samples, threads=thread_count(threads), progress=progress)
