"""Progress where somebody watches, silence elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from oaq.terminal import say
from oaq.terminal.table import Table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_sees_no_bar(capsys):
    assert list(say.track([1, 2], "work")) == [1, 2]
    assert capsys.readouterr().err == ""


def test_work_that_takes_long_is_heard_of_in_a_log(monkeypatch, capsys):
    monkeypatch.setattr(say, "SILENCE", 30.0)
    seconds = iter(range(0, 1000, 20))
    monkeypatch.setattr(say.time, "monotonic", lambda: float(next(seconds)))
    with say.bar("photos", 8) as step:
        for _ in range(4):
            step(1)
    assert capsys.readouterr().err.splitlines() == [
        "photos: 2 of 8 (40 s, 2 min left)",
        "photos: 4 of 8 (80 s, 80 s left)",
    ]
    with say.stages("work") as report:
        for number in range(4):
            report("train", f"step {number}", number / 8)
    said = capsys.readouterr().err.splitlines()
    assert said == ["work: train (20 s)", "work: train, step 2, 25 %, 3 min left (60 s)"]


def test_a_terminal_without_rich_sees_a_count_that_is_wiped(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    assert list(say.track(iter([1, 2]), "work", 2)) == [1, 2]
    shown = sys.stderr.getvalue()
    assert "work: 1 of 2" in shown
    assert shown.endswith("\r\x1b[K")


def test_a_bar_ends_when_the_work_fails(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with pytest.raises(KeyError), say.bar("work", None) as step:
        step(1)
        raise KeyError
    assert sys.stderr.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize("rich", [True, False])
def test_brackets_survive_in_a_table_on_a_terminal(monkeypatch, rich):
    if rich:
        pytest.importorskip("rich")
    else:
        monkeypatch.setitem(sys.modules, "rich.table", None)
    monkeypatch.setattr(sys, "stdout", Terminal())
    say.tables([Table("Bounds", ("layer", "lane"), (("a", "[-3, 5]"),), frozenset({1}))])
    assert "[-3, 5]" in sys.stdout.getvalue()
    assert "Bounds" in sys.stdout.getvalue()


def test_stages_are_a_line_each_in_a_log_and_one_that_changes_on_a_terminal(monkeypatch, capsys):
    with say.stages("work") as report:
        for stage, item, done in (("first", "", 0.0), ("first", "a", 0.3), ("second", "", 0.5), ("second", "b\n", 0.9)):
            report(stage, item, done)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" (")[0] for line in lines] == ["work: first", "work: second"]
    monkeypatch.setattr(sys, "stderr", Terminal())
    with say.stages("work") as report:
        report("second", "b\n", 0.9)
    shown = sys.stderr.getvalue()
    assert "work: second, b\\n, 90 %" in shown and "left" in shown
    assert shown.endswith("\r\x1b[K") and "\n" not in shown
