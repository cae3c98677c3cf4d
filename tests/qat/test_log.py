"""The record of a training: what was counted comes back from the file, resumed or cut off."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from oaq.errors import FormatError
from oaq.qat import CsvLog, LayerState, plot, read_log
from oaq.qat.log import TABLE_HEADER, table


def states(iteration: int) -> list[LayerState]:
    return [
        LayerState(iteration, "conv, first", 1.5, 7.3, 6.9, 12, 4096, 1.25),
        LayerState(iteration, "fc", 1.0, 7.99, 8.0, 0, 64, 2.0, fallback=True),
    ]


def filled(path: Path) -> Path:
    log = CsvLog(path)
    for iteration in (50, 100, 150):
        log(states(iteration))
    return path


def test_states_come_back_equal(tmp_path: Path) -> None:
    assert read_log(filled(tmp_path / "a.csv")) == [*states(50), *states(100), *states(150)]


def test_a_cost_that_is_unknown_stays_so(tmp_path: Path) -> None:
    CsvLog(tmp_path / "a.csv")([LayerState(1, "a", 1.0, 8.0, 8.0, 0, 1)])
    assert read_log(tmp_path / "a.csv")[0].cost != read_log(tmp_path / "a.csv")[0].cost


def test_a_resumed_run_drops_what_comes_again(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.csv")
    CsvLog(path, after=100)(states(150))
    assert [one.iteration for one in read_log(path)] == [50, 50, 100, 100, 150, 150]


def test_a_new_run_begins_anew(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.csv")
    CsvLog(path)
    assert read_log(path) == []


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.csv")
    path.write_text(path.read_text()[:-20])
    assert read_log(path) == [*states(50), *states(100), states(150)[0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "has the columns iteration, layer"), ("a,b\n1,2\n", "not a, b"), (None, "cannot be read")],
)
def test_what_is_no_log_is_refused(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "a.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FormatError, match=words):
        read_log(path)


def test_a_line_that_is_no_state_is_named(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.csv")
    lines = path.read_text().splitlines()
    lines[2] = "x" + lines[2]
    path.write_text("\n".join(lines))
    with pytest.raises(FormatError, match=r"line 3: .* is not a state of a layer"):
        read_log(path)


def test_the_table_has_a_row_per_layer() -> None:
    rows = table(states(50))
    assert all(len(row) == len(TABLE_HEADER) for row in rows)
    assert rows[0] == ("conv, first", "1.50", "7.30", "6.90", "12", "4096")
    assert rows[1][1] == "32 bits"


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_the_plot_is_the_same_file_every_time(tmp_path: Path, ending: str) -> None:
    pytest.importorskip("matplotlib")
    for name in ("a", "b"):
        plot([*states(50), *states(100)], tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(FormatError, match="plots need the package matplotlib: pip install matplotlib"):
        plot(states(50), tmp_path / "a.svg")
    assert not (tmp_path / "a.svg").exists()


def test_nothing_to_plot_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="holds no counts to plot"):
        plot([], tmp_path / "a.svg")
