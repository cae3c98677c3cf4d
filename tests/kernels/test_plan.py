"""Plans: the cheapest proved row, and the reason against each cheaper one."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings

from oaq import operators as ops
from oaq.checker import check
from oaq.errors import NoKernel, ProgramError
from oaq.kernels import table as table_of_kernels
from oaq.kernels.cost import predict_layer_cost, predictor_of
from oaq.kernels.plan import Plan, plan
from oaq.kernels.results import words_share
from oaq.kernels.work import site_of
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.overflow.analyze import analyze
from oaq.overflow.certificate import Certificate, certify, to_parts
from oaq.program.int_program import IntProgram
from oaq.program.plain import to_plain
from tests.kernels.tables import ENTRIES, TABLE
from tests.strategies import Builder, conv2d, linear, programs


def network(clip: int, hi: int = 255, terms: int = 64) -> IntProgram:
    """A 1x1 conv of ``terms`` inputs, a depthwise conv and an Add, weights in [-clip, clip]."""
    rng = np.random.default_rng(0)
    builder = Builder()

    def weights(*shape: int) -> ops.Conv2d:
        op = conv2d(rng, shape[:4], groups=shape[4])  # type: ignore[arg-type]
        weight = rng.integers(-clip, clip + 1, shape[:4]).astype(np.int8)
        return replace(op, weight=weight, padding=(1, 1, 1, 1) if shape[4] > 1 else (0, 0, 0, 0))

    x = builder.input((6, 6, terms), Affine(0.05, 0), IntRange(0, hi))
    y = builder.add(weights(48, 1, 1, terms, 1), [x], Affine(0.05, 0), IntRange(0, hi), name="conv")
    z = builder.add(weights(48, 3, 3, 1, 48), [y], Affine(0.05, 0), IntRange(0, hi), name="dw")
    builder.add(ops.Add(Requantize(np.ones(2, np.float32))), [y, z], name="add")
    return builder.finish()


def claims(found: Plan) -> Certificate:
    """What a plan claims, the weights as executed included."""
    schedules = {one.node.name: (one.schedule,) for one in found.nodes if one.schedule is not None}
    return certify(found.program, found.proof, schedules, packed=True)


def test_a_plan_is_not_made_from_the_proof_of_another_program() -> None:
    other = Builder("other")
    other.add(ops.Lookup(np.zeros(256, np.uint8)), [other.input((3,))])
    with pytest.raises(ProgramError, match="the proof is of 'other'"):
        plan(network(1), proof=analyze(other.finish()), table=TABLE)


def test_small_weights_run_in_16_bits_without_a_spill() -> None:
    found = plan(network(1), "avx2", table=TABLE)
    assert [one.row.name for one in found.nodes] == [
        "gemm_u8s8_avx2_acc16",
        "depthwise_u8s8_avx2_acc16",
        "add_u8_avx2",
    ]
    conv = found["conv"]
    assert conv.schedule is not None
    assert conv.schedule.spills == conv.schedule.tiles == 3
    assert found.cost == 1.0
    assert found.average_run == 16
    assert {one.row for one in conv.refused} == {"gemm_u8s8_vnni", "gemm_u8s8_avx512bw_acc16"}


def test_plan_says_why_each_faster_kernel_was_refused() -> None:
    found = plan(network(127), "avx2", table=TABLE)
    text = found.explain()
    assert found["conv"].row.name in ("gemm_u8s8_avx2_acc32", "gemm_u8s8_avx2_exact")
    reasons = {one.row: one.reason for one in found["conv"].refused}
    assert "proved runs average" in reasons["gemm_u8s8_avx2_acc16"]
    assert "times the cost of the chosen row" in reasons["gemm_u8s8_avx2_acc16"]
    assert reasons["gemm_u8s8_avx512bw_acc16"] == "needs avx512bw, which this CPU lacks"
    assert reasons["gemm_u8s8_vnni"] == "needs vnni, which this plan leaves out"
    for row, reason in reasons.items():
        assert f"not {row}: {reason}" in text
    assert text.splitlines()[0].startswith("random: proved for avx2, predicted cost ")


def test_vnni_takes_everything_whatever_the_weights() -> None:
    found = plan(network(127), "vnni", table=TABLE)
    assert {one.row.isa for one in found.nodes} == {"vnni", "avx2"}
    assert found.isa == "vnni"


def test_a_row_whose_operands_do_not_fit_is_refused_by_its_contract() -> None:
    seven_bit = table_of_kernels.row_from_native(
        next(one for one in ENTRIES if one["name"] == "gemm_u8s8_avx2_acc16")
        | {"name": "gemm_u8s8_avx2_i7", "x_range": (0, 127)}
    )
    found = plan(network(1), "avx2", rows=["gemm_u8s8_avx2_exact", "gemm_u8s8_avx2_i7"], table=(*TABLE, seven_bit))
    assert found["conv"].row.name == "gemm_u8s8_avx2_exact"
    assert {one.row: one.reason for one in found["conv"].refused}["gemm_u8s8_avx2_i7"] == (
        "takes operands [0, 127] and weights [-128, 127], not these"
    )
    inside = plan(network(1, hi=127), "avx2", rows=["gemm_u8s8_avx2_i7"], table=(*TABLE, seven_bit))
    assert inside["conv"].row.name == "gemm_u8s8_avx2_i7"


@pytest.mark.parametrize("name", [one["name"] for one in ENTRIES if one["family"] == "gemm"])
def test_a_forced_row_is_taken_and_its_certificate_holds(name: str) -> None:
    program = network(127)
    found = plan(program, rows=[name], table=TABLE)
    assert found["conv"].row.name == name
    assert found["dw"].row.family == "depthwise"
    registers = {one["name"]: {key: one[key] for key in REGISTER} for one in ENTRIES}
    verdict = check(*to_plain(program), *to_parts(claims(found)), registers=registers)
    assert verdict.safe, [str(finding) for finding in verdict.findings]
    assert verdict.assumed == ()


REGISTER = ("bits", "overflow", "step", "group", "group_overflow", "lanes", "max_run")


def test_everything_an_executor_needs_is_in_the_plan() -> None:
    program = network(30)
    found = plan(program, "avx2", table=TABLE)
    conv = found["conv"]
    assert isinstance(conv.node.op, ops.Conv2d)
    assert conv.folded_bias is not None
    assert conv.folded_bias.dtype == np.int32
    assert np.array_equal(conv.folded_bias, conv.node.op.bias)  # the zero point is 0
    assert (conv.x_zero_points, conv.y_zero_point, conv.clamp) == ((0,), 0, IntRange(0, 255))
    assert conv.schedule is not None
    assert conv.schedule.packed.dtype == np.int8
    assert found["add"].x_zero_points == (0, 0)
    json.dumps(found.to_json())


@given(programs())
@settings(max_examples=40, deadline=None)
def test_every_program_is_planned_and_its_plan_is_checked(program: IntProgram) -> None:
    for isa in ("scalar", "avx2"):
        found = plan(program, isa, table=TABLE)
        assert len(found.nodes) == len(program.nodes)
        assert check(*to_plain(program), *to_parts(claims(found))).safe
        assert found.explain()


def test_a_layers_predicted_cost_is_what_its_plan_costs() -> None:
    for clip in (127, 40, 4):
        program = network(clip)
        found = plan(program, "avx2", table=TABLE)
        for name, family in (("conv", "gemm"), ("dw", "depthwise")):
            one = found[name]
            assert isinstance(one.node.op, ops.Conv2d)
            assert one.proof is not None
            rows = [row for row in TABLE if row.family == family and row.isa in ("scalar", "avx2")]
            laid = one.node.products
            x = (one.proof.operands.lo, one.proof.operands.hi)
            assert one.folded_bias is not None
            x_spec, y_spec = (program.tensors[name] for name in (one.node.inputs[0], one.node.output))
            words = words_share(one.node.op, y_spec, one.folded_bias)
            site = site_of(one.node.op, x_spec.shape, y_spec.shape, words, x_spec.affine.zero_point)
            assert found.costs is not None
            time = predictor_of(program, found.costs)
            cost = predict_layer_cost(laid.rows, x, rows, site, time)
            assert (cost.row, cost.cost, cost.without_spills) == (one.row.name, one.cost, one.cost_without_spills)


def test_fewer_bits_never_cost_more() -> None:
    costs = [plan(network(clip), "avx2", table=TABLE).cost for clip in (127, 64, 32, 16, 8, 4, 1)]
    assert costs == sorted(costs, reverse=True)


def fake_native(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for the native module."""
    fake = SimpleNamespace(kernel_table=lambda: list(ENTRIES), cpu_isas=lambda: ["scalar", "avx2", "vnni"])
    monkeypatch.setattr(table_of_kernels, "native_module", lambda: fake)


