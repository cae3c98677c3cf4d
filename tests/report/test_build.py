"""From a plan to the values of a report: nothing lost, nothing invented."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from oaq import operators as ops
from oaq import reference
from oaq.kernels.plan import plan
from oaq.numerics.accumulator import AVX2_ACC16, Accumulator
from oaq.numerics.cells import lane_of
from oaq.overflow.analyze import analyze
from oaq.report import build_report, from_json, to_json, to_text
from oaq.report.build import kind, macs, unspilled
from oaq.report.data import Evidence, is_proved
from oaq.report.evidence import observe
from oaq.report.html import render
from tests.report import small


@pytest.fixture(scope="module")
def made():
    return plan(small.program(), table=small.table())


def test_every_summing_layer_is_there_once_and_proved(made):
    report = build_report(made)
    assert [layer.name for layer in report.layers] == ["stem", "deep", "wide", "classify"]
    assert all(is_proved(layer) for layer in report.layers)
    assert [layer.kind for layer in report.layers] == [
        "conv 3\u00d73 /2",
        "depthwise 3\u00d73",
        "conv 1\u00d71",
        "linear",
    ]
    assert [layer.macs for layer in report.layers] == [16 * 8 * 27, 16 * 8 * 9, 16 * 16 * 8, 5 * 16]


def test_what_was_not_given_is_absent(made):
    report = build_report(made)
    assert report.agreement is None and report.latency is None and report.verification is None
    assert all(layer.observed is None and layer.sqnr_db is None for layer in report.layers)


def test_exact_rows_have_no_schedule_and_no_narrow_bound():
    report = build_report(plan(small.program(), rows=["gemm_u8s8_avx2_exact"], table=small.table()))
    gemm = [layer for layer in report.layers if layer.row == "gemm_u8s8_avx2_exact"]
    assert len(gemm) == 3
    assert all(
        layer.schedule is None and layer.bounds.lane is None and layer.bounds.unspilled is None for layer in gemm
    )


def test_narrow_rows_report_the_schedule_that_the_plan_made():
    forced = plan(small.program(), rows=["gemm_u8s8_avx2_acc16"], table=small.table())
    layer = build_report(forced).layers[0]
    found = forced["stem"].schedule
    assert layer.schedule is not None and found is not None
    assert (layer.schedule.segments, layer.schedule.splits) == (len(found.segments), found.splits)
    assert layer.schedule.average_run == pytest.approx(found.average_run)
    assert layer.bounds.lane == found.bound


def _brute_force(weight: np.ndarray, lo: np.ndarray, hi: np.ndarray, register: Accumulator) -> tuple[int, int]:
    lows, highs = [], []
    for output in weight.tolist():
        for lane in range(register.lanes):
            terms = [(w * lo[k], w * hi[k]) for k, w in enumerate(output) if lane_of(register, k) == lane]
            lows.append(sum(min(t) for t in terms))
            highs.append(sum(max(t) for t in terms))
    return int(min(lows)), int(max(highs))


def test_the_unspilled_bound_is_the_sum_of_each_lane_over_all_of_k():
    program = small.program()
    proof = analyze(program)["stem"]
    op = program.by_name["stem"].op
    assert isinstance(op, ops.Conv2d)
    got = unspilled(op, proof, AVX2_ACC16)
    assert (got.lo, got.hi) == _brute_force(
        op.weight.reshape(8, -1), proof.operands.lo[0], proof.operands.hi[0], AVX2_ACC16
    )


def test_a_report_of_a_real_plan_can_be_written_in_every_form(made):
    report = build_report(made, Evidence(seconds=(("plan", 0.1),), notes=("one",)))
    assert from_json(to_json(report)) == report
    assert "classify" in render(report)
    assert to_text(report).startswith("small: proved for 4 of 4 layers")


def test_observed_sums_lie_inside_the_proved_ones(made):
    rng = np.random.default_rng(1)
    batches = [rng.integers(0, 256, (3, 8, 8, 3)).astype(np.uint8) for _ in range(2)]
    seen = observe(made.program, batches)
    report = build_report(made, Evidence(observed=tuple(seen.items())))
    for layer in report.layers:
        assert layer.observed is not None
        assert layer.observed.images == 6
        assert layer.bounds.total.contains(layer.observed.total)
        assert 0 <= layer.observed.at_low + layer.observed.at_high <= 1
    exact = reference.run(made.program, np.concatenate(batches), accumulators=True).accumulators["stem"]
    assert report.layers[0].observed.total == type(report.layers[0].observed.total)(int(exact.min()), int(exact.max()))


def test_no_image_is_no_observation(made):
    assert observe(made.program, []) == {}


def test_operators_are_named_for_people():
    op = small.program().by_name["stem"].op
    assert kind(dataclasses.replace(op, dilation=(2, 2), stride=(1, 2))) == "conv 3\u00d73 /1,2, dilation 2,2"
    assert macs(ops.Reshape((3,)), (3,)) == 0
