"""Verbs on TFLite files that end in an operator without integers of ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="NOT RUN: ai-edge-litert holds the schema and the interpreter")

from tests.mixed.test_tflite import Layers, inputs, litert


def test_verbs_take_such_files(oaq, native: None, tmp_path: Path) -> None:
    layers = Layers()
    path = layers.save(tmp_path / "net.tflite", layers.softmax(layers.dense(layers.x)))
    np.save(tmp_path / "x.npy", inputs()[5])
    code, _, err = oaq("run", path, "--input", tmp_path / "x.npy", "--save", tmp_path / "y.npy")
    assert code == 0 and "not proved: DequantizeLinear, Softmax, QuantizeLinear" in err
    assert np.abs(np.load(tmp_path / "y.npy").astype(int) - litert(path, inputs()[5])[0].astype(int)).max() <= 1
    assert oaq("bench", path, "--rounds", 2, "--isa", "scalar")[0] == 0
    assert oaq("report", path)[0] == 0
    code, out, err = oaq("verify", path, "--quick")
    assert code == 0 and out.startswith("net: SAFE") and "does not speak of its float regions" in err
