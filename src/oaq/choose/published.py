"""Piecewise linear quantization as published (Fang et al., 2002.00104): two scales and an offset for every output.

With m the largest weight and a breakpoint 0 < p < m, of b bits, L = 2**(b - 1) - 1:

    centre, |w| < p:    w' = sign(w) s1 round(|w| / s1),               s1 = p / L,        magnitudes 0 .. L
    tails:              w' = sign(w) (p + s2 round((|w| - p) / s2)),   s2 = (m - p) / L,  magnitudes 0 .. L

A weight is b bits with its sign and one that says where it lies: b + 1 stored bits. An output is three sums, of the
centre, of the tails' steps and of the tails' signs (``program.three_sums``). What oaq uses is the form with one sum
(``choose.piecewise``); this one is here to be compared with.

A breakpoint in one shot, for weights of a Gaussian: p = ln(0.86143114 m + 0.607901097), m and p in units of the
deviation; the paper prints it as a formula of p / m. Or by search: m times 0.1 .. 0.9, refined twice by a tenth of the
step, least squared error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Breakpoint = Literal["one-shot", "search"]
FEWEST_BITS: Final = 2
MOST_BITS: Final = 8
ONE_SHOT: Final = (0.86143114, 0.607901097)
REFINEMENTS: Final = (0.1, 0.01, 0.001)
ENDS: Final = (0.05, 0.95)
"""Parts of the largest weight between which a breakpoint of the formula is kept: it was fitted for long tails."""
SMALLEST: Final = 1e-12


@dataclass(frozen=True, eq=False)
class PublishedRows:
    """Weights of a layer in the published form: ``s1 * centre + s2 * tail + p * sign``.

    Attributes:
        centre: (N, K) in [-L, L]; 0 where a weight lies in the tails.
        tail: (N, K) in [-L, L]: steps beyond the breakpoint, with the sign of the weight; 0 in the centre.
        sign: (N, K) of the weights in the tails; 0 in the centre.
        scales: (3, N) s1, s2 and p.
    """

    centre: NDArray[np.int8]
    tail: NDArray[np.int8]
    sign: NDArray[np.int8]
    scales: Reals

    def reals(self) -> Reals:
        """(N, K) what the integers mean."""
        s1, s2, p = self.scales[:, :, None]
        return s1 * self.centre + s2 * self.tail + p * self.sign


def published_rows(rows: Reals, bits: int, rule: Breakpoint = "one-shot") -> PublishedRows:
    """(N, K) weights in the published form.

    Args:
        rows: float weights.
        bits: b, 2..8.
        rule: how breakpoints are chosen.

    Raises:
        ValueError: other bits.
    """
    if not FEWEST_BITS <= bits <= MOST_BITS:
        raise ValueError(f"the published form is of {FEWEST_BITS} to {MOST_BITS} bits here, not {bits}")
    return _at(rows, bits, one_shot(rows) if rule == "one-shot" else searched(rows, bits))


def one_shot(rows: Reals) -> Reals:
    """(N,) breakpoints by the formula for a Gaussian, inside ``ENDS`` of the largest weight; 1 for all-zero outputs."""
    largest = np.abs(rows).max(axis=1)
    deviation = rows.std(axis=1, ddof=1) if rows.shape[1] > 1 else np.zeros(len(rows))
    usable = (deviation > 0) & (largest > 0)
    m = np.where(usable, largest, 1.0) / np.where(usable, deviation, 1.0)
    p = np.log(ONE_SHOT[0] * m + ONE_SHOT[1]) * deviation
    p = np.where(usable, p, largest / 2)
    return np.where(largest > 0, np.clip(p, ENDS[0] * largest, ENDS[1] * largest), 1.0)


def searched(rows: Reals, bits: int) -> Reals:
    """(N,) breakpoints of least squared error, as parts of the largest weight on a grid that is refined twice."""
    largest = np.abs(rows).max(axis=1)
    whole = np.where(largest > 0, largest, 1.0)
    best, least = np.full(len(rows), 0.5), np.full(len(rows), np.inf)
    for step in REFINEMENTS:
        centre = best.copy()
        for place in range(-9, 10):
            part = place * step + centre if step != REFINEMENTS[0] else np.full(len(rows), abs(place) * step)
            part = np.clip(part, REFINEMENTS[-1], 1 - REFINEMENTS[-1])
            error = ((_at(rows, bits, part * whole).reals() - rows) ** 2).sum(axis=1)
            better = error < least
            best[better], least[better] = part[better], error[better]
    return best * whole


def published_uniform(rows: Reals, bits: int) -> Reals:
    """(N, K) the uniform weights that the paper compares with: s = 2 m / (2**bits - 1), nothing is clipped."""
    scale = np.maximum(2 * np.abs(rows).max(axis=1) / ((1 << bits) - 1), SMALLEST)[:, None]
    return np.clip(np.rint(rows / scale), -(1 << (bits - 1)), (1 << (bits - 1)) - 1) * scale


def corrected(rows: Reals, rounded: Reals) -> Reals:
    """(N, K) rounded weights with the mean and deviation of the float ones, output by output.

    The paper scales by the ratio of deviations after it has moved the mean, which moves it again; here the mean is
    right in the end.
    """
    deviation, exact = rounded.std(axis=1, keepdims=True), rows.std(axis=1, keepdims=True)
    ratio = np.where(deviation > 0, exact / np.where(deviation > 0, deviation, 1.0), 1.0)
    return rows.mean(axis=1, keepdims=True) + (rounded - rounded.mean(axis=1, keepdims=True)) * ratio


def _at(rows: Reals, bits: int, breakpoint_: Reals) -> PublishedRows:
    """Weights at (N,) breakpoints."""
    most, magnitude, p = (1 << (bits - 1)) - 1, np.abs(rows), breakpoint_[:, None]
    largest = magnitude.max(axis=1, keepdims=True)
    s1, s2 = p / most, np.maximum(largest - p, 0.0) / most
    in_tail = (magnitude >= p) & (largest > 0)
    sign = np.where(in_tail, np.sign(rows), 0)
    centre = np.where(in_tail, 0, np.sign(rows) * np.rint(magnitude / s1))
    steps = np.rint((magnitude - p) / np.where(s2 > 0, s2, 1.0))
    tail = sign * np.where(s2 > 0, np.clip(steps, 0, most), 0)
    scales = np.stack([s1[:, 0], np.maximum(s2[:, 0], SMALLEST), breakpoint_])
    centre, tail, sign = (part.astype(np.int8) for part in (np.clip(centre, -most, most), tail, sign))
    return PublishedRows(centre, tail, sign, scales)
