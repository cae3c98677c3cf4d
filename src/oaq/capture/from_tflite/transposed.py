"""TRANSPOSE_CONV: a convolution of the phases of its strides, interleaved and cut (``capture.transposed``)."""

from __future__ import annotations

from typing import Final

import numpy as np

from oaq import operators as ops
from oaq.capture.from_tflite.builder import Stays, TfliteBuilder, activation_map, sample_shape
from oaq.capture.from_tflite.graph import LEFT_OUT, TfliteOperator
from oaq.capture.from_tflite.layers import (
    SAME,
    VALID,
    Weights,
    bias_of,
    multipliers_of,
    split_weights,
    stored_weights,
    window_padding,
)
from oaq.capture.from_tflite.multipliers import requantize_twice
from oaq.capture.from_tflite.numbers import integers_of
from oaq.capture.transposed import Transposed, phased
from oaq.errors import FormatError, ProgramError
from oaq.numerics.formats import U8
from oaq.numerics.requantize import Requantize
from oaq.operators import Pair, Shape

UPWARD: Final = (
    "LiteRT's built-in kernel of uint8 rounds twice, halves upward; here they go away from 0: one step away at most"
)


def transpose_conv(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """(output shape, filters (N, KH, KW, C), image, bias or none)."""
    x, y, stored = (
        build.tensor(operator, 2),
        build.graph.tensors[operator.outputs[0]],
        stored_weights(build, operator, 4),
    )
    rows, columns, channels = build.spec(x).shape if len(x.shape) == 4 else (0, 0, 0)
    shape, kernel, stride = sample_shape(y), (stored.shape[1], stored.shape[2]), _stride(operator)
    if stored.shape[3] != channels or len(shape) != 3 or shape[2] != stored.shape[0]:
        raise FormatError(f"{operator}: filters {stored.shape} do not lead from {x.shape} to {y.shape}")
    if tuple(integers_of(build, operator, 0)) != y.shape:
        raise Stays(f"makes {integers_of(build, operator, 0)}, but declares {y.shape}")
    before = window_padding(operator, shape[:2], kernel, stride)
    reason = why_not_so_many(operator, (rows, columns), shape[:2], (kernel, stride))
    if reason:
        raise Stays(reason)
    weights = split_weights(operator, stored, 0, stored.shape, (0, 1, 2, 3))
    layer = Transposed(
        weights.weight.transpose(3, 0, 1, 2).astype(np.float64),
        np.zeros(shape[2]),
        stride,
        (1, 1),
        (before[0], before[2]),
        shape[:2],
    )
    try:
        parts = phased(layer, (rows, columns))
    except ProgramError as error:
        raise FormatError(f"{operator}: {error}") from error
    built_in = _is_built_in(operator, kernel, stride)
    place = 3 if operator.input_at(3) != LEFT_OUT else LEFT_OUT
    bias, multipliers = (
        bias_of(build, operator, place, shape[2]),
        _multipliers(build, operator, weights, built_in=built_in),
    )
    clamp = build.clamp(operator)
    op = ops.Conv2d(
        parts.weight.transpose(0, 2, 3, 1).astype(np.int16),
        bias[parts.outputs],
        _of_rows(multipliers, parts.outputs, shape[2]),
        padding=parts.padding,
    )
    *inner, last = (op, *parts.moves)
    name, affine = build.read(x), activation_map(y)
    for step in inner:
        spec_clamp = clamp if step is op else U8
        name = build.add(operator, step, [name], affine=affine, clamp=spec_clamp, name=f"{operator.name}.phases")
    build.emit(operator, last, [name], clamp)
    if built_in and x.kind == "UINT8" and build.semantics == "float32_half_even":
        build.differs(operator, UPWARD)


def _stride(operator: TfliteOperator) -> Pair:
    return int(operator.option("StrideH")), int(operator.option("StrideW"))


def why_not_so_many(operator: TfliteOperator, size: Shape, results: Shape, window: tuple[Pair, Pair]) -> str:
    """Why it is open where the first result lies: "" where a convolution back from the results has ``size`` positions.

    Args:
        operator: whose padding it is.
        size: rows and columns of the image.
        results: rows and columns of the result.
        window: kernel and stride.
    """
    is_valid = operator.option("Padding") == VALID
    lacking = [k - 1 if is_valid else 0 for k in window[0]]
    counts = tuple(-(-(n - less) // s) for n, less, s in zip(results, lacking, window[1], strict=True))
    if counts == size:
        return ""
    return f"makes {results} of {size}; a window {window[0]} by steps of {window[1]} goes back to {counts}"


def _is_built_in(operator: TfliteOperator, kernel: Pair, stride: Pair) -> bool:
    """Whether SAME leaves results that no tap of a window reaches: XNNPACK does not take it, built-in kernels do.

    Found by experiment, as ``roundings`` tells.
    """
    return operator.option("Padding") == SAME and any(k < s for k, s in zip(kernel, stride, strict=True))


def _multipliers(build: TfliteBuilder, operator: TfliteOperator, weights: Weights, *, built_in: bool) -> Requantize:
    x, y = build.tensor(operator, 2), activation_map(build.graph.tensors[operator.outputs[0]])
    if build.semantics == "float32_half_even" and built_in:
        return requantize_twice(build.spec(x).affine.scale, weights.scale, y.scale, str(operator))
    return multipliers_of(build, operator, x, weights)


def _of_rows(multipliers: Requantize, outputs: np.ndarray, count: int) -> Requantize:
    """The multiplier of each row's output."""

    def spread(numbers: np.ndarray | None) -> np.ndarray | None:
        return None if numbers is None else np.broadcast_to(numbers, (count,))[outputs]

    factor = spread(multipliers.multiplier)
    assert factor is not None
    return Requantize(factor, spread(multipliers.shift), spread(multipliers.then))
