"""One proof serves kernels of every operand form: sums restated, certified, checked, and run bit by bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaq import operators as ops
from oaq.checker import check
from oaq.checker.registers import FORMS, RAW
from oaq.errors import AccumulatorOverflow, FormatError
from oaq.kernels.plan import Plan, plan
from oaq.kernels.table import KernelRow, native_rows
from oaq.kernels.targets import TARGETS
from oaq.numerics.accumulator import NEON_ACC16, NEON_MLAL_PAIR
from oaq.numerics.affine import Affine
from oaq.numerics.formats import S8, U8
from oaq.numerics.ranges import IntRange
from oaq.overflow import analyze
from oaq.overflow.forms import in_form
from oaq.program.int_program import IntProgram
from oaq.program.plain import to_plain
from oaq.reference import packed_operands, run, simulate
from oaq.runtime.certify import certificate_of, check_plan
from tests.kernels.tables import TABLE
from tests.strategies import Builder, conv2d, linear
from tests.weights import WEIGHT_KINDS

NEON = tuple(
    KernelRow(name, "gemm", "neon", 8, register, S8, S8, False, 4, 1, frozenset({"scalar"}), 128)
    for name, register in (("gemm_s8s8_neon_acc16", NEON_ACC16), ("gemm_s8s8_neon_acc32", NEON_MLAL_PAIR))
)
OTHERS = tuple(row for row in TABLE if row.family not in ("gemm", "depthwise") and row.isa == "scalar")


def program(kind: str, zero: int = 3, operands: IntRange = U8) -> IntProgram:
    rng = np.random.default_rng(4)
    builder = Builder("forms")
    x = builder.input((5, 4, 21), Affine(0.05, zero), operands)
    y = builder.add(conv2d(rng, (19, 3, 3, 21), kind=kind, padding=(1, 0, 1, 1)), [x], Affine(0.05, 5), name="conv")
    builder.add(ops.Reshape((int(np.prod(builder.tensors[y].shape)),)), [y], name="flat")
    return builder.finish()


def neon_plan(of: IntProgram, row: KernelRow) -> Plan:
    return plan(of, rows=[row.name], table=(*NEON, *OTHERS))


@pytest.mark.parametrize("kind", WEIGHT_KINDS)
@pytest.mark.parametrize("row", NEON, ids=lambda row: row.name)
def test_a_neon_row_on_shifted_operands_is_planned_checked_and_exact_in_simulated_registers(
    row: KernelRow, kind: str
) -> None:
    case = program(kind)
    planned = neon_plan(case, row)["conv"]
    assert planned.proof is not None and planned.schedule is not None and planned.folded_bias is not None
    verdict = check_plan(neon_plan(case, row))
    assert verdict.safe, verdict.findings
    op, register = planned.node.op, row.accumulator
    assert isinstance(op, ops.Conv2d) and register is not None
    rng = np.random.default_rng(5)
    for x in (np.zeros((2, 5, 4, 21)), np.full((2, 5, 4, 21), 255), rng.integers(0, 256, (2, 5, 4, 21))):
        x = x.astype(np.uint8)
        loaded = packed_operands(op, x, 3, register.step, shift=row.shift)
        held = simulate(register, loaded, planned.schedule.segments, planned.schedule.packed, len(op.weight))
        assert not held.wrong_lanes.any()
        assert not held.group_overflows.any()
        law = run(case, (x,), accumulators=True).accumulators["conv"].reshape(-1, len(op.weight))
        np.testing.assert_array_equal(held.sums + planned.folded_bias, law)


def test_the_total_is_the_same_in_every_form_and_only_parts_move() -> None:
    case = program("uniform")
    sums = analyze(case)["conv"]
    op = case.by_name["conv"].op
    assert isinstance(op, ops.Conv2d)
    weight = op.rows
    shifted = in_form(sums, weight, 128)
    assert np.array_equal(shifted.raw.lo + shifted.folded_bias, sums.total.lo)
    assert np.array_equal(shifted.raw.hi + shifted.folded_bias, sums.total.hi)
    assert int(shifted.operands.lo.min()) == -128
    assert in_form(sums, weight, 0) is sums


def test_a_form_in_which_32_bits_can_be_left_is_refused() -> None:
    case = program("uniform")
    sums = analyze(case)["conv"]
    bias = np.full_like(sums.folded_bias, 2**31 - 1)
    with pytest.raises(AccumulatorOverflow, match="operands u8 - 128, a 32-bit sum can reach"):
        in_form(replace(sums, folded_bias=bias), np.ones((19, 189), np.int8), 128)


def test_a_row_of_seven_bits_takes_seven_bits_only() -> None:
    seven = replace(NEON[0], name="gemm_u7s8", shift=0, x_range=IntRange(0, 127))
    table = (seven, *(row for row in TABLE if row.family != "depthwise"))
    narrow = plan(program("uniform", operands=IntRange(0, 127)), rows=["gemm_u7s8"], table=table)
    assert narrow["conv"].row.name == "gemm_u7s8"
    assert check_plan(narrow).safe
    with pytest.raises(Exception, match=r"takes operands \[0, 127\]"):
        plan(program("uniform"), rows=["gemm_u7s8"], table=table)


def test_plans_of_raw_operands_say_nothing_about_a_form() -> None:
    planned = plan(program("uniform"), "avx2", table=TABLE)
    for node in certificate_of(planned).content["nodes"]:
        assert all(set(schedule) == {"register", "tile_n"} for schedule in node["schedules"])


@pytest.mark.parametrize(
    ("operand", "finding"),
    [
        ([128, -128, 126], "its kernel takes"),
        ([0, 0, 255], "derived"),
        ([127, -127, 128], "derived"),
    ],
)
def test_the_checker_finds_a_form_that_is_not_what_was_proved(operand: list[int], finding: str) -> None:
    planned = neon_plan(program("uniform"), NEON[0])
    certificate = certificate_of(planned)
    content = {**certificate.content}
    nodes = [
        {**node, "schedules": [{**one, "operand": operand} for one in node["schedules"]]} for node in content["nodes"]
    ]
    verdict = check(*to_plain(planned.program), {**content, "nodes": nodes}, dict(certificate.arrays))
    assert not verdict.safe
    assert any(finding in str(one) for one in verdict.findings)


def test_the_checker_knows_the_form_of_every_row_that_takes_another_than_raw_u8() -> None:
    rows = {row.name: row for target in TARGETS.values() for row in target.table if row.accumulator is not None}
    rows |= {row.name: row for row in native_rows() if row.accumulator is not None}
    forms = {name: (row.shift, row.x_range.lo, row.x_range.hi) for name, row in rows.items()}
    assert {name: form for name, form in forms.items() if form != RAW} == FORMS


@pytest.mark.parametrize("row", [row for row in TARGETS["wasm-relaxed"].table if row.isa == "relaxed"])
@pytest.mark.parametrize("stated", [None, [0, 0, 255], [0, 0, 126]])
def test_sums_of_another_form_than_the_rows_are_refused_though_they_would_hold(
    row: KernelRow, stated: list[int] | None
) -> None:
    """Relaxed SIMD on operands of 8 bits: what comes out is the CPU's choice, whatever the sums would be."""
    of_channels = row.family == "depthwise"
    builder = Builder("seven")
    x = builder.input((5, 4, 6 if of_channels else 21), Affine(0.05, 3), IntRange(0, 127))
    shape, groups = ((6, 3, 3, 1), 6) if of_channels else ((19, 1, 1, 21), 1)
    builder.add(conv2d(np.random.default_rng(4), shape, kind="small", groups=groups), [x], name="conv")
    planned = plan(builder.finish(), rows=[row.name], table=TARGETS["wasm-relaxed"].table)
    assert planned["conv"].row is row and check_plan(planned).safe
    certificate = certificate_of(planned)
    (node,) = certificate.content["nodes"]
    (schedule,) = node["schedules"]
    assert schedule["operand"] == [0, 0, 127]
    other = {key: value for key, value in schedule.items() if key != "operand"}
    other |= {} if stated is None else {"operand": stated}
    content = {**certificate.content, "nodes": [{**node, "schedules": [other]}]}
    verdict = check(*to_plain(planned.program), content, dict(certificate.arrays))
    assert not verdict.safe
    assert f"operands are stated as {stated or list(RAW)}, {row.name} multiplies them as [0, 0, 127]" in str(
        verdict.findings[-1]
    )


