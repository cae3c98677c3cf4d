"""The table of networks that enlarge: what files hold, "not run" for what they do not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from benchmarks import superres_table
from benchmarks.harness import Result, stamp
from recipes import result_file
from tests.benchmarks.test_tasks_table import _latency, timing


def test_scores_and_times_stand_beside_each_other(tmp_path: Path) -> None:
    assert superres_table.block(tmp_path).endswith("Times: not run.\n")
    facts = (("PSNR on Set5, 5 photos, bicubic / float / int16", "33.67 / 36.60 / 36.55"),)
    result_file.store(Result("superres", "x", stamp(), facts=facts), tmp_path, "superres_espcn-x2")
    row = superres_table.block(tmp_path).splitlines()[2]
    assert row == "| espcn-x2 | 33.67 / 36.60 / 36.55 | not run | not run | not run | not run | not run |"
    timings = (
        timing("oaq avx2", "avx2", 66.2, ours=True),
        timing("oaq avx2, in panes", "avx2", 70.0, ours=True),
        timing("openvino 1 int8", "best of the CPU", 36.8, ours=False),
        timing("openvino 1 int8, held to AVX2", "avx2", 126.7, ours=False),
    )
    latency = dataclasses.replace(_latency(), timings=timings)
    assert superres_table.times_of(latency) == ("66.2", "not run", "not run", "36.8", "126.7", "not run")
