"""Marks on photos. Pillow is loaded when something is drawn (``pip install pillow``)."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np

from oaq.tasks.task import Picture

Colour = tuple[int, int, int]
Rectangle = tuple[float, float, float, float]
"""Left, top, width, height in pixels."""
GOLDEN = 0.618034
"""Turn of the hue from one class to the next: neighbours never look alike."""
BRIGHTNESS = (1.0, 0.8, 0.62)


def colour(index: int) -> Colour:
    """A colour for a class, the same every time; classes of nearly the same hue differ in brightness."""
    red, green, blue = colorsys.hsv_to_rgb((index * GOLDEN) % 1.0, 0.85, BRIGHTNESS[index % len(BRIGHTNESS)])
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_boxes(
    photo: Picture, boxes: Sequence[Sequence[float]], texts: Sequence[str], colours: Sequence[Colour]
) -> Picture:
    """Frames with a caption each; ``boxes`` are left, top, right, bottom in pixels of the photo.

    Captions lie over all frames, inside the photo, and one below the other where they would overlap; the last box has
    its caption where it belongs.
    """
    from PIL import Image, ImageDraw

    picture = Image.fromarray(photo)
    pen = ImageDraw.Draw(picture)
    font, thick = _font(photo), max(2, min(photo.shape[:2]) // 160)
    for box, shade in zip(boxes, colours, strict=True):
        left, top, right, bottom = (float(value) for value in box)
        pen.rectangle((left, top, max(left, right), max(top, bottom)), outline=shade, width=thick)
    placed: list[Rectangle] = []
    for box, text, shade in reversed(list(zip(boxes, texts, colours, strict=True))):
        _, _, width, height = _extent(pen, text, font)
        x = max(min(float(box[0]), photo.shape[1] - width), 0.0)
        y = free_height((x, max(float(box[1]) - height, 0.0), width, height), placed, photo.shape[0])
        placed.append((x, y, width, height))
        _caption(pen, (x, y), text, shade, font)
    return np.asarray(picture)


def free_height(caption: Rectangle, placed: Sequence[Rectangle], rows: int) -> float:
    """The least y, not above the caption's own, at which it overlaps none that is placed; its own if there is none.

    >>> free_height((0, 5, 10, 4), [(5, 3, 10, 4), (0, 8, 10, 4)], 40)
    12
    >>> free_height((0, 5, 10, 4), [(5, 3, 10, 4)], 10)
    5
    """
    x, y, width, height = caption
    beside = [other for other in placed if x < other[0] + other[2] and other[0] < x + width]
    for _, top, _, tall in sorted(beside, key=lambda other: other[1]):
        if y < top + tall and top < y + height:
            y = top + tall
    return y if y + height <= rows else caption[1]


def write_lines(photo: Picture, lines: Sequence[str], colours: Sequence[Colour] = ()) -> Picture:
    """Lines of text in the upper left corner."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(photo)
    pen, font = ImageDraw.Draw(picture), _font(photo)
    top = 0.0
    for at, line in enumerate(lines):
        top = _caption(pen, (0.0, top), line, colours[at] if at < len(colours) else (40, 40, 40), font)
    return np.asarray(picture)


def _font(photo: Picture) -> Any:  # noqa: ANN401  (Pillow is optional: its types are not here)
    from PIL import ImageFont

    return ImageFont.load_default(size=max(11, min(photo.shape[:2]) // 28))


def _extent(pen: Any, text: str, font: Any) -> tuple[float, float, float, float]:  # noqa: ANN401
    """Left and top of the text's ink, width and height of the box that is filled behind it."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    return left, top, right - left + 6, bottom - top + 6


def _caption(pen: Any, corner: tuple[float, float], text: str, shade: Colour, font: Any) -> float:  # noqa: ANN401
    """Text on a filled box whose upper left corner is ``corner``; returns where it ends below."""
    left, top, width, height = _extent(pen, text, font)
    x, y = corner
    pen.rectangle((x, y, x + width, y + height), fill=shade)
    bright = sum(part * weight for part, weight in zip(shade, (299, 587, 114), strict=True)) > 150_000
    pen.text((x + 3 - left, y + 3 - top), text, fill=(0, 0, 0) if bright else (255, 255, 255), font=font)
    return y + height