@pytest.mark.parametrize("operand", [[128], "128", [256, -256, 0], [128, -129, 127], [128, 5, 4], [True, 0, 1]])
def test_a_form_that_no_byte_has_is_malformed(operand: object) -> None:
    planned = neon_plan(program("uniform"), NEON[0])
    certificate = certificate_of(planned)
    content = {**certificate.content}
    nodes = [
        {**node, "schedules": [{**one, "operand": operand} for one in node["schedules"]]} for node in content["nodes"]
    ]
    with pytest.raises(FormatError, match=r"operand|u8 less"):
        check(*to_plain(planned.program), {**content, "nodes": nodes}, dict(certificate.arrays))


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_restated_partial_sums_hold_whatever_the_shift(shift: int, first: int, second: int) -> None:
    builder = Builder("one")
    ends = sorted((first, second))
    x = builder.input((7,), Affine(0.05, ends[0]), IntRange(*ends))
    builder.add(linear(np.random.default_rng(shift), (3, 7), kind="extreme"), [x], name="fc")
    case = builder.finish()
    op = case.by_name["fc"].op
    assert isinstance(op, ops.Linear)
    sums = in_form(analyze(case)["fc"], op.weight, shift)
    for x_value in ends:
        products = op.weight.astype(np.int64) * (x_value - shift)
        for partial in (np.where(products > 0, products, 0), np.where(products < 0, products, 0), products):
            assert np.all(sums.raw_partial.lo <= partial.sum(axis=1))
            assert np.all(partial.sum(axis=1) <= sums.raw_partial.hi)


@pytest.mark.parametrize(("bias", "fits"), [(2**31 - 1, False), (-(2**31), False), (0, True)])
def test_partial_sums_on_the_way_from_the_bias_count_in_a_form_too(bias: int, fits: bool) -> None:
    """Raw operands of 0 to 50 are -128 to -78: the weights' own sum is 0, and parts of it are far from that."""
    weight = np.array([[100, -100]], np.int8)
    settled = bias - 5000 if bias > 0 else bias + 5000 if bias < 0 else 0
    builder = Builder("parts")
    x = builder.input((2,), Affine(0.05, 0), IntRange(0, 50))
    op = ops.Linear(weight, np.array([settled], np.int32), linear(np.random.default_rng(0), (1, 2)).requantize)
    builder.add(op, [x], name="fc")
    sums = analyze(builder.finish())["fc"]
    if fits:
        assert in_form(sums, weight, 128).raw_partial[0] == IntRange(-12800, 12800)
        return
    with pytest.raises(AccumulatorOverflow, match="fc, output 0: with operands u8 - 128, a 32-bit sum can reach"):
        in_form(sums, weight, 128)
