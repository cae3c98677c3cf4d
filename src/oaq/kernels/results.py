"""How the results of a layer leave its registers: by scalar code, in floats, or in 16 bits. Only time depends on it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.numerics.formats import U8
from oaq.numerics.modular import Modular
from oaq.numerics.ranges import IntRange
from oaq.numerics.words import allows_words
from oaq.operators import TensorSpec

TILE: Final = 16
"""Outputs that leave together, about: all of them have to allow 16 bits."""


def runs_one_by_one(op: ops.Products) -> bool:
    """Results of ``op`` are made by scalar code: fixed point, a multiplier of 1 or more, or a table of residues."""
    if isinstance(op.requantize, Modular):
        return True
    return op.requantize.shift is not None or float(np.max(op.requantize.multiplier)) >= 1.0


def words_share(op: ops.Products, y: TensorSpec, folded_bias: NDArray[np.integer]) -> float:
    """Part of the results of ``op`` that vector code requantizes in 16 bits (``numerics.words``).

    Args:
        op: the layer.
        y: what it writes.
        folded_bias: (N,) what is added to the raw sums of operands as loaded.
    """
    if isinstance(op.requantize, Modular) or runs_one_by_one(op):
        return 0.0
    multiplier = np.broadcast_to(np.asarray(op.requantize.multiplier, np.float32), op.outputs)
    return share_allowed(op.rows, multiplier, result_bounds(y.affine.zero_point, y.range), folded_bias)


def result_bounds(zero_point: int, clamp: IntRange) -> IntRange:
    """What ``clamp`` keeps of results before their zero point is added."""
    return IntRange(clamp.lo - zero_point, clamp.hi - zero_point)


def share_allowed(
    weight: NDArray[np.signedinteger[Any]],
    multiplier: NDArray[np.float32],
    bounds: IntRange,
    folded_bias: NDArray[np.integer],
) -> float:
    """Share of outputs that 16 bits can requantize, from weights and multipliers.

    Args:
        weight: (N, K) integers.
        multiplier: (N,).
        bounds: ``result_bounds`` of the output.
        folded_bias: (N,), what each sum starts from.
    """
    bias = folded_bias.astype(np.int64)
    allowed = allows_words(multiplier, bounds, bias + least_sum(weight), bias + greatest_sum(weight))
    starts = np.arange(0, len(weight), TILE)
    sizes = np.diff(np.append(starts, len(weight)))
    return float((sizes * np.logical_and.reduceat(allowed, starts)).sum() / len(weight))


def greatest_sum(weight: NDArray[np.signedinteger[Any]]) -> NDArray[np.int64]:
    """(N,) what operands of 8 bits can make of (N, K) weights at most: all that native code knows of its operands."""
    return U8.hi * np.maximum(weight, 0).sum(axis=1, dtype=np.int64)


def least_sum(weight: NDArray[np.signedinteger[Any]]) -> NDArray[np.int64]:
    """(N,) likewise, at least."""
    return U8.hi * np.minimum(weight, 0).sum(axis=1, dtype=np.int64)
