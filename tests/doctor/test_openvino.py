"""OpenVINO held to AVX2 does what the doctor says of it: which pairs saturate, which inputs break, what stays exact.

Each run is a process of its own, because oneDNN reads ``ONEDNN_MAX_CPU_ISA`` once.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from benchmarks.saturating_pairs import LAYERS, ask, meeting
from oaq.capture.from_onnx import import_quantized
from oaq.cli import main
from oaq.doctor import diagnose, registers_named
from oaq.doctor.sums import is_depthwise
from oaq.program import ops
from tests.cli.test_doctor import one_conv

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None or "avx2" not in Path("/proc/cpuinfo").read_text(encoding="ascii"),
    reason="NOT RUN: openvino is not installed, or this CPU has no AVX2",
)
TRIED = [layer for layer in LAYERS if str(layer) in ("Conv2d 1x1 of 40 channels, 8 x 8", "Linear 33")] + [
    next(layer for layer in LAYERS if layer.kernel == (3, 3) and layer.channels == 3),
    next(layer for layer in LAYERS if layer.groups == 36),
]
RUN = """
import sys, numpy, openvino
core = openvino.Core()
model = core.compile_model(core.read_model(sys.argv[1]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
numpy.save(sys.argv[3], model(numpy.load(sys.argv[2]))[0])
"""


def openvino(model: Path, x: NDArray[np.float32], isa: str) -> NDArray[np.float32]:
    """The first output, in a process held to ``isa``; "" is not held."""
    given, result = model.with_suffix(".in.npy"), model.with_suffix(f".{isa}.npy")
    np.save(given, x)
    environment = {**os.environ, **({"ONEDNN_MAX_CPU_ISA": isa} if isa else {})}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(model), str(given), str(result)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr[-2000:]
    return np.load(result)


def test_exactly_the_pairs_of_one_known_order_saturate() -> None:
    (model,) = registers_named(("avx2-acc32",))
    for layer, (pairs, kernel) in zip(TRIED, ask("openvino", TRIED, "AVX2"), strict=True):
        (_, program), *_ = layer.programs()
        op = program.nodes[0].op
        assert isinstance(op, ops.Conv2d | ops.Linear)
        if is_depthwise(op):
            assert not pairs, kernel
        else:
            assert pairs in [meeting(layer, order) for order in model.orders], (str(layer), kernel, sorted(pairs))
            assert pairs


def test_the_witness_makes_openvino_print_a_wrong_value(tmp_path: Path) -> None:
    onnx.save(one_conv(), path := tmp_path / "unsafe.onnx")
    assert main(["witness", str(path), "--isa", "avx2-acc32", "--at", "conv:0", "--out", str(tmp_path / "x.npy")]) == 0
    x = np.load(tmp_path / "x.npy")
    exact = np.full((1, 4, 8, 8), 4.0)  # four products of 1.0 * 1.0
    held = openvino(path, x, "AVX2")
    corner = held[0, 0, 0, 0]
    assert corner == pytest.approx(2 * 32767 / (255 * 127), abs=4 / 255)
    assert abs(corner - exact[0, 0, 0, 0]) > 1.9


def test_what_is_proved_stays_exact(tmp_path: Path) -> None:
    onnx.save(one_conv(64), path := tmp_path / "safe.onnx")
    imported = import_quantized(path)
    assert diagnose(imported.program, ["avx2-acc32"]).is_safe
    x = np.ones((1, 4, 8, 8), np.float32)
    np.testing.assert_array_equal(openvino(path, x, "AVX2"), openvino(path, x, ""))
