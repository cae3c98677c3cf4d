"""OpenVINO held to AVX2 does what the doctor says of it: which pairs saturate, which inputs break, what stays exact.

Each run is a process of its own, because oneDNN reads ``ONEDNN_MAX_CPU_ISA`` once.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.held_peer import outputs
from benchmarks.saturating_pairs import LAYERS, ask, meeting
from oaq import operators as ops
from oaq.capture.from_onnx import import_quantized
from oaq.cli import main
from oaq.doctor import diagnose, registers_named
from tests.cli.test_doctor import one_conv

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None or "avx2" not in Path("/proc/cpuinfo").read_text(encoding="ascii"),
    reason="NOT RUN: openvino is not installed, or this CPU has no AVX2",
)
TRIED = [layer for layer in LAYERS if str(layer) in ("Conv2d 1x1 of 40 channels, 8 x 8", "Linear 33")] + [
    next(layer for layer in LAYERS if layer.kernel == (3, 3) and layer.channels == 3),
    next(layer for layer in LAYERS if layer.groups == 36),
]


def test_exactly_the_pairs_of_one_known_order_saturate() -> None:
    (model,) = registers_named(("avx2-acc32",))
    for layer, (pairs, kernel) in zip(TRIED, ask("openvino", TRIED, "AVX2"), strict=True):
        (_, program), *_ = layer.programs()
        op = program.nodes[0].op
        assert isinstance(op, ops.Products)
        if op.is_depthwise():
            assert not pairs, kernel
        else:
            assert pairs in [meeting(layer, order) for order in model.orders], (str(layer), kernel, sorted(pairs))
            assert pairs


def test_the_witness_makes_openvino_print_a_wrong_value(tmp_path: Path) -> None:
    onnx.save(one_conv(), path := tmp_path / "unsafe.onnx")
    assert (
        main(["witness", str(path), "--registers", "avx2-acc32", "--at", "conv:0", "--out", str(tmp_path / "x.npy")])
        == 0
    )
    x = np.load(tmp_path / "x.npy")
    exact = np.full((1, 4, 8, 8), 4.0)  # four products of 1.0 * 1.0
    held = outputs(path, x, "AVX2")
    corner = held[0, 0, 0, 0]
    assert corner == pytest.approx(2 * 32767 / (255 * 127), abs=4 / 255)
    assert abs(corner - exact[0, 0, 0, 0]) > 1.9


def test_what_is_proved_stays_exact(tmp_path: Path) -> None:
    onnx.save(one_conv(64), path := tmp_path / "safe.onnx")
    imported = import_quantized(path)
    assert diagnose(imported.program, ["avx2-acc32"]).is_safe
    x = np.ones((1, 4, 8, 8), np.float32)
    np.testing.assert_array_equal(outputs(path, x, "AVX2"), outputs(path, x, ""))
