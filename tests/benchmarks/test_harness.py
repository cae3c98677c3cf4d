"""Result files."""

from __future__ import annotations

from benchmarks import harness
from oaq.report.data import Latency
from tests.report import samples


def test_a_result_comes_back_from_its_file(tmp_path):
    latency = samples.full(1).latency
    assert isinstance(latency, Latency)
    facts, rows = (("MACs", "1"),), ((("a", "b"),),)
    result = harness.Result("networks", "python -m benchmarks.networks", samples.ENVIRONMENT, latency, facts, rows)
    assert harness.load(harness.save(result, "x", tmp_path)) == result
