"""Pictures for the contact sheets of reports: which photos of a stream are shown, and files of them."""

from __future__ import annotations

import io
from typing import Final, Generic, TypeVar

import numpy as np

from oaq.tasks.task import Picture

Item = TypeVar("Item")
ROWS: Final = 6
"""Photos of each set in the report, evenly spaced in it."""
WIDTH: Final = 420
"""Pixels of a picture in the report."""


class EvenChoice(Generic[Item]):
    """A few items of a stream, evenly spaced in it, while how many will come is not known."""

    def __init__(self, most: int = ROWS) -> None:
        self._most, self._stride, self._count = most, 1, 0
        self._held: dict[int, Item] = {}

    def __len__(self) -> int:
        """Items that were offered."""
        return self._count

    def offer(self, item: Item) -> None:
        """Take the next item of the stream; memory holds twice as many as are chosen at most."""
        if self._count % self._stride == 0:
            self._held[self._count] = item
        self._count += 1
        if len(self._held) > 2 * self._most:
            self._stride *= 2
            self._held = {place: item for place, item in self._held.items() if place % self._stride == 0}

    def chosen(self) -> dict[int, Item]:
        """The items by their place in the stream."""
        places = list(self._held)
        picks = np.linspace(0, max(len(places) - 1, 0), min(self._most, len(places))).round().astype(int)
        return {places[pick]: self._held[places[pick]] for pick in picks.tolist()}


def small_jpeg(picture: Picture) -> bytes:
    """A picture as a JPEG file of ``WIDTH`` columns at most."""
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((WIDTH, WIDTH))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return buffer.getvalue()
