"""The map between real values and stored integers: ``real = scale * (q - zero_point)``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.ranges import IntRange


@dataclass(frozen=True)
class Affine:
    """``real = scale * (q - zero_point)``.

    Attributes:
        scale: real value of one integer step; positive, finite, and exactly a float32 (so files and ISAs agree on it).
        zero_point: the integer that means 0.0.
    """

    scale: float
    zero_point: int = 0

    def __post_init__(self) -> None:
        scale = float(self.scale)
        if not math.isfinite(scale) or scale <= 0:
            raise ValueError(f"a scale is positive and finite, not {self.scale!r}")
        rounded = float(np.float32(scale))
        if rounded <= 0 or not math.isfinite(rounded):
            raise ValueError(f"a scale is a normal float32, not {self.scale!r}")
        object.__setattr__(self, "scale", rounded)
        object.__setattr__(self, "zero_point", int(self.zero_point))

    def quantize(self, real: NDArray[np.float32], to: IntRange) -> NDArray[np.uint8]:
        """``clamp(round_half_even(real / scale) + zero_point)`` in float32, clamped to ``to`` inside [0, 255].

        Division, not multiplication by a reciprocal: ONNX QuantizeLinear divides, and the last bit shows.

        Raises:
            ValueError: ``real`` holds NaN.
        """
        real = np.asarray(real, np.float32)
        if np.isnan(real).any():
            raise ValueError("a NaN has no integer: the input holds NaN")
        with np.errstate(over="ignore"):
            steps = np.rint(real / np.float32(self.scale))
        low, high = np.float32(to.lo - self.zero_point), np.float32(to.hi - self.zero_point)
        return (np.clip(steps, low, high).astype(np.int32) + np.int32(self.zero_point)).astype(np.uint8)

    def dequantize(self, q: NDArray[np.integer]) -> NDArray[np.float32]:
        """``(q - zero_point) * scale`` in float32; exact before the one multiplication."""
        return (q.astype(np.int32) - np.int32(self.zero_point)).astype(np.float32) * np.float32(self.scale)
