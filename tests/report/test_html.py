"""The page: well formed, self-contained, honest about what it was not given."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import pytest

from oaq.errors import FormatError
from oaq.report.html import render, to_html
from tests.report import samples

VOID = {"meta", "br", "img", "link", "input", "hr", "wbr", "line", "circle", "rect", "path"}
SELF_CLOSED = {"line", "circle", "rect", "path"}


class Checker(HTMLParser):
    """Every element opened is closed, in order; ids are unique; attributes are collected."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID or (tag in SELF_CLOSED):
            self.open.append(tag)
        self._collect(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._collect(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing that is open: {self.getpos()}"

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def _collect(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "action", "xlink:href", "data", "poster", "srcset"):
                self.links.append(value or "")


def parse(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    return checker


@pytest.mark.parametrize("made", [samples.full(), samples.full(1), samples.bare()], ids=["full", "one layer", "bare"])
def test_the_page_is_well_formed_and_its_links_stay_inside(made):
    checked = parse(render(made))
    assert checked.open == []
    assert len(set(checked.ids)) == len(checked.ids)
    assert all(link.startswith("#") and link[1:] in checked.ids for link in checked.links)


def test_the_page_needs_no_network_and_runs_nothing():
    html = render(samples.full())
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<script|<link|<img|<iframe|javascript:", html)


def test_names_are_escaped():
    hostile = '<script>alert("1")</script>&'
    made = samples.full(2)
    layer = dataclasses.replace(made.layers[0], name=hostile, row=hostile, kind=hostile)
    html = render(dataclasses.replace(made, name=hostile, notes=(hostile,), layers=(layer, made.layers[1])))
    assert "<script" not in html
    assert parse(html).open == []


@pytest.mark.parametrize(
    ("field", "empty", "anchor"),
    [
        ("agreement", None, "agreement"),
        ("latency", None, "latency"),
        ("profile", (), "profile"),
        ("layers", (), "layers"),
    ],
)
def test_a_section_is_absent_when_its_data_are(field, empty, anchor):
    made = samples.full(5)
    assert anchor in parse(render(made)).ids
    assert anchor not in parse(render(dataclasses.replace(made, **{field: empty}))).ids


def test_nothing_observed_or_measured_is_shown_when_nothing_was():
    made = samples.full(5)
    layers = tuple(dataclasses.replace(one, observed=None, sqnr_db=None) for one in made.layers)
    stripped = dataclasses.replace(
        made, layers=layers, agreement=None, latency=None, verification=None, profile=(), seconds=()
    )
    html = render(stripped)
    body = html[html.index("<main>") :]
    kinds = re.findall(r'<span class="chip (\w+)"', body[body.index('id="charts"') :])
    assert "observed" not in kinds
    assert "measured" not in kinds


def test_the_verdict_follows_the_bounds_and_not_the_claim():
    made = samples.full(3)
    bounds = dataclasses.replace(made.layers[0].bounds, lane=dataclasses.replace(made.layers[0].bounds.lane, hi=32768))
    broken = dataclasses.replace(made, layers=(dataclasses.replace(made.layers[0], bounds=bounds), *made.layers[1:]))
    text = "".join(parse(render(broken)).text)
    assert "Not proved: 1 of 3 layers can overflow." in text
    assert "Proved: no sum" not in text


def test_an_observed_plan_never_says_proved_in_its_verdict():
    text = "".join(parse(render(dataclasses.replace(samples.full(3), tier="observed"))).text)
    assert "Observed: no overflow was counted on the images given. Another input may overflow." in text
    assert "Proved: no sum" not in text


def test_a_mismatch_turns_the_verdict_and_what_did_not_run_is_loud():
    made = samples.full(3)
    assert "not run here" in render(made)
    assert "verification failed" not in render(made)
    wrong = dataclasses.replace(made.verification.executions[0], mismatches=5)
    found = dataclasses.replace(made.verification, executions=(wrong,))
    html = render(dataclasses.replace(made, verification=found))
    assert "verification failed: 5 integers differ" in html
    assert 'class="banner bad"' in html


def test_is_written_whole_or_not_at_all(tmp_path):
    to_html(samples.bare(), tmp_path / "r.html")
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]
    with pytest.raises(
        FormatError, match=r"missing/r.html: cannot be written: No such file or directory. Nothing was changed"
    ):
        to_html(samples.bare(), tmp_path / "missing" / "r.html")
