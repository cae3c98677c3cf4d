"""Errors of weights as errors of sums, by the covariance of a layer's operands.

Covariances are taken about the mean, because the bias takes back what rounding does to a mean. With C the covariance
of a layer's operands and e the error of one output's weights, e C e is the squared error of its sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Covariance = NDArray[np.float32] | NDArray[np.float64]


def group_rows(rows: NDArray[Any], groups: int) -> NDArray[Any]:
    """(N, K) to (G, N / G, K)."""
    return rows.reshape(groups, -1, rows.shape[1])


def sum_errors(error: Reals, moments: Covariance) -> Reals:
    """(N,) mean squared error of the sums of each output, its mean taken away.

    Args:
        error: (N, K) of its weights.
        moments: (G, K, K); products are of their type, at any magnitude of the errors.
    """
    grouped, unit = group_rows(error, len(moments)), 1.0
    if moments.dtype != np.float64:  # a square of an error may be too small for float32, its share of the largest not
        unit = float(np.abs(error).max(initial=0.0)) or 1.0
        grouped = (grouped / unit).astype(moments.dtype)
    return np.einsum("gnk,gnk->gn", grouped @ moments, grouped).reshape(-1).astype(np.float64) * unit**2
