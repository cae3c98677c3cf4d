"""Inputs by a solver: each is run; what it calls infeasible proves nothing."""

from __future__ import annotations

from itertools import product
from time import monotonic

import numpy as np
import pytest

from oaq.errors import ConfigError
from oaq.numerics.ranges import IntRange
from oaq.reference.run import run
from oaq.robust import Options, milp, robustness
from oaq.robust.cases import against
from oaq.robust.lower import lower
from oaq.robust.network import elements
from oaq.robust.ranges import intervals
from tests.robust.networks import centre, perceptron

pytest.importorskip("scipy", reason="NOT RUN: no SciPy, no solver")
RADIUS = 3


@pytest.mark.parametrize("sums", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_it_finds_an_input_where_there_is_one_and_only_there(seed: int, sums: bool) -> None:
    program = perceptron(seed, (3, 4, 3), reach=IntRange(0, 31))
    x = centre(program, seed).astype(int)
    box = np.clip(x - RADIUS, 0, 255)[None], np.clip(x + RADIUS, 0, 255)[None]
    every = np.array(list(product(*(range(lo, hi + 1) for lo, hi in zip(box[0][0], box[1][0], strict=True)))), np.uint8)
    outcome = run(program, every, accumulators=True)
    values = (outcome.accumulators["fc1"] if sums else outcome.outputs[0]).astype(int)
    label = int(values[len(values) // 2].argmax())
    network = lower([program])
    for pair in against(elements(network, network.outputs[0]), label, sums):
        answer = milp.solve_pairs(network, box, intervals(network, box), [pair], monotonic() + 60)
        violating = values[:, pair.rival] - values[:, label] >= int(pair.rival > label)
        assert (answer.witness is not None) == bool(violating.any())
        assert bool(answer.infeasible) == (answer.witness is None)
        if answer.witness is not None:
            at = int(np.flatnonzero((every == answer.witness.astype(np.uint8)).all(axis=1))[0])
            assert violating[at]


def test_infeasible_is_a_claim_and_the_answer_stays_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    program = perceptron(11, (4, 12, 10, 5))
    monkeypatch.setattr(
        "oaq.robust.prove.solve_pairs",
        lambda network, box, ranges, pairs, deadline: milp.SolverOutcome(None, tuple(pairs)),
    )
    answer = robustness(program, centre(program), 4, Options(seconds=1e-6, enumerate=False, solver="highs"))
    assert answer.state == "undecided"
    assert answer.certificate is None
    assert answer.claimed
    assert set(answer.to_json()["claimed_by_solver"]) <= set(range(5))


def test_an_input_that_does_not_violate_when_it_is_run_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    program = perceptron(2, (3, 4, 3))
    x = centre(program, 2).astype(int)
    box = (x - 1)[None], (x + 1)[None]
    network = lower([program])
    pairs = against(
        elements(network, network.outputs[0]), int(run(program, x[None].astype(np.uint8)).outputs[0].argmax())
    )
    monkeypatch.setattr(
        "scipy.optimize.milp",
        lambda c, **_: type("Answer", (), {"x": np.tile(x.astype(float), 9999)[: len(c)], "status": 0}),
    )
    answer = milp.solve_pairs(network, box, intervals(network, box), pairs, monotonic() + 60)
    assert answer.witness is None
    assert not answer.infeasible


def test_other_solvers_and_missing_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="'highs' or none"):
        Options(solver="other")
    monkeypatch.setitem(__import__("sys").modules, "scipy.optimize", None)
    with pytest.raises(ConfigError, match="comes with SciPy: pip install scipy"):
        milp.require_solver()


def test_a_model_that_would_never_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    program = perceptron(2)
    x = centre(program, 2).astype(int)
    box = (x - 5)[None], (x + 5)[None]
    network = lower([program])
    monkeypatch.setattr(milp, "MOST_VARIABLES", 20)
    pairs = against(elements(network, network.outputs[0]), 0)
    with pytest.raises(ConfigError, match="too many to solve for"):
        milp.solve_pairs(network, box, intervals(network, box), pairs, monotonic() + 60)
