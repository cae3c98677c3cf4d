"""The AVX2 rows, known without the native module: what networks are quantized for, and what 1.0 of a budget runs on.

The same network quantized on two machines is the same program, so these may not depend on the machine.
``tests/kernels`` compares them with the native table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from oaq.kernels.table import KernelRow
from oaq.numerics.accumulator import AVX2_ACC16, AVX2_ACC32, DEPTHWISE_ACC16, EXACT_S32, Accumulator
from oaq.numerics.formats import S8, U8

TILE: Final = 16
DEPTHWISE_TILE: Final = 32
INCLUDES: Final = frozenset({"scalar"})


def _gemm(name: str, accumulator: Accumulator, tile_m: int) -> KernelRow:
    return KernelRow(name, "gemm", "avx2", TILE, accumulator, U8, S8, False, tile_m, 2, INCLUDES)


def _depthwise(name: str, accumulator: Accumulator) -> KernelRow:
    return KernelRow(name, "depthwise", "avx2", DEPTHWISE_TILE, accumulator, U8, S8, False, 1, 1, INCLUDES)


GEMM: Final = (
    _gemm("gemm_u8s8_avx2_acc16", AVX2_ACC16, 6),
    _gemm("gemm_u8s8_avx2_acc32", AVX2_ACC32, 5),
    _gemm("gemm_u8s8_avx2_exact", EXACT_S32, 2),
)
DEPTHWISE: Final = (
    _depthwise("depthwise_u8s8_avx2_acc16", DEPTHWISE_ACC16),
    _depthwise("depthwise_u8s8_avx2_exact", replace(EXACT_S32, step=DEPTHWISE_ACC16.step)),
)
SIXTEEN_BIT: Final[Mapping[str, KernelRow]] = MappingProxyType({"gemm": GEMM[0], "depthwise": DEPTHWISE[0]})
"""The rows whose seconds without a spill are the measure of a network: budget 1.0."""
