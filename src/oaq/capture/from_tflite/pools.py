"""AVERAGE_POOL_2D, MAX_POOL_2D, MEAN over rows and columns."""

from __future__ import annotations

from math import prod
from typing import Final

import numpy as np

from oaq import operators as ops
from oaq.capture.from_tflite.builder import OFFSETS, Stays, TfliteBuilder, activation_map, sample_shape
from oaq.capture.from_tflite.functions import clamp_into
from oaq.capture.from_tflite.graph import TfliteOperator
from oaq.capture.from_tflite.layers import image_shape, window_padding
from oaq.capture.from_tflite.multipliers import quotients, requantize_mean
from oaq.capture.from_tflite.numbers import axes_of
from oaq.errors import FormatError
from oaq.numerics.formats import U8
from oaq.operators import Padding, Pair

LARGEST_WINDOW = 1 << 16
"""Elements that one average is of: it has a multiplier for every number of them up to that."""
MEANS: Final = (
    "LiteRT averages in float32, zero point added before rounding: an average next to a half may be one step away"
)


def average_pool_2d(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """Mean of what the window holds of the image, as stored, halves away from the stored 0; padding is not counted."""
    x, y = build.tensor(operator, 0), build.graph.tensors[operator.outputs[0]]
    kernel, stride, padding = _window(build, operator)
    if activation_map(y) != build.spec(x).affine:
        raise Stays("averages into another scale, which TFLite itself refuses")
    clamp = build.clamp(operator)
    if kernel[0] * kernel[1] > LARGEST_WINDOW:
        raise FormatError(f"{operator}: averages over {kernel}; the file is damaged")
    about, multipliers = OFFSETS[x.kind], quotients(kernel[0] * kernel[1])
    op = ops.AvgPool(kernel, stride, multipliers, padding, count_include_pad=False, origin=about)
    build.emit(operator, op, [build.read(x)], clamp)


def max_pool_2d(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """Largest integer of the window; a fused activation clamps it afterwards."""
    x, y = build.tensor(operator, 0), build.graph.tensors[operator.outputs[0]]
    image_shape(build, operator)
    kernel, stride, padding = _window(build, operator)
    clamp, op = build.clamp(operator), ops.MaxPool(kernel, stride, padding)
    if clamp.contains(build.spec(x).range):
        build.emit(operator, op, [build.read(x)])
        return
    if activation_map(y) != build.spec(x).affine:
        raise Stays("changes the scale of what it only selects from")
    pooled = build.add(operator, op, [build.read(x)], affine=activation_map(y), clamp=U8, name=f"{operator.name}.pool")
    clamp_into(build, operator, pooled, clamp)


def mean(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """Over rows and columns, or tokens, with or without keeping their axes."""
    x, y = build.tensor(operator, 0), build.graph.tensors[operator.outputs[0]]
    rank, (*sizes, channels) = len(x.shape), build.spec(x).shape
    axes, positions = axes_of(build, operator, 1, rank), set(range(1, rank - 1))
    if not positions or axes != positions:
        raise Stays(
            f"averages over the axes {sorted(axes)} of {x.shape}; all positions, {sorted(positions)} (rows "
            "and columns, 1 and 2, of an image), can be taken"
        )
    shape, keeps = sample_shape(y), bool(operator.option("KeepDims"))
    if len(y.shape) != (rank if keeps else rank - len(axes)):
        raise Stays(f"averages {x.shape} over {sorted(axes)} with keep_dims={keeps}, but declares {y.shape}")
    counts = np.array([prod(sizes)])
    multipliers = requantize_mean(
        build.spec(x).affine.scale, activation_map(y).scale, counts, build.semantics, str(operator)
    )
    if shape == (*(1,) * len(sizes), channels):
        build.emit(operator, ops.GlobalAvgPool(multipliers), [build.read(x)])
        build.differs(operator, MEANS)
        return
    op, affine = ops.GlobalAvgPool(multipliers), activation_map(y)
    pooled = build.add(operator, op, [build.read(x)], affine=affine, clamp=U8, name=f"{y.name}.mean")
    build.emit(operator, ops.Reshape(shape), [pooled])
    build.differs(operator, MEANS)


def _window(build: TfliteBuilder, operator: TfliteOperator) -> tuple[Pair, Pair, Padding]:
    rows, columns, _ = image_shape(build, operator)
    kernel = int(operator.option("FilterHeight")), int(operator.option("FilterWidth"))
    stride = int(operator.option("StrideH")), int(operator.option("StrideW"))
    return kernel, stride, window_padding(operator, (rows, columns), kernel, stride)
