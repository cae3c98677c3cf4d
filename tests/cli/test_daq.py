"""``oaq quantize --daq``: few levels a channel from the command line, and what does not go together."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

pytest.importorskip("torch")

NET = """
import torch

def make():
    torch.manual_seed(0)
    convolution = lambda a, b: torch.nn.Conv2d(a, b, 3, padding=1)
    return torch.nn.Sequential(
        convolution(3, 6), convolution(6, 6), torch.nn.ReLU(), convolution(6, 6), torch.nn.ReLU(), convolution(6, 3)
    )
"""


@pytest.fixture
def work(tmp_path):
    (tmp_path / "levels_net.py").write_text(NET)
    (tmp_path / "data").mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        np.save(tmp_path / "data" / f"{i}.npy", rng.normal(size=(3, 12, 12)).astype(np.float32))
    yield tmp_path
    sys.modules.pop("levels_net", None)


@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_levels_reach_the_file_and_it_is_safe(oaq, native, work, mode):
    call = (f"{work}/levels_net.py:make", "--calibrate", work / "data", "--out", work / "net.oaq", "--size", 12)
    choices = ("--daq", mode, "--daq-bits", 3, "--daq-table", "gauss", "--daq-weight-bits", 4, "--daq-layers", "[12]|3")
    code, out, _ = oaq("quantize", *call, *choices, "--daq-mixed", "--json")
    assert code == 0 and len(json.loads(out)["layers"]) == 4
    code, out, _ = oaq("verify", work / "net.oaq", "--quick")
    assert code == 0
    from oaq import load

    assert load(work / "net.oaq").metadata["quantized"].startswith(f"DAQ {mode} W4A3, gauss, mixed")


def test_what_does_not_go_together_is_one_clear_line(oaq, work):
    call = (f"{work}/levels_net.py:make", "--calibrate", work / "data", "--out", work / "net.oaq", "--size", 12)
    for choices, words in (
        (("--daq-bits", 3), "--daq-bits: goes with --daq static or --daq dynamic"),
        (("--daq", "static", "--budget", "1.1"), "--budget 1.1 and --daq both decide"),
        (("--daq", "static", "--daq-bits", 9), "daq: bits: 2 to 6 bits, not 9"),
        (("--daq", "dynamic", "--daq-sigma-bits", 4), "dynamic steps are whole numbers already"),
        (("--daq", "static", "--weights", "piecewise"), "daq says what bits layers and their weights have"),
        (("--daq", "static", "--daq-layers", "none"), "no layer reads levels"),
    ):
        code, _, err = oaq("quantize", *call, *choices)
        assert code == 2 and words in err, err
        assert not (work / "net.oaq").exists()


def test_dynamic_levels_are_refused_as_onnx_before_anything_is_quantized(oaq, work):
    call = (f"{work}/levels_net.py:make", "--calibrate", work / "data", "--out", work / "net.onnx", "--size", 12)
    code, _, err = oaq("quantize", *call, "--daq", "dynamic")
    assert code == 2 and "ONNX has no integers for exact statistics; write an .oaq file" in err
    code, _, _ = oaq("quantize", *call, "--daq", "static")
    assert code == 0 and oaq("verify", work / "net.onnx")[0] == 0
