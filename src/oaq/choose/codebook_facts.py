"""How well codebooks stand for the weights of a layer, beside uniform weights that take as many bits of a file."""

from __future__ import annotations

from dataclasses import replace
from math import log10

import numpy as np
from numpy.typing import NDArray

from oaq.choose.piecewise import PARTS, SMALLEST, best_pair, to_codebook
from oaq.program.codebook_facts import CodebookFacts

Reals = NDArray[np.float64]


def with_precision(facts: CodebookFacts, rows: Reals, weight: NDArray[np.int8], scale: Reals) -> CodebookFacts:
    """``facts``, and how well the integers stand for (N, K) ``rows`` at their (N,) ``scale``."""
    return replace(
        facts,
        sqnr_db=sqnr_db(rows, weight * scale[:, None]),
        nearest_db=sqnr_db(rows, piecewise_weights(rows, facts.bits)),
        uniform_db=sqnr_db(rows, uniform_weights(rows, facts.bits + 1)),
    )


def piecewise_weights(rows: Reals, bits: int) -> Reals:
    """(N, K) nearest weights of codebooks of ``bits``, each output at the scale and step of least squared error."""
    scale, step = best_pair(rows, np.ones_like(rows), bits)
    return to_codebook(rows / scale[:, None], bits, step[:, None]) * scale[:, None]


def uniform_weights(rows: Reals, bits: int) -> Reals:
    """(N, K) nearest weights of a uniform grid of ``bits``, each output at the clip of least squared error.

    The clips are ``PARTS`` of the largest weight: those that the search for codebooks has.
    """
    most = (1 << (bits - 1)) - 1
    largest, best, least = np.abs(rows).max(axis=1), np.zeros_like(rows), np.full(len(rows), np.inf)
    for part in PARTS:
        scale = np.maximum(largest * part / most, SMALLEST)[:, None]
        rounded = np.clip(np.rint(rows / scale), -most, most) * scale
        error = ((rounded - rows) ** 2).sum(axis=1)
        better = error < least
        best[better], least[better] = rounded[better], error[better]
    return best


def sqnr_db(exact: Reals, rounded: Reals) -> float:
    """Power of the exact values over that of what was lost, in decibels; infinity if nothing was."""
    noise, power = float(((rounded - exact) ** 2).sum()), float((exact**2).sum())
    return float("inf") if noise == 0.0 else -float("inf") if power == 0.0 else 10 * log10(power / noise)
