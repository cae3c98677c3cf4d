"""The register model that ``quantize`` plans for: the AVX2 16-bit rows, whatever machine it runs on."""

from __future__ import annotations

from typing import Final

from oaq.kernels.sixteen_bit import DEPTHWISE, DEPTHWISE_TILE, GEMM, TILE
from oaq.kernels.table import KernelRow
from oaq.numerics.accumulator import AVX2_ACC16

LANE_LIMIT: Final = AVX2_ACC16.range.hi
"""What a 16-bit lane holds at most; the least is one farther, which is not used."""


def tile_of(*, depthwise: bool) -> int:
    """Outputs that share their spills."""
    return DEPTHWISE_TILE if depthwise else TILE


def rows_of(*, depthwise: bool) -> tuple[KernelRow, ...]:
    """The rows a layer may take."""
    return DEPTHWISE if depthwise else GEMM
