"""Whole small programs for Arm, planned here: equal to the reference on emulated CPUs, by every step there is."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from oaq.errors import NoKernel
from oaq.kernels.plan import plan
from oaq.kernels.targets import ARM
from oaq.program.int_program import IntProgram
from oaq.runtime import Session
from oaq.runtime.plan_file import proved_bytes
from tests.arm.machine import CPUS_OF, TABLE, differences, require_emulator
from tests.foreign.cases import DRAWN, Forced, drawn_cases
from tests.foreign.steps import step_rows
from tests.strategies import Builder, conv2d

pytestmark = pytest.mark.xdist_group("arm")


@cache
def cases_of(target: str) -> tuple[Forced, ...]:
    return tuple(drawn_cases(target, threads=(1, 2)))


@pytest.mark.parametrize(("target", "cpu"), [(name, cpu) for name in ARM for cpu in CPUS_OF[name]])
def test_whole_programs_compute_the_integers_of_the_reference(target: str, cpu: str) -> None:
    require_emulator()
    cases = cases_of(target)
    assert len(cases) > DRAWN // 2
    assert list(differences(cases, cpu)) == []


def test_every_row_that_sums_no_products_is_in_a_program_that_is_run() -> None:
    executed = {node.row.name for each in cases_of("neon") for node in each.planned.nodes}
    assert TABLE.others.difference(step_rows(TABLE)) <= executed  # test_rows.py forces those


def network() -> IntProgram:
    builder = Builder("for arm")
    x = builder.input((6, 5, 16))
    builder.add(conv2d(np.random.default_rng(3), (20, 1, 1, 16), kind="small"), [x], name="conv")
    return builder.finish()


def test_a_session_of_a_plan_for_arm_says_that_this_machine_cannot_run_it() -> None:
    planned = plan(network(), table="neon")
    assert len(proved_bytes(planned)) > 0
    with pytest.raises(NoKernel, match=r"cannot run a plan for neon: 1 of its 1 nodes .*oaq plan FILE --target"):
        Session(planned)
