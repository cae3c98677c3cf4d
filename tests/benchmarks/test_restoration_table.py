"""The tables of restoration hold what result files hold, and say what was not run."""

from __future__ import annotations

from pathlib import Path

from benchmarks import restoration_table
from recipes import result_file
from recipes.ledger import LABEL
from recipes.result_file import Result, stamp


def test_files_that_are_not_there_were_not_run(tmp_path: Path) -> None:
    assert restoration_table.block(tmp_path).count("not run.") == len(restoration_table.FILES)


def test_rows_have_every_head_of_their_file(tmp_path: Path) -> None:
    rows = (((LABEL, "float"), ("PSNR, dB", "36.56")), ((LABEL, "W8 / A8"), ("PSNR, dB", "36.46"), ("runs", "17.0")))
    result_file.store(Result("qpan", "python", stamp(), rows=rows), tmp_path, "qpan_slices")
    lines = restoration_table.block(tmp_path).splitlines()
    assert lines[0] == "| MR slices at 20 %, ISTA-Net+ | PSNR, dB | runs |"
    assert lines[2:4] == ["| float | 36.56 | - |", "| W8 / A8 | 36.46 | 17.0 |"]
