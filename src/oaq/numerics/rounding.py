"""The roundings of the requantize semantics."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def round_half_even(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Nearest integer, ties to even: IEEE 754 roundTiesToEven, what every CPU does by default.

    >>> round_half_even(np.array([0.5, 1.5, -0.5, -2.5], np.float32)).tolist()
    [0.0, 2.0, -0.0, -2.0]
    """
    return np.rint(x)


def rounding_shift(x: NDArray[np.int64], shift: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """``floor(x / 2**shift + 1/2)``: an arithmetic shift that rounds to nearest, ties towards +infinity.

    Args:
        x: |x| < 2**62.
        shift: 1..62, broadcast against ``x``.

    >>> rounding_shift(np.array([3, -3, 5, -5]), 1).tolist()
    [2, -1, 3, -2]
    """
    shift = np.asarray(shift, np.int64)
    if np.any((shift < 1) | (shift > 62)):
        raise ValueError(f"a rounding shift is 1 to 62 bits, not {shift.min()} to {shift.max()}")
    return (x + (np.int64(1) << (shift - 1))) >> shift


def halved_away(x: NDArray[np.int64], times: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """``x / 2**times`` to the nearest integer, halves away from 0; |x| < 2**62, times in 0..61.

    >>> halved_away(np.array([3, -3, 5, -5]), 1).tolist()
    [2, -2, 3, -3]
    """
    half = (np.int64(1) << np.asarray(times, np.int64)) >> 1
    magnitude = (np.abs(x) + half) >> times
    return np.where(x < 0, -magnitude, magnitude)
