"""The stamp."""

from __future__ import annotations

from importlib import metadata

from oaq.report import codec
from oaq.report.environment import commit, cpu_name, environment, installed_commit


def test_names_the_cpu_with_family_and_model(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text(
        "processor\t: 0\nmodel name\t: Example CPU\ncpu family\t: 25\nmodel\t\t: 17\n\nprocessor\t: 1\nmodel\t: 9\n"
    )
    assert cpu_name(info) == "Example CPU (family 25, model 17)"
    assert cpu_name(tmp_path / "none")


def test_the_commit_of_an_installation_from_a_repository_is_what_pip_recorded(monkeypatch):
    def recorded(text):
        monkeypatch.setattr(metadata.PathDistribution, "read_text", lambda self, name: text)
        return installed_commit()

    assert recorded('{"url": "x", "vcs_info": {"vcs": "git", "commit_id": "0123456789abcdef"}}') == "0123456789ab"
    for text in ('{"url": "file:///tmp/oaq", "dir_info": {}}', None, "not JSON", "[]"):
        assert recorded(text) == ""


def test_outside_a_source_tree_there_is_no_commit(tmp_path):
    assert commit(tmp_path) == ""


def test_the_stamp_is_plain_values_and_leaves_out_what_is_not_installed(monkeypatch):
    monkeypatch.setenv("OAQ_ISA", "scalar")
    made = environment(("numpy", "surely-not-installed"))
    assert [name for name, _ in made.versions] == ["numpy"]
    assert made.forced_isa == "scalar"
    codec.encode(made)
