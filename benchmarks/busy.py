"""Was the machine busy with something else while a benchmark ran? Asked of the operating system, not of the timings.

What other processes took of the CPUs the benchmark was bound to is what those CPUs were busy with, less the CPU time
of this process and its children; what the hypervisor took is "steal". Timings alone cannot tell a disturbed run
from a kernel whose time varies, so by how much repeats disagree is a second criterion with a far wider limit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

from oaq.errors import OaqError

OTHERS, STOLEN, SPREAD = 0.03, 0.01, 0.10
"""More than this is evidently busy: shares of the CPUs' time, and the interquartile range over the median of the
executor in the middle. A tick is 10 ms, so shares of runs of a second or more are known to about 1 %."""
TRIES = 3
BUSY_FIELDS = (0, 1, 2, 5, 6)
"""Positions in a CPU's line in /proc/stat: user, nice, system, irq, softirq."""
STEAL_FIELD = 7
T = TypeVar("T")


class BusyMachine(OaqError):
    """A run was disturbed; its figures are not written."""


@dataclass(frozen=True)
class Disturbance:
    """What a run suffered.

    Attributes:
        others, stolen: shares of the CPUs' time that other processes and the hypervisor took, 0..1; None if unknown.
        spreads: per executor, the interquartile range of its repeats over their median.
        seconds: how long the run took.
    """

    others: float | None
    stolen: float | None
    spreads: tuple[float, ...]
    seconds: float

    @property
    def words(self) -> str:
        """One sentence for the result file."""
        middle, most = median(self.spreads), max(self.spreads)
        shares = [
            f"{name} took {'an unknown part' if share is None else f'{share:.1%}'} of the CPUs"
            for name, share in (("other processes", self.others), ("the hypervisor", self.stolen))
        ]
        return f"repeats disagree by {middle:.1%} (quartiles, median executor; at most {most:.1%}); {'; '.join(shares)}"

    @property
    def quiet(self) -> bool:
        """Whether figures of this run may be written."""
        alone = (self.others or 0.0) <= OTHERS and (self.stolen or 0.0) <= STOLEN
        return alone and median(self.spreads) <= SPREAD

    def require_quiet(self) -> None:
        """Nothing if the machine was quiet.

        Raises:
            BusyMachine: it was not.
        """
        if not self.quiet:
            raise BusyMachine(
                f"the machine was busy: {self.words}; "
                f"at most {SPREAD:.0%}, {OTHERS:.0%} and {STOLEN:.0%} are accepted. "
                "Nothing was written; run again when nothing else runs"
            )


class Watch:
    """The time of some CPUs since it was made; of none where they are not known, and then only repeats are judged."""

    def __init__(self, cpus: Sequence[int]) -> None:
        self._cpus = tuple(cpus)
        self._start = self._reading()

    def disturbance(self, spreads: Sequence[float]) -> Disturbance:
        """Shares of the time since the watch was made."""
        current = self._reading()
        wall, busy, stolen, own_time = (after - before for after, before in zip(current, self._start, strict=True))
        if not self._cpus:
            return Disturbance(None, None, tuple(spreads), wall)
        available = wall * len(self._cpus)
        return Disturbance(max(0.0, busy - own_time) / available, stolen / available, tuple(spreads), wall)

    def _reading(self) -> tuple[float, float, float, float]:
        """Seconds: by the clock; that the CPUs were busy; that were stolen; that we used."""
        tick = os.sysconf("SC_CLK_TCK")
        busy = stolen = 0
        if self._cpus:
            names = {f"cpu{index}" for index in self._cpus}
            for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
                name, *fields = line.split()
                if name in names:
                    busy += sum(int(fields[index]) for index in BUSY_FIELDS)
                    stolen += int(fields[STEAL_FIELD])
        return time.perf_counter(), busy / tick, stolen / tick, family_seconds()


def family_seconds() -> float:
    """CPU time of this process and its children, those that have ended and those that run."""
    times = os.times()
    tick = os.sysconf("SC_CLK_TCK")
    return times.user + times.system + times.children_user + times.children_system + sum(_living(os.getpid())) / tick


def _living(parent: int) -> Iterator[int]:
    """Ticks of every living descendant and of those that it has waited for."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[1]) == parent:
            yield sum(int(field) for field in fields[11:15])
            yield from _living(int(path.parent.name))


def until_quiet(measure: Callable[[], tuple[T, Disturbance]], tries: int = TRIES) -> tuple[T, Disturbance]:
    """The first undisturbed of at most ``tries`` runs, else the last one."""
    measurement, disturbance = measure()
    for _ in range(tries - 1):
        if disturbance.quiet:
            break
        measurement, disturbance = measure()
    return measurement, disturbance
