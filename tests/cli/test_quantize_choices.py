"""``oaq quantize``: how ranges are chosen, inputs that are made up, programs of integers only."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import oaq as package

pytest.importorskip("torch")

NET = """
import torch

def make():
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.BatchNorm2d(8), torch.nn.ReLU6(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 5),
    )
    net(torch.randn(16, 3, 16, 16))
    return net.eval()

def plain():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())

def vectors():
    return torch.nn.Sequential(torch.nn.Linear(8, 5))
"""


@pytest.fixture
def work(tmp_path):
    (tmp_path / "choices_net.py").write_text(NET)
    (tmp_path / "data").mkdir()
    rng = np.random.default_rng(0)
    for index in range(4):
        np.save(tmp_path / "data" / f"{index}.npy", rng.normal(size=(3, 16, 16)).astype(np.float32))
    yield tmp_path
    sys.modules.pop("choices_net", None)


@pytest.mark.parametrize("semantics", ["float32_half_even", "fixed_point"])
def test_calibration_and_semantics_are_those_asked_for(oaq, native, work, semantics):
    out = work / "net.oaq"
    options = ("--calibration", "entropy", "--requantize", semantics)
    code, _, _ = oaq("quantize", f"{work}/choices_net.py:make", "--calibrate", work / "data", "--out", out, *options)
    assert code == 0
    program = package.load(out)
    assert program.requantize == semantics
    assert ", entropy," in program.metadata["quantized"]
    assert oaq("verify", out, "--quick")[0] == 0


@pytest.mark.parametrize("kind", [(), ("statistics",), ("pictures",)])
def test_without_data_inputs_are_made_up_and_the_file_says_so(oaq, native, work, kind):
    given = ("--synthetic", *kind, "--synthetic-count", 4, "--synthetic-steps", 2, "--size", 16, "--json")
    code, out, err = oaq("quantize", f"{work}/choices_net.py:make", "--out", work / "net.oaq", *given)
    assert code == 0
    assert "4 inputs that were made up" in err
    assert ("fell from" in err) == (kind != ("pictures",))
    notes = json.loads(out)["notes"]
    assert any("made up" in note and "no data" in note for note in notes)
    assert oaq("verify", work / "net.oaq", "--quick")[0] == 0


def test_what_cannot_be_made_up_or_written_is_one_line_and_no_file(oaq, work):
    for model, arguments, words in (
        ("plain", ("--synthetic", "--size", 16), "remembers no statistics of its data"),
        ("vectors", ("--synthetic",), "does not read images of one or three channels"),
        ("make", ("--synthetic", "--size", 16, "--mean", "0.5,0.5,0.5", "--std", "0.5"), "are 1 or 3 numbers each"),
        ("make", ("--calibrate", work / "data", "--synthetic-steps", 3), "are of --synthetic"),
        ("make", ("--synthetic", "--synthetic-count", 0, "--size", 16), "count is a whole number"),
    ):
        code, _, err = oaq("quantize", f"{work}/choices_net.py:{model}", "--out", work / "net.oaq", *arguments)
        assert code == 2
        assert words in err
        assert not (work / "net.oaq").exists()
    pytest.importorskip("onnx")
    given = ("--calibrate", work / "data", "--out", work / "net.onnx", "--requantize", "fixed_point")
    code, _, err = oaq("quantize", f"{work}/choices_net.py:make", *given)
    assert code == 2
    assert "ONNX knows float scales only" in err
