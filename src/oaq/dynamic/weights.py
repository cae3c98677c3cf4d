"""int8 weights of a dynamic layer from real ones, within the budgets of the registers that may sum them.

Where vpmaddubsw sums pairs, and two of them are added before they leave 16 bits, neither the positive weights of those
four nor the negative ones may add up to more than 128: then the lane holds for every operand. An output whose weights
at their finest scale do not keep that gets, of several scales, the one of least error: weights over budget are brought
to it by projection, or all of them are coarser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.choose.bound import Bound, clipped
from oaq.choose.covariance import sum_errors
from oaq.choose.feedback import ball_threshold, error_feedback
from oaq.errors import CalibrationError, ConfigError
from oaq.kernels.table import KernelRow, native_rows, rows_for
from oaq.kernels.targets import target_named
from oaq.numerics.accumulator import AVX2_ACC32, AVX2_ACC32X2, Accumulator
from oaq.numerics.cells import cells_of
from oaq.numerics.formats import U8

Reals = NDArray[np.float64]
ALL_TARGETS: Final = "all"
DOT_PRODUCTS: Final = ("vnni", "avxvnni")
"""Instruction sets that sum four products of bytes exactly, as fast as anything narrower."""
UNBOUNDED: Final = 1 << 20
SEVEN_BITS: Final = 63
LEAST_WEIGHT: Final = 2.0**-100
"""What the largest weight of an output counts as at least, so that a row of zeros has a scale."""
LEAST_VARIANCE: Final = 1e-30
LEAST_BITS: Final = 2
SCALES: Final = 9
"""Scales tried for an output over budget, evenly in their logarithm."""
DAMPING: Final = 0.01
"""Part of the mean variance of operands that is added to each, so that their covariance can be inverted."""


@dataclass(frozen=True, eq=False)
class ChosenWeights:
    """Integers of a layer.

    Attributes:
        weight: (N, K) int8.
        scale: (N,) float32.
    """

    weight: NDArray[np.int8]
    scale: NDArray[np.float32]


def narrow_register(target: str | None) -> Accumulator | None:
    """The register that weights must keep for a target; None where sums are exact at full speed.

    Args:
        target: name of a quantization target; "all" is every one of them; None is what this CPU runs best.

    Raises:
        NoKernel: there is no such target.
    """
    if target == ALL_TARGETS:
        return AVX2_ACC32X2
    rows = _usable() if target is None else target_named(target).rows_of("gemm")
    # Rows on s8 operands (Arm) hold every pair of int8: 2 * 128 * 127 fits 16 bits.
    pairs = [row for row in rows if row.accumulator is not None and row.accumulator.group > 1]
    exact = [row for row in rows if row.isa in DOT_PRODUCTS]
    return AVX2_ACC32X2 if pairs and not exact else None


def choose_weights(
    rows: NDArray[np.floating],
    register: Accumulator | None = None,
    bits: int = 8,
    covariance: Reals | None = None,
    *,
    where: str = "layer",
) -> ChosenWeights:
    """Round a layer's weights, symmetrically, with a scale for each output.

    Args:
        rows: (N, K) reals.
        register: whose pairs must hold for every u8 operand; None: none is narrow.
        bits: of a weight, 2 to 8.
        covariance: (K, K) mean products of the operands: then rounding feeds its errors back; None is rounding to
            nearest.
        where: the layer, for errors.

    Raises:
        ConfigError: ``bits`` are out of range.
        CalibrationError: a weight is NaN or infinite.
    """
    if not LEAST_BITS <= bits <= 8:
        raise ConfigError(f"weights have {LEAST_BITS} to 8 bits, not {bits}")
    reals = np.asarray(rows, np.float64)
    if not np.all(np.isfinite(reals)):
        raise CalibrationError(f"{where}: its weights hold NaN or infinity; no integers stand for those")
    clip = (1 << (bits - 1)) - 1
    scale = _as_float32(np.maximum(np.abs(reals).max(axis=1), LEAST_WEIGHT) / clip)
    bound = pair_bound(reals.shape, register, clip)
    if covariance is None:
        weight, scale = _nearest(reals, scale, bound)
        moments = None
    else:
        variance = max(DAMPING * float(np.trace(covariance)) / len(covariance), LEAST_VARIANCE)
        moments = (covariance + np.eye(len(covariance)) * variance)[None]
        weight, scale = error_feedback(reals, scale, bound, moments)
    if register is not None and clip > SEVEN_BITS:
        _no_worse_than_seven_bits(reals, (weight, scale), bound, moments)
    return ChosenWeights(weight, scale.astype(np.float32))


def _nearest(rows: Reals, scale: Reals, bound: Bound) -> tuple[NDArray[np.int8], Reals]:
    """Rounded to nearest; outputs over budget otherwise."""
    weight = clipped(rows, scale, bound.clip)
    exceeding = ~bound.holds(weight)
    if exceeding.any():
        part = bound.of_outputs(exceeding)
        weight[exceeding], scale[exceeding] = _within(rows[exceeding], scale[exceeding], part)
    return weight, scale


def _no_worse_than_seven_bits(
    rows: Reals, numbers: tuple[NDArray[np.int8], Reals], bound: Bound, moments: Reals | None
) -> None:
    """In place: outputs whose 7 bits keep the budget and come nearer get those."""
    weight, scale = numbers

    def errors(integers: NDArray[np.int8], steps: Reals) -> Reals:
        off = integers * steps[:, None] - rows
        return (off**2).sum(axis=1) if moments is None else sum_errors(off, moments)

    coarse = _as_float32(np.maximum(np.abs(rows).max(axis=1), LEAST_WEIGHT) / SEVEN_BITS)
    seven = clipped(rows, coarse, SEVEN_BITS)
    better = (errors(seven, coarse) < errors(weight, scale)) & bound.holds(seven)
    weight[better], scale[better] = seven[better], coarse[better]


def pair_bound(shape: tuple[int, int], register: Accumulator | None, clip: int) -> Bound:
    """Budgets of (N, K) weights: none beside ``clip`` where no register is narrow."""
    outputs, terms = shape
    high = low = UNBOUNDED
    if register is not None:
        high, low = register.range.hi // U8.hi, -register.range.lo // U8.hi
    cells = cells_of(register or AVX2_ACC32, terms)
    return Bound(clip, cells, np.full(outputs, high, np.int64), np.full(outputs, low, np.int64))


def _within(rows: Reals, finest: Reals, bound: Bound) -> tuple[NDArray[np.int8], Reals]:
    """Choose the scale of least error among several, for outputs that are over budget at the finest."""
    coarsest = finest * _excess(rows / finest[:, None], bound)
    spread = np.log(coarsest / finest)
    best = np.zeros(rows.shape, np.int8)
    best_scale, least = finest.copy(), np.full(len(rows), np.inf)
    for part in np.linspace(0.0, 1.0, SCALES):
        scale = _as_float32(finest * np.exp(spread * part))
        weight = _nearest_within(rows / scale[:, None], bound)
        error = ((weight * scale[:, None] - rows) ** 2).sum(axis=1)
        better = error < least
        best[better], best_scale[better], least[better] = weight[better], scale[better], error[better]
    return best, best_scale


def _excess(steps: Reals, bound: Bound) -> Reals:
    """(N,) factor by which a scale must grow so that no real weight is over budget, and a little for rounding."""
    up, down = _loads(bound.cells.gather(steps))
    needed = np.maximum(up.max(axis=1) / bound.up, down.max(axis=1) / bound.down)
    return np.maximum(needed, 1.0) * 1.02


def _loads(gathered: NDArray[np.floating]) -> tuple[Reals, Reals]:
    """(N, Q) sums of the positive members of every cell, and of the negative ones negated."""
    positive = np.maximum(gathered, 0).sum(axis=2)
    return positive, positive - gathered.sum(axis=2)


def _nearest_within(steps: Reals, bound: Bound) -> NDArray[np.int8]:
    """Rounded to nearest; the few cells that are over budget are projected onto it, and rounded inside it."""
    weight = np.clip(np.rint(steps), -bound.clip, bound.clip)
    loads = _loads(bound.cells.gather(weight))
    for sign, load, budget in zip((1.0, -1.0), loads, (bound.up, bound.down), strict=True):
        output, cell = np.nonzero(load > budget[:, None])
        if not len(output):
            continue
        k = bound.cells.members[cell]
        at = np.repeat(output[:, None], k.shape[1], axis=1), np.maximum(k, 0)
        magnitude = np.where((k >= 0) & (weight[at] * sign > 0), np.minimum(steps[at] * sign, bound.clip), 0.0)
        inside = _rounded_inside(np.maximum(magnitude, 0.0), budget[output])
        places = magnitude > 0
        weight[at[0][places], at[1][places]] = sign * inside[places]
    return weight.astype(np.int8)


def _rounded_inside(magnitude: Reals, budget: NDArray[np.integer]) -> Reals:
    """(C, width) integers near magnitudes whose sums are over (C,) budgets: projected, then the largest rests go up."""
    threshold = ball_threshold(magnitude[:, None, :], budget[:, None].astype(np.float64))[:, 0]
    shrunk = np.maximum(magnitude - threshold[:, None], 0.0)
    whole = np.floor(shrunk)
    room = budget - whole.sum(axis=1)
    order = np.argsort(whole - shrunk, axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable")
    return whole + ((rank < room[:, None]) & (magnitude - whole >= 0.5))


def _as_float32(scale: Reals) -> Reals:
    return scale.astype(np.float32).astype(np.float64)


def _usable() -> tuple[KernelRow, ...]:
    return tuple(row for row in rows_for(None, native_rows()) if row.family == "gemm")
