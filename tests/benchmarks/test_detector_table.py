"""The tables of detectors of integers alone hold what result files hold, and say what was not run."""

from __future__ import annotations

from pathlib import Path

from benchmarks import detector_table
from recipes import result_file
from recipes.result_file import Result, stamp


def test_files_that_are_not_there_were_not_run(tmp_path: Path) -> None:
    assert detector_table.block(tmp_path).count("not run.") == 2


def test_rows_that_are_not_there_were_not_run(tmp_path: Path) -> None:
    same = ("layers in 16-bit lanes, no spill", "27 of 34"), ("outputs that differ", "0 of 5")
    rows = tuple(
        (("row", "float-levels"), ("seed", str(seed)), ("AP", score), ("AP50", "33.2"), *same)
        for seed, score in enumerate(("20.1", "20.6"))
    )
    result_file.store(Result("aqd", "python -m recipes.aqd", stamp(), None, (("requantize", "fixed_point"),), rows),
                      tmp_path, "aqd")  # fmt: skip
    facts = (("layers proved, for every input", "76 of 76"),)
    published = Result("detection", "python -m recipes.detection --fixed-point", stamp(), facts=facts)
    result_file.store(published, tmp_path, detector_table.PUBLISHED)
    lines = detector_table.block(tmp_path).splitlines()
    assert lines[0] == "requantize: fixed_point. `python -m recipes.aqd`."
    assert "| float-levels | 20.4 | 20.1, 20.6 | 33.2 | 33.2, 33.2 | 27 of 34 | 0 of 5 |" in lines
    assert f"| levels-2 |{' not run |' * 6}" in lines
    assert "| layers proved, for every input | 76 of 76 |" in lines
