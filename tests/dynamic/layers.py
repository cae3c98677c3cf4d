"""Dynamic layers for tests: extremes of weights and zero points, and inputs of every temper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.dynamic import DynamicLayer
from oaq.dynamic.law import Law

SHAPES = ((1, 1), (1, 5), (3, 4), (17, 9), (33, 64), (40, 131))
"""(N, K): single ones, less than a step, less and more than a tile."""


def weights(shape: tuple[int, int], seed: int = 0) -> Iterator[tuple[str, NDArray[Any], NDArray[Any] | None]]:
    """Name, weights and zero points: the ends of both types first."""
    rng = np.random.default_rng(seed)
    yield "lowest", np.full(shape, -128, np.int8), None
    yield "ends", rng.choice(np.array([-128, 127], np.int8), shape), None
    yield "s8", rng.integers(-127, 128, shape).astype(np.int8), None
    yield "narrow", rng.integers(-64, 65, shape).astype(np.int8), None
    yield "s8 with zero points", rng.integers(-128, 128, shape).astype(np.int8), np.array([-128], np.int8)
    yield "u8", rng.integers(0, 256, shape).astype(np.uint8), np.array([128], np.uint8)
    yield "u8 from its ends", rng.choice(np.array([0, 255], np.uint8), shape), np.array([0], np.uint8)
    zeros = rng.integers(0, 256, shape[0]).astype(np.uint8)
    yield "u8, a zero point each", rng.integers(0, 256, shape).astype(np.uint8), zeros


def layer(
    weight: NDArray[Any],
    zero_point: NDArray[Any] | None = None,
    law: Law = "tensor",
    *,
    seed: int = 0,
    bias: bool = True,
) -> DynamicLayer:
    """With scales and, if asked for, biases of its own."""
    rng = np.random.default_rng(seed)
    outputs = len(weight)
    scale = rng.uniform(1e-3, 2e-2, outputs).astype(np.float32)
    biases = rng.normal(size=outputs).astype(np.float32) if bias else None
    return DynamicLayer("layer", weight, scale, zero_point, biases, law)


def inputs(terms: int, rows: int = 5, seed: int = 0) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Name and (M, K) reals."""
    rng = np.random.default_rng(seed)
    usual = rng.normal(size=(rows, terms)).astype(np.float32)
    yield "none", usual[:0]
    yield "zeros", np.zeros((rows, terms), np.float32)
    yield "equal", np.full((rows, terms), -3.25, np.float32)
    yield "above zero", np.abs(usual)
    yield "below zero", -np.abs(usual)
    yield "tiny", usual * np.float32(1e-39)
    yield "least", np.full((rows, terms), 1e-45, np.float32)
    yield "huge", np.clip(usual, -1, 1) * np.float32(1.5e38)
    yield "halves", (rng.integers(-255, 256, (rows, terms)) / 2).astype(np.float32)
    yield "far apart", usual * np.logspace(-6, 6, rows, dtype=np.float32)[:, None]
    yield "usual", usual
