"""The table of node kinds: which nodes multiply by floats, and that a program of fixed point has none."""

from __future__ import annotations

import pytest

import oaq
from oaq.numerics.requantize import Semantics
from oaq.operators import OPERATORS
from oaq.report import build_report, codec
from oaq.report.data import ReportData
from oaq.report.html.page import render
from oaq.report.kinds import has_float, kind_rows, node_kinds
from oaq.report.text import to_text
from oaq.verify import verify
from tests.qat.heads import X, pyramid


def program(semantics: Semantics) -> oaq.IntProgram:
    config = oaq.qat.Config(method="none", batch_norm="levels", wide_residuals=True, activation_bits=4,
                            requantize=semantics)  # fmt: skip
    return oaq.qat.convert(oaq.qat.prepare(pyramid(), X[:1], config, calibration=[X]).eval())


def test_a_detector_in_fixed_point_has_no_float_node_and_no_executor_differs() -> None:
    net = program("fixed_point")
    assert [(kind.operator, kind.nodes, kind.floats) for kind in node_kinds(net)] == [
        ("Conv2d", 6, 0), ("Lookup", 2, 0), ("Resize", 1, 0), ("Add", 1, 0),
    ]  # fmt: skip
    results = verify(net, X.numpy()[:2])
    ran = [executor for executor in results.executors if executor.ran]
    assert results.is_safe and len(ran) > 1 and sum(executor.mismatches for executor in ran) == 0


def test_float_multipliers_are_counted_where_they_are() -> None:
    floats = {kind.operator: kind.floats for kind in node_kinds(program("float32_half_even"))}
    assert floats == {"Conv2d": 6, "Lookup": 0, "Resize": 0, "Add": 1}


def test_the_report_shows_them_and_keeps_them() -> None:
    report = build_report(oaq.plan(program("fixed_point")))
    assert kind_rows(report.kinds)[-1] == ("all", "10", "10", "0")
    assert "float32 multipliers" in to_text(report) and 'id="nodes"' in render(report)
    plain = codec.encode(report)
    assert codec.decode(ReportData, plain, "report") == report
    del plain["kinds"]  # of before they were counted
    assert codec.decode(ReportData, plain, "report").kinds == ()


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_every_operator_says_whether_it_multiplies_by_floats(name: str) -> None:
    for semantics, wanted in (("fixed_point", False), ("float32_half_even", True)):
        op = OPERATORS[name].cases(semantics)[0].op  # type: ignore[arg-type]
        assert has_float(op) == (wanted and hasattr(op, "requantize"))
