"""``oaq quantize`` from the command line to a file that ``oaq verify`` calls safe."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("oaq.ptq.quantize")

NET = """
import torch

def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.BatchNorm2d(8), torch.nn.ReLU6(),
        torch.nn.Conv2d(8, 8, 3, padding=1, groups=8), torch.nn.ReLU6(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 5),
    )

def unsupported():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.InstanceNorm2d(8))
"""


@pytest.fixture
def work(tmp_path):
    (tmp_path / "cli_net.py").write_text(NET)
    (tmp_path / "data").mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        np.save(tmp_path / "data" / f"{i}.npy", rng.normal(size=(3, 16, 16)).astype(np.float32))
    yield tmp_path
    sys.modules.pop("cli_net", None)


def test_a_network_becomes_a_file_that_is_safe(oaq, native, work):
    given = (f"{work}/cli_net.py:make", "--calibrate", work / "data", "--out", work / "net.oaq", "--size", 16)
    code, out, _ = oaq("quantize", *given, "--report", work / "net.html", "--json")
    assert code == 0
    made = json.loads(out)
    assert made["agreement"]["images"] == 4
    assert len(made["layers"]) == 3
    assert (work / "net.html").exists()
    assert oaq("verify", work / "net.oaq", "--quick")[0] == 0
    code, out, _ = oaq("run", work / "net.oaq", "--input", work / "data", "--json")
    assert len(json.loads(out)["samples"]) == 4


def test_what_cannot_be_quantized_is_one_clear_line_and_leaves_no_file(oaq, work):
    model, data, out = f"{work}/cli_net.py:make", work / "data", work / "net.oaq"
    (work / "empty").mkdir()
    (work / "nan").mkdir()
    np.save(work / "nan" / "x.npy", np.full((3, 16, 16), np.nan, np.float32))
    for arguments, words in (
        ((f"{work}/cli_net.py:unsupported", "--calibrate", data, "--out", out), "instance_norm"),
        ((model, "--calibrate", work / "empty", "--out", out), "holds no photo and no array"),
        ((model, "--calibrate", work / "nan", "--out", out), "NaN"),
        ((model, "--calibrate", work / "none", "--out", out), "no such file or folder"),
        ((model, "--calibrate", data, "--out", work / "no" / "net.oaq"), "is no folder that can be written to"),
        ((model, "--calibrate", data, "--out", out, "--limit", 0), "--limit 0"),
    ):
        code, _, err = oaq("quantize", *arguments)
        assert (code, words in err) == (2, True), err
        assert not out.exists()
