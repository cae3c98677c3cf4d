"""Operators that look along axes: means and other reductions, Softmax, normalization, ArgMax, TopK."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, Final

import numpy as np

from oaq.capture.from_onnx import movement
from oaq.capture.from_onnx.attributes import described, integer, real
from oaq.capture.from_onnx.graph import Array, OnnxNode
from oaq.capture.from_onnx.inputs import Inputs
from oaq.errors import UnsupportedOp
from oaq.mixed.floats.operator import Operator, argument, arguments

Reduction = Callable[..., Any]


def _reduce(reduction: Reduction) -> Operator:
    def compute(node: OnnxNode, inputs: Inputs) -> Array:
        x = argument(node, inputs, 0)
        axes = movement.numbers_of(node, inputs, 1, "axes")
        if not axes:
            if integer(node, "noop_with_empty_axes", 0):
                return x
            axes = tuple(range(x.ndim))
        places = tuple(movement.axis_of(node, axis, x.ndim) for axis in axes)
        return np.asarray(reduction(x, axis=places, keepdims=bool(integer(node, "keepdims", 1)))).astype(x.dtype)

    return compute


def _log_sum_exp(x: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
    peak = x.max(axis=axis, keepdims=True)
    total = np.log(np.exp(x - peak).sum(axis=axis, keepdims=True)) + peak
    return total if keepdims else total.squeeze(axis)


REDUCTIONS: Final[Mapping[str, Reduction]] = {
    "ReduceMean": np.mean,
    "ReduceSum": np.sum,
    "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceProd": np.prod,
    "ReduceL1": lambda x, **options: np.sum(np.abs(x), **options),
    "ReduceL2": lambda x, **options: np.sqrt(np.sum(x * x, **options)),
    "ReduceSumSquare": lambda x, **options: np.sum(x * x, **options),
    "ReduceLogSum": lambda x, **options: np.log(np.sum(x, **options)),
    "ReduceLogSumExp": _log_sum_exp,
}


def _softmax(node: OnnxNode, inputs: Inputs) -> Array:
    """Before opset 13 along all axes from ``axis`` on, taken as one."""
    x = argument(node, inputs, 0)
    old = inputs.opset < 13
    axis = movement.axis_of(node, integer(node, "axis", 1 if old else -1), max(x.ndim, 1))
    rows = x.reshape(prod(x.shape[:axis]), -1) if old else np.moveaxis(x, axis, -1)
    shifted = rows - rows.max(axis=-1, keepdims=True)
    powers = np.exp(shifted)
    total = powers.sum(axis=-1, keepdims=True)
    result = shifted - np.log(total) if node.op == "LogSoftmax" else powers / total
    return result.reshape(x.shape) if old else np.ascontiguousarray(np.moveaxis(result, -1, axis))


def _extreme(node: OnnxNode, inputs: Inputs) -> Array:
    x = argument(node, inputs, 0)
    axis = movement.axis_of(node, integer(node, "axis", 0), x.ndim)
    pick = np.argmax if node.op == "ArgMax" else np.argmin
    if integer(node, "select_last_index", 0):
        result = x.shape[axis] - 1 - pick(np.flip(x, axis), axis=axis)
    else:
        result = pick(x, axis=axis)
    return np.asarray(np.expand_dims(result, axis) if integer(node, "keepdims", 1) else result, np.int64)


def _top(node: OnnxNode, inputs: Inputs) -> list[Array]:
    x, count = arguments(node, inputs, 2)
    axis = movement.axis_of(node, integer(node, "axis", -1), x.ndim)
    keys = -x.astype(np.float64) if integer(node, "largest", 1) else x
    order = np.argsort(keys, axis=axis, kind="stable")
    indices = np.take(order, np.arange(int(count.reshape(-1)[0])), axis=axis)
    return [np.take_along_axis(x, indices, axis), indices.astype(np.int64)]


def _running_sum(node: OnnxNode, inputs: Inputs) -> Array:
    x, axis = arguments(node, inputs, 2)
    place = movement.axis_of(node, int(axis.reshape(-1)[0]), x.ndim)
    turned = np.flip(x, place) if integer(node, "reverse", 0) else x
    total = np.cumsum(turned, axis=place, dtype=x.dtype)
    if integer(node, "exclusive", 0):
        total = total - turned
    return np.asarray(np.flip(total, place) if integer(node, "reverse", 0) else total)


def _normalized(x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array]:
    mean = x.mean(axis=axes, keepdims=True)
    variance = np.square(x - mean).mean(axis=axes, keepdims=True)
    deviation = 1 / np.sqrt(variance + np.asarray(epsilon, x.dtype))
    return (x - mean) * deviation, mean, deviation


def _layer_norm(node: OnnxNode, inputs: Inputs) -> list[Array]:
    x, scale = arguments(node, inputs, 2)
    axis = movement.axis_of(node, integer(node, "axis", -1), x.ndim)
    normal, mean, deviation = _normalized(x, tuple(range(axis, x.ndim)), real(node, "epsilon", 1e-5))
    shift = inputs.constant(2)
    result = normal * scale if shift is None else normal * scale + shift
    return [result.astype(x.dtype), mean, deviation][: len(node.outputs)]


def _rms_norm(node: OnnxNode, inputs: Inputs) -> Array:
    x, scale = arguments(node, inputs, 2)
    axis = movement.axis_of(node, integer(node, "axis", -1), x.ndim)
    square = np.square(x).mean(axis=tuple(range(axis, x.ndim)), keepdims=True)
    return (x / np.sqrt(square + np.asarray(real(node, "epsilon", 1e-5), x.dtype)) * scale).astype(x.dtype)


def _instance_norm(node: OnnxNode, inputs: Inputs) -> Array:
    x, scale, shift = arguments(node, inputs, 3)
    normal, _, _ = _normalized(x, tuple(range(2, x.ndim)), real(node, "epsilon", 1e-5))
    return normal * _by_channel(scale, x.ndim) + _by_channel(shift, x.ndim)


def _group_norm(node: OnnxNode, inputs: Inputs) -> Array:
    x, scale, shift = arguments(node, inputs, 3)
    groups = integer(node, "num_groups", 1)
    parts = x.reshape(x.shape[0], groups, -1)
    normal, _, _ = _normalized(parts, (2,), real(node, "epsilon", 1e-5))
    if inputs.opset < 21:  # one scale per group
        scale, shift = (np.repeat(array, x.shape[1] // groups) for array in (scale, shift))
    return normal.reshape(x.shape) * _by_channel(scale, x.ndim) + _by_channel(shift, x.ndim)


def _batch_norm(node: OnnxNode, inputs: Inputs) -> Array:
    x, scale, shift, mean, variance = arguments(node, inputs, 5)
    if integer(node, "training_mode", 0):
        raise UnsupportedOp(f"{described(node)}: is in training mode; export the network for inference")
    factor = scale / np.sqrt(variance + np.asarray(real(node, "epsilon", 1e-5), variance.dtype))
    return (x - _by_channel(mean, x.ndim)) * _by_channel(factor, x.ndim) + _by_channel(shift, x.ndim)


def _lp_norm(node: OnnxNode, inputs: Inputs) -> Array:
    x = argument(node, inputs, 0)
    axis = movement.axis_of(node, integer(node, "axis", -1), x.ndim)
    if integer(node, "p", 2) == 1:
        return x / np.abs(x).sum(axis=axis, keepdims=True)
    return x / np.sqrt(np.square(x).sum(axis=axis, keepdims=True))


def _by_channel(array: Array, rank: int) -> Array:
    return array.reshape(-1, *[1] * (rank - 2))


OPERATORS: Final[Mapping[str, Operator]] = {
    **{name: _reduce(reduction) for name, reduction in REDUCTIONS.items()},
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "ArgMax": _extreme,
    "ArgMin": _extreme,
    "TopK": _top,
    "CumSum": _running_sum,
    "LayerNormalization": _layer_norm,
    "RMSNormalization": _rms_norm,
    "InstanceNormalization": _instance_norm,
    "GroupNormalization": _group_norm,
    "BatchNormalization": _batch_norm,
    "LpNormalization": _lp_norm,
}
