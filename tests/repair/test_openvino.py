"""A repaired file in OpenVINO held to AVX2, whose vpmaddubsw saturates: it computes what the reference does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.held_peer import outputs
from oaq import reference
from oaq.capture.from_onnx import import_quantized
from oaq.repair import repair
from tests.repair.test_repair import saved, two_layers

pytest.importorskip("openvino", reason="a peer of the bench extra")


def test_what_saturates_in_openvino_is_exact_once_repaired(tmp_path: Path) -> None:
    weight = np.random.default_rng(5).integers(60, 128, (4, 4, 1, 1)).astype(np.int8)
    light = {"ws0": np.full(4, 0.0005, np.float32), "ws1": np.full(4, 0.02, np.float32), "w1": np.eye(4, dtype=np.int8)}
    made = two_layers(w0=weight, **{**light, "w1": 50 * light["w1"].reshape(4, 4, 1, 1)})
    path, fixed = saved(tmp_path / "m.onnx", made), tmp_path / "fixed.onnx"
    repair(path).save(fixed)
    x = np.full((1, 4, 4, 4), 255 * 0.02, np.float32)
    wrong = {}
    for file in (path, fixed):
        program = import_quantized(file).program
        law = reference.run(program, np.full((1, 4, 4, 4), 255, np.uint8)).outputs[0].transpose(0, 3, 1, 2)
        spec = program.tensors[program.outputs[0]]
        steps = outputs(file, x, "AVX2") / spec.affine.scale + spec.affine.zero_point
        wrong[file] = np.abs(steps - law).max()
    assert wrong[path] > 10
    assert wrong[fixed] < 1.01  # one step: OpenVINO rounds in its own way
