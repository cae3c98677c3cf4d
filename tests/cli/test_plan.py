"""``oaq plan``: what it prints and writes, for this machine and for another."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from oaq.capture.model_file import import_model
from oaq.kernels.plan import plan
from oaq.kernels.targets import TARGETS
from oaq.runtime.plan_file import proved_bytes
from tests.cli.test_doctor import one_conv
from tests.report import small

BY_LITERT = Path(__file__).parents[1] / "capture" / "from_tflite" / "by_litert"


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


def test_a_file_of_another_tool_is_planned_and_exported_like_ours(oaq, native, tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(one_conv(64), path)
    code, said, err = oaq("plan", path, "--target", "neon", "--out", tmp_path / "net.plan")
    assert (code, err) == (0, "") and said.startswith("net: proved for neon")
    assert (tmp_path / "net.plan").stat().st_size > 0
    code, _, err = oaq("export", path, "--out", tmp_path / "out.onnx")
    assert (code, err) == (0, "")
    assert oaq("verify", tmp_path / "out.onnx", "--quick")[0] == 0
    before, after = (import_model(tmp_path / name).program for name in ("net.onnx", "out.onnx"))
    (first,), (second,) = before.nodes, after.nodes
    assert (first.op.weight == second.op.weight).all() and (first.op.bias == second.op.bias).all()


@pytest.mark.parametrize(("file", "code"), [("int8-0", 0), ("add-uint8", 0), ("uint8-0", 2)])
def test_a_tflite_file_leaves_as_onnx_unless_it_rounds_in_fixed_point(oaq, native, tmp_path, file, code):
    out, path = tmp_path / "out.onnx", BY_LITERT / f"{file}.tflite"
    exit_code, _, err = oaq("export", path, "--out", out)
    assert exit_code == code
    if code:
        assert "requantizes by fixed_point; ONNX knows float scales only" in err and not out.exists()
        assert oaq("plan", path)[0] == 0
        return
    assert oaq("verify", out, "--quick")[0] == 0
    before, after = (
        [node.op.weight for node in import_model(place).program.nodes if hasattr(node.op, "weight")]
        for place in (path, out)
    )
    assert len(before) == len(after) > 0 and all(map(np.array_equal, before, after))
