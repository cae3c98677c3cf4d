"""Predicted against measured: how errors are added up."""

from __future__ import annotations

import pytest
import torch

from benchmarks.cost_model import Point, Subject, rows_of, table
from benchmarks.unseen_networks import UNSEEN

MADE = Subject(
    "net",
    "avx2",
    (Point("a", "row", 11e-6, 10e-6), Point("b", "row", 24e-6, 30e-6), Point("c", "row", 3e-7, 1e-7)),
)


def test_the_whole_is_the_sum_and_nodes_below_the_clock_are_left_out_of_the_rest() -> None:
    assert MADE.whole_error == pytest.approx(35.3 / 40.1 - 1)
    assert MADE.errors == pytest.approx([0.1, 0.2])


def test_results_hold_a_summary_and_every_node() -> None:
    rows = [dict(row) for row in rows_of([MADE])]
    assert len(rows) == 4
    assert rows[0]["median_node_error"] == "0.1500"
    assert rows[1] == {
        "network": "net", "plan": "avx2", "node": "a", "row": "row", "measured_us": "10.00", "predicted_us": "11.00",
    }  # fmt: skip
    assert "-12.0 %" in table([MADE])


@pytest.mark.parametrize("name", UNSEEN)
def test_the_unseen_networks_are_the_same_every_time(name: str) -> None:
    one, other = UNSEEN[name].make().eval(), UNSEEN[name].make().eval()
    x = torch.zeros(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(one(x), other(x))
