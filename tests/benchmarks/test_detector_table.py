"""The tables of detectors of integers alone hold what result files hold, and say what was not run."""

from __future__ import annotations

from pathlib import Path

from benchmarks import detector_table
from recipes import result_file
from recipes.result_file import Result, stamp


def test_files_that_are_not_there_were_not_run(tmp_path: Path) -> None:
    assert detector_table.block(tmp_path).count("not run.") == 2


def test_rows_that_are_not_there_were_not_run(tmp_path: Path) -> None:
    rows = ((("row", "float-levels"), ("AP", "20.1"), ("AP50", "33.2")),)
    result_file.store(Result("aqd", "python -m recipes.aqd", stamp(), None, (("requantize", "fixed_point"),), rows),
                      tmp_path, "aqd")  # fmt: skip
    facts = (("layers proved, for every input", "76 of 76"),)
    published = Result("detection", "python -m recipes.detection --fixed-point", stamp(), facts=facts)
    result_file.store(published, tmp_path, detector_table.PUBLISHED)
    lines = detector_table.block(tmp_path).splitlines()
    assert lines[0] == "requantize: fixed_point. `python -m recipes.aqd`."
    assert lines[2] == "| row | AP | AP50 |" and lines[4] == "| float-levels | 20.1 | 33.2 |"
    assert "| levels-2 | not run | not run |" in lines
    assert "| layers proved, for every input | 76 of 76 |" in lines
