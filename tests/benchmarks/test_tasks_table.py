"""The table of tasks: what files hold, "not run" for what they do not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from benchmarks import tasks_table
from benchmarks.harness import RESULTS, Result, stamp
from oaq.report.data import Latency, Timing
from recipes import result_file


def timing(name: str, isa: str, ms: float, *, ours: bool) -> Timing:
    base = {"name": name, "ours": ours, "precision": "int8", "isa": isa, "median_ms": ms}
    fields = {field.name: field for field in dataclasses.fields(Timing)}
    rest = {name: 0.0 if "ms" in name or name in ("spread", "ratio") else "" for name in fields if name not in base}
    return Timing(**base, **rest)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = tuple(
        (("set", "scenes"), ("network", side), ("mIoU", value))
        for side, value in (("float", "50.00"), ("int16, proved", "49.80"), ("int8, OpenVINO held to AVX2", "20.10"))
    )
    result_file.store(Result("segmentation_peers", "x", stamp(), rows=rows), tmp_path, "segmentation_peers_deeplab")
    return tmp_path


def test_what_no_file_holds_is_not_run(folder: Path) -> None:
    assert tasks_table.block(folder / "nowhere") == "Not run.\n"
    (line,) = tasks_table.lines_of(folder)
    assert line.task == "segment" and line.figures == {"float": "50.00", "ptq": "49.80", "int8 held": "20.10"}
    row = tasks_table.block(folder).splitlines()[2]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[3:] == ["50.00", *["not run"] * 1, "20.10", "not run", "not run", "49.80", *["not run"] * 3]


def test_networks_that_enlarge_have_a_line_of_psnr(tmp_path: Path) -> None:
    facts = (
        ("PSNR on Set5, 5 photos, bicubic / float / int16", "33.67 / 36.60 / 36.55"),
        ("PSNR of int16 with float for the truth, Set5", "53.41"),
    )
    result_file.store(Result("superres", "x", stamp(), facts=facts), tmp_path, "superres_espcn-x2")
    (line,) = tasks_table.lines_of(tmp_path)
    assert (line.network, line.metric) == ("ESPCN, x2, 1080p out", "PSNR on Set5, dB")
    assert line.figures == {"float": "36.60", "ptq": "36.55"}


def test_times_are_of_the_same_instruction_set_on_both_sides() -> None:
    timings = (
        timing("oaq avx2", "avx2", 2.0, ours=True),
        timing("oaq avx2, 32-bit sums", "avx2", 3.0, ours=True),
        timing("oaq vnni", "vnni", 1.0, ours=True),
        timing("openvino 1 int8", "best of the CPU", 1.5, ours=False),
        timing("openvino 1 int8, held to AVX2", "avx2", 4.0, ours=False),
        timing("openvino 1 int8, held to AVX512_CORE", "avx512bw", 3.5, ours=False),
        timing("onnxruntime 1 int8", "best of the CPU", 1.2, ours=False),
        timing("onnxruntime 1 int8, held to AVX2", "avx2", 3.0, ours=False),
    )
    latency = dataclasses.replace(_latency(), timings=timings)
    assert tasks_table.times_of(latency) == ("2.00 / 4.00", "1.00 / 1.50")
    assert tasks_table.times_of(dataclasses.replace(latency, timings=())) == ("not run", "not run")
    assert tasks_table.times_of(dataclasses.replace(latency, timings=timings[:1])) == ("2.00 / not run", "not run")


def _latency() -> Latency:
    path = next(RESULTS.glob("*/ssd-mobilenet-v2_1t.json"))
    latency = result_file.load(path).latency
    assert latency is not None
    return latency
