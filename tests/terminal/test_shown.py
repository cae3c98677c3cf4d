"""Values that hold megabytes are shown in a line."""

from __future__ import annotations

from html.parser import HTMLParser

import oaq
from oaq.overflow.certificate import Certificate
from oaq.terminal.shown import MOST_OF_A_VALUE, MOST_ROWS, in_a_line, in_a_notebook
from tests.report import small


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)


def test_every_value_of_the_main_path_is_short_and_names_its_program() -> None:
    program = small.program()
    proof = oaq.analyze(program)
    plan = oaq.plan(program, proof=proof)
    for value in (program, proof, plan, oaq.Session(plan)):
        assert len(repr(value)) < MOST_OF_A_VALUE and program.name in repr(value), type(value)
        assert repr(value).startswith(f"<{type(value).__name__} ")
    assert "bytes" in repr(Certificate({"program": "0" * 64, "tier": "proved", "nodes": []}))
    for value in (program, proof, plan):
        page = value._repr_html_()
        assert len(page) < 5000 and page.count("<tr>") > 3


def test_names_from_files_stay_text_in_both() -> None:
    line = in_a_line("Plan", "a\x1b[2J\n" + "b" * 10_000, [("", "<script>")])
    assert "\x1b" not in line and "\n" not in line and len(line) <= MOST_OF_A_VALUE
    reader = _Tags()
    reader.feed(in_a_notebook(line, ("x",), [["<script>alert(1)</script>"]]))
    assert set(reader.tags) == {"p", "code", "table", "thead", "tr", "th", "tbody", "td"}


def test_a_long_table_says_how_much_it_leaves_out() -> None:
    page = in_a_notebook("x", ("a",), [[index] for index in range(MOST_ROWS + 5)])
    assert page.count("<td>") == MOST_ROWS and "and 5 more" in page
