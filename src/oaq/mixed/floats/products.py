"""Operators that sum products, and windows over positions: MatMul, Gemm, Conv, pools."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Final

import numpy as np

from oaq.capture.from_onnx.attributes import described, integer, real, text
from oaq.capture.from_onnx.graph import Array, OnnxNode
from oaq.capture.from_onnx.inputs import Inputs
from oaq.capture.from_onnx.windows import Window, window
from oaq.errors import FormatError, UnsupportedOp
from oaq.mixed.floats.operator import Operator, argument, arguments


def _matmul(node: OnnxNode, inputs: Inputs) -> Array:
    a, b = arguments(node, inputs, 2)
    return np.asarray(np.matmul(a, b))


def _gemm(node: OnnxNode, inputs: Inputs) -> Array:
    a, b = arguments(node, inputs, 2)
    product = np.matmul(a.T if integer(node, "transA", 0) else a, b.T if integer(node, "transB", 0) else b)
    product = product * np.asarray(real(node, "alpha", 1.0), a.dtype)
    c = inputs.constant(2)
    return np.asarray(product if c is None else product + c * np.asarray(real(node, "beta", 1.0), a.dtype))


def _einsum(node: OnnxNode, inputs: Inputs) -> Array:
    return np.asarray(np.einsum(text(node, "equation", ""), *arguments(node, inputs, len(node.inputs))))


def _matmul_integer(node: OnnxNode, inputs: Inputs) -> Array:
    """Exact: int32 as ONNX defines it, by int64 sums."""
    a, b = arguments(node, inputs, 2)
    zeros = (inputs.constant(2), inputs.constant(3))
    rows = zeros[0] if zeros[0] is None or zeros[0].ndim == 0 else zeros[0].reshape(-1, 1)
    a = a.astype(np.int64) - (0 if rows is None else rows.astype(np.int64))
    b = b.astype(np.int64) - (0 if zeros[1] is None else zeros[1].astype(np.int64))
    return np.asarray(np.matmul(a, b)).astype(np.int32)


def _conv(node: OnnxNode, inputs: Inputs) -> Array:
    """(N, C, ...) by (M, C / groups, ...): windows as columns, one matrix product per group."""
    x, weight = arguments(node, inputs, 2)
    if x.ndim != weight.ndim or x.ndim < 3:
        raise FormatError(
            f"{described(node)}: {x.shape} and {weight.shape} are not a batch of images and their weights"
        )
    groups, place = integer(node, "group", 1), window(node, x.shape[2:], weight.shape[2:])
    if x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise FormatError(f"{described(node)}: {groups} groups do not fit {x.shape} and {weight.shape}")
    columns = _windows(x, place, 0.0)  # (N, C, *count, *kernel)
    rank = x.ndim - 2
    count = prod(place.count)
    parts = np.moveaxis(columns.reshape(x.shape[0], groups, weight.shape[1], count, -1), 3, 2)
    flat = parts.reshape(x.shape[0], groups, count, -1)
    kernels = weight.reshape(groups, weight.shape[0] // groups, -1)
    sums = np.matmul(kernels[None], flat.transpose(0, 1, 3, 2))
    result = sums.reshape(x.shape[0], weight.shape[0], *place.count)
    bias = inputs.constant(2)
    return result if bias is None else result + bias.reshape(-1, *[1] * rank)


def _conv_integer(node: OnnxNode, inputs: Inputs) -> Array:
    x, weight = (array.astype(np.float64) for array in arguments(node, inputs, 2))  # sums below 2**53 are exact
    zeros = [inputs.constant(index) for index in (2, 3)]
    x = x - (0 if zeros[0] is None else zeros[0].astype(np.float64))
    if zeros[1] is not None:
        weight = weight - zeros[1].astype(np.float64).reshape(-1, *[1] * (weight.ndim - 1))
    centred = Inputs(inputs.types[:2], [x, weight], inputs.opset)
    return _conv(node, centred).astype(np.int32)


def _max_pool(node: OnnxNode, inputs: Inputs) -> Array:
    x = argument(node, inputs, 0)
    if len(node.outputs) > 1 and node.outputs[1]:
        raise UnsupportedOp(f"{described(node)}: its indices are wanted")
    least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    spatial = tuple(range(-(x.ndim - 2), 0))
    return _windows(x, window(node, x.shape[2:]), least).max(axis=spatial)


def _average_pool(node: OnnxNode, inputs: Inputs) -> Array:
    """Positions that ``ceil_mode`` adds are never counted; padding is, if ``count_include_pad``."""
    x = argument(node, inputs, 0)
    place = window(node, x.shape[2:])
    spatial = tuple(range(-(x.ndim - 2), 0))
    total = _windows(x, place, 0.0).sum(axis=spatial)
    counted = np.ones((1, 1, *x.shape[2:]), x.dtype)
    if integer(node, "count_include_pad", 0):
        pads = [(b, a - more) for b, a, more in zip(place.before, place.after, place.added, strict=True)]
        counted = np.pad(counted, [(0, 0), (0, 0), *pads], constant_values=1)
        zero = (0,) * len(place.kernel)
        place = Window(place.kernel, place.stride, place.dilation, zero, place.added, place.added, place.count)
    return total / _windows(counted, place, 0.0).sum(axis=spatial)


def _global_pool(node: OnnxNode, inputs: Inputs) -> Array:
    x = argument(node, inputs, 0)
    spatial = tuple(range(2, x.ndim))
    return x.mean(axis=spatial, keepdims=True) if node.op == "GlobalAveragePool" else x.max(axis=spatial, keepdims=True)


def _windows(x: Array, place: Window, fill: float) -> Array:
    """Every window as a view: (N, C, *count, *kernel)."""
    rank = len(place.kernel)
    pads = [(0, 0), (0, 0), *zip(place.before, place.after, strict=True)]
    padded = np.pad(x, pads, constant_values=np.asarray(fill, x.dtype)) if any(map(any, pads)) else x
    reach = tuple((k - 1) * d + 1 for k, d in zip(place.kernel, place.dilation, strict=True))
    views = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(2, 2 + rank)))
    steps = [slice(0, (n - 1) * s + 1, s) for n, s in zip(place.count, place.stride, strict=True)]
    within = [slice(None, None, d) for d in place.dilation]
    return views[(slice(None), slice(None), *steps, *within)]


OPERATORS: Final[Mapping[str, Operator]] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "MatMulInteger": _matmul_integer,
    "Conv": _conv,
    "ConvInteger": _conv_integer,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
}
