"""``verify``: a right machine passes, a wrong one is found and named, and what did not run is said aloud."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import oaq
from oaq import operators as ops
from oaq.errors import AccumulatorOverflow, FormatError, Mismatch
from oaq.kernels.plan import plan
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.overflow.analyze import analyze
from oaq.overflow.certificate import PART
from oaq.program.files import Part, read
from oaq.program.files import save as save_file
from oaq.program.int_program import IntProgram
from oaq.reference import lanes
from oaq.seal.parts import sealed_parts
from oaq.verify.native import Workload, isa_attempts
from oaq.verify.report import Report
from oaq.verify.witnesses import fullest_output, layer_witnesses, run_witnesses
from tests.kernels.tables import ENTRIES, TABLE
from tests.simulated_machine import no_native_module, simulated_machine
from tests.strategies import Builder, conv2d, linear, programs, ratios


def network(semantics: str = "float32_half_even") -> IntProgram:
    rng = np.random.default_rng(0)
    builder = Builder("net", semantics)  # type: ignore[arg-type]
    s = 0.05
    x = builder.input((6, 6, 3), Affine(s, 100), IntRange(0, 240))
    stem = conv2d(rng, (8, 3, 3, 3), kind="extreme", padding=(1, 1, 1, 1), semantics=builder.semantics)
    x = builder.add(stem, [x], Affine(s, 0), IntRange(0, 200), name="stem")
    wide = conv2d(rng, (8, 3, 3, 1), groups=8, padding=(1, 1, 1, 1), semantics=builder.semantics)
    y = builder.add(wide, [x], Affine(s, 9), name="wide")
    x = builder.add(ops.Add(Requantize(ratios([s, s], 0.08))), [x, y], Affine(0.08, 3), name="add")
    x = builder.add(ops.Reshape((288,)), [x], name="flat")
    builder.add(linear(rng, (10, 288), kind="positive", scales=(0.08, s)), [x], Affine(s, 128), name="fc")
    return builder.finish(input_layout="NHWC")


def ran(report: Report) -> dict[str, bool]:
    return {one.name: one.ran for one in report.executors}


def test_a_right_machine_passes_on_every_row_with_witnesses_and_says_what_did_not_run() -> None:
    program = network()
    x = np.random.default_rng(1).normal(0, 2, (2, 6, 6, 3)).astype(np.float32)
    with simulated_machine():
        report = oaq.verify(program, x)
    report.raise_if_unsafe()
    assert report.is_safe
    assert report.mismatches == 0
    assert report.proved == (3, 3)
    assert report.certificate.startswith("holds: ")
    assert {key: report.samples[key] for key in ("given", "corners", "fixed random")} == {
        "given": 2,
        "corners": 4,
        "fixed random": 2,
    }
    assert report.samples["witnesses"] > 100
    expected = {f"row {one['name']}": one["available"] for one in ENTRIES if one["family"] in FAMILIES}
    assert {name: did for name, did in ran(report).items() if name in expected} == expected
    by_name = {one.name: one for one in report.executors}
    assert by_name["row gemm_u8s8_avx512bw_acc16"].reason == "needs avx512bw, which this CPU lacks"
    assert by_name["row resize_u8_scalar"].reason == "the program has no resize node"
    assert by_name["row resize_u8_scalar"].unneeded and by_name["row resize_u8_scalar"] not in report.not_run
    assert "NOT RUN: the program has no" not in report.table() and "not needed, for operators" in report.table()
    assert by_name["isa avx512bw, 1 thread"].reason == "this CPU lacks it"
    for isa in ("scalar", "avx2", "vnni"):
        for threads in ("1 thread", "2 threads"):
            assert by_name[f"isa {isa}, {threads}"].ran
    ort = next(one for one in report.executors if one.name.startswith("onnxruntime"))
    assert ort.ran
    assert ort.mismatches == 0
    assert any("Add: 0 of" in note or "Add: " in note for note in ort.notes)
    table = report.table()
    assert "row gemm_u8s8_avx512bw_acc16   NOT RUN: needs avx512bw, which this CPU lacks" in " ".join(table.split("\n"))
    assert table.startswith("net: safe, 3 of 3 layers proved, 0 mismatching integers")
    assert json.loads(json.dumps(report.to_json()))["safe"] is True


FAMILIES = {"gemm", "depthwise", "add", "copy"}


def test_a_wrong_kernel_is_found_named_and_placed() -> None:
    def off_by_one(row: str, y: np.ndarray) -> np.ndarray:
        if row == "depthwise_u8s8_avx2_acc16":
            y = y.copy()
            y[2, 3, 5] ^= 1
        return y

    with simulated_machine(off_by_one):
        report = oaq.verify(network(), witnesses=False, onnx=False)
    assert not report.is_safe
    wrong = {one.name for one in report.executors if one.mismatches}
    assert "row depthwise_u8s8_avx2_acc16" in wrong
    assert (
        all("scalar" not in name and "exact" not in name and "add_u8" not in name for name in wrong - {"isa"}) or wrong
    )
    first = next(one.first for one in report.executors if one.name == "row depthwise_u8s8_avx2_acc16")
    assert first is not None
    assert (first.node, first.index) == ("wide", (0, 2, 3, 5))
    assert abs(first.got - first.expected) == 1
    assert first.total == 6 * 6 * 6 * 8
    with pytest.raises(
        Mismatch, match=r"net is not safe:\n(.*\n)*row depthwise_u8s8_avx2_acc16: .* first at wide \[0, 2, 3, 5\]"
    ):
        report.raise_if_unsafe()
    assert "UNSAFE" in report.table()
    assert "DIFFER; first at wide [0, 2, 3, 5]" in report.table()


def test_a_difference_that_the_output_shows_is_placed_at_the_node_that_made_it() -> None:
    program = network()

    def broken(row: str, y: np.ndarray) -> np.ndarray:
        return np.where(y > 60, y - 60, y).astype(np.uint8) if row == "add_u8_avx2" else y

    with simulated_machine(broken):
        report = oaq.verify(program, rows=False, witnesses=False, onnx=False)
    wrong = [one for one in report.executors if one.mismatches]
    assert wrong
    assert {one.first.node for one in wrong if one.first} == {"add"}


def test_witnesses_reach_the_bounds_that_the_schedule_states() -> None:
    with simulated_machine():
        program = network()
        proof = analyze(program)
        made = plan(program, rows=["gemm_u8s8_avx2_acc16", "depthwise_u8s8_avx2_acc16"], proof=proof)
        for planned in made.nodes:
            schedule = planned.schedule
            if schedule is None:
                continue
            op = planned.node.op
            assert isinstance(op, ops.Products)
            tensors = layer_witnesses(program, proof, planned)
            zero = planned.x_zero_points[0]
            for column, end, which in ((0, "lo", np.min), (1, "hi", np.max)):
                segment = int(
                    schedule.bounds[:, column].argmin() if end == "lo" else schedule.bounds[:, column].argmax()
                )
                output = fullest_output(op, proof[planned.node.name], schedule, segment, end)  # type: ignore[arg-type]
                _, start, count = schedule.segments[segment].tolist()
                reached = lanes(op, tensors, zero, schedule.accumulator, (start, count))[:, output]
                if schedule.splits == 0:
                    assert which(reached) == schedule.bounds[segment, column]
        count, result = run_witnesses(made, proof, 1)
        assert count == 18
        assert result.mismatches == 0


def test_a_kernel_that_only_overflows_on_its_worst_input_is_caught_by_the_witnesses() -> None:
    """The machine is wrong only where all outputs of a layer saturate together, as its fullest input makes them."""
    program = network()
    x = np.full((1, 6, 6, 3), 100, np.uint8)

    def wraps_at_the_end(row: str, y: np.ndarray) -> np.ndarray:
        saturated = y.size == 10 and np.isin(y, (0, 255)).sum() >= 9
        return y ^ 255 if row == "gemm_u8s8_vnni" and saturated else y

    with simulated_machine(wraps_at_the_end):
        proof = analyze(program)
        expected = oaq.reference.run(program, x).tensors
        for witnesses in (False, True):
            case = Workload(program, proof, (x,), expected, witnesses)
            mismatches = sum(one.executor.mismatches for one in isa_attempts(case, ["vnni"], [1], TABLE))
            assert (mismatches > 0) == witnesses


def test_a_program_that_cannot_be_proved_is_unsafe_not_an_exception() -> None:
    builder = Builder("heavy")
    x = builder.input((1,), Affine(1.0, 0))
    op = ops.Linear(np.array([[127]], np.int8), np.array([2**31 - 1], np.int32), Requantize(np.float32([1e-8])))
    builder.add(op, [x], name="fc")
    with simulated_machine():
        report = oaq.verify(builder.finish())
    assert not report.is_safe
    assert report.proved == (0, 1)
    assert "fc" in report.unsafe[0]
    with pytest.raises(Mismatch, match="fc"):
        report.raise_if_unsafe()


def test_without_the_native_module_nothing_is_claimed_about_it() -> None:
    with no_native_module():
        report = oaq.verify(network(), onnx=False)
    assert [(one.name, one.ran) for one in report.executors] == [("native", False)]
    assert "NOT RUN: this needs the native module" in report.table()


def test_an_instruction_set_nobody_has_kernels_for_is_said_aloud() -> None:
    with simulated_machine():
        report = oaq.verify(network(), isas=["vnni", "avx9"], rows=False, witnesses=False, onnx=False)
    did = {one.name: (one.ran, one.reason) for one in report.executors}
    assert did["isa avx9"] == (False, "there are kernels for scalar, avx2, avx512bw, vnni")
    assert did["isa vnni, 1 thread"][0]
    assert did["isa scalar, 1 thread"] == (False, "left out by the caller")


def test_fixed_point_programs_are_verified_and_the_export_says_why_it_did_not_run() -> None:
    builder = Builder("fixed", "fixed_point")
    x = builder.input((3, 3, 2))
    builder.add(conv2d(np.random.default_rng(0), (4, 3, 3, 2), semantics="fixed_point"), [x], name="conv")
    with simulated_machine():
        report = oaq.verify(builder.finish(), witnesses=False)
    assert report.is_safe
    ort = next(one for one in report.executors if one.name.startswith("onnxruntime"))
    assert not ort.ran
    assert "fixed_point" in ort.reason


@settings(max_examples=10, deadline=None)
@given(programs(max_nodes=4))
def test_any_program_verifies_on_a_right_machine(program: IntProgram) -> None:
    with simulated_machine():
        report = oaq.verify(program, threads=(1,), onnx=False)
    report.raise_if_unsafe()
    assert all(one.ran or one.reason for one in report.executors)


def test_a_saved_file_proves_itself_again_from_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "net.oaq"
    with simulated_machine():
        oaq.save(network(), path)
        report = oaq.verify_file(path)
    report.raise_if_unsafe()
    assert report.certificate.startswith("holds: ")
    assert [one.name for one in report.executors] == [f"isa {isa}, signature" for isa in ("scalar", "avx2", "vnni")]
    with no_native_module():
        alone = oaq.verify_file(path)
    assert alone.is_safe
    assert alone.signature == report.signature
    assert [one.ran for one in alone.executors] == [False]


def test_a_file_without_a_certificate_is_proved_here_and_says_so(tmp_path: Path) -> None:
    with simulated_machine():
        save_file(network(), tmp_path / "bare.oaq")
        report = oaq.verify_file(tmp_path / "bare.oaq")
    assert report.is_safe
    assert report.certificate.startswith("none in the file; proved here: ")
    assert "does not hold a signature to compare" in report.certificate


def test_an_edited_certificate_program_or_signature_is_unsafe(tmp_path: Path) -> None:
    program, path = network(), tmp_path / "edited.oaq"
    with simulated_machine():
        parts = sealed_parts(program)
        certificate = parts[PART]
        name = next(key for key in certificate.arrays if key.endswith("/bounds"))
        bounds = certificate.arrays[name].copy()
        bounds[0, 1] -= 1
        header = {**parts["signature"].content, "sha256": "0" * 64}
        edits = {
            "bounds": {**parts, PART: Part(certificate.content, {**certificate.arrays, name: bounds})},
            "signature": {**parts, "signature": Part(header)},
        }
        for edited in edits.values():
            save_file(program, path, edited)
            report = oaq.verify_file(path)
            assert not report.is_safe
            assert report.proved == (0, 3)
        weight = program.nodes[0].op.weight.copy()
        weight[0, 0, 0, 0] = -weight[0, 0, 0, 0]
        node = replace(program.nodes[0], op=replace(program.nodes[0].op, weight=weight))
        save_file(replace(program, nodes=(node, *program.nodes[1:])), path, parts)
        report = oaq.verify_file(path)
    assert "is for another program" in report.unsafe[0]
    with pytest.raises(Mismatch, match="another program"):
        report.raise_if_unsafe()


def test_a_damaged_file_is_one_format_error(tmp_path: Path) -> None:
    path = tmp_path / "net.oaq"
    save_file(network(), path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(FormatError, match="cut off"):
        oaq.verify_file(path)
    with pytest.raises(FormatError, match="cannot be read"):
        oaq.verify_file(tmp_path / "none.oaq")


def test_a_program_that_cannot_be_proved_is_not_sealed(tmp_path: Path) -> None:
    builder = Builder("heavy")
    x = builder.input((1,), Affine(1.0, 0))
    op = ops.Linear(np.array([[127]], np.int8), np.array([2**31 - 1], np.int32), Requantize(np.float32([1e-8])))
    builder.add(op, [x], name="fc")
    with pytest.raises(AccumulatorOverflow, match="fc"):
        oaq.save(builder.finish(), tmp_path / "p.oaq")
    assert not (tmp_path / "p.oaq").exists()
    save_file(builder.finish(), tmp_path / "p.oaq")
    assert not oaq.verify_file(tmp_path / "p.oaq").is_safe
    assert read(tmp_path / "p.oaq").parts == {}
