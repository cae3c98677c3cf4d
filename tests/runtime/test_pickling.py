"""Programs, proofs, certificates, plans and sessions travel to other processes, and are checked when they arrive."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from oaq.errors import AccumulatorOverflow, ProgramError
from oaq.kernels.plan import Plan, plan
from oaq.overflow.analyze import analyze
from oaq.overflow.certificate import to_parts
from oaq.program.int_program import IntProgram
from oaq.program.plain import to_plain
from oaq.reference import run
from oaq.runtime import Session
from oaq.runtime.certify import certificate_of
from tests.runtime.test_session import small
from tests.simulated_machine import simulated_machine
from tests.strategies import programs_with_inputs

COPIES = {"pickle": lambda value: pickle.loads(pickle.dumps(value)), "deepcopy": copy.deepcopy, "copy": copy.copy}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_session_comes_back_as_one_that_computes_the_same(copied) -> None:
    @settings(max_examples=15, deadline=None)
    @given(programs_with_inputs(max_nodes=4))
    def check(case: tuple[IntProgram, tuple[np.ndarray, ...]]) -> None:
        program, x = case
        with simulated_machine():
            session = copied(Session(plan(program), 2, memory_limit=1 << 30))
            assert session.threads == 2
            assert session.verdict is not None
            assert session.verdict.safe
            for got, expected in zip(session.run_integers(x), run(program, x).outputs, strict=True):
                np.testing.assert_array_equal(got, expected)

    check()


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_every_part_comes_back_equal_and_read_only(copied) -> None:
    with simulated_machine():
        made = plan(small())
        twin = copied(made)
        assert isinstance(twin, Plan)
        assert twin.explain() == made.explain()
        one, other = to_plain(made.program), to_plain(copied(made.program))
        assert one[0] == other[0]
        assert one[1].keys() == other[1].keys()
        for name, array in one[1].items():
            np.testing.assert_array_equal(array, other[1][name])
        assert copied(analyze(small())).to_json() == analyze(small()).to_json()
        assert to_parts(copied(certificate_of(made)))[0] == to_parts(certificate_of(made))[0]
        assert twin.program.nodes[0] is twin.nodes[0].node  # one object that stood in two places still is one
        with pytest.raises(ValueError, match="read-only"):
            twin.program.nodes[0].op.weight[...] = 1
        with pytest.raises(TypeError):
            twin.program.tensors["t0"] = None


def test_a_pickle_of_a_program_that_does_not_hold_together_is_refused_when_it_is_read() -> None:
    good = pickle.dumps(small())
    bad = good.replace(b"float32_half_even", b"float32_half_evil")
    assert bad != good
    with pytest.raises(ProgramError, match="requantize is one of"):
        pickle.loads(bad)


def test_a_plan_that_was_not_proved_is_not_made_safe_by_a_pickle() -> None:
    with simulated_machine():
        observed = pickle.loads(pickle.dumps(replace(plan(small()), tier="observed")))
        with pytest.raises(AccumulatorOverflow, match="observed to fit, not proved"):
            Session(observed)
