"""A small classifier of integers, and a kernel table that needs no native module."""

from __future__ import annotations

import numpy as np

from oaq import operators as ops
from oaq.kernels.table import KernelRow
from oaq.numerics.accumulator import AVX2_ACC16, AVX2_ACC32, DEPTHWISE_ACC16, EXACT_S32
from oaq.numerics.affine import Affine
from oaq.numerics.formats import S8_WEIGHT, U8
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.program.int_program import IntProgram
from tests.strategies import Builder, conv2d, linear

OTHERS = ("add", "max_pool", "avg_pool", "global_avg_pool", "lookup", "copy", "pad", "slice", "concat", "mul")


def table() -> tuple[KernelRow, ...]:
    """Rows of two instruction sets."""
    rows = [
        KernelRow("gemm_u8s8_scalar", "gemm", "scalar", 8, EXACT_S32, U8, S8_WEIGHT, True),
        KernelRow("gemm_u8s8_avx2_exact", "gemm", "avx2", 16, EXACT_S32, U8, S8_WEIGHT, True),
        KernelRow("gemm_u8s8_avx2_acc32", "gemm", "avx2", 16, AVX2_ACC32, U8, S8_WEIGHT, True),
        KernelRow("gemm_u8s8_avx2_acc16", "gemm", "avx2", 16, AVX2_ACC16, U8, S8_WEIGHT, True),
        KernelRow("depthwise_u8s8_avx2_acc16", "depthwise", "avx2", 16, DEPTHWISE_ACC16, U8, S8_WEIGHT, True),
        KernelRow("gemm_u8s8_vnni", "gemm", "vnni", 16, EXACT_S32, U8, S8_WEIGHT, False),
    ]
    rows += [KernelRow(f"{name}_u8_scalar", name, "scalar", 1, None, U8, S8_WEIGHT, True) for name in OTHERS]
    return tuple(rows)


def program(seed: int = 0, **metadata: str) -> IntProgram:
    """conv 3x3 /2, depthwise 3x3, conv 1x1, mean, linear: 8 x 8 photos in 5 classes."""
    rng = np.random.default_rng(seed)
    build = Builder("small")
    x = build.input((8, 8, 3), Affine(1 / 127, 127))
    reach = IntRange(0, 63)
    y = build.add(conv2d(rng, (8, 3, 3, 3), stride=(2, 2), padding=(1, 1, 1, 1)), [x], Affine(0.05, 0), reach, "stem")
    deep = conv2d(rng, (8, 3, 3, 1), padding=(1, 1, 1, 1), groups=8)
    y = build.add(deep, [y], Affine(0.05, 0), reach, "deep")
    y = build.add(conv2d(rng, (16, 1, 1, 8), kind="small"), [y], Affine(0.05, 0), U8, "wide")
    y = build.add(ops.GlobalAvgPool(Requantize(np.float32([1 / 16]))), [y], Affine(0.05, 0), U8, "mean")
    y = build.add(ops.Reshape((16,)), [y], name="flat")
    build.add(linear(rng, (5, 16)), [y], Affine(0.1, 128), U8, "classify")
    return build.finish(**metadata)
