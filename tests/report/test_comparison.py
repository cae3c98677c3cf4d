"""Comparing executors on fake outputs and fake turns; nothing here is timed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from oaq.errors import Mismatch
from oaq.kernels.plan import plan
from oaq.report.comparison import Contender, are_probabilities, check, compare, distinct_plans
from tests.strategies import Builder, conv2d


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


def test_a_peer_that_computes_something_else_is_timed_and_marked_where_that_is_asked_for():
    lenient = [
        dataclasses.replace(contender("far", -1.0, 30), strict=False),
        dataclasses.replace(contender("shape", 1.0, 30), strict=False, outputs=lambda: np.ones(3)),
    ]
    far, shape = compare([contender("oaq"), *lenient], threads=1, rounds=2).timings[1:]
    assert far.median_ms > 0 and far.note == "DIFFERS: -6.0 dB against the reference, on random input"
    assert shape.median_ms > 0 and shape.note == "not compared: outputs of shape (3,), the reference has (1, 4)"


def test_probabilities_are_compared_before_their_softmax():
    logits = np.array([[1.0, -2.0, 0.5, 30.0]], np.float32)
    powers = np.exp(logits - logits.max())
    peer = dataclasses.replace(
        contender("peer", least=3), outputs=lambda: powers / powers.sum(), reference=logits + np.float32(7)
    )
    assert check(peer).endswith("dB against the reference before the peer's softmax")
    assert float(check(peer).split()[0]) > 60
    assert not are_probabilities(logits) and are_probabilities(powers / powers.sum())


def test_every_output_of_several_is_compared_and_the_worst_is_told():
    x = np.ones((1, 4))
    several = dataclasses.replace(
        contender("peer", least=3), outputs=lambda: (x, x * 1.1), reference=(x, x), strict=False
    )
    assert check(several) == "20.0 dB against the reference, least of 2 outputs"
    wrong = dataclasses.replace(several, outputs=lambda: (x, -x))
    assert check(wrong).startswith("DIFFERS: -6.0 dB")
    exact = dataclasses.replace(several, least_sqnr_db=None, strict=True)
    with pytest.raises(Mismatch, match="4 of 8 outputs differ"):
        check(exact)
    fewer = dataclasses.replace(several, outputs=lambda: x)
    assert check(fewer) == "not compared: 1 outputs, the reference has 2"


def test_indices_among_several_outputs_are_not_taken_for_a_signal():
    x, index = np.ones((1, 4)), np.array([[3]])
    both = dataclasses.replace(contender("peer", least=3), outputs=lambda: (x, index - 3), reference=(x, index))
    assert check(both) == "equal to the reference, least of 2 outputs"


def test_a_plan_of_the_kernels_of_an_earlier_one_is_left_out():
    builder = Builder("net", "float32_half_even")
    x = builder.input((4, 4, 3))
    builder.add(conv2d(np.random.default_rng(0), (4, 1, 1, 3)), [x])
    program = builder.finish()
    scalar, narrow = plan(program, "scalar"), plan(program, table="avx2")
    again = dataclasses.replace(scalar, isa="another")
    assert distinct_plans([scalar, narrow, again]) == {"oaq scalar": scalar, "oaq avx2": narrow}
    assert distinct_plans([again, scalar]) == {"oaq another": again}
