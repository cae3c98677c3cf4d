"""The independent checker: agrees with honest proofs, finds every edit."""

from __future__ import annotations

import ast
import contextlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oaq.checker
from oaq import operators as ops
from oaq.checker import Verdict, check
from oaq.checker.rounding import add, requantize
from oaq.errors import FormatError, OaqError
from oaq.numerics.accumulator import AVX2_ACC16, AVX2_ACC32, DEPTHWISE_ACC16, NEON_ACC16, Accumulator, pure
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.overflow.analyze import analyze
from oaq.overflow.certificate import certify, from_parts, to_parts
from oaq.overflow.spill import Schedule, schedule
from oaq.program import files
from oaq.program.int_program import IntProgram
from oaq.program.plain import to_plain
from tests.strategies import Builder, conv2d, linear, programs

Parts = tuple[dict[str, Any], dict[str, np.ndarray], dict[str, Any], dict[str, np.ndarray]]


def scheduled(program: IntProgram, registers: tuple[Accumulator, ...], tile_n: int = 4) -> dict[str, list[Schedule]]:
    """Schedules of every summing node."""
    proof, found = analyze(program), {}
    for node in program.summing_nodes():
        op, x = node.op, proof[node.name].operands
        assert isinstance(op, ops.Products)
        depthwise = isinstance(op, ops.Conv2d) and op.is_depthwise()
        groups = op.groups if isinstance(op, ops.Conv2d) and not depthwise else 1
        weight = op.weight.reshape(len(op.weight), -1)
        chosen = (DEPTHWISE_ACC16,) if depthwise else registers
        found[node.name] = [schedule(weight, x.lo, x.hi, one, tile_n, groups=groups) for one in chosen]
    return found


def parts(program: IntProgram, schedules: dict[str, list[Schedule]], *, packed: bool = False) -> Parts:
    """Program and certificate as plain data, arrays writable."""
    header, arrays = to_plain(program)
    content, claims = to_parts(certify(program, analyze(program), schedules, packed=packed))
    return header, {k: v.copy() for k, v in arrays.items()}, content, {k: v.copy() for k, v in claims.items()}


@pytest.fixture(scope="module")
def network() -> IntProgram:
    """A conv, a depthwise conv, a residual, a pool and a classifier, with splits."""
    rng = np.random.default_rng(0)
    builder = Builder()
    x = builder.input((6, 6, 5), Affine(0.05, 9), IntRange(4, 240))
    a = builder.add(conv2d(rng, (8, 3, 3, 5), padding=(1, 1, 1, 1)), [x], Affine(0.05, 0), name="conv")
    b = builder.add(
        conv2d(rng, (8, 3, 3, 1), kind="extreme", padding=(1, 1, 1, 1), groups=8), [a], Affine(0.05, 0), name="dw"
    )
    c = builder.add(ops.Add(Requantize(np.array([0.5, 0.7], np.float32))), [a, b], Affine(0.05, 3), name="add")
    d = builder.add(ops.GlobalAvgPool(Requantize(np.array([1 / 30], np.float32))), [c], name="pool")
    e = builder.add(ops.Reshape((8,)), [d], name="flat")
    builder.add(linear(rng, (7, 8), kind="extreme"), [e], name="fc")
    return builder.finish()


@given(programs(max_nodes=5))
@settings(max_examples=120, deadline=None)
def test_the_checker_derives_what_analyze_proves_for_any_program(program: IntProgram) -> None:
    registers = (AVX2_ACC16, AVX2_ACC32, NEON_ACC16, pure(18, "saturates"), Accumulator("odd", 17, "wraps", lanes=3))
    verdict = check(*parts(program, scheduled(program, registers, 3)))
    assert verdict.safe, [str(finding) for finding in verdict.findings]
    assert verdict.tensors == len(program.tensors)


def test_what_the_checker_derives_it_counts(network: IntProgram) -> None:
    schedules = scheduled(network, (AVX2_ACC16, AVX2_ACC32))
    for packed in (False, True):
        verdict = check(*parts(network, schedules, packed=packed))
        assert verdict == Verdict(
            (), (), len(network.tensors), 8 + 8 + 7, sum(plan.spills for plans in schedules.values() for plan in plans)
        )


def test_a_certificate_survives_its_file(network: IntProgram, tmp_path: Path) -> None:
    certificate = certify(network, analyze(network), scheduled(network, (AVX2_ACC16,)), signature={"sha256": "ab"})
    files.save(network, tmp_path / "net.oaq", {"certificate": files.Part(*to_parts(certificate))})
    archive = files.read(tmp_path / "net.oaq")
    part = archive.parts["certificate"]
    loaded = from_parts(part.content, part.arrays)
    assert loaded.content["signature"] == {"sha256": "ab"}
    assert check(*to_plain(archive.program), *to_parts(loaded)).safe


