"""The register model that ``quantize`` plans for: the AVX2 16-bit rows, whatever machine it runs on.

The same network quantized on two machines is the same program. The kernel table, which is there only once the native
module is built, describes the same registers; ``tests/ptq`` compares them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from oaq.kernels.table import KernelRow
from oaq.numerics.accumulator import AVX2_ACC16, AVX2_ACC32, DEPTHWISE_ACC16, EXACT_S32, Accumulator
from oaq.numerics.ranges import IntRange

TILE: Final = 16
DEPTHWISE_TILE: Final = 32
LANE_LIMIT: Final = AVX2_ACC16.range.hi
"""What a 16-bit lane holds at most; the least is one farther, which is not used."""


def _row(name: str, accumulator: Accumulator) -> KernelRow:
    family = name.split("_")[0]
    tile = tile_of(depthwise=family == "depthwise")
    return KernelRow(name, family, "avx2", tile, accumulator, IntRange(0, 255), IntRange(-128, 127), False)


def tile_of(*, depthwise: bool) -> int:
    """Outputs that share their spills."""
    return DEPTHWISE_TILE if depthwise else TILE


GEMM: Final = (
    _row("gemm_u8s8_avx2_acc16", AVX2_ACC16),
    _row("gemm_u8s8_avx2_acc32", AVX2_ACC32),
    _row("gemm_u8s8_avx2_exact", EXACT_S32),
)
DEPTHWISE: Final = (
    _row("depthwise_u8s8_avx2_acc16", DEPTHWISE_ACC16),
    _row("depthwise_u8s8_avx2_exact", replace(EXACT_S32, step=DEPTHWISE_ACC16.step)),
)


def rows_of(*, depthwise: bool) -> tuple[KernelRow, ...]:
    """The rows a layer may take."""
    return DEPTHWISE if depthwise else GEMM
