"""``oaq calibrate``, and plans that use what it wrote; the measurement itself is stood in for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oaq.calibration import Calibration, measure, other_cases
from oaq.calibration.fit import Fit
from oaq.cli import calibrate as verb
from oaq.kernels.cost_files import calibrated_file, load_costs, shipped_costs
from oaq.report.environment import environment


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, native: None) -> list[int]:
    """Instead of half a minute of timing, the shipped costs under another name; gives the rounds asked for."""
    del native
    asked: list[int] = []

    def calibrate(rounds: int, progress: object) -> Calibration:
        del progress
        asked.append(rounds)
        table = replace(shipped_costs(), cpu="measured here")
        return Calibration(table, {row: Fit(cost, np.array([0.01, -0.04, 0.5])) for row, cost in table.rows.items()})

    monkeypatch.setattr(verb, "calibrate", calibrate)
    monkeypatch.delenv("OAQ_COSTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return asked


def test_it_writes_this_cpus_file_and_says_how_to_use_it(oaq, measured):
    code, out, _ = oaq("calibrate", "--rounds", 3)
    assert code == 0
    assert measured == [3]
    assert load_costs(calibrated_file()).cpu == "measured here"
    assert f"{calibrated_file()}\nUse it: OAQ_COSTS=calibrated" in out
    line = next(line for line in out.splitlines() if line.startswith("gemm_u8s8_avx2_acc16"))
    assert " 4.0 %" in line
    assert "limit, GMAC/s" in out


def test_a_file_is_written_where_it_is_wanted(oaq, monkeypatch, tmp_path):
    assert oaq("calibrate", "--out", tmp_path / "a" / "mine.json")[0] == 0
    assert load_costs(tmp_path / "a" / "mine.json").cpu == "measured here"
    monkeypatch.setenv("OAQ_COSTS", str(tmp_path / "other.json"))
    assert oaq("calibrate")[0] == 0
    assert load_costs(tmp_path / "other.json").cpu == "measured here"
    assert not calibrated_file().exists()


def test_machines_get_one_document(oaq):
    code, out, _ = oaq("calibrate", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["file"] == str(calibrated_file())
    assert document["costs"]["cpu"] == "measured here"
    assert document["error"]["gemm_u8s8_avx2_acc16"]["median"] == pytest.approx(0.04)


def test_plans_use_it_when_asked_and_a_damaged_one_is_named(oaq, sealed, monkeypatch):
    assert oaq("calibrate")[0] == 0
    monkeypatch.setenv("OAQ_COSTS", "calibrated")
    code, out, _ = oaq("bench", sealed, "--rounds", 1, "--explain", "--json")
    assert code == 0
    assert {plan["predicted_for"] for plan in json.loads(out)["plans"].values()} == {"measured here"}
    calibrated_file().write_text("{")
    code, _, err = oaq("bench", sealed, "--rounds", 1)
    assert code == 2
    assert str(calibrated_file()) in err
    assert "is not a cost table" in err


def test_explain_has_its_columns_and_help_says_what_they_mean(oaq, sealed):
    code, out, _ = oaq("bench", sealed, "--rounds", 1, "--explain")
    assert code == 0
    head = next(line for line in out.splitlines() if line.startswith("node"))
    for column in ("operator", "kernel row", "us", "%", "predicted", "GMAC/s", "limit", "spills", "run"):
        assert column in head
    assert "predicted by the costs of " in out
    help_text = oaq("bench", "--help")[1]
    assert "percent of this row's limit" in help_text
    assert "how often the sum of one output leaves its narrow lanes" in help_text


def test_rows_are_added_to_the_table_that_plans_use(oaq, measured, monkeypatch, tmp_path):
    monkeypatch.setattr(other_cases, "SHAPES", other_cases.SHAPES[:6])
    every = measure.gemm_cases
    monkeypatch.setattr(measure, "gemm_cases", lambda row: every(row)[:4])
    path = tmp_path / "more.json"
    code, out, err = oaq("calibrate", "--rows", "coarsen_u8_scalar", "--rounds", 1, "--out", path)
    assert code == 0, err
    before, after = shipped_costs(), load_costs(path)
    assert not measured and (after.cpu, after.cache) == (before.cpu, before.cache)
    assert set(after.rows) == {*before.rows, "coarsen_u8_scalar"}
    changed = {name for name, costs in after.rows.items() if before.rows.get(name) != costs}
    assert changed == {"coarsen_u8_scalar"}
    assert all(cost > 0 for cost in after.rows["coarsen_u8_scalar"].values())
    assert after.facts["coarsen_u8_scalar"].family == "coarsen"
    assert dict(after.stamp)["coarsen_u8_scalar"].startswith(f"{environment().cpu}, times ")
    assert "coarsen_u8_scalar" in out and "gemm_u8s8_avx2_acc16" not in out
    code, _, err = oaq("calibrate", "--rows", "coarsen_u8", "--out", path)
    assert code == 2 and "row 'coarsen_u8' is not timed on this CPU; those that are: " in err
    assert oaq("calibrate", "--rows", "coarsen_u8_scalar", "--rounds", 0, "--out", path)[0] == 2
