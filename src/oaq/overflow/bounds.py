"""How far a dot product can travel: exact bounds on integer accumulators.

For output n with weights w[n, k] and operands, as loaded, x[k] in [lo[k], hi[k]]:

    hi[n] = sum_k max(w[n, k] * lo[k], w[n, k] * hi[k])          lo[n] = the same with min

Everything here is exact: int32 or int64 arrays whose largest possible sum has been checked against the type first
(``exact_dtype``), never floats (in float32, 2**31 - 1 is already 2**31, which turns a proof into a guess).
Derivations: ``docs/math/overflow.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from oaq.errors import AccumulatorOverflow
from oaq.numerics.accumulator import Accumulator
from oaq.numerics.cells import sum_into_lanes
from oaq.numerics.ranges import ChannelRanges

Ints = NDArray[np.integer]
BLOCK: Final = 1 << 17
"""Weights widened at once: few enough calls, and memory does not grow with a layer."""


def weight_bound(weight: Ints, x_lo: Ints, x_hi: Ints, *, partial: bool = True) -> ChannelRanges:
    """Bound each output's sum over every input whose operands lie in [x_lo, x_hi].

    Args:
        weight: (N, K) integers. Row n holds the K weights of output n.
        x_lo: (K,), or (R, K) with R dividing N: output n reads row ``n // (N / R)``. Lower ends, as loaded.
        x_hi: upper ends, of the same shape.
        partial: True bounds every partial sum in every order (what a saturating register needs, and any s32 a kernel
            holds on the way); False bounds the final sum (what a wrapping register needs). They agree whenever every
            operand range contains 0.

    Returns:
        N ranges, tight: for each end there is an input that reaches it (see ``witness``).

    Raises:
        TypeError: ``weight`` is not of an integer dtype.
        AccumulatorOverflow: the sums are beyond 62 bits, where this arithmetic would itself overflow.

    >>> tuple(weight_bound(np.array([[3, -3]]), np.array([5, 5]), np.array([10, 10]), partial=False))
    (IntRange(lo=-15, hi=15),)
    """
    weight, x_lo, x_hi = _checked(weight, x_lo, x_hi)
    if partial:
        x_lo, x_hi = np.minimum(x_lo, 0), np.maximum(x_hi, 0)
    outputs, terms = weight.shape
    dtype = exact_dtype(weight, x_lo, x_hi, terms)
    low, high = x_lo.astype(dtype), x_hi.astype(dtype)
    ends = np.zeros((2, outputs), dtype)
    rows, from_zero = max(1, BLOCK // max(1, terms)), not low.any()
    for begin in range(0, outputs, rows):
        part = slice(begin, begin + rows)
        up, down = (extreme(weight[part], 0).astype(dtype) for extreme in (np.maximum, np.minimum))
        least, most = (_of_outputs(x, part, outputs) for x in (low, high))
        ends[:, part] = _dot(down, most), _dot(up, most)
        if not from_zero:
            ends[:, part] += _dot(up, least), _dot(down, least)
    return ChannelRanges(ends[0], ends[1])


def exact_dtype(weight: Ints, x_lo: Ints, x_hi: Ints, terms: int) -> DTypeLike:
    """The integer type in which every sum of ``terms`` products is exact: the guard of all arithmetic here.

    Raises:
        AccumulatorOverflow: no type is wide enough (2**62 is kept as the limit, so that two sums may be added).
    """
    reach = terms * max(_largest(weight), 1) * max(_largest(x_lo), _largest(x_hi), 1)
    if reach < 1 << 30:
        return np.int32
    if reach < 1 << 62:
        return np.int64
    raise AccumulatorOverflow(
        f"{terms} products of weights up to {_largest(weight)} and operands up to "
        f"{max(_largest(x_lo), _largest(x_hi))} can reach {reach}, beyond the 62 bits a proof is made in; "
        "split the layer"
    )


@dataclass(frozen=True, eq=False)
class StepBounds:
    """What one inner step can add to each register; X steps of O outputs.

    Attributes:
        lane_lo: (lanes, X, O) least the step adds to each lane: its sum for a wrapping lane, its least partial sum
            of groups for any other.
        lane_hi: (lanes, X, O) the most.
        group_lo: (step / group, X, O) least sum of each instruction's group.
        group_hi: (step / group, X, O) the most.
    """

    lane_lo: Ints
    lane_hi: Ints
    group_lo: Ints
    group_hi: Ints


def step_bounds(weight: Ints, x_lo: Ints, x_hi: Ints, accumulator: Accumulator, index: NDArray[np.intp]) -> StepBounds:
    """Bound what single steps add.

    Args:
        weight: (X, O, step) weights of X steps of O outputs.
        x_lo: (X, 1 or O, step) operand ranges, of a type in which the sums are exact.
        x_hi: likewise.
        accumulator: the register model.
        index: (X,) which step of the packed K order each one is; says where lanes start when ``step`` is not a
            multiple of ``group * lanes``.
    """
    count, outputs, step = weight.shape
    group_lo, group_hi = np.empty((2, step // accumulator.group, count, outputs), x_lo.dtype)
    rows = max(1, BLOCK // max(1, outputs * step))
    for begin in range(0, count, rows):
        part = slice(begin, begin + rows)
        # Operands outermost: what is added up lies one after another.
        w, low, high = (np.moveaxis(array[part], 2, 0).astype(x_lo.dtype, order="C") for array in (weight, x_lo, x_hi))
        at_lo, at_hi = w * low, np.multiply(w, high, out=w)
        group_lo[:, part] = _neighbours(np.minimum(at_lo, at_hi), accumulator.group)
        group_hi[:, part] = _neighbours(np.maximum(at_lo, at_hi, out=at_hi), accumulator.group)
    into_lo, into_hi = group_lo, group_hi
    if accumulator.overflow != "wraps":
        into_lo, into_hi = np.minimum(group_lo, 0), np.maximum(group_hi, 0)
    lane_lo, lane_hi = (sum_into_lanes(ends, accumulator, index) for ends in (into_lo, into_hi))
    return StepBounds(lane_lo, lane_hi, group_lo, group_hi)


def group_is_bounded(accumulator: Accumulator) -> bool:
    """True iff one instruction's own sum has to fit.

    A saturating group must. A wrapping group must unless the lane it is added to wraps in the same width: then the
    whole run is a sum modulo 2**bits, and only its end counts.
    """
    if accumulator.group_overflow == "saturates":
        return True
    return accumulator.group_overflow == "wraps" and accumulator.overflow != "wraps"


def _neighbours(values: Ints, count: int) -> Ints:
    """Sums of ``count`` neighbours on the first axis."""
    if count == 1:
        return values
    return values.reshape(-1, count, *values.shape[1:]).sum(axis=1, dtype=values.dtype)


def _of_outputs(x: Ints, part: slice, outputs: int) -> Ints:
    """The rows of ranges that some outputs read: (1, K) if all read one, else (n, K)."""
    return x if len(x) == 1 else x[np.arange(outputs)[part] // (outputs // len(x))]


def _dot(weight: Ints, x: Ints) -> Ints:
    """(n, K) with (1 or n, K): (n,)."""
    return np.einsum("nk,k->n", weight, x[0]) if len(x) == 1 else np.einsum("nk,nk->n", weight, x)


def _checked(weight: Ints, x_lo: Ints, x_hi: Ints) -> tuple[Ints, Ints, Ints]:
    weight, x_lo, x_hi = np.asarray(weight), np.atleast_2d(np.asarray(x_lo)), np.atleast_2d(np.asarray(x_hi))
    for name, array in (("weight", weight), ("x_lo", x_lo), ("x_hi", x_hi)):
        if not np.issubdtype(array.dtype, np.integer) or array.dtype == np.uint64:
            raise TypeError(f"{name} holds integers of at most 63 bits, not {array.dtype}: a float proves nothing")
    if weight.ndim != 2 or x_lo.shape != x_hi.shape or x_lo.shape[1] != weight.shape[1]:
        raise ValueError(
            f"weight (N, K) and ranges (K,) or (R, K) expected: {weight.shape}, {x_lo.shape}, {x_hi.shape}"
        )
    if weight.shape[0] % x_lo.shape[0]:
        raise ValueError(f"{x_lo.shape[0]} rows of operand ranges do not divide {weight.shape[0]} outputs")
    if np.any(x_lo > x_hi):
        raise ValueError("operand ranges need lo <= hi, k by k")
    return weight, x_lo, x_hi


def _largest(values: Ints) -> int:
    return max(abs(int(values.min())), abs(int(values.max()))) if values.size else 0
