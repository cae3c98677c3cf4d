"""Exact integer matrix products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LARGEST_EXACT = 1 << 53
"""Every integer of magnitude up to 2**53 is a float64; 2**53 + 1 is not."""


def matmul(x: NDArray[np.integer], w: NDArray[np.integer]) -> NDArray[np.int64]:
    """``x @ w.T`` on exact integers.

    float64 is used only where it cannot round. Proof: a partial sum of products, in whatever order and with or without
    fused multiply-add, is an integer of magnitude at most K * max|x| * max|w|. If that is below 2**53, every product
    and every partial sum is a float64 exactly, and rounding an exactly representable value changes nothing. Otherwise
    the product is taken in int64, which the caller's program has been checked to fit.

    Args:
        x: (..., M, K).
        w: (..., N, K).

    Returns:
        (..., M, N) int64.
    """
    terms = x.shape[-1]
    if terms * _largest(x) * _largest(w) < LARGEST_EXACT:
        return (x.astype(np.float64) @ np.swapaxes(w, -1, -2).astype(np.float64)).astype(np.int64)
    return x.astype(np.int64) @ np.swapaxes(w, -1, -2).astype(np.int64)


def _largest(values: NDArray[np.integer]) -> int:
    return max(abs(int(values.min())), abs(int(values.max()))) if values.size else 0
