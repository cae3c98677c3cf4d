"""Weights wider than eight bits, as several passes of eight: what other tools' zero points make of a weight.

A u8 weight with a zero point is an integer in [-255, 255]. Kernels multiply int8, so such a weight is the sum of up to
three: ``w = clip(w) + clip(w - clip(w)) + ...``. Each pass is scheduled like any layer; a tile executes its passes one
after the other, later ones only at the steps that hold something. All parts of a weight have its sign, and operands are
never negative as loaded, so every partial sum over passes stays inside the bounds proved for the weight itself
(docs/math/overflow.md, 6.6 and 6.7).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.formats import S8, WIDE_WEIGHT

Ints = NDArray[np.integer]


def byte_parts(weight: Ints) -> list[NDArray[np.int8]]:
    """Int8 arrays that sum to ``weight``: the weight clipped to int8, then what that left out, until nothing is left.

    Args:
        weight: int8, or int16 in [-255, 255].

    Raises:
        ValueError: another type, or a weight outside [-255, 255].

    >>> [part.tolist() for part in byte_parts(np.array([255, -200, 5], np.int16))]
    [[127, -128, 5], [127, -72, 0], [1, 0, 0]]
    """
    if weight.dtype == np.int8:
        return [np.asarray(weight, np.int8)]
    low, high = int(weight.min(initial=0)), int(weight.max(initial=0))
    if weight.dtype != np.int16 or low < WIDE_WEIGHT.lo or high > WIDE_WEIGHT.hi:
        raise ValueError(f"weights are int8, or int16 in [-255, 255], not {weight.dtype} in [{low}, {high}]")
    parts, remainder = [], weight
    while not parts or remainder.any():
        parts.append(np.clip(remainder, S8.lo, S8.hi).astype(np.int8))
        remainder = remainder - parts[-1]
    return parts


def restarts(tiled: NDArray[np.int8]) -> NDArray[np.bool_]:
    """(T, Q): the tile (T, Q, tile_n, step) holds something at this step and nothing at the one before."""
    holds: NDArray[np.bool_] = np.any(tiled, axis=(2, 3))
    before = np.pad(holds[:, :-1], ((0, 0), (1, 0)))
    return holds & ~before


def trimmed(
    segments: NDArray[np.int32], packed: NDArray[np.int8]
) -> tuple[NDArray[np.int32], NDArray[np.intp], NDArray[np.intp]]:
    """Shorten each run by the steps at both its ends that hold nothing; runs of nothing are dropped.

    Returns:
        (segments that are left, which rows of ``segments`` they were, which rows of ``packed`` they execute).
    """
    tile, start, count = segments.astype(np.intp).T
    begin, row = np.cumsum(count) - count, np.arange(len(packed))
    holds: NDArray[np.bool_] = np.any(packed, axis=(1, 2))
    first = np.minimum.reduceat(np.where(holds, row, len(row)), begin)
    last = np.maximum.reduceat(np.where(holds, row, -1), begin)
    nonempty = np.nonzero(last >= 0)[0]
    inside = (row >= first.repeat(count)) & (row <= last.repeat(count))
    shortened = np.stack([tile, start + first - begin, last - first + 1], axis=1)[nonempty].astype(np.int32)
    return shortened, nonempty, np.nonzero(inside)[0]


def interleaved(passes: Sequence[NDArray[np.int32]]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The order in which segments, and packed rows, of all passes together are executed: by tile, then by pass."""
    tile = np.concatenate([segments[:, 0] for segments in passes])
    count = np.concatenate([segments[:, 2] for segments in passes])
    return np.argsort(tile, kind="stable"), np.argsort(tile.repeat(count), kind="stable")
