"""The third promise in words: of layers that wrap by design nothing says that no sum overflows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import oaq
from oaq.cli.command import main
from oaq.errors import FormatError, UnsupportedOp
from oaq.kernels.targets import TARGETS
from oaq.numerics.modular import Modular
from oaq.overflow.analyze import analyze
from oaq.overflow.witness import witness
from oaq.program.plain import fingerprint, from_plain, to_plain
from oaq.report import build_report, from_json, to_html, to_json, to_text
from oaq.runtime.certify import check_plan
from oaq.runtime.plan_file import proved_bytes
from oaq.verify import verify
from oaq.verify.witnesses import wrap_witness
from tests.modular import KINDS, modular_op, modular_program, ternary_program

NEVER = ("no overflow", "no sum can overflow", "can leave its register", "proved for 1 of 1", "1 of 1 layers proved")


def say_nothing_else(text: str) -> None:
    """The promise is named, and no stronger one."""
    assert "by design" in text
    for words in NEVER:
        assert words not in text, words


def test_every_executor_agrees_and_the_layer_is_not_called_proved() -> None:
    report = verify(ternary_program())
    report.raise_if_unsafe()
    assert (report.proved, report.modular) == ((0, 1), 1)
    assert {executor.name for executor in report.not_run} == {"onnxruntime, optimized"} | {
        executor.name for executor in report.executors if not executor.ran and not executor.unneeded
    }
    say_nothing_else(report.table())
    assert report.to_json()["modular"] == 1
    say_nothing_else(oaq.plan(ternary_program()).explain())


def test_reports_name_the_promise_and_read_back(tmp_path: Path) -> None:
    data = build_report(oaq.plan(ternary_program()))
    assert (data.proved_layers, data.modular_layers) == (0, 1)
    text = to_text(data)
    say_nothing_else(text)
    assert "modulo 2^6" in text and "NOT PROVED" not in text
    to_html(data, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    say_nothing_else(page)
    assert "Not proved" not in page and "Five kinds of statement" in page
    assert from_json(to_json(data)) == data


def test_the_witness_leaves_the_register_and_all_rows_agree() -> None:
    program = ternary_program()
    proof = analyze(program)
    for end in ("lo", "hi"):
        worst = witness(program, proof, "layer", 5, end)
        wrap = wrap_witness(program, proof, worst)
        assert wrap is not None and wrap.leaves and len(wrap.rows) >= 1 and not wrap.mismatches
        assert not -32 <= wrap.total <= 31 and -32 <= wrap.residue <= 31
        assert (wrap.total - wrap.residue) % 64 == 0


@pytest.mark.parametrize("zero", [0, 255])
def test_the_total_of_a_witness_is_exact_where_bias_and_zero_point_leave_s32(zero: int) -> None:
    program = modular_program(*modular_op(np.random.default_rng(2), "matrix", 8), zero)
    op, proof, beyond_s32 = program.nodes[0].products, analyze(program), 0
    for output in range(op.outputs):
        worst = witness(program, proof, "layer", output, "hi")
        wrap = wrap_witness(program, proof, worst)
        exact = int(op.bias[output]) + sum(
            int(w) * (int(x) - zero) for w, x in zip(op.rows[output], worst.tensor, strict=True)
        )
        assert wrap is not None and wrap.total == exact
        beyond_s32 += not -(2**31) <= exact < 2**31
    assert beyond_s32  # else nothing was tested


def test_the_command_line_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.oaq"
    oaq.save(ternary_program(), path)
    assert main(["witness", str(path), "--at", "layer:5"]) == 0
    said = capsys.readouterr().out
    say_nothing_else(said)
    assert "which leaves a register of 6 bits" in said and "equal the reference in every integer" in said
    assert main(["witness", str(path), "--at", "layer:5", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)["wraps_by_design"]
    assert document["leaves_register"] and document["modulo_bits"] == 6 and not document["mismatches"]
    assert main(["verify", str(path), "--quick"]) == 0
    said = capsys.readouterr().out
    say_nothing_else(said)
    assert "1 layer wraps by design, exact modulo 2^b, for every input; proved not to overflow: 0 of 1" in said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", TARGETS)
def test_plans_for_other_machines_are_made_and_checked(kind: str, target: str) -> None:
    program = modular_program(*modular_op(np.random.default_rng(1), kind, 8), 0)
    if target == "wasm-relaxed":  # its rows take seven bits
        from oaq.numerics.ranges import IntRange

        program = modular_program(*modular_op(np.random.default_rng(1), kind, 8), 0, IntRange(0, 127))
    try:
        plan = oaq.plan(program, table=target)
    except oaq.OaqError as error:
        assert "layer: no" in str(error)  # refused by name: this target has no row of the family
        return
    assert check_plan(plan).safe
    assert len(proved_bytes(plan)) > 0


def test_what_knows_no_tables_refuses_by_name(tmp_path: Path) -> None:
    program = ternary_program()
    with pytest.raises(UnsupportedOp, match=r"layer: its sums count modulo 2\*\*6 by design"):
        oaq.export.onnx(program, tmp_path / "net.onnx")


def test_files_hold_the_tables_and_nothing_is_lost(tmp_path: Path) -> None:
    program = ternary_program()
    path = tmp_path / "net.oaq"
    oaq.save(program, path)
    loaded = oaq.load(path)
    assert fingerprint(loaded) == fingerprint(program)
    table = loaded.nodes[0].products.requantize
    assert isinstance(table, Modular) and np.array_equal(table.table, program.nodes[0].products.requantize.table)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "table",
    [np.zeros((24, 60), np.uint8), np.zeros((5, 64), np.uint8), np.zeros((24, 64), np.int8), np.zeros(64, np.uint8)],
)
def test_damaged_tables_are_no_program(table: np.ndarray) -> None:
    header, arrays = to_plain(ternary_program())
    with pytest.raises(FormatError):
        from_plain(header, {**arrays, "nodes/0/requantize.table": table})
    with pytest.raises(FormatError, match="no node uses"):
        from_plain(header, {**arrays, "nodes/0/requantize.multiplier": np.ones(24, np.float32)})
