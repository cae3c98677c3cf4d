"""Timing executors side by side: interleaved turns, medians, quartiles, a process bound to CPUs.

Clouds change speed under a running program, so only ratios within one run mean anything: every executor gets a turn in
every round, the order rotates, and the first call of a turn (which refills the caches the others emptied) is not
timed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median, quantiles

from oaq.report.data import Timing

Turn = Callable[[int], Sequence[float]]
"""Runs one untimed call and then the given number of timed ones; returns their seconds."""
Clock = Callable[[], float]


def turn(call: Callable[[], object], clock: Clock = time.perf_counter) -> Turn:
    """The turn of a call made in this process."""

    def take(count: int) -> list[float]:
        call()
        seconds = []
        for _ in range(count):
            start = clock()
            call()
            seconds.append(clock() - start)
        return seconds

    return take


def interleave(
    turns: Mapping[str, Turn],
    rounds: int,
    calls: int = 3,
    warm_up: int = 1,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> dict[str, list[float]]:
    """Give every executor one turn per round.

    Args:
        turns: by name. Round r begins with the (r mod n)-th.
        rounds: counted rounds, >= 1.
        calls: timed calls per turn.
        warm_up: rounds run first and thrown away.
        progress: wraps the iterable of rounds, for a progress bar.

    Returns:
        Seconds of every timed call, by name: ``rounds * calls`` each.
    """
    if rounds < 1 or calls < 1 or warm_up < 0:
        raise ValueError(f"rounds {rounds} and calls {calls} are at least 1, warm-up {warm_up} at least 0")
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    names = list(turns)
    for index in progress(range(-warm_up, rounds)):
        shift = index % len(names) if names else 0
        for name in names[shift:] + names[:shift]:
            durations = turns[name](calls)
            if index >= 0:
                seconds[name] += durations
    return seconds


def timing(name: str, seconds: Sequence[float], like: Timing) -> Timing:
    """Median and quartiles of ``seconds`` in a ``Timing`` that takes everything else from ``like``."""
    low, high = quartiles(seconds)
    return Timing(
        name=name,
        ours=like.ours,
        precision=like.precision,
        isa=like.isa,
        median_ms=median(seconds) * 1e3,
        low_ms=low * 1e3,
        high_ms=high * 1e3,
        repeats=len(seconds),
        note=like.note,
    )


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The first and the third quartile (inclusive method); both ends are the value itself if there is one only.

    >>> quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
    (2.0, 4.0)
    """
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, high


@contextmanager
def pinned(threads: int) -> Iterator[tuple[int, ...]]:
    """Bind this process (and the thread pools it then makes) to ``threads`` CPUs; yields them, () where impossible.

    Only the calling thread and the threads it starts inside are bound: make sessions inside.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield ()
        return
    before = os.sched_getaffinity(0)
    cpus = tuple(sorted(before)[:threads])
    try:
        os.sched_setaffinity(0, cpus)
        yield cpus
    finally:
        os.sched_setaffinity(0, before)
