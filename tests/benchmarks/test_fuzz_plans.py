"""Campaigns of changed plans: batches, the checkpoint, and a crash. The program here is a script that counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import fuzz_plans
from benchmarks.fuzz_plans import BATCH, Campaign, Crash, fuzz, read_checkpoint

SCRIPT = """#!/bin/sh
echo "$1 $2 $3" >> {log}
[ "$1" = {crash} ] && echo "case $1" >&2 && exit 7
echo "$(($2 - 5)) 2 3 4 500"
"""


def task(folder: Path, cases: int, crash: int = -1, seed: int = 9) -> Campaign:
    program, plan = folder / "fuzz_plans", folder / "0.plan"
    program.write_text(SCRIPT.format(log=folder / "log", crash=crash))
    program.chmod(0o755)
    plan.write_bytes(b"plan")
    return Campaign(cases, seed, program, (plan,))


def calls(folder: Path) -> list[str]:
    return sorted((folder / "log").read_text().splitlines())


def test_batches_cover_every_case_once_and_their_counts_are_added(tmp_path: Path) -> None:
    progress = fuzz(task(tmp_path, 2 * BATCH + 3), tmp_path / "checkpoint", processes=2)
    assert calls(tmp_path) == sorted([f"0 {BATCH} 9", f"{BATCH} {BATCH} 9", f"{2 * BATCH} 3 9"])
    assert list(progress.totals().values()) == [2 * BATCH + 3 - 15, 6, 9, 12]
    assert sum(progress.seconds.values()) == 1.5


def test_what_was_counted_is_not_run_again(tmp_path: Path) -> None:
    fuzz(task(tmp_path, BATCH), tmp_path / "checkpoint")
    progress = fuzz(task(tmp_path, 2 * BATCH), tmp_path / "checkpoint")
    assert calls(tmp_path) == sorted([f"0 {BATCH} 9", f"{BATCH} {BATCH} 9"])
    assert list(progress.totals().values()) == [2 * BATCH - 10, 4, 6, 8]


def test_a_batch_that_had_fewer_cases_is_run_again(tmp_path: Path) -> None:
    fuzz(task(tmp_path, 10), tmp_path / "checkpoint")
    fuzz(task(tmp_path, BATCH), tmp_path / "checkpoint")
    assert calls(tmp_path) == sorted(["0 10 9", f"0 {BATCH} 9"])


def test_a_crash_names_the_case_and_the_batches_before_it_are_kept(tmp_path: Path) -> None:
    with pytest.raises(Crash, match=rf"seed 9, cases from {BATCH} on: exit status 7\ncase {BATCH}"):
        fuzz(task(tmp_path, 3 * BATCH, crash=BATCH), tmp_path / "checkpoint")
    assert set(json.loads((tmp_path / "checkpoint").read_text())["batches"]) == {"0"}


@pytest.mark.parametrize("change", ["program", "plan", "seed"])
def test_counts_of_other_bytes_do_not_count(tmp_path: Path, change: str) -> None:
    fuzz(task(tmp_path, BATCH), tmp_path / "checkpoint")
    other = task(tmp_path, BATCH, seed=10 if change == "seed" else 9)
    assert bool(read_checkpoint(other, tmp_path / "checkpoint").outcomes) == (change != "seed")
    if change != "seed":
        path = other.program if change == "program" else other.plans[0]
        path.write_bytes(path.read_bytes() + b"\n")
        other = Campaign(BATCH, 9, other.program, other.plans)
        assert read_checkpoint(other, tmp_path / "checkpoint").outcomes == {}


def test_a_short_campaign_writes_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_plans, "campaign", lambda cases, seed, folder: task(tmp_path, cases, seed=seed))
    monkeypatch.setattr(fuzz_plans, "BUILD", tmp_path)
    monkeypatch.setattr(fuzz_plans, "write_result", lambda *_, **__: pytest.fail("a result of a short campaign"))
    assert fuzz_plans.main(["--cases", "10", "--seed", "4"]) == 0
    assert calls(tmp_path) == ["0 10 4"]
    assert fuzz_plans.main(["--cases", "10", "--seed", "4"]) == 0
    assert calls(tmp_path) == ["0 10 4"]


def test_plans_hold_tables_of_residues_too() -> None:
    programs = [program for index in range(12) for program in fuzz_plans.drawn_program(index)]
    summing = [program for program in programs if list(program.summing_nodes())]
    assert summing
    for bits in (2, 10):
        for program in summing:
            changed = fuzz_plans.with_tables(program, bits)
            assert {node.products.wrap_bits for node in changed.summing_nodes()} == {bits}