@pytest.mark.parametrize("packed", [False, True])
def test_every_edit_of_a_claim_or_of_the_program_is_found(network: IntProgram, packed: bool) -> None:
    schedules = scheduled(network, (AVX2_ACC16, AVX2_ACC32))
    rng = np.random.default_rng(1)
    honest = parts(network, schedules, packed=packed)
    for which in (1, 3):
        for key in honest[which]:
            for _ in range(3):
                edited = parts(network, schedules, packed=packed)
                array = edited[which][key]
                if array.size:
                    at = tuple(int(rng.integers(size)) for size in array.shape)
                    array[at] = edit(array[at], rng)
                    refused(edited, f"{key} at {at}")


def edit(value: np.generic, rng: np.random.Generator) -> np.generic:
    """Another value of the same type."""
    if isinstance(value, np.floating):
        return np.nextafter(value, np.float32(rng.choice([0, 10])))
    reach, step = np.iinfo(value.dtype), int(rng.choice([-1, 1, 7, -30]))
    new = int(value) + step
    return np.asarray(new if reach.min <= new <= reach.max else int(value) - step, value.dtype)[()]


def refused(edited: Parts, what: str) -> None:
    """Either the data no longer parses, or the verdict says so."""
    try:
        verdict = check(*edited)
    except OaqError:
        return
    assert not verdict.safe, what


@pytest.mark.parametrize(
    ("key", "value"),
    [("tier", "observed"), ("program", "0" * 64), ("tensors", []), ("nodes", []), ("schema", 2), ("registers", {})],
)
def test_edited_headers_are_found(network: IntProgram, key: str, value: object) -> None:
    edited = parts(network, scheduled(network, (AVX2_ACC16,)))
    edited[2][key] = value
    refused(edited, key)


@pytest.mark.parametrize(
    ("field", "value"),
    [("bits", 17), ("overflow", "exact"), ("group_overflow", "exact"), ("lanes", 4), ("group", 1), ("max_run", 9)],
)
def test_a_register_that_is_known_cannot_be_redefined(network: IntProgram, field: str, value: object) -> None:
    edited = parts(network, scheduled(network, (AVX2_ACC16,)))
    edited[2]["registers"]["avx2-acc16"] = {**edited[2]["registers"]["avx2-acc16"], field: value}
    verdict = check(*edited)
    assert any(finding.register == "avx2-acc16" for finding in verdict.findings)


def test_the_callers_register_table_is_trusted_before_the_certificate(network: IntProgram) -> None:
    mine = Accumulator("mine", 16, "wraps", step=2)
    edited = parts(network, scheduled(network, (mine,)))
    verdict = check(*edited)
    assert verdict.safe
    assert verdict.assumed[0].startswith("the register mine is as the certificate says")
    narrow = {**edited[2]["registers"]["mine"], "bits": 15}
    verdict = check(*edited, registers={"mine": narrow})
    assert not verdict.safe
    assert any("15-bit lane can reach" in finding.message for finding in verdict.findings)


@pytest.mark.parametrize(
    ("field", "value"),
    [("bits", 32), ("overflow", "exact"), ("group_overflow", "exact"), ("lanes", 4), ("group", 1), ("step", 8)],
)
def test_a_row_that_declares_more_than_its_register_does_is_not_believed(
    network: IntProgram, field: str, value: object
) -> None:
    """Planner and table agree with each other, and are wrong together."""
    registers = {"avx2-acc16": {**parts(network, scheduled(network, (AVX2_ACC16,)))[2]["registers"]["avx2-acc16"]}}
    registers["avx2-acc16"][field] = value
    edited = parts(network, {})
    edited[2]["registers"] = registers
    verdict = check(*edited, registers=registers)
    assert ["by the instruction manuals it is Register(bits=16" in str(one) for one in verdict.findings] == [True]


def test_a_row_may_ask_for_more_spills_than_its_register_needs(network: IntProgram) -> None:
    edited = parts(network, {})
    model = {**parts(network, scheduled(network, (AVX2_ACC16,)))[2]["registers"]["avx2-acc16"]}
    for held, safe in ((3, True), (None, True)):
        edited[2]["registers"] = {"avx2-acc16": {**model, "max_run": held}}
        assert check(*edited, registers=edited[2]["registers"]).safe == safe
    edited[2]["registers"] = {"avx2-acc32": {**model, "max_run": 2}}
    assert not check(*edited, registers=edited[2]["registers"]).safe


def test_a_register_that_only_its_row_vouches_for_is_said(network: IntProgram) -> None:
    edited = parts(network, scheduled(network, (Accumulator("mine", 16, "wraps", step=2),)))
    verdict = check(*edited, registers=edited[2]["registers"])
    assert verdict.safe
    assert [one[:42] for one in verdict.assumed] == ["the register mine is as its row declares: "]


def test_a_finding_names_node_register_tile_segment_and_numbers() -> None:
    op = linear(np.random.default_rng(0), (4, 16), kind="positive")
    builder = Builder()
    builder.add(op, [builder.input((16,))], name="fc")
    program = builder.finish()
    narrow = schedule(op.weight, np.zeros(16, int), np.full(16, 20), AVX2_ACC16, 2)
    verdict = check(*parts(program, {"fc": [narrow]}))
    messages = [str(finding) for finding in verdict.findings]
    assert any(m.startswith("fc, register avx2-acc16, tile 0, segment 0: bound stated") for m in messages)
    assert any("one instruction can reach [0, " in m and "outside 16 bits" in m for m in messages)
    assert any("a 16-bit lane can reach" in m for m in messages)


