"""The demo's refusals: one line on standard error, an exit code, nothing half-written. No network here."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import oaq
from recipes import demo
from recipes.data.packages import FetchError
from recipes.networks import NETWORKS


def failing(error: Exception):
    def fetch(*_: object) -> None:
        raise error

    return fetch


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FetchError("toy 1.0: pip cannot fetch it"), 2),
        (oaq.CalibrationError("no photos"), 2),
        (oaq.AccumulatorOverflow("a sum can leave s32"), 1),
        (oaq.Mismatch("two executors differ"), 1),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    tmp_path: Path, monkeypatch, capsys, error: Exception, code: int
) -> None:
    broken = dataclasses.replace(NETWORKS["resnet18"], make=failing(error))
    monkeypatch.setitem(demo.NETWORKS, "resnet18", broken)
    assert demo.main(["resnet18", "--out", str(tmp_path)]) == code
    assert capsys.readouterr().err == f"demo: {error}\n"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_output_folder_that_cannot_be_made_is_said_before_any_work(tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("")
    assert demo.main(["resnet18", "--out", str(tmp_path / "file")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("demo: ")
    assert "Not a directory" in err


@pytest.mark.parametrize("arguments", [["resnet50"], ["--images", "many"], ["--budget", "cheap"]])
def test_a_wrong_argument_is_a_usage_error(arguments: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        demo.main(arguments)
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err
