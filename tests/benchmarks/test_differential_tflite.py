"""Random TFLite graphs against LiteRT: the short version of ``benchmarks.differential_tflite``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="NOT RUN: ai-edge-litert is what is compared with")

from benchmarks.differential_tflite import campaign, read_state
from benchmarks.tflite_random.graphs import draw, judge

GRAPHS = 120


def test_every_integer_is_litert_s_or_named(tmp_path: Path) -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    sys.stdout.write(f"python -m benchmarks.differential_tflite --seed {seed} --graphs {GRAPHS}\n")
    total = campaign(tmp_path, seed, 1, GRAPHS)
    assert not total.unexplained, (seed, total.unexplained)
    assert total.graphs["equal"] >= GRAPHS // 2, total.graphs


def test_progress_is_taken_up_again_and_a_graph_is_drawn_the_same(tmp_path: Path) -> None:
    first = campaign(tmp_path, 7, 1, 6)
    following, tally = read_state(tmp_path / "part0.json", 0)
    assert following == 6 and tally == first
    assert campaign(tmp_path, 7, 1, 6) == first
    assert draw(7, 3)[0] == draw(7, 3)[0]
    assert judge(7, 3) == judge(7, 3)
