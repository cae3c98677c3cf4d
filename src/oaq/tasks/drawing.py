"""Marks on photos. Pillow is loaded when something is drawn (``pip install pillow``)."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np

from oaq.tasks.task import Picture

Colour = tuple[int, int, int]
GOLDEN = 0.618034
"""Turn of the hue from one class to the next: neighbours never look alike."""


def colour(index: int) -> Colour:
    """A colour for a class, the same every time."""
    red, green, blue = colorsys.hsv_to_rgb((index * GOLDEN) % 1.0, 0.85, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_boxes(
    photo: Picture, boxes: Sequence[Sequence[float]], texts: Sequence[str], colours: Sequence[Colour]
) -> Picture:
    """Frames with a caption each; ``boxes`` are left, top, right, bottom in pixels of the photo."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(photo)
    pen = ImageDraw.Draw(picture)
    font, thick = _font(photo), max(2, min(photo.shape[:2]) // 160)
    for box, text, shade in zip(boxes, texts, colours, strict=True):
        left, top, right, bottom = (float(value) for value in box)
        pen.rectangle((left, top, max(left, right), max(top, bottom)), outline=shade, width=thick)
        _caption(pen, (left, top), text, shade, font)
    return np.asarray(picture)


def write_lines(photo: Picture, lines: Sequence[str], colours: Sequence[Colour] = ()) -> Picture:
    """Lines of text in the upper left corner."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(photo)
    pen, font = ImageDraw.Draw(picture), _font(photo)
    top = 0.0
    for at, line in enumerate(lines):
        top = _caption(pen, (0.0, top), line, colours[at] if at < len(colours) else (40, 40, 40), font, below=True)
    return np.asarray(picture)


def _font(photo: Picture) -> Any:  # noqa: ANN401  (Pillow is optional: its types are not here)
    from PIL import ImageFont

    return ImageFont.load_default(size=max(11, min(photo.shape[:2]) // 28))


def _caption(
    pen: Any,  # noqa: ANN401
    corner: tuple[float, float],
    text: str,
    shade: Colour,
    font: Any,  # noqa: ANN401
    *,
    below: bool = False,
) -> float:
    """White on a filled box whose lower left corner, or upper left one, is ``corner``; returns where it ends below."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    width, height = right - left + 6, bottom - top + 6
    x, y = corner[0], corner[1] if below else max(corner[1] - height, 0.0)
    pen.rectangle((x, y, x + width, y + height), fill=shade)
    bright = sum(part * weight for part, weight in zip(shade, (299, 587, 114), strict=True)) > 150_000
    pen.text((x + 3 - left, y + 3 - top), text, fill=(0, 0, 0) if bright else (255, 255, 255), font=font)
    return y + height
