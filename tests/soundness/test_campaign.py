"""A short campaign with a new seed each run, and that a campaign goes on where it ended."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from benchmarks.soundness import campaign as campaigns
from benchmarks.soundness.__main__ import main
from benchmarks.soundness.campaign import BATCH, Campaign, OtherCode
from benchmarks.soundness.subject import Report, examine, executors

FRESH = 800
"""Programs of a new seed that are examined in every run."""
FIXED = 5
"""A seed of which the first programs are examined in every run."""


def test_programs_of_a_new_seed_are_what_the_law_says() -> None:
    """To repeat it: python -m benchmarks.soundness --seed SEED --only INDEX, both in the message."""
    seed, machine, report = secrets.randbelow(1 << 32), executors(), Report()
    print(f"seed {seed}")  # noqa: T201 (shown where the test fails)
    for index in range(FRESH):
        examine(seed, index, machine, report)
    assert not report.differences, f"seed {seed}: {report.differences[:3]}"
    assert report.counts["programs"] == FRESH


def test_programs_of_a_fixed_seed_are_what_the_law_says_and_meet_every_edge() -> None:
    report, machine = Report(), executors()
    for index in range(800):
        examine(FIXED, index, machine, report)
    assert not report.differences
    for name in ("ties", "empty_windows", "partly_padded"):
        assert report.counts[f"edges: {name}"], name
    rows = [row for family in machine.rows.values() for row in family]
    for name in (*machine.isas, *rows):
        assert report.counts[f"executor: {name}"], name
    for name in (
        "refusal judged: an input leaves 32 bits",
        "refused: sums of Add may be infinite",
        "layers whose sums wrap by design",
    ):
        assert report.counts[name], name
    for axes in (1, 2, 3):
        for name in ("Conv2d", "MaxPool", "AvgPool", "GlobalAvgPool", "Pad", "Gather"):
            assert report.counts[f"nodes over {axes} axes: {name}"], (axes, name)


def test_a_campaign_goes_on_where_it_ended_and_not_on_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examined: list[int] = []

    def examine_quickly(job: tuple[int, int, int]) -> tuple[Report, float]:
        examined.append(job[1] // BATCH)
        report = Report()
        report.counts["programs"] += job[2] - job[1]
        return report, 1.0

    def reports(campaign: Campaign, missing: list[int]):
        for batch in missing:
            yield batch, examine_quickly((campaign.seed, batch * BATCH, (batch + 1) * BATCH))

    monkeypatch.setattr(campaigns, "_reports", reports)
    path = tmp_path / "result.json"
    campaigns.run(Campaign(2 * BATCH, 5, 1, path))
    progress = campaigns.run(Campaign(4 * BATCH, 5, 1, path))
    assert examined == [0, 1, 2, 3]
    assert progress.report.counts["programs"] == 4 * BATCH
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["complete"] and content["batches"] == [[0, 3]] and content["differences"] == []
    with pytest.raises(OtherCode, match="another tree or seed"):
        campaigns.run(Campaign(4 * BATCH, 6, 1, path))


def test_a_program_that_differs_is_written_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def differ(seed: int, index: int, machine: object, report: Report) -> None:
        report.differences.append((index, ["t1 is 3, the law says 4"]))

    monkeypatch.setattr("benchmarks.soundness.__main__.examine", differ)
    out = tmp_path / "result.json"
    monkeypatch.setattr("sys.argv", ["soundness", "--seed", "1", "--only", "0", "--out", str(out)])
    assert main() == 1
    assert "t1 is 3, the law says 4" in capsys.readouterr().out
    assert (tmp_path / "result.1-0.oaq").exists()
    assert "--seed 1 --only 0" in (tmp_path / "result.1-0.txt").read_text(encoding="utf-8")
