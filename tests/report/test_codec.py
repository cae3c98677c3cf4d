"""Reports survive a file."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from oaq.errors import FormatError
from oaq.report import codec
from tests.report import samples


@pytest.mark.parametrize("made", [samples.full(7), samples.bare()], ids=["full", "bare"])
def test_a_report_comes_back_from_json_unchanged(made):
    assert codec.from_json(codec.to_json(made)) == made


def test_infinities_come_back_and_the_text_is_strict_json():
    made = samples.full(1)
    perfect = dataclasses.replace(made, layers=(dataclasses.replace(made.layers[0], sqnr_db=math.inf),))
    text = codec.to_json(perfect)
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert codec.from_json(text).layers[0].sqnr_db == math.inf


def test_nan_is_refused():
    with pytest.raises(ValueError, match="no NaN"):
        codec.to_json(dataclasses.replace(samples.bare(), relative_cost=math.nan))


def _edited(path: tuple[str | int, ...], value: object) -> str:
    root = json.loads(codec.to_json(samples.full(2)))
    place = root
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(root)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "report: is not JSON"),
        ("[]", "is not an oaq report"),
        ("{}", "has no 'schema'"),
        (_edited(("schema",), 99), "has report schema 99; this oaq reads 2"),
        (_edited(("tier",), "certain"), r"report.tier: is one of \('proved', 'observed'\), not 'certain'"),
        (_edited(("layers", 1, "macs"), 1.5), r"report.layers\[1\].macs: is a int, not 1.5"),
        (_edited(("layers", 0, "weight"), {"lo": 2, "hi": 1}), r"layers\[0\].weight: an IntRange holds at least one"),
        (_edited(("layers", 0, "extra"), 1), r"layers\[0\]: missing keys \[\], unknown keys \['extra'\]"),
        (_edited(("latency", "timings"), 3), "latency.timings: is a list, not 3"),
        (_edited(("layers", 0, "bounds", "total", "hi"), True), "total.hi: is a int, not True"),
        (_edited(("agreement", "points", 0), [1.0]), r"points\[0\]: holds 2 values, not 1"),
    ],
)
def test_a_damaged_report_is_refused_with_its_place(text, words):
    with pytest.raises(FormatError, match=words):
        codec.from_json(text)


def test_a_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(FormatError, match=r"none.json: cannot be read: "):
        codec.load(tmp_path / "none.json")
