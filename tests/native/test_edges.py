"""Reals to integers and back, by every instruction set: sizes that no vector divides, ties, ends of floats."""

from __future__ import annotations

import numpy as np
import pytest

from oaq.kernels import _native
from oaq.kernels.table import cpu_isas
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from tests.reals import NUMBERS, SCALES, reals

CHANNELS = (1, 2, 3, 4, 15, 16, 17, 31, 32, 33, 48, 130)
PIXELS = (1, 2, 15, 16, 17, 31, 255, 256, 257, 529, 1023, 1024, 1025, 2070)


@pytest.mark.parametrize("isa", cpu_isas())
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("zero_point", "ends"), NUMBERS)
def test_reals_are_rounded_as_the_law_says(isa: str, scale: float, zero_point: int, ends: tuple[int, int]) -> None:
    affine = Affine(float(np.float32(scale)), zero_point)
    for channels, pixels in ((1, 1000), (3, 300), (17, 40)):
        real = reals(scale, (2, channels, pixels))
        q = np.zeros((2, pixels, channels), np.uint8)
        assert _native.quantize(real, q, affine.scale, zero_point, ends, isa)
        np.testing.assert_array_equal(q, affine.quantize(real.transpose(0, 2, 1), IntRange(*ends)))


@pytest.mark.parametrize("isa", cpu_isas())
@pytest.mark.parametrize("channels", CHANNELS)
def test_every_size_both_ways(isa: str, channels: int) -> None:
    affine = Affine(0.05, 9)
    for pixels in PIXELS:
        real = reals(0.05, (2, channels, pixels))
        q = np.zeros((2, pixels, channels), np.uint8)
        assert _native.quantize(real, q, 0.05, 9, (0, 255), isa)
        np.testing.assert_array_equal(q, affine.quantize(real.transpose(0, 2, 1), IntRange(0, 255)))
        back = np.full((2, channels, pixels), np.nan, np.float32)
        _native.dequantize(q, back, affine.scale, 9, isa)
        np.testing.assert_array_equal(back, affine.dequantize(q).transpose(0, 2, 1))


@pytest.mark.parametrize("isa", cpu_isas())
@pytest.mark.parametrize("channels", [1, 3, 16, 17])
def test_a_nan_is_said_wherever_it_is(isa: str, channels: int) -> None:
    for pixels in (1, 16, 257, 1025):
        for place in {0, channels * pixels - 1, channels * pixels // 2}:
            real = np.ones((1, channels, pixels), np.float32)
            real.flat[place] = np.nan
            q = np.zeros((1, pixels, channels), np.uint8)
            assert not _native.quantize(real, q, 0.05, 9, (0, 255), isa)


def test_an_instruction_set_that_is_not_here_is_refused() -> None:
    q = np.zeros((1, 1, 1), np.uint8)
    with pytest.raises(ValueError, match="runs no instruction set called sparc"):
        _native.quantize(np.ones((1, 1, 1), np.float32), q, 1.0, 0, (0, 255), "sparc")
    with pytest.raises(ValueError, match="runs no instruction set called sparc"):
        _native.dequantize(q, np.ones((1, 1, 1), np.float32), 1.0, 0, "sparc")
