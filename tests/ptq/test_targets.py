"""Quantization for a target other than AVX2: budgets of shifted lanes, whole networks, a target without a budget."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaq import operators as ops
from oaq.choose.bound import Bound
from oaq.choose.lanes import load_of
from oaq.choose.target import unspilled
from oaq.errors import CalibrationError
from oaq.kernels.plan import NodePlan, plan
from oaq.kernels.targets import TARGETS
from oaq.numerics.cells import lane_of
from oaq.overflow.spill import count_runs
from oaq.program.int_program import IntProgram
from oaq.ptq.options import Options
from oaq.ptq.quantize import quantize, quantize_with_report
from oaq.ptq.rounding import INFORMED, layer_data
from oaq.reference import packed_operands, run, simulate
from oaq.runtime.certify import check_plan
from oaq.runtime.values import to_integers
from tests.ptq.nets import images, net
from tests.ptq.test_parts import MEASURES
from tests.ptq.test_roundings import correlated

NEON = TARGETS["neon"]


@pytest.fixture(scope="module")
def neon() -> IntProgram:
    return quantize(net(), images(), budget=1.0, target="neon")


@given(
    st.sampled_from([row for row in MEASURES if not row.accumulator or not row.accumulator.is_exact]),
    st.integers(1, 255),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
)
def test_a_load_is_the_most_that_any_operands_make_of_a_lane(row, steps: int, terms: int, seed: int) -> None:
    """Over every prefix and every operand in [0, steps], zero (which a shorter run has) counted in."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(-127, 128, (3, terms))
    load, register = load_of(row, steps), row.accumulator
    lanes = np.array([lane_of(register, k) if register.lanes > 1 else 0 for k in range(terms)])
    lo, hi = -row.shift, max(steps - row.shift, 0)
    reach = np.stack(
        [
            np.maximum(part * lo, part * hi).sum(axis=1)
            for lane in range(register.lanes)
            for part in (weight[:, lanes == lane], -weight[:, lanes == lane])
        ]
    ).max(axis=0)
    unit = 1 if row.shift else steps
    np.testing.assert_array_equal(load.of_weights(weight) * unit, reach)


@pytest.mark.parametrize("family", ["gemm", "depthwise"])
@pytest.mark.parametrize("steps", [1, 100, 128, 129, 255])
def test_weights_at_the_limit_need_no_spill(family: str, steps: int) -> None:
    """Of one lane: with positive weights only, then with both signs."""
    row = NEON.measure(family)
    load, register = load_of(row, steps), row.accumulator
    assert register is not None
    ends = np.full(400, -128, np.int64), np.full(400, steps - 128, np.int64)
    for signs in ((1,), (1, -1)):
        weight = np.zeros((1, 400), np.int8)
        places = np.arange(0, 400, register.lanes)[:50]
        weight[0, places] = np.resize(signs, len(places))
        while load.of_weights(weight.astype(np.int64))[0] <= load.limit:
            last = weight.copy()
            weight[0, places] += np.resize(signs, len(places)).astype(np.int8) * (np.arange(len(places)) < 4)
        fits = count_runs(last, *ends, register, row.tile_n)
        assert fits.segments == fits.tiles


@pytest.mark.parametrize("rounding", sorted(INFORMED))
@pytest.mark.parametrize("steps", [60, 128, 200, 255])
def test_roundings_keep_coupled_budgets(rounding: str, steps: int) -> None:
    rng = np.random.default_rng(steps)
    outputs, terms = 6, 72
    rows, moments = rng.normal(size=(outputs, terms)), correlated(rng, 1, terms)
    row = NEON.measure("gemm")
    assert row.accumulator is not None
    load = load_of(row, steps)
    budget = np.full(outputs, load.limit, np.int64)
    kept = Bound(127, unspilled(row.accumulator, terms), budget, budget, load.same_sign, load.other_sign)
    scale = np.abs(rows).max(axis=1) / 127
    weight, found = INFORMED[rounding].begin(rows, scale, kept, layer_data(moments))
    if INFORMED[rounding].is_last:
        weight = INFORMED[rounding].at(rows, found, kept, layer_data(moments))
    assert kept.holds(weight).all()
    assert (load.of_weights(weight.astype(np.int64)) <= load.limit).all()
    assert (load.of_weights(weight.astype(np.int64)) > 0.8 * load.limit).any(), "budgets are used"
    ends = np.full(terms, -128, np.int64), np.full(terms, steps - 128, np.int64)
    runs = count_runs(weight, *ends, row.accumulator, row.tile_n)
    assert runs.segments == runs.tiles


