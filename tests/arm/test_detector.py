"""A whole detector on emulated Arm CPUs, by every family of rows: every output the reference's in every integer."""

from __future__ import annotations

from functools import cache

import pytest

from benchmarks.arm.networks import PLANS
from oaq.kernels.plan import plan
from tests.arm.machine import differences, require_emulator
from tests.foreign.cases import Forced, forced, random_images
from tests.foreign.detector import detector

pytestmark = pytest.mark.xdist_group("arm")


@cache
def case_of(label: str) -> Forced:
    program, (target, rows, _) = detector(), PLANS[label]
    return forced(label, plan(program, table=target, rows=rows), random_images(program), threads=2)


@pytest.mark.parametrize(("label", "cpu"), [(label, cpu) for label, (_, _, cpus) in PLANS.items() for cpu in cpus])
def test_a_detector_computes_the_integers_of_the_reference(label: str, cpu: str) -> None:
    require_emulator()
    assert list(differences([case_of(label)], cpu)) == []


def test_each_plan_takes_the_rows_that_it_is_named_after() -> None:
    rows = {label: {node.row.name for node in case_of(label).planned.nodes} for label in PLANS}
    assert {"gemm_s8s8_neon_acc16", "depthwise_s8s8_neon_acc16", "add_u8_neon"} <= rows["16-bit sums"]
    assert {"gemm_s8s8_neon_acc32", "depthwise_s8s8_neon_exact"} <= rows["32-bit sums"]
    assert {"gemm_s8s8_neon_exact", "depthwise_s8s8_neon_exact"} <= rows["exact"]
    assert "gemm_s8s8_dotprod" in rows["dot products"]
    assert "gemm_u8s8_i8mm" in rows["matrix products"]
