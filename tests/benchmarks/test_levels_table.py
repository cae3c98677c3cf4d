"""The table of few levels a channel: what files hold, "not run" for what they do not."""

from __future__ import annotations

from pathlib import Path

from benchmarks import levels_table
from benchmarks.harness import Result, stamp
from oaq.report.data import Latency, Timing
from recipes import result_file


def test_rows_of_both_experiments_stand_beside_each_other(tmp_path: Path) -> None:
    *lines, empty, times = levels_table.block(tmp_path).splitlines()
    assert (empty, times) == ("", "Times: not run.")
    assert all("not run" in line or "- |" in line for line in lines[2:])
    label = "DAQ static, mse, W8A4"
    photos = ((("levels", label), ("PSNR on Set5", "36.90"), ("runs on AVX2", "40.0 of 72")),)
    result_file.store(Result("daq", "x", stamp(), rows=photos), tmp_path, "daq_superres_x2")
    result_file.store(
        Result("daq", "x", stamp(), rows=((("levels", label), ("PSNR, dB", "34.4")),)), tmp_path, "daq_mri"
    )
    row = next(line for line in levels_table.block(tmp_path).splitlines() if line.startswith(f"| {label} "))
    assert row == f"| {label} | 36.90 | - | - | 40.0 of 72 | 34.4 |"


def test_rows_of_trained_levels_come_from_their_own_file(tmp_path: Path) -> None:
    label = "DAQ static, mse, W2A2, trained"
    for name, value in (("daq_superres_x2", "34.00"), ("daq_trained_x2", "35.50")):
        rows = ((("levels", label), ("PSNR on Set5", value)),)
        result_file.store(Result("daq", "x", stamp(), rows=rows), tmp_path, name)
        (row,) = (line for line in levels_table.block(tmp_path).splitlines() if line.startswith(f"| {label} "))
        assert row.split(" | ")[1] == value  # the later file wins


def test_times_are_told_beside_those_of_8_bits(tmp_path: Path) -> None:
    timings = tuple(
        Timing(f"{label}, avx2", True, "int8", "avx2", ms, ms, ms, 3, f"equal; runs of {runs} of 72 steps")
        for label, ms, runs in (("static, W4A4", 490.0, "72.0"), ("8 bits, no budget", 980.0, "18.5"))
    )
    latency = Latency(timings, 1, 1, "8 bits, no budget, avx2", ())
    result = Result("networks", "x", stamp(), latency)
    cpu = f"{result.environment.cpu}, avx2"
    assert levels_table.times_of(result) == [
        ("static, W4A4", cpu, "490", "2.00x", "72.0 of 72"),
        ("8 bits, no budget", cpu, "980", "1.00x", "18.5 of 72"),
    ]
    result_file.store(result, tmp_path, "levels_1t")
    assert f"| static, W4A4 | {cpu} | 490 | 2.00x | 72.0 of 72 |" in levels_table.block(tmp_path).splitlines()
