"""Weights to integers of a piecewise codebook (``numerics.codebook``): scale and tail step per output, least error.

At a scale, each output takes the tail step whose codebook errs least: a coarser scale needs no long tails, so that a
layer narrowed for its lanes ends on the uniform grid by itself. Weights are (N, K), in packed K order. No distribution
is assumed: the channels of depthwise layers have 9 weights.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.codebook import Codebook, centre_of, tail_steps

Reals = NDArray[np.float64]
Places = NDArray[np.floating[Any]]
Steps = NDArray[np.int64]
PARTS: Final = tuple(0.5 + 0.05 * step for step in range(11))
"""Parts of the largest weight that the search lets the largest integer stand for."""
SMALLEST: Final = 1e-12
"""Least weight scale: a channel without weights still needs one."""
FARTHEST: Final = 2.0
"""Most by which a spread is corrected: a constant channel has none but that of its own rounding."""
TOGETHER: Final = 1 << 20
"""Weights whose tail steps are chosen together."""


def to_codebook(places: Places, bits: int, step: Steps | int) -> Places:
    """The nearest integer of a codebook, to weights in steps of their scale; ties as ``numpy.rint`` decides them.

    Args:
        places: weights over their scale.
        bits: of the codebook.
        step: tail steps, of a shape that broadcasts with ``places``.
    """
    centre, magnitude = centre_of(bits), np.abs(places)
    tail = centre + step * np.clip(np.rint((magnitude - centre) / step), 0, centre + 1)
    return np.copysign(np.where(magnitude > centre, tail, np.rint(magnitude)), places)


def best_steps(places: Places, bits: int, importance: Reals | None = None) -> Steps:
    """(N,) tail step of least squared error for (N, K) weights in steps of their scale; the least of equals.

    Args:
        places: weights over their scale.
        bits: of the codebook.
        importance: (N, K) what a squared error of each weight costs; None: the same for all.
    """
    choices = tail_steps(bits)
    best, rows = np.empty(len(places), np.int64), max(1, TOGETHER // max(places.shape[1], 1))
    for start in range(0, len(places), rows):
        part = slice(start, start + rows)
        weight = None if importance is None else importance[part]
        errors = np.stack([_error(places[part], to_codebook(places[part], bits, step), weight) for step in choices])
        best[part] = np.array(choices)[errors.argmin(axis=0)]
    return best


def nearest_codes(places: Places, bits: int) -> NDArray[np.int8]:
    """(N, K) nearest integers of the best codebook of each output, to weights in steps of their scale."""
    return to_codebook(places, bits, best_steps(places, bits)[:, None]).astype(np.int8)


def codebook_error(rows: Reals, scale: Reals, importance: Reals, bits: int) -> Reals:
    """(N,) sum over k of importance * (rounded - weight)**2 at ``scale``, each output on its best codebook."""
    places = rows / scale[:, None]
    step = best_steps(places, bits, importance)
    return _error(places, to_codebook(places, bits, step[:, None]), importance) * scale**2


def best_pair(rows: Reals, importance: Reals, bits: int) -> tuple[Reals, Steps]:
    """(N,) scale and (N,) tail step of least error: each step of ``tail_steps``, at each of ``PARTS``.

    An output that is all zero gets the least scale and step 1. Where several err alike, the first of the least step.
    """
    largest = np.abs(rows).max(axis=1).astype(np.float64)
    best_scale = np.maximum(largest / Codebook(bits, 1).most, SMALLEST)
    best_step, least = np.ones(len(rows), np.int64), np.full(len(rows), np.inf)
    for step in tail_steps(bits):
        for part in reversed(PARTS):
            scale = np.maximum(largest * part / Codebook(bits, step).most, SMALLEST)
            places = rows / scale[:, None]
            error = _error(places, to_codebook(places, bits, step), importance) * scale**2
            better = error < least
            best_scale[better], best_step[better], least[better] = scale[better], step, error[better]
    return best_scale, best_step


def spread_ratio(rows: Reals, weight: NDArray[np.int8], scale: Reals) -> Reals:
    """(N,) standard deviation of the weights over that of what their integers mean, in [1/2, 2]; 1 where either is 0.

    The part of the correction of Fang et al. that a multiplier can take; the mean goes into the bias.
    """
    rounded = weight.std(axis=1, dtype=np.float64) * scale
    exact = rows.std(axis=1)
    defined = (rounded > 0) & (exact > 0)
    return np.clip(np.where(defined, exact / np.where(defined, rounded, 1.0), 1.0), 1 / FARTHEST, FARTHEST)


def _error(places: Places, rounded: Places, importance: Reals | None) -> Reals:
    """(N,) squared error in squared steps."""
    off = (rounded - places).astype(np.float64)
    return np.einsum("nk,nk->n", off, off) if importance is None else np.einsum("nk,nk,nk->n", importance, off, off)
