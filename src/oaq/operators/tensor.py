"""``TensorSpec``: a u8 tensor's shape, meaning and range. Any rank, channels last."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from oaq.errors import ProgramError
from oaq.numerics.affine import Affine
from oaq.numerics.formats import U8
from oaq.numerics.ranges import IntRange

Shape = tuple[int, ...]
"""Axes of one sample, channels last: (C,), (L, C), (T, C), (H, W, C), (D, H, W, C), ..."""

LARGEST_TENSOR = 1 << 31
"""One sample's tensor holds fewer integers than this, so that 32 bits index it."""
LARGEST_RANK = 8
"""Axes of one sample stay within this: beyond it is a damaged file, not a network."""


@dataclass(frozen=True)
class TensorSpec:
    """A u8 tensor: its shape, what its integers mean, which of them can occur.

    Attributes:
        name: unique in the program.
        shape: of one sample, channels last, 1 to 8 axes, all >= 1.
        affine: real = scale * (q - zero_point).
        range: effective range, inside [0, 255], holding the zero point; whatever writes the tensor clamps to it.
    """

    name: str
    shape: Shape
    affine: Affine
    range: IntRange = U8

    def __post_init__(self) -> None:
        if not self.name:
            raise ProgramError("a tensor needs a name")
        if not 1 <= len(self.shape) <= LARGEST_RANK or min(self.shape) < 1:
            raise ProgramError(
                f"{self.name}: a shape is 1 to {LARGEST_RANK} axes, channels last, all >= 1, not {self.shape}"
            )
        if prod(self.shape) >= LARGEST_TENSOR:
            raise ProgramError(f"{self.name}: {self.shape} holds {prod(self.shape)} integers; the limit is 2**31 - 1")
        if not U8.contains(self.range):
            raise ProgramError(f"{self.name}: the effective range {self.range} leaves u8")
        if self.affine.zero_point not in self.range:
            raise ProgramError(
                f"{self.name}: zero point {self.affine.zero_point} lies outside the effective range {self.range}, "
                "so 0.0 (and padding) could not be stored"
            )

    @property
    def channels(self) -> int:
        """Size of the last axis."""
        return self.shape[-1]


def as_image(shape: Shape) -> tuple[int, int, int]:
    """(H, W, C) with the same memory: missing leading axes are 1, more than two are taken together.

    >>> as_image((5,)), as_image((7, 5)), as_image((2, 3, 7, 5))
    ((1, 1, 5), (1, 7, 5), (6, 7, 5))
    """
    if len(shape) < 3:
        shape = (1,) * (3 - len(shape)) + shape
    return prod(shape[:-2]), shape[-2], shape[-1]