def isa_of(found: Plan) -> str:
    return found["conv"].row.isa


def test_the_environment_chooses_the_instruction_set_unless_the_caller_does(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_native(monkeypatch)
    monkeypatch.delenv("OAQ_ISA", raising=False)
    assert isa_of(plan(network(1))) == "vnni"
    monkeypatch.setenv("OAQ_ISA", "scalar")
    assert isa_of(plan(network(1))) == "scalar"
    assert isa_of(plan(network(1), "avx2")) == "avx2"


def test_an_instruction_set_this_cpu_lacks_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_native(monkeypatch)
    with pytest.raises(NoKernel, match="isa asks for avx512bw, which this CPU lacks: it runs scalar, avx2, vnni"):
        plan(network(1), "avx512bw")
    monkeypatch.setenv("OAQ_ISA", "avx512bw")
    with pytest.raises(NoKernel, match="OAQ_ISA asks for avx512bw"):
        plan(network(1))
    with pytest.raises(NoKernel, match="isa asks for 'sse2': there are kernels for scalar, avx2, avx512bw, vnni;"):
        plan(network(1), "sse2")
    assert plan(network(1), "avx512bw", table=TABLE).nodes


def test_forced_rows_that_cannot_serve_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_native(monkeypatch)
    with pytest.raises(NoKernel, match="there is no row 'gemm_u8s8_avx2_magic'"):
        plan(network(1), rows=["gemm_u8s8_avx2_magic"])
    with pytest.raises(NoKernel, match="the row gemm_u8s8_avx512bw_acc16 cannot be used here"):
        plan(network(1), rows=["gemm_u8s8_avx512bw_acc16"])


def test_a_family_without_any_row_is_named() -> None:
    rest = [row for row in TABLE if row.family != "add"]
    with pytest.raises(NoKernel, match="add: no add kernel may be used here; the table has none at all"):
        plan(network(1), table=rest)


def test_a_register_too_narrow_for_one_product_is_no_kernel() -> None:
    narrow = table_of_kernels.row_from_native(ENTRIES[3] | {"name": "gemm_u8s8_fpga_12", "bits": 12})
    with pytest.raises(NoKernel, match=r"conv: no row is proved: gemm_u8s8_fpga_12: conv, output \d+: the 12-bit lane"):
        plan(network(127), rows=["gemm_u8s8_fpga_12"], table=(*TABLE, narrow))


def test_the_native_table_has_rows_of_every_family() -> None:
    pytest.importorskip("oaq.kernels._native")
    rows = table_of_kernels.native_rows()
    assert {row.family for row in TABLE} <= {row.family for row in rows}
    assert plan(network(20)).nodes


@pytest.mark.parametrize("name", ["gemm_u8s8_avx2_exact", "gemm_u8s8_avx2_acc16"])
def test_of_two_rows_that_cost_the_same_the_first_of_the_table_is_taken(name: str) -> None:
    """With spills a row costs more than the least it can, so that the second is tried to its end."""
    builder = Builder("tie")
    builder.add(linear(np.random.default_rng(0), (12, 400), kind="extreme"), [builder.input((400,))], name="fc")
    program = builder.finish()
    row = next(row for row in TABLE if row.name == name)
    assert row.accumulator is not None
    twin = replace(row, name=f"{name}_twin", accumulator=replace(row.accumulator, name=f"{name}_twin"))
    for order in ((row, twin), (twin, row)):
        planned = plan(program, table=order)["fc"]
        assert planned.row.name == order[0].name
        assert planned.refused == ()


def test_rows_stand_in_one_column_however_long_the_names_of_nodes_are() -> None:
    builder = Builder("columns")
    x = builder.input((40,))
    for name in ("a", "a_much_longer_name", "mid"):
        x = builder.add(linear(np.random.default_rng(0), (40, 40)), [x], Affine(0.05, 9), name=name)
    planned = plan(builder.finish(), table=[row for row in TABLE if row.name == "gemm_u8s8_avx2_exact"])
    lines = [line for line in planned.explain().splitlines() if "gemm_u8s8_avx2_exact" in line]
    assert {line.index("gemm_u8s8_avx2_exact") for line in lines} == {len("a_much_longer_name") + 2}
