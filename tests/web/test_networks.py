"""Whole small programs for WebAssembly: equal to the reference in both builds, by every step there is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from benchmarks.fuzz_plans import drawn_program
from oaq.errors import NoKernel, OaqError
from oaq.kernels.plan import plan
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.program.int_program import IntProgram
from oaq.runtime import Session
from tests.strategies import Builder, conv2d, random_input
from tests.web.machine import ROWS, Forced, differences, forced, plan_for, require_engine

DRAWN = 90
"""Enough for every step; a test counts them."""

pytestmark = pytest.mark.xdist_group("web")


@cache
def cases_of(target: str) -> tuple[Forced, ...]:
    return tuple(_draw(target))


def _draw(target: str) -> Iterator[Forced]:
    for index in range(DRAWN):
        for program in drawn_program(index):
            rng = np.random.default_rng(index)
            specs = [program.tensors[name] for name in program.inputs]
            x = tuple(random_input(rng, (2, *spec.shape), spec.range) for spec in specs)
            try:
                planned = plan(program, table=target)
                yield forced(f"program {index}", planned, x)
            except OaqError:  # what native code does not compute on any machine
                continue


@pytest.mark.parametrize(("target", "build"), [("wasm", "simd128"), ("wasm", "relaxed"), ("wasm-relaxed", "relaxed")])
def test_whole_programs_compute_the_integers_of_the_reference(target: str, build: str) -> None:
    require_engine()
    cases = cases_of(target)
    assert len(cases) > DRAWN // 2
    assert list(differences(cases, build)) == []


def test_a_build_refuses_a_plan_with_rows_that_it_lacks() -> None:
    require_engine()
    planned = plan_for(network(127), "gemm_u7s8_relaxed_acc16")
    answer = next(differences([forced("relaxed", planned, (np.zeros((1, 6, 5, 16), np.uint8),))], "simd128"))
    assert answer == "relaxed: failed there is no row gemm_u7s8_relaxed_acc16"


def test_every_row_that_sums_no_products_is_in_a_program_that_is_run() -> None:
    executed = {node.row.name for each in cases_of("wasm") for node in each.planned.nodes}
    scalar = {"add_u8_scalar"}  # forced nowhere: the builds add by SIMD128
    assert {name for name, row in ROWS.items() if row.accumulator is None} - scalar <= executed


def network(most: int) -> IntProgram:
    builder = Builder("for the web")
    x = builder.input((6, 5, 16), Affine(0.05, 3), IntRange(0, most))
    builder.add(conv2d(np.random.default_rng(3), (20, 1, 1, 16), kind="small"), [x], name="conv")
    return builder.finish()


def test_a_session_of_a_plan_for_the_web_says_that_this_machine_cannot_run_it() -> None:
    planned = plan(network(255), table="wasm")
    with pytest.raises(NoKernel, match=r"cannot run a plan for simd128: 1 of its 1 nodes .*oaq plan FILE --target"):
        Session(planned)
