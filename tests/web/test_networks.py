"""Whole small programs for WebAssembly: equal to the reference in both builds, by every step there is."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from oaq.errors import NoKernel
from oaq.kernels.plan import plan
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.program.int_program import IntProgram
from oaq.runtime import Session
from tests.foreign.cases import DRAWN, Forced, drawn_cases, forced
from tests.foreign.steps import step_rows
from tests.strategies import Builder, conv2d
from tests.web.machine import TABLE, differences, require_engine

pytestmark = pytest.mark.xdist_group("web")


@cache
def cases_of(target: str) -> tuple[Forced, ...]:
    return tuple(drawn_cases(target))


@pytest.mark.parametrize(("target", "build"), [("wasm", "simd128"), ("wasm", "relaxed"), ("wasm-relaxed", "relaxed")])
def test_whole_programs_compute_the_integers_of_the_reference(target: str, build: str) -> None:
    require_engine()
    cases = cases_of(target)
    assert len(cases) > DRAWN // 2
    assert list(differences(cases, build)) == []


def test_a_build_refuses_a_plan_with_rows_that_it_lacks() -> None:
    require_engine()
    planned = TABLE.plan_for(network(127), "gemm_u7s8_relaxed_acc16")
    answer = next(differences([forced("relaxed", planned, (np.zeros((1, 6, 5, 16), np.uint8),))], "simd128"))
    assert answer == "relaxed: failed there is no row gemm_u7s8_relaxed_acc16"


def test_every_row_that_sums_no_products_is_in_a_program_that_is_run() -> None:
    executed = {node.row.name for each in cases_of("wasm") for node in each.planned.nodes}
    assert TABLE.others.difference(step_rows(TABLE)) <= executed  # test_rows.py forces those


def network(most: int) -> IntProgram:
    builder = Builder("for the web")
    x = builder.input((6, 5, 16), Affine(0.05, 3), IntRange(0, most))
    builder.add(conv2d(np.random.default_rng(3), (20, 1, 1, 16), kind="small"), [x], name="conv")
    return builder.finish()


def test_a_session_of_a_plan_for_the_web_says_that_this_machine_cannot_run_it() -> None:
    planned = plan(network(255), table="wasm")
    with pytest.raises(NoKernel, match=r"cannot run a plan for simd128: 1 of its 1 nodes .*oaq plan FILE --target"):
        Session(planned)
