"""Scales and zero points: what makes them impossible, said once for every operator that has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from oaq.capture.from_onnx.attributes import described, integer
from oaq.capture.from_onnx.graph import Array, OnnxNode
from oaq.capture.from_onnx.inputs import Inputs
from oaq.errors import FormatError, UnsupportedOp

PAIRS: Final[Mapping[str, tuple[tuple[int, int, int], ...]]] = {
    "QuantizeLinear": ((0, 1, 2),),
    "DequantizeLinear": ((0, 1, 2),),
    "QLinearConv": ((0, 1, 2), (3, 4, 5), (-1, 6, 7)),
    "QLinearMatMul": ((0, 1, 2), (3, 4, 5), (-1, 6, 7)),
    "QGemm": ((0, 1, 2), (3, 4, 5), (-1, 7, 8)),
    "QLinearAdd": ((0, 1, 2), (3, 4, 5), (-1, 6, 7)),
    "QLinearMul": ((0, 1, 2), (3, 4, 5), (-1, 6, 7)),
    "QLinearGlobalAveragePool": ((0, 1, 2), (-1, 3, 4)),
    "QLinearAveragePool": ((0, 1, 2), (-1, 3, 4)),
    "QLinearReduceMean": ((0, 1, 2), (-1, 3, 4)),
    "QLinearSigmoid": ((0, 1, 2), (-1, 3, 4)),
    "QLinearLeakyRelu": ((0, 1, 2), (-1, 3, 4)),
    "QLinearSoftmax": ((0, 1, 2), (-1, 3, 4)),
}
"""(tensor, its scale, its zero point) as indices of inputs, by operator; -1: the result."""
LARGEST_SCALE: Final = 2.0**64
SMALLEST_SCALE: Final = 2.0**-126


def pairs(node: OnnxNode) -> tuple[tuple[int, int, int], ...]:
    """Where a node has scales; see ``PAIRS``."""
    if node.op == "QLinearConcat":
        return ((-1, 0, 1), *((index, index + 1, index + 2) for index in range(2, len(node.inputs) - 2, 3)))
    return PAIRS.get(node.op, ())


def check_scales(node: OnnxNode, inputs: Inputs) -> None:
    """Look at every scale and zero point of a node that is a constant.

    Raises:
        FormatError: a scale is zero, negative, infinite, NaN or no float, there are too many or too few of them, or a
            zero point is of another type than its tensor or leaves it.
    """
    for tensor, scale_at, zero_at in pairs(node):
        scale, zero = inputs.constant(scale_at), inputs.constant(zero_at)
        if node.op != "QGemm" and not node.input_name(scale_at):
            raise FormatError(f"{described(node)}: its scale (input {scale_at}) is left out")
        if scale is not None:
            _check_scale(node, node.input_name(scale_at), scale)
        if zero is not None:
            _check_zero_point(node, node.input_name(zero_at), zero, inputs.dtype(tensor) if tensor >= 0 else None)
        if scale is not None and zero is not None and zero.size != scale.size and min(zero.size, scale.size) != 1:
            raise FormatError(f"{described(node)}: {scale.size} scales and {zero.size} zero points do not fit")
        shape = inputs.shape(tensor) if tensor >= 0 else None
        blocks = scale is not None and (scale.ndim > 1 or bool(integer(node, "block_size", 0)))
        if node.op in ("QuantizeLinear", "DequantizeLinear") and shape and scale is not None and not blocks:
            per_axis(node, shape, scale, zero)


def per_axis(node: OnnxNode, shape: tuple[int, ...], scale: Array, zero: Array | None = None) -> int:
    """The axis of QuantizeLinear or DequantizeLinear along which scale or zero point run; 0 if there is one for all.

    Raises:
        FormatError: the scales do not fit the tensor.
        UnsupportedOp: they run in blocks.
    """
    longer = zero if zero is not None and zero.size > scale.size else scale
    if longer.size == 1 and longer.ndim <= 1:
        return 0
    if integer(node, "block_size", 0) or longer.ndim > 1:
        raise UnsupportedOp(f"{described(node)}: has one scale per block; one per tensor or per channel is read")
    axis = integer(node, "axis", 1)
    if not -len(shape) <= axis < len(shape) or shape[axis] != longer.size:
        raise FormatError(f"{described(node)}: {longer.size} scales do not fit axis {axis} of a tensor {shape}")
    return axis % len(shape)


def _check_scale(node: OnnxNode, name: str, scale: Array) -> None:
    if scale.dtype.kind != "f" or scale.size == 0:
        raise FormatError(f"{described(node)}: the scale {name!r} is {scale.dtype} {scale.shape}, not positive floats")
    with np.errstate(invalid="ignore"):  # a NaN that signals
        wide = scale.astype(np.float64)  # beside float16, the limits would round to 0 and infinity
    wrong = ~((wide >= SMALLEST_SCALE) & (wide <= LARGEST_SCALE))
    if wrong.any():
        at = int(np.argmax(wrong.reshape(-1)))
        raise FormatError(
            f"{described(node)}: the scale {name!r} is {scale.reshape(-1)[at]} at {at}; a scale is positive, finite "
            "and a normal float32. Quantize the model again"
        )


def _check_zero_point(node: OnnxNode, name: str, zero: Array, dtype: np.dtype | None) -> None:
    if zero.dtype.kind not in "iu" or zero.size == 0:
        raise FormatError(f"{described(node)}: the zero point {name!r} is {zero.dtype} {zero.shape}, not integers")
    if dtype is not None and dtype.kind in "iu" and zero.dtype != dtype:
        raise FormatError(f"{described(node)}: the zero point {name!r} is {zero.dtype}, its tensor {dtype}")
