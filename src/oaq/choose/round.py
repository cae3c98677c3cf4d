"""Weights to integers: a scale per output channel, then nearest. Other roundings take this file's shape.

Weights are (N, K) here, in packed K order: what a kernel sums.
"""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from oaq.capture.graph import FloatConv2d, FloatProducts
from oaq.choose.bound import growth
from oaq.choose.lanes import Load
from oaq.choose.piecewise import best_pair, codebook_error, nearest_codes
from oaq.numerics.formats import S8_WEIGHT

Reals = NDArray[np.float64]
Number = TypeVar("Number", bound=np.number)
SHRINK: Final = tuple(float(2.0 ** (-step / 16)) for step in range(9))
"""Parts of the largest weight that the search for a scale lets the largest integer stand for."""
LARGEST_BIAS: Final = 2.0**28
"""Largest bias in steps: where weights are nearly nothing beside it, their scale grows until it fits."""
SMALLEST: Final = 1e-12
"""Least weight scale: a channel without weights still needs one."""


def packed_rows(op: FloatProducts) -> NDArray[np.float32]:
    """(N, K) weights in packed K order: k = tap * C_group + c, taps in memory order: kh * KW + kw."""
    return packed(op.weight, op)


def packed(weight: NDArray[Number], op: FloatProducts) -> NDArray[Number]:
    """(N, K) in packed K order of an array in the layer's own layout: the inverse of ``unpacked``."""
    if not isinstance(op, FloatConv2d):
        return weight
    return np.ascontiguousarray(np.moveaxis(weight, 1, -1)).reshape(weight.shape[0], -1)


def unpacked(rows: NDArray[np.generic], op: FloatProducts) -> NDArray[np.generic]:
    """(N, K) in packed K order back to the layer's own layout."""
    if not isinstance(op, FloatConv2d):
        return rows
    outputs, channels, *kernel = op.weight.shape
    return np.ascontiguousarray(np.moveaxis(rows.reshape(outputs, *kernel, channels), -1, 1))


def nearest(rows: NDArray[np.floating], scale: Reals) -> NDArray[np.int8]:
    """round_half_even(rows / scale), clipped to [-127, 127]."""
    steps = np.rint(rows / scale[:, None])
    return np.clip(steps, S8_WEIGHT.lo, S8_WEIGHT.hi).astype(np.int8)


def whole_scale(rows: NDArray[np.floating], clip: int = S8_WEIGHT.hi) -> Reals:
    """(N,) scale at which the largest weight of each output is ``clip``."""
    return np.maximum(np.abs(rows).max(axis=1).astype(np.float64) / clip, SMALLEST)


def rounding_error(
    rows: Reals, scale: Reals, importance: Reals, clip: int = S8_WEIGHT.hi, *, code_bits: int | None = None
) -> Reals:
    """(N,) sum over k of importance * (rounded - weight)**2, rounding to nearest at ``scale``.

    Integers lie in [-clip, clip]; with ``code_bits``, in the best codebook of so many bits instead.
    """
    if code_bits is not None:
        return codebook_error(rows, scale, importance, code_bits)
    steps = np.clip(np.rint(rows / scale[:, None]), -clip, clip)
    return np.einsum("nk,nk->n", importance, (steps * scale[:, None] - rows) ** 2)


def best_scale(rows: Reals, importance: Reals, clip: int = S8_WEIGHT.hi, *, code_bits: int | None = None) -> Reals:
    """(N,) scale of least error among ``SHRINK`` of the whole one; weights lie in [-clip, clip].

    With ``code_bits``, that of the best codebook of so many bits instead.
    """
    if code_bits is not None:
        return best_pair(rows, importance, code_bits)[0]
    widest = whole_scale(rows, clip)
    errors = np.stack([rounding_error(rows, widest * part, importance, clip) for part in SHRINK])
    return widest * np.array(SHRINK)[errors.argmin(axis=0)]


def fitted(
    rows: NDArray[np.floating],
    scale: Reals,
    limit: NDArray[np.integer],
    load: Load,
    *,
    code_bits: int | None = None,
) -> tuple[NDArray[np.int8], Reals]:
    """Round to nearest, then coarsen the scale of outputs whose lanes are still loaded beyond their limit.

    Args:
        rows: (N, K) in packed K order.
        scale: (N,) to start from.
        limit: (N,) most that the load of the integers may be.
        load: of the lanes.
        code_bits: weights are integers of the best codebook of so many bits; None: any of int8.

    Returns:
        (N, K) weights and the (N,) scale they have.
    """
    scale = scale.copy()
    weight = _integers(rows, scale, code_bits)
    open_outputs = np.arange(len(rows))
    while len(open_outputs):
        excess = load.of_weights(weight[open_outputs].astype(np.int32)) / np.maximum(limit[open_outputs], 0.5)
        still = excess > 1.0
        open_outputs = open_outputs[still]
        scale[open_outputs] *= growth(excess[still])
        weight[open_outputs] = _integers(rows[open_outputs], scale[open_outputs], code_bits)
    return weight, scale


def _integers(rows: NDArray[np.floating], scale: Reals, code_bits: int | None) -> NDArray[np.int8]:
    return nearest(rows, scale) if code_bits is None else nearest_codes(rows / scale[:, None], code_bits)