@pytest.mark.parametrize(("value", "dtype"), [(256, np.int16), (-256, np.int16), (5, np.int16), (5, np.int32)])
def test_weights_are_int8_or_what_a_zero_point_makes_of_u8(network: IntProgram, value: int, dtype: type) -> None:
    edited = parts(network, {})
    weight = edited[1]["nodes/0/weight"].astype(dtype)
    weight[0, 0, 0, 0] = value
    edited[1]["nodes/0/weight"] = weight
    with pytest.raises(FormatError, match="conv: weight"):
        check(*edited)


def test_malformed_programs_are_refused(network: IntProgram) -> None:
    edited = parts(network, {})
    del edited[1]["nodes/0/bias"]
    with pytest.raises(FormatError, match="conv: bias is 1-d int32, not nothing"):
        check(*edited)
    with pytest.raises(FormatError, match="malformed"):
        check({}, {}, edited[2], edited[3])


def test_a_sum_that_leaves_s32_is_a_finding_of_the_checker_too() -> None:
    weight = np.full((1, 1000), 127, np.int8)
    bias = np.array([2**31 - 1000 * 127 * 255], np.int32)
    builder = Builder()
    builder.add(ops.Linear(weight, bias, Requantize(np.ones(1, np.float32))), [builder.input((1000,))], name="fc")
    header, arrays = to_plain(builder.finish())
    content = {
        "schema": 1, "tier": "proved", "program": "", "assumptions": [], "tensors": [], "registers": {}, "nodes": [],
        "signature": None,
    }  # fmt: skip
    findings = [str(finding) for finding in check(header, arrays, content, {}).findings]
    assert "fc: output 0: a partial sum with bias reaches [2115098648, 2147483648], outside 32 bits" in findings


@given(
    st.integers(-(2**31), 2**31 - 1),
    st.floats(np.float32(1e-12), np.float32(1e6), width=32),
    st.integers(1, 2**31 - 1),
    st.integers(1, 62),
)
@settings(max_examples=400, deadline=None)
def test_requantize_in_integers_is_requantize_in_float32(total: int, ratio: float, factor: int, shift: int) -> None:
    wide = IntRange(-(2**23), 2**23)
    sums = np.array([[total]])
    for rule, ours in (
        (Requantize(np.array([ratio], np.float32)), requantize(total, ratio, None)),
        (Requantize(np.array([factor], np.int32), np.array([shift], np.int32)), requantize(total, factor, shift)),
    ):
        assert int(rule.apply(sums, 0, wide)[0, 0]) == wide.clamp(ours)


@pytest.mark.parametrize("total", [2**24 + 1, 2**24 + 3, 2**31 - 1, -(2**31), -(2**24) - 1, 0, 5])
def test_conversion_to_float32_rounds_half_to_even_at_its_corners(total: int) -> None:
    for ratio in (1.0, 0.5, 2.0**-24, 0.1):
        theirs = np.rint(np.float32(total) * np.float32(ratio))
        assert requantize(total, float(np.float32(ratio)), None) == int(theirs)


@given(st.integers(-255, 255), st.integers(-255, 255), *[st.floats(np.float32(1e-6), 8, width=32)] * 2)
@settings(max_examples=300, deadline=None)
def test_addition_in_integers_is_addition_in_float32(a: int, b: int, factor_a: float, factor_b: float) -> None:
    theirs = np.rint(np.float32(a) * np.float32(factor_a) + np.float32(b) * np.float32(factor_b))
    assert add(a, b, (factor_a, factor_b), None) == int(theirs)


def test_the_checker_imports_nothing_of_what_it_checks() -> None:
    allowed = ("oaq.checker", "oaq.errors")
    for path in Path(oaq.checker.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert not name.startswith("oaq") or name.startswith(allowed), f"{path.name} imports {name}"


def test_malformed_headers_end_in_one_error_or_a_verdict(network: IntProgram) -> None:
    rng = np.random.default_rng(3)
    schedules = scheduled(network, (AVX2_ACC16,))
    junk = [None, -1, 0, 2**70, 1.5, "", "x", [], {}, [None], True]
    for _ in range(300):
        edited = parts(network, schedules)
        at = json.loads(json.dumps(edited[0 if rng.integers(2) else 2]))
        which = 0 if "version" in at else 2
        target = at
        while True:
            keys = list(target) if isinstance(target, dict) else list(range(len(target)))
            key = keys[rng.integers(len(keys))]
            if isinstance(target[key], dict | list) and len(target[key]) and rng.random() < 0.8:
                target = target[key]
                continue
            target[key] = junk[rng.integers(len(junk))]
            break
        changed = (at, *edited[1:]) if which == 0 else (*edited[:2], at, edited[3])
        before = time.perf_counter()
        with contextlib.suppress(OaqError):
            check(*changed)
        assert time.perf_counter() - before < 5
