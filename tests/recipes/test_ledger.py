"""Ledgers: rows of an earlier run are taken where source and settings are the same, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from oaq.errors import FormatError
from recipes import result_file
from recipes.ledger import Ledger, conclude, files_digest, files_in


def test_rows_of_a_run_that_stopped_are_not_measured_again(tmp_path: Path) -> None:
    path, measured = tmp_path / "table.json", list[str]()

    def measure(label: str) -> tuple[tuple[str, str], ...]:
        measured.append(label)
        return (("PSNR", label),)

    first = Ledger(path, "command", ())
    first.row("a", lambda: measure("a"))
    first.row("b", lambda: measure("b"))
    second = Ledger(path, "command", ())
    second.row("c", lambda: measure("c"))
    assert len(Ledger(path, "command", ())._earlier) == 3  # what has not come yet is not lost
    second.row("a", lambda: measure("a"))
    assert measured == ["a", "b", "c"]
    assert [dict(row)["levels"] for row in second.result().rows] == ["c", "a"]
    third = Ledger(path, "command", (), anew=True)
    third.row("a", lambda: measure("a"))
    assert measured[-1] == "a"


def test_rows_of_other_settings_or_of_another_source_are_measured_again(tmp_path: Path) -> None:
    path, measured = tmp_path / "table.json", list[str]()

    def row_with(steps: str) -> dict[str, str]:
        def measure() -> tuple[tuple[str, str], ...]:
            measured.append(steps)
            return (("PSNR", steps),)

        return dict(Ledger(path, "command", (), facts=(("steps", steps),)).row("a", measure))

    assert [row_with(steps)["PSNR"] for steps in ("10", "10", "20", "20")] == ["10", "10", "20", "20"]
    assert measured == ["10", "20"]
    earlier = result_file.load(path)
    result_file.write(replace(earlier, environment=replace(earlier.environment, commit="another")), path)
    row_with("20")
    assert measured == ["10", "20", "20"]


def test_a_label_may_be_of_several_columns(tmp_path: Path) -> None:
    heads, path = ("table", "weights"), tmp_path / "table.json"
    first = Ledger(path, "command", (), heads=heads).row(("forms", "W8"), lambda: (("SQNR", "1"),))
    assert first == (("table", "forms"), ("weights", "W8"), ("SQNR", "1"))
    assert Ledger(path, "command", (), heads=heads).row(("forms", "W8"), lambda: (("SQNR", "2"),)) == first
    assert dict(Ledger(path, "command", (), heads=heads).row(("other", "W8"), lambda: (("SQNR", "2"),)))["SQNR"] == "2"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]"])
def test_a_damaged_file_of_rows_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.json"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="Delete it to begin anew"):
        Ledger(path, "command", ())


def test_files_are_told_apart_by_content_and_name(tmp_path: Path) -> None:
    for name, content in (("a", b"1"), ("b", b"2")):
        (tmp_path / name).write_bytes(content)
    digest = files_digest(files_in(tmp_path))
    (tmp_path / "b").rename(tmp_path / "c")
    renamed = files_digest(files_in(tmp_path))
    (tmp_path / "c").write_bytes(b"3")
    assert len({digest, renamed, files_digest(files_in(tmp_path))}) == 3
    assert files_in(tmp_path / "missing") == []
    with pytest.raises(FormatError, match="missing: cannot be read"):
        files_digest([tmp_path / "missing"])


def test_a_table_without_rows_is_neither_printed_nor_recorded(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="leaves no row"):
        conclude(Ledger(tmp_path / "table.json", "command", ()).result(), "table", record=True)
