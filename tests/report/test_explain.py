"""The columns of ``oaq bench --explain``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oaq.kernels.cost import limit
from oaq.kernels.cost_files import shipped_costs
from oaq.kernels.plan import Plan, plan
from oaq.report.build import kind, macs
from oaq.report.explain import COLUMNS, explain, explained_table
from oaq.report.node_profile import NodeProfile
from oaq.report.profile import profile
from tests.kernels.tables import TABLE
from tests.kernels.test_plan import network


def timed(found: Plan, microseconds: float) -> list[NodeProfile]:
    return [
        NodeProfile(
            one.node.name,
            kind(one.node.op),
            one.row.name,
            microseconds,
            macs(one.node.op, found.program.tensors[one.node.output].shape),
        )
        for one in found.nodes
    ]


def test_every_column_is_what_it_says() -> None:
    found = plan(network(20), "avx2", table=TABLE, costs="shipped")
    conv, depthwise, add = explain(found, timed(found, 10.0), 1, 1)
    planned = found["conv"]
    assert planned.schedule is not None
    assert (conv.name, conv.kind, conv.row) == ("conv", "conv 1\u00d71", "gemm_u8s8_avx2_acc16")
    assert conv.share == pytest.approx(1 / 3)
    assert conv.predicted == pytest.approx(planned.cost * 1e6)
    assert conv.gmacs == pytest.approx(36 * 48 * 64 / 10.0 / 1e3)
    most = limit(shipped_costs(), planned.row)
    assert most is not None
    assert conv.of_limit == pytest.approx(conv.gmacs * 1e9 / most)
    assert conv.spills == planned.schedule.spills / planned.schedule.tiles > 1
    assert conv.run == pytest.approx(16 / conv.spills)
    assert depthwise.gmacs is not None
    assert (add.gmacs, add.of_limit, add.spills, add.run) == (None, None, None, None)
    assert add.predicted is not None
    assert add.predicted > 0


def test_batches_take_longer_and_threads_may_do_more() -> None:
    found = plan(network(20), "avx2", table=TABLE, costs="shipped")
    one, more = explain(found, timed(found, 10.0), 1, 1)[0], explain(found, timed(found, 10.0), 3, 2)[0]
    assert one.predicted is not None and one.of_limit is not None
    assert more.predicted == pytest.approx(3 * one.predicted)
    assert more.of_limit == pytest.approx(one.of_limit / 2)


def test_rows_that_never_spill_show_no_spills() -> None:
    found = plan(network(127), "avx2", ["gemm_u8s8_avx2_acc32", "depthwise_u8s8_avx2_exact"], table=TABLE)
    assert all(one.spills is None and one.run is None for one in explain(found, timed(found, 1.0), 1, 1))


def test_what_native_code_chose_is_shown() -> None:
    found = plan(network(20), "avx2", table=TABLE, costs="shipped")
    conv, depthwise, add = timed(found, 10.0)
    times = [
        replace(conv, operands="direct", in_words=0.25),
        replace(depthwise, operands="gathered", in_words=1.0),
        add,
    ]
    shown = explained_table("oaq avx2", explain(found, times, 1, 1))
    assert [row[-2:] for row in shown.rows] == [("direct", "25 %"), ("gathered", "100 %"), ("-", "-"), ("", "")]


def test_a_profile_says_what_native_code_chose() -> None:
    found = plan(network(20), "scalar")
    x = np.zeros((1, *found.program.tensors[found.program.inputs[0]].shape), np.uint8)
    conv, depthwise, add = profile(found, x, 1, repeats=1)
    assert (conv.operands, conv.in_words) == ("direct", 0.0)
    assert depthwise.in_words == 0.0
    assert (add.operands, add.in_words) == ("", None)


def test_the_table_has_a_line_per_node_and_one_for_all() -> None:
    found = plan(network(20), "avx2", table=TABLE, costs="shipped")
    shown = explained_table("oaq avx2", explain(found, timed(found, 10.0), 1, 1))
    assert shown.head == tuple(title for title, _ in COLUMNS)
    assert [row[0] for row in shown.rows] == ["conv", "dw", "add", "all"]
    assert all(len(row) == len(COLUMNS) for row in shown.rows)
    assert shown.rows[-1][3] == "30.0"
    assert float(shown.rows[-1][5]) == pytest.approx(found.seconds * 1e6, abs=0.1)
    assert np.isclose(sum(float(row[4]) for row in shown.rows[:-1]), 100, atol=0.2)


def test_a_plan_made_by_hand_predicts_nothing() -> None:
    found = replace(plan(network(20), "avx2", table=TABLE), costs=None)
    made = explain(found, timed(found, 10.0), 1, 1)
    assert all(one.predicted is None and one.of_limit is None for one in made)
    assert explained_table("by hand", made).rows[0][5] == "-"