def test_a_budget_of_one_spills_nowhere_on_its_own_target(neon: IntProgram) -> None:
    planned = plan(neon, table="neon", costs="shipped")
    assert planned.cost <= 1.0 + 1e-6
    assert planned.isa == "neon+scalar" or planned.isa == "neon"
    assert neon.metadata["quantized"].endswith(", for neon")
    for node in planned.nodes:
        if node.schedule is not None and node.row is NEON.measure(node.row.family):
            tiles = node.schedule.segments[:, 0].tolist()
            assert len(set(tiles)) == len(tiles), node.node.name


def test_a_network_for_neon_is_exact_in_simulated_registers(neon: IntProgram) -> None:
    """No such row is compiled in: every sum is made in the register that the row states, on real operands."""
    planned = plan(neon, table="neon", costs="shipped")
    assert check_plan(planned).safe
    law = run(neon, to_integers(neon, images()[0][:2]), accumulators=True)
    for node in planned.nodes:
        if node.schedule is not None:
            _compare(neon, node, law)


def _compare(program: IntProgram, node: NodePlan, law) -> None:
    op, register = node.node.op, node.row.accumulator
    assert isinstance(op, ops.Products) and register is not None
    assert node.schedule is not None and node.folded_bias is not None
    x = law.tensors[node.node.inputs[0]]
    loaded = packed_operands(op, x, node.x_zero_points[0], register.step, shift=node.row.shift)
    spans = node.row.family == "depthwise"
    schedule = node.schedule
    held = simulate(register, loaded, schedule.segments, schedule.packed, len(op.weight), tiles_span_groups=spans)
    assert not held.wrong_lanes.any() and not held.group_overflows.any()
    sums = law.accumulators[node.node.name].reshape(-1, len(op.weight))
    np.testing.assert_array_equal((held.sums + node.folded_bias).reshape(sums.shape), sums)


def test_a_budget_buys_nothing_where_32_bits_cost_nothing() -> None:
    heard: list[str] = []
    options = Options(target="vnni", rounding="nearest")
    program, report = quantize_with_report(net(), images(), options, progress=heard.append)
    whole = quantize(net(), images(), budget=None, rounding="nearest")
    assert {name: spec.range for name, spec in program.tensors.items()} == {
        name: spec.range for name, spec in whole.tensors.items()
    }
    for node in program.summing_nodes():
        largest = np.abs(node.op.weight.astype(int)).reshape(len(node.op.weight), -1).max(axis=1)
        assert np.median(largest) == 127
    assert report.cost == 1.0
    assert any("a budget buys nothing" in word for word in heard)
    assert program.metadata["quantized"] == "budget none, nearest, mse, 24 samples, for vnni"


def test_an_unknown_target_is_named_beside_those_there_are() -> None:
    with pytest.raises(CalibrationError, match=r"target is one of avx2, .*, i8mm, wasm, wasm-relaxed, not 'mmx'"):
        quantize(net(), images(), target="mmx")


def test_a_network_for_relaxed_simd_has_operands_of_seven_bits_and_takes_its_rows() -> None:
    for budget in (1.0, 1.1, None):
        program = quantize(net(), images(), budget=budget, target="wasm-relaxed")
        planned = plan(program, table="wasm-relaxed")
        summing = [node for node in planned.nodes if node.proof is not None]
        assert all(node.proof.operands.hi.max() <= 127 for node in summing)
        assert {node.row.isa for node in summing if node.row.family == "gemm"} == {"relaxed"}
        assert check_plan(planned).safe
