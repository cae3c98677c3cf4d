"""Pictures of nothing, with statistics like those of photos: for networks whose data cannot be had.

Half of them are dead leaves: discs that cover each other, their radii by the power law under which pictures look alike
at every size (Lee, Mumford and Huang, 2001). A quarter are noise whose amplitude falls as 1 / f, a quarter are smooth
gradients of colour.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

DISCS: Final = 400
LEAST_RADIUS: Final = 0.01
"""Smallest disc, in parts of the shorter side; the largest covers half of it."""
Picture = NDArray[np.float32]


def pictures(count: int, shape: tuple[int, int, int], seed: int = 0) -> Iterator[Picture]:
    """``count`` pictures.

    Args:
        count: at least 1.
        shape: (C, H, W), C being 1 or 3.
        seed: of everything; picture i depends on it and on i only.

    Yields:
        (C, H, W) float32 in [0, 1].
    """
    kinds = (_dead_leaves, _noise, _dead_leaves, _gradient)
    for index in range(count):
        generator = np.random.default_rng((seed, index))
        yield kinds[index % len(kinds)](shape, generator).astype(np.float32)


def _dead_leaves(shape: tuple[int, int, int], generator: np.random.Generator) -> NDArray[np.float64]:
    channels, height, width = shape
    side = min(height, width)
    canvas = np.empty(shape)
    canvas[:] = generator.random((channels, 1, 1))
    least = max(LEAST_RADIUS, 1 / side)
    uniform = generator.random(DISCS)
    radii = side / np.sqrt((1 - uniform) / least**2 + uniform / 0.25)  # density ~ r**-3 between both ends
    for radius in radii:
        y, x = generator.uniform(0, height), generator.uniform(0, width)
        rows = slice(max(int(y - radius), 0), min(int(y + radius) + 2, height))
        columns = slice(max(int(x - radius), 0), min(int(x + radius) + 2, width))
        inside = (np.arange(height)[rows, None] - y) ** 2 + (np.arange(width)[columns] - x) ** 2 <= radius**2
        colour = generator.random((channels, 1)) + generator.normal(0, 0.04, (channels, int(inside.sum())))
        canvas[:, rows, columns][:, inside] = colour
    return np.clip(canvas, 0.0, 1.0)


def _noise(shape: tuple[int, int, int], generator: np.random.Generator) -> NDArray[np.float64]:
    channels, height, width = shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = 1.0
    amplitude = 1.0 / frequency
    amplitude[0, 0] = 0.0
    waves = generator.normal(size=(channels + 1, height, width // 2 + 1, 2)) @ np.array([1.0, 1.0j])
    fields = np.fft.irfft2(waves * amplitude, (height, width))
    mixed = 0.8 * fields[:1] + 0.6 * fields[1:]  # colours of photos vary together
    deviation = max(float(mixed.std()), 1e-12)
    return np.clip(generator.uniform(0.3, 0.6) + mixed / deviation * generator.uniform(0.1, 0.25), 0.0, 1.0)


def _gradient(shape: tuple[int, int, int], generator: np.random.Generator) -> NDArray[np.float64]:
    channels, height, width = shape
    across = np.linspace(0.0, 1.0, width)
    down = np.linspace(0.0, 1.0, height)[:, None]
    corners = generator.random((4, channels, 1, 1))
    top = corners[0] * (1 - across) + corners[1] * across
    bottom = corners[2] * (1 - across) + corners[3] * across
    return np.clip(top * (1 - down) + bottom * down + generator.normal(0, 0.01, shape), 0.0, 1.0)
