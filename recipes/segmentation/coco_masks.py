"""Regions of COCO's annotations as pixels: polygons and run lengths, compressed or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import FormatError
from recipes.data.annotations import finite_number

SLACK: Final = 1.0
"""Pixels by which a corner may leave its photo: files round."""
FEWEST: Final = 6
"""Numbers of a polygon: three corners."""
MOST_NUMBERS: Final = 1 << 20
"""Numbers of a polygon at most: an outline along every pixel of a large photo has fewer."""


def region(segmentation: object, size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """(rows, columns) pixels of an annotation's ``segmentation``.

    Args:
        segmentation: polygons, a list of x, y, x, y, ... each; or {"size": [rows, columns], "counts": run lengths}.
        size: (rows, columns) of the photo.
        where: what messages begin with.

    Raises:
        FormatError: it is neither, or does not fit the photo.
    """
    if isinstance(segmentation, dict):
        return _from_runs(segmentation, size, where)
    if not isinstance(segmentation, list) or not segmentation:
        raise FormatError(f"{where}: segmentation is polygons or run lengths, not {str(segmentation)[:60]}")
    filled = np.zeros(size, bool)
    for polygon in segmentation:
        filled |= fill_polygon(_corners(polygon, size, where), size)
    return filled


def _corners(polygon: object, size: tuple[int, int], where: str) -> NDArray[np.float64]:
    """(n, 2) x, y."""
    if not isinstance(polygon, list) or not FEWEST <= len(polygon) <= MOST_NUMBERS or len(polygon) % 2:
        count = len(polygon) if isinstance(polygon, list) else str(polygon)[:40]
        raise FormatError(f"{where}: a polygon is x and y of three corners or more, not {count} numbers")
    corners = np.array([finite_number(value, where, "a corner") for value in polygon]).reshape(-1, 2)
    rows, columns = size
    if corners.min() < -SLACK or corners[:, 0].max() > columns + SLACK or corners[:, 1].max() > rows + SLACK:
        low, high = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        raise FormatError(f"{where}: a polygon from {low} to {high} leaves the photo of {columns} x {rows}")
    return corners


def fill_polygon(corners: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels whose centres lie inside a polygon of (n, 2) x, y corners; where it crosses itself, even and odd count.

    >>> fill_polygon(np.array([[1.0, 0], [3, 0], [3, 2], [1, 2]]), (3, 4)).astype(int).tolist()
    [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    rows, columns = size
    filled = np.zeros(size, bool)
    x0, y0 = corners.T
    x1, y1 = np.roll(corners, -1, axis=0).T
    first, last = max(0, int(np.floor(y0.min()))), min(rows, int(np.ceil(y0.max())))
    for row in range(first, last):
        y = row + 0.5
        crossed = (y0 <= y) != (y1 <= y)
        if crossed.any():
            a, b, c, d = x0[crossed], y0[crossed], x1[crossed], y1[crossed]
            # a pixel is inside if an odd number of edges crosses its line to the left of its centre
            starts = np.ceil(a + (y - b) / (d - b) * (c - a) - 0.5).clip(0, columns).astype(np.int64)
            filled[row] = np.cumsum(np.bincount(starts, minlength=columns + 1))[:columns] % 2 == 1
    return filled


def _from_runs(segmentation: dict[str, Any], size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """Pixels of run lengths, which count down the columns and begin with pixels that are not set."""
    counts = segmentation.get("counts")
    if segmentation.get("size") != list(size):
        raise FormatError(
            f"{where}: a mask of size {segmentation.get('size')} (rows, columns) is of a photo of {list(size)}"
        )
    runs = decompress(counts, where) if isinstance(counts, str) else counts
    are_runs = isinstance(runs, list) and all(isinstance(run, int) and run >= 0 for run in runs)
    if not are_runs or sum(runs) != size[0] * size[1]:  # type: ignore[arg-type]
        total = sum(runs) if are_runs else "something else"  # type: ignore[arg-type]
        raise FormatError(f"{where}: counts are run lengths that sum to {size[0] * size[1]} pixels, not to {total}")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)  # type: ignore[arg-type]
    return flat.reshape(size, order="F")


def decompress(text: str, where: str) -> list[int]:
    """Run lengths of COCO's compressed form.

    Five bits to a character, the lowest first; from the fourth run on, differences to the run before the last.

    >>> decompress("152", "x")
    [1, 5, 2]

    Raises:
        FormatError: the text is not of that form.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise FormatError(f"{where}: counts hold the character {letter!r}, which compressed run lengths do not")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value, shift = 0, 0
    if shift:
        raise FormatError(f"{where}: counts end inside a number")
    return runs


def painted(
    regions: Sequence[tuple[NDArray[np.bool_], int]], size: tuple[int, int], elsewhere: int
) -> NDArray[np.int64]:
    """The class of every pixel: larger regions first, so that what is small lies on top; ``elsewhere`` in none."""
    mask = np.full(size, elsewhere, np.int64)
    for pixels, index in sorted(regions, key=lambda item: -int(item[0].sum())):
        mask[pixels] = index
    return mask
