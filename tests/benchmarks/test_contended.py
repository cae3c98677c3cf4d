"""The benchmark of threads beside neighbours: its percentiles, its floors, its neighbours."""

from __future__ import annotations

import os
import time

import pytest

from benchmarks import busy
from benchmarks.contended import OURS_1, OURS_2, PEER_1, PEER_2, QUIET, Figures, figures, floors, neighbours, timed


def test_percentiles_are_of_the_calls_in_milliseconds() -> None:
    assert figures([index / 1000 for index in range(101)]) == Figures(50.0, 90.0, 99.0, 101)


def test_floors_compare_ours_with_ours_and_losses_with_the_peers() -> None:
    def four(one: float, two: float, p90: float, peer_90: float) -> dict[str, Figures]:
        plain = {OURS_1: Figures(one, one, one, 9), OURS_2: Figures(two, p90, p90, 9)}
        return plain | {PEER_1: Figures(4, 4, 4, 9), PEER_2: Figures(2, peer_90, peer_90, 9)}

    rows = floors("net", {QUIET: four(3.5, 2, 2, 2), "good": four(4, 4.6, 6, 6), "bad": four(4, 4.7, 6, 5.9)})
    answers = [(dict(row)["load"], dict(row)["measured"], dict(row)["holds"]) for row in rows]
    assert answers == [
        (QUIET, "1.75", "yes"),
        ("good", "1.15", "yes"),
        ("good", "4.00", "yes"),
        ("bad", "1.18", "NO"),
        ("bad", "4.00", "NO"),
    ]


def test_every_call_comes_after_what_disturbs_it_and_turns_alternate() -> None:
    log: list[str] = []
    timed({"a": lambda: log.append("a"), "b": lambda: log.append("b")}, lambda: log.append("-"), 0.0)
    assert log[::2] == ["-"] * (len(log) // 2)
    assert "".join(log[1::2]) == "aaaaaabbbbbb" + "bbbbbbaaaaaa" + "aaaaaabbbbbb" + "bbbbbbaaaaaa"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="CPUs cannot be chosen here")
def test_neighbours_burn_and_end() -> None:
    before = busy.family_seconds()
    with neighbours([min(os.sched_getaffinity(0))]):
        time.sleep(0.5)
        assert busy.family_seconds() > before + 0.05
