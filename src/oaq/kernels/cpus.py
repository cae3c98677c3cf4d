"""How many CPUs this process may use, hence how many threads share a run by default.

The scheduler keeps a process to some CPUs (its affinity), and control groups, versions 1 and 2, to some share of CPU
time (their quota), which is how containers are limited. A machine may have many more CPUs than either.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np

from oaq.errors import ProgramError

MOST_THREADS: Final = 256
"""The most threads of a session."""
DIGITS: Final = 20
"""Quotas and periods are microseconds in 64 bits: shorter than this."""
PROCESS: Final = Path("/proc/self")


@dataclass(frozen=True)
class AllowedCpus:
    """What this process may use.

    Attributes:
        affinity: CPUs that its threads may run on, >= 1.
        quota: CPUs whose time control groups allow it, > 0; None where they set no limit.
    """

    affinity: int
    quota: float | None = None

    @property
    def threads(self) -> int:
        """As many as find a CPU each, at least 1.

        A quota is rounded down: when it is used up the system stops every thread for the rest of a period, some tens
        of milliseconds, which costs a run more than the last part of a CPU brings.
        """
        whole = self.affinity if self.quota is None else min(self.affinity, int(self.quota))
        return min(max(whole, 1), MOST_THREADS)

    @property
    def words(self) -> str:
        """Both limits for people: ``4 CPUs by affinity, a quota of 1.5``."""
        quota = "no quota" if self.quota is None else f"a quota of {self.quota:g}"
        return f"{self.affinity} CPU{'s' if self.affinity > 1 else ''} by affinity, {quota}"


def allowed_cpus(process: Path = PROCESS) -> AllowedCpus:
    """What the system says now: both may change while a process runs.

    Args:
        process: folder of a process in ``/proc``. Where it does not say, there is no quota.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return AllowedCpus(affinity, min(_quotas(process), default=None))


def default_threads() -> int:
    """Threads that share a run where the caller names no number."""
    return allowed_cpus().threads


def thread_count(threads: Any) -> int:  # noqa: ANN401 (whatever a caller gives)
    """A caller's number of threads, as an ``int``; None is ``default_threads()``.

    Raises:
        ProgramError: it is not a whole number from 1 to 256.
    """
    if threads is None:
        return default_threads()
    is_whole = isinstance(threads, int | np.integer) and not isinstance(threads, bool)
    if not is_whole or not 1 <= threads <= MOST_THREADS:
        raise ProgramError(f"threads is 1 to {MOST_THREADS}, not {threads!r}; None is as many as this process has CPUs")
    return int(threads)


def _quotas(process: Path) -> Iterator[float]:
    """CPUs allowed by every control group that this process is in, its ancestors' included."""
    groups = [line.split(":", 2) for line in _lines(process / "cgroup")]
    for line in _lines(process / "mountinfo"):
        mount, _, system = line.partition(" - ")
        fields, kind = mount.split(), system.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        root, place = (_unescaped(field) for field in fields[3:5])
        is_second = kind[0] == "cgroup2"
        if not is_second and (kind[0] != "cgroup" or "cpu" not in kind[2].split(",")):
            continue
        for group in groups:
            if len(group) == 3 and (group[0] == "0" if is_second else "cpu" in group[1].split(",")):
                yield from filter(None, map(_second if is_second else _first, _folders(Path(place), root, group[2])))


def _folders(mount: Path, root: str, group: str) -> Iterator[Path]:
    """A group's folder and its ancestors', as far as they are mounted."""
    path, top = PurePosixPath(group), PurePosixPath(root)
    below = path.relative_to(top) if path.is_relative_to(top) and ".." not in path.parts else PurePosixPath()
    yield mount / below
    for parent in below.parents if below.parts else ():
        yield mount / parent


def _second(folder: Path) -> float | None:
    """The quota of a group of version 2, written ``max 100000`` or ``150000 100000``: microseconds per period."""
    numbers = " ".join(_lines(folder / "cpu.max")).split()
    return _share(numbers[0], numbers[1]) if len(numbers) == 2 else None


def _first(folder: Path) -> float | None:
    """The quota of a group of version 1, where -1 is none."""
    quota, period = (" ".join(_lines(folder / f"cpu.cfs_{name}_us")) for name in ("quota", "period"))
    return _share(quota, period)


def _share(quota: str, period: str) -> float | None:
    short = len(quota) < DIGITS and len(period) < DIGITS
    is_limit = short and all(number.isascii() and number.isdecimal() and int(number) for number in (quota, period))
    return int(quota) / int(period) if is_limit else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, ValueError):  # a name that cannot be one among them
        return []


def _unescaped(field: str) -> str:
    r"""A path in ``mountinfo``, where a space is ``\040``."""
    for code, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        field = field.replace(code, character)
    return field
