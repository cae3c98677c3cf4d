"""Result files: where they belong, and that a run without ``--record`` leaves those that documents compare with."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import harness
from oaq.report.data import Latency
from recipes.result_file import cpu_folder
from tests.report import samples


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both places, elsewhere."""
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(harness, "SCRATCH", tmp_path / "build")
    return tmp_path


def result(benchmark: str) -> harness.Result:
    latency = samples.full(1).latency
    assert isinstance(latency, Latency)
    facts, rows = (("MACs", "1"),), ((("a", "b"),),)
    return harness.Result(benchmark, "the command", samples.ENVIRONMENT, latency, facts, rows)


def test_a_result_comes_back_from_its_file() -> None:
    networks = result("networks")
    assert harness.load(harness.save(networks, "x", record=True)) == networks


@pytest.mark.parametrize(("record", "place"), [(True, "results"), (False, "build")])
def test_times_lie_in_a_folder_of_their_cpu_and_only_recorded_ones_among_the_results(
    record: bool, place: str, folders: Path
) -> None:
    cpu = cpu_folder(samples.ENVIRONMENT.cpu)
    assert harness.save(result("networks"), "x", record=record) == folders / place / cpu / "x.json"
    assert harness.save(result("fuzz"), "x", record=record) == folders / place / "x.json"
    other = {"results": "build", "build": "results"}[place]
    assert not (folders / other).exists()


def test_machines_stand_side_by_side(folders: Path) -> None:
    first = result("networks")
    second = replace(first, environment=replace(first.environment, cpu="Another CPU @ 2 GHz"))
    paths = [harness.save(one, "net-1t", record=True) for one in (first, second)]
    assert len(set(paths)) == 2
    assert list(harness.cpu_folders(folders / "results", "*-1t.json")) == sorted(path.parent for path in paths)
    assert not list(harness.cpu_folders(folders / "results", "*-1t.json", "micro.json"))


def test_record_is_asked_for_by_name() -> None:
    parser = argparse.ArgumentParser()
    harness.add_record(parser)
    assert not parser.parse_args([]).record
    assert parser.parse_args(["--record"]).record
