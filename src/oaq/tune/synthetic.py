"""Images for calibration without data: dead leaves, noise of a 1/f spectrum, smooth gradients.

Dead leaves (overlapping discs whose radii follow a power law) have the edges and the scale invariance of photographs.
The shares follow what worked for choosing bits on the chip: half dead leaves, a quarter noise, a quarter gradients.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.operators import TensorSpec

Reals = NDArray[np.float64]
SEED: Final = 7
DISCS: Final = 400
"""Discs of an image of dead leaves; later ones cover earlier ones."""
LEAST_RADIUS: Final = 0.02
"""Least radius of a disc, in parts of the shorter side."""
CONTRAST: Final = 3.0
"""Standard deviations of noise that reach the ends of a tensor's range."""


def synthetic_integers(spec: TensorSpec, count: int, seed: int = SEED) -> NDArray[np.uint8]:
    """(count, *shape) integers in the effective range of ``spec``.

    Tensors that are no images get noise of independent integers.
    """
    rng = np.random.default_rng(seed)
    lo, hi = spec.range.lo, spec.range.hi
    if len(spec.shape) != 3 or min(spec.shape[:2]) < 8:
        return rng.integers(lo, hi + 1, (count, *spec.shape)).astype(np.uint8)
    makers = (_dead_leaves, _noise, _dead_leaves, _gradients)
    images = [makers[index % len(makers)](rng, spec.shape) for index in range(count)]
    unit = np.clip(np.stack(images), 0.0, 1.0)
    return np.rint(lo + unit * (hi - lo)).astype(np.uint8)


def _dead_leaves(rng: np.random.Generator, shape: tuple[int, ...]) -> Reals:
    height, width, channels = shape
    rows, columns = np.mgrid[:height, :width]
    image = np.broadcast_to(rng.uniform(0, 1, channels), shape).copy()
    side = min(height, width)
    for _ in range(DISCS):
        # P(radius > r) ~ r**-2 between the least radius and half the side
        radius = side * LEAST_RADIUS / np.sqrt(rng.uniform((2 * LEAST_RADIUS) ** 2, 1.0))
        row, column = rng.uniform(0, height), rng.uniform(0, width)
        top, bottom = max(int(row - radius), 0), min(int(row + radius) + 1, height)
        left, right = max(int(column - radius), 0), min(int(column + radius) + 1, width)
        part = slice(top, bottom), slice(left, right)
        inside = (rows[part] - row) ** 2 + (columns[part] - column) ** 2 <= radius**2
        image[part][inside] = np.clip(rng.uniform(0, 1) + rng.normal(0, 0.12, channels), 0, 1)
    return image


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> Reals:
    height, width, channels = shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1.0
    shared = rng.normal(size=(height, width))
    planes = []
    for _ in range(channels):
        white = 0.8 * shared + 0.6 * rng.normal(size=(height, width))
        plane = np.fft.irfft2(np.fft.rfft2(white) / frequency, (height, width))
        planes.append(plane / max(float(plane.std()), 1e-12))
    return 0.5 + np.stack(planes, axis=-1) / (2 * CONTRAST) + rng.uniform(-0.2, 0.2, channels)


def _gradients(rng: np.random.Generator, shape: tuple[int, ...]) -> Reals:
    height, width, channels = shape
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    planes = [
        0.5 + 0.25 * (rng.normal() * rows + rng.normal() * columns + rng.normal() * rows * columns)
        for _ in range(channels)
    ]
    return np.stack(planes, axis=-1)
