"""Comparing executors on fake outputs and fake turns; nothing here is timed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from oaq.errors import Mismatch
from oaq.report.comparison import Contender, compare


def contender(name: str, value: float = 1.0, least: float | None = None, seconds: float = 0.002) -> Contender:
    return Contender(
        name=name,
        ours=name == "oaq",
        precision="int8",
        isa="avx2",
        take=lambda count: [seconds] * count,
        outputs=lambda: np.full((1, 4), value),
        reference=np.ones((1, 4)),
        least_sqnr_db=least,
        against="the reference",
    )


def test_medians_of_every_contender_with_the_check_as_its_note():
    made = compare(
        [contender("oaq"), contender("peer", 1.01, 30, 0.004)], threads=2, rounds=3, calls=2, baseline="peer"
    )
    ours, peer = made.timings
    assert (ours.median_ms, ours.repeats, ours.note) == (2.0, 6, "equal to the reference")
    assert (peer.median_ms, peer.note) == (4.0, "40.0 dB against the reference")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (contender("oaq", 1.01), "oaq: 4 of 4 outputs differ from the reference"),
        (contender("peer", 2.0, 30), "peer: SQNR 0.0 dB against the reference, needs 30"),
        (dataclasses.replace(contender("peer"), outputs=lambda: np.ones(3)), r"outputs of shape \(3,\)"),
    ],
)
def test_nothing_is_timed_when_an_output_is_wrong(wrong, words):
    timed = []
    right = dataclasses.replace(contender("right"), take=lambda count: timed.append(count) or [1.0] * count)
    with pytest.raises(Mismatch, match=words):
        compare([right, wrong], threads=1)
    assert timed == []


def test_two_contenders_may_not_share_a_name():
    with pytest.raises(ValueError, match="names of their own"):
        compare([contender("a"), contender("a")], threads=1)
