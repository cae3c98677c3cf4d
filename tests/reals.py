"""Reals that are hard to round, and the numbers that inputs are rounded by."""

from __future__ import annotations

import numpy as np

SCALES = (1.0, 0.05, 2.0**-20, 2.0**100, 1e-38, 3e38)
NUMBERS = [(0, (0, 255)), (255, (0, 255)), (128, (128, 128)), (7, (3, 250))]
"""Zero points and ranges."""


def reals(scale: float, shape: tuple[int, ...]) -> np.ndarray:
    """Ties between integers, what lies beside them, and the ends of float32."""
    rng = np.random.default_rng(3)
    with np.errstate(over="ignore"):
        halves = (rng.integers(-600, 600, shape) / 2).astype(np.float32) * np.float32(scale)
        beside = np.nextafter(halves, rng.choice([-np.inf, np.inf], shape).astype(np.float32))
    ends = rng.choice(np.array([np.inf, -np.inf, 3.4e38, -3.4e38, 0.0, -0.0, 1e-45], np.float32), shape)
    return np.where(rng.random(shape) < 0.1, ends, np.where(rng.random(shape) < 0.5, halves, beside)).astype(np.float32)
