"""The picture of a tile is the one its numbers give, and they are those of the worked layer."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from benchmarks import tile_picture

PAGE = Path(__file__).parents[2] / "docs" / "math" / "worked-layer.md"


def test_the_picture_is_current() -> None:
    assert tile_picture.PICTURE.read_text(encoding="utf-8") == tile_picture.svg(), (
        "run: python -m benchmarks.tile_picture"
    )


def test_the_picture_is_well_formed_and_follows_dark_settings() -> None:
    root = ElementTree.fromstring(tile_picture.svg())
    assert root.find("{http://www.w3.org/2000/svg}title") is not None
    assert "prefers-color-scheme: dark" in tile_picture.svg()


def test_the_layer_is_the_one_of_the_worked_page() -> None:
    text = PAGE.read_text(encoding="utf-8").replace(" ", "")
    for row in tile_picture.WEIGHT.tolist():
        assert ",".join(map(str, row)) in text
    assert str(tile_picture.planned().segments.tolist()).replace(" ", "") in text
