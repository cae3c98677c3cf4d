"""``oaq plan``: what it prints and writes, for this machine and for another."""

from __future__ import annotations

import json

import pytest

from oaq.kernels.plan import plan
from oaq.kernels.targets import TARGETS
from oaq.runtime.plan_file import proved_bytes
from tests.report import small


@pytest.mark.parametrize("target", TARGETS)
def test_a_plan_for_any_target_is_written_on_any_machine(oaq, sealed, tmp_path, target):
    out = tmp_path / "net.plan"
    code, said, _ = oaq("plan", sealed, "--target", target, "--out", out)
    planned = plan(small.program(), table=target)
    assert code == 0
    assert out.read_bytes() == proved_bytes(planned)
    assert said.startswith(f"small: proved for {planned.isa}, predicted cost ")
    assert said.splitlines()[-1].endswith(f"MB, for {planned.isa}")


def test_without_a_target_it_is_a_plan_for_this_machine(oaq, native, sealed, tmp_path):
    code, said, _ = oaq("plan", sealed, "--isa", "scalar", "--json", "--out", tmp_path / "net.plan")
    document = json.loads(said)
    assert code == 0
    assert document["plan"]["isa"] == "scalar"
    assert document["written"]["bytes"] == (tmp_path / "net.plan").stat().st_size


def test_an_instruction_set_of_this_machine_and_a_target_contradict_each_other(oaq, sealed):
    code, out, err = oaq("plan", sealed, "--isa", "scalar", "--target", "neon")
    assert (code, out) == (2, "")
    assert "give one of them" in err
