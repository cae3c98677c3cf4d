"""Errors of weights as errors of sums, by the covariance of a layer's operands.

Covariances are taken about the mean, because the bias takes back what rounding does to a mean. With C the covariance
of a layer's operands and e the error of one output's weights, e C e is the squared error of its sums.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]


def group_rows(rows: Reals, groups: int) -> Reals:
    """(N, K) to (G, N / G, K)."""
    return rows.reshape(groups, -1, rows.shape[1])


def sum_errors(error: Reals, moments: Reals) -> Reals:
    """(N,) mean squared error of the sums of each output, its mean taken away.

    Args:
        error: (N, K) of its weights.
        moments: (G, K, K).
    """
    grouped = group_rows(error, len(moments))
    return np.einsum("gnk,gnk->gn", grouped @ moments, grouped).reshape(-1)
