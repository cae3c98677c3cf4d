"""What windows see at the border of an image: native code leaves out products with padding that is zero.

``native/gemm/regions.cc`` cuts outputs so; budgets count the same, on machines without it too. A test compares both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Final

MOST_SPANS: Final = 17
"""Spans of an axis; an axis of more is not cut."""
WORTH: Final = 63 / 64
"""Part of the cost of all outputs at once that regions have to come below."""


@dataclass(frozen=True)
class Axis:
    """Along one axis: how a window slides, and sizes of input and output."""

    kernel: int
    stride: int
    dilation: int
    before: int
    size: int
    outputs: int

    def places(self, output: int) -> tuple[int, int]:
        """Places [from, to) of the window at ``output`` that see the image."""
        start = output * self.stride - self.before
        first = min(-(start // self.dilation), self.kernel) if start < 0 else 0
        end = min(-((start - self.size) // self.dilation), self.kernel) if start < self.size else 0
        return first, max(first, end)

    def spans(self) -> tuple[tuple[int, int], ...]:
        """(outputs, places of the window that see the image) of neighbours that see the same."""
        reach = self.size + self.before - (self.kernel - 1) * self.dilation
        end = min(-(-reach // self.stride), self.outputs) if reach > 0 else 0
        begin = min(-(-self.before // self.stride), self.outputs)
        spans: list[tuple[int, tuple[int, int]]] = []
        output = 0
        while output < self.outputs:
            inside = output == begin < end
            count, places = (end - begin, (0, self.kernel)) if inside else (1, self.places(output))
            if spans and spans[-1][1] == places:
                spans[-1] = (spans[-1][0] + count, places)
            else:
                spans.append((count, places))
            if len(spans) > MOST_SPANS:
                return ((self.outputs, self.kernel),)
            output += count
        return tuple((count, places[1] - places[0]) for count, places in spans)


@dataclass(frozen=True)
class Region:
    """Outputs whose windows see the image at the same places: sizes, and places of the window."""

    lines: int
    columns: int
    places: int

    def groups(self, tile_m: int) -> int:
        """Groups of at most ``tile_m`` positions, along lines or along columns, whichever are fewer."""
        return min(self.lines * -(-self.columns // tile_m), self.columns * -(-self.lines // tile_m))

    def cost(self, tile_m: int) -> int:
        """Rows of positions, and a row for each group: loading weights takes about as long."""
        return (self.lines * self.columns + self.groups(tile_m)) * self.places


@lru_cache(maxsize=4096)
def regions(tile_m: int, down: Axis, across: Axis) -> tuple[Region, ...]:
    """Regions that together are all outputs, those that see the most first; a single one if they gain little."""
    columns = across.spans()

    def cut(lines: int, places: int) -> list[Region]:
        uncut = [Region(lines, across.outputs, places * across.kernel)]
        parts = [Region(lines, count, places * width) for count, width in columns]
        return parts if _cost(parts, tile_m) < _cost(uncut, tile_m) else uncut

    by_lines = [region for span in down.spans() for region in cut(*span)]
    by_columns = cut(down.outputs, down.kernel)
    cheapest = by_columns if _cost(by_columns, tile_m) <= _cost(by_lines, tile_m) else by_lines
    outputs = Region(down.outputs, across.outputs, down.kernel * across.kernel)
    if _cost(cheapest, tile_m) > WORTH * outputs.cost(tile_m):
        return (outputs,)
    return tuple(sorted(cheapest, key=lambda region: -region.places))


def _cost(parts: Sequence[Region], tile_m: int) -> int:
    return sum(part.cost(tile_m) for part in parts)


def shares(parts: Sequence[Region], tile_m: int, kernel: Sequence[int]) -> tuple[float, float]:
    """(positions, groups of them), each counted as the part of the window that it sees."""
    window = prod(kernel)
    positions = sum(part.lines * part.columns * part.places for part in parts) / window
    return positions, sum(part.groups(tile_m) * part.places for part in parts) / window
