"""The table of few levels a channel: what files hold, "not run" for what they do not."""

from __future__ import annotations

from pathlib import Path

from benchmarks import levels_table
from benchmarks.harness import Result, stamp
from recipes import result_file


def test_rows_of_both_experiments_stand_beside_each_other(tmp_path: Path) -> None:
    lines = levels_table.block(tmp_path).splitlines()
    assert all("not run" in line or "- |" in line for line in lines[2:])
    label = "DAQ static, mse, W8A4"
    photos = ((("levels", label), ("PSNR on Set5", "36.90"), ("runs on AVX2", "40.0 of 72")),)
    result_file.store(Result("daq", "x", stamp(), rows=photos), tmp_path, "daq_superres_x2")
    result_file.store(
        Result("daq", "x", stamp(), rows=((("levels", label), ("PSNR, dB", "34.4")),)), tmp_path, "daq_mri"
    )
    row = next(line for line in levels_table.block(tmp_path).splitlines() if line.startswith(f"| {label} "))
    assert row == f"| {label} | 36.90 | - | - | 40.0 of 72 | 34.4 |"
