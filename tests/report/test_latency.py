"""Statistics and turn-taking, on clocks that tick as told; nothing here is timed."""

from __future__ import annotations

import os

import pytest

from oaq.report.data import Timing
from oaq.report.latency import interleave, pinned, quartiles, timing, turn


class FakeClock:
    """Advances only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_turn_does_not_time_its_first_call():
    clock, calls = FakeClock(), []

    def call() -> None:
        calls.append(len(calls))
        clock.now += 10.0 if len(calls) == 1 else 0.5

    assert turn(call, clock)(3) == [0.5, 0.5, 0.5]
    assert len(calls) == 4


def test_every_executor_gets_one_turn_per_round_and_the_order_rotates():
    order: list[str] = []

    def taker(name: str):
        def take(count: int) -> list[float]:
            order.append(name)
            return [float(len(order))] * count

        return take

    seconds = interleave({"a": taker("a"), "b": taker("b"), "c": taker("c")}, rounds=3, calls=2, warm_up=1)
    assert order[3:] == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert {name: len(values) for name, values in seconds.items()} == {"a": 6, "b": 6, "c": 6}
    assert min(min(values) for values in seconds.values()) > 3, "warm-up rounds are thrown away"


@pytest.mark.parametrize(("rounds", "calls", "warm_up"), [(0, 1, 0), (1, 0, 0), (1, 1, -1)])
def test_counts_that_measure_nothing_are_refused(rounds, calls, warm_up):
    with pytest.raises(ValueError, match="at least 1"):
        interleave({}, rounds, calls, warm_up)


def test_median_and_quartiles_ignore_one_outlier():
    like = Timing("", True, "int8", "avx2", 0, 0, 0, 0, "checked")
    made = timing("x", [0.001, 0.002, 0.003, 0.004, 9.0], like)
    assert (made.median_ms, made.low_ms, made.high_ms, made.repeats, made.note) == (3.0, 2.0, 4.0, 5, "checked")
    assert quartiles([7.0]) == (7.0, 7.0)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot bind a process to CPUs")
def test_pinning_is_undone():
    before = os.sched_getaffinity(0)
    with pinned(1) as cpus:
        assert os.sched_getaffinity(0) == set(cpus)
        assert len(cpus) == 1
    assert os.sched_getaffinity(0) == before
