"""CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.capture.from_tflite.builder import Stays, TfliteBuilder, activation_map, sample_shape, scales_of
from oaq.capture.from_tflite.graph import LEFT_OUT, TfliteGraph, TfliteOperator, TfliteTensor
from oaq.capture.from_tflite.multipliers import requantize, requantize_twice
from oaq.capture.imported import LayerSource, StoredArray
from oaq.errors import FormatError, ProgramError
from oaq.numerics.formats import U8
from oaq.numerics.requantize import Requantize
from oaq.operators import LARGEST_WINDOW, Padding, Pair

SAME, VALID = 0, 1
WEIGHTS = ("INT8", "UINT8", "INT4")


@dataclass(frozen=True, eq=False)
class Weights:
    """A layer's weights as the program has them.

    Attributes:
        stored: in the file.
        weight: (N, ...) int16, zero point subtracted.
        scale: (N,) float32.
        zero_point: (N,) int64.
        split: see ``LayerSource``.
        axes: likewise.
    """

    stored: TfliteTensor
    weight: NDArray[np.int16]
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    split: tuple[int, ...]
    axes: tuple[int, ...]


def conv_2d(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """Filters (N, KH, KW, C / groups): the program's own order."""
    stored = stored_weights(build, operator, 4)
    channels = image_shape(build, operator)[2]
    if channels % stored.shape[3]:
        raise FormatError(f"{operator}: filters {stored.shape} do not fit {channels} channels; the file is damaged")
    weights = split_weights(operator, stored, 0, stored.shape, (0, 1, 2, 3))
    _convolution(build, operator, weights, channels // stored.shape[3])


def depthwise_conv_2d(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """Filters (1, KH, KW, N): output n reads channel n // (N / C)."""
    stored = stored_weights(build, operator, 4)
    channels, outputs = image_shape(build, operator)[2], stored.shape[3]
    if stored.shape[0] != 1 or outputs % channels:
        raise FormatError(f"{operator}: filters {stored.shape} do not fit {channels} channels; the file is damaged")
    if operator.option("DepthMultiplier") not in (0, outputs // channels):
        raise Stays(f"its depth multiplier is {operator.option('DepthMultiplier')}, its filters {stored.shape}")
    _convolution(build, operator, split_weights(operator, stored, 3, stored.shape, (3, 1, 2, 0)), channels)


def fully_connected(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """Weights (N, K) on all that a sample holds, or on the last axis at every position: (T, K) to (T, N)."""
    x, stored = build.tensor(operator, 0), stored_weights(build, operator, 2)
    outputs, terms = stored.shape
    if operator.option("WeightsFormat"):
        raise Stays("its weights are shuffled")
    shape, y = build.spec(x).shape, build.graph.tensors[operator.outputs[0]]
    keeps = bool(operator.option("KeepNumDims"))
    if len(y.shape) != (len(x.shape) if keeps else 2) and len(y.shape) > 2:
        raise Stays(f"makes {y.shape} of {x.shape} with keep_num_dims={keeps}")
    at_positions = shape[-1] == terms and len(shape) > 1
    if at_positions and (prod(shape) != terms or sample_shape(y) == (*shape[:-1], outputs)):
        weights = split_weights(operator, stored, 0, stored.shape, (0, 1))
        sums = _sums(build, operator, weights)
        name = build.emit(operator, ops.Linear(weights.weight, *sums), [build.read(x)], build.clamp(operator))
        _record_layer(build, operator, weights, name)
    elif prod(shape) == terms:
        _linear(build, operator, split_weights(operator, stored, 0, stored.shape, (0, 1)))
    else:
        raise FormatError(f"{operator}: weights {stored.shape} do not fit an input {shape}; the file is damaged")


def scale_channels(build: TfliteBuilder, operator: TfliteOperator, x: TfliteTensor, stored: TfliteTensor) -> None:
    """X times one constant per channel: a depthwise convolution of one tap, whose sums are those products."""
    shape = build.spec(x).shape
    channels, taps = shape[-1], (1,) * (len(shape) - 1)
    if not taps or stored.data is None or stored.data.size != channels or stored.shape[-1:] != shape[-1:]:
        raise Stays(f"multiplies {shape} by a constant {stored.shape}; one number, or one per channel, can be taken")
    if stored.kind not in WEIGHTS or stored.scale.size != 1:
        raise Stays(f"its constant {stored.name!r} is {stored.kind} with {stored.scale.size} scales")
    weights = split_weights(operator, stored, len(stored.shape) - 1, (channels, *taps, 1), tuple(range(len(taps) + 2)))
    multipliers = multipliers_of(build, operator, x, weights)
    op = ops.Conv2d(weights.weight, np.zeros(channels, np.int32), multipliers, groups=channels)
    name = build.emit(operator, op, [build.read(x)], build.clamp(operator))
    _record(build, operator, weights, name, x=x, bias=None)


def window_padding(
    operator: TfliteOperator, size: tuple[int, int], kernel: Pair, stride: Pair, dilation: Pair = (1, 1)
) -> Padding:
    """TFLite's SAME or VALID as numbers: half of what SAME lacks lies before, the larger half behind.

    Raises:
        FormatError: it is neither, or a size or a stride is impossible.
    """
    rule, numbers = operator.option("Padding"), (*kernel, *stride, *dilation)
    if min(numbers) < 1 or max(numbers) > LARGEST_WINDOW or rule not in (SAME, VALID):
        raise FormatError(
            f"{operator}: kernel {kernel}, strides {stride}, dilations {dilation}, padding {rule}; the file is damaged"
        )
    if rule == VALID:
        return (0, 0, 0, 0)
    ends: list[int] = []
    for length, k, step, gap in zip(size, kernel, stride, dilation, strict=True):
        total = max((-(-length // step) - 1) * step + (k - 1) * gap + 1 - length, 0)
        ends += [total // 2, total - total // 2]
    return ends[0], ends[1], ends[2], ends[3]


def image_shape(build: TfliteBuilder, operator: TfliteOperator) -> tuple[int, int, int]:
    """The shape of the operator's input, which must be one."""
    x = build.tensor(operator, 0)
    if len(x.shape) != 4:
        raise FormatError(f"{operator}: its input {x.shape} is not an image; the file is damaged")
    rows, columns, channels = build.spec(x).shape
    return rows, columns, channels


def _convolution(build: TfliteBuilder, operator: TfliteOperator, weights: Weights, groups: int) -> None:
    """Zeros padded just before become its own."""
    x = build.tensor(operator, 0)
    rows, columns, _ = image_shape(build, operator)
    kernel = weights.weight.shape[1], weights.weight.shape[2]
    stride = int(operator.option("StrideH")), int(operator.option("StrideW"))
    dilation = int(operator.option("DilationHFactor")), int(operator.option("DilationWFactor"))
    padding = window_padding(operator, (rows, columns), kernel, stride, dilation)
    sums, clamp = _sums(build, operator, weights), build.clamp(operator)
    before = build.nodes.get(build.values.get(x.index, ""))
    joined = padding
    if before is not None and isinstance(before.op, ops.Pad) and build.is_private(x):
        a, b = padding, before.op.padding
        joined = (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])
    folds = joined != padding and max(joined) <= LARGEST_WINDOW
    name = build.remove(x) if folds else build.read(x)
    try:
        op = ops.Conv2d(weights.weight, *sums, stride, joined if folds else padding, dilation, groups)
    except ProgramError as error:
        raise FormatError(f"{operator}: {error}") from error
    _record_layer(build, operator, weights, build.emit(operator, op, [name], clamp))


def _linear(build: TfliteBuilder, operator: TfliteOperator, weights: Weights) -> None:
    """An image is flattened first; the result gets what axes the file gives it."""
    x, y = build.tensor(operator, 0), build.graph.tensors[operator.outputs[0]]
    sums, clamp, shape = _sums(build, operator, weights), build.clamp(operator), sample_shape(y)
    name = build.read(x)
    if len(build.specs[name].shape) > 1:
        affine = build.specs[name].affine
        flatten = ops.Reshape((prod(build.specs[name].shape),))
        name = build.add(operator, flatten, [name], affine=affine, clamp=U8, name=f"{name}.flatten")
    op = ops.Linear(weights.weight, *sums)
    if len(shape) == 1:
        _record_layer(build, operator, weights, build.emit(operator, op, [name], clamp))
        return
    flat = build.add(operator, op, [name], affine=activation_map(y), clamp=clamp, name=y.name)
    _record_layer(build, operator, weights, flat)
    build.emit(operator, ops.Reshape(shape), [flat])


def stored_weights(build: TfliteBuilder, operator: TfliteOperator, rank: int) -> TfliteTensor:
    """The weights in the file.

    Raises:
        Stays: they are computed, or no 8-bit integers with a scale.
        FormatError: they have another rank, or no elements.
    """
    stored = build.tensor(operator, 1)
    if stored.data is None or stored.kind not in WEIGHTS:
        raise Stays(f"its weights are {'computed' if not stored.constant else stored.kind}")
    if not stored.scale.size or stored.blocks:
        raise Stays("its weights have no scale per output or per tensor")
    if stored.kind != "UINT8" and np.any(stored.zero_point):
        raise Stays(f"its {stored.kind} weights have a zero point, which LiteRT's kernels leave out")
    if len(stored.shape) != rank or 0 in stored.shape:
        raise FormatError(f"{operator}: its weights are of shape {stored.shape}; the file is damaged")
    return stored


def split_weights(
    operator: TfliteOperator, stored: TfliteTensor, axis: int, split: tuple[int, ...], axes: tuple[int, ...]
) -> Weights:
    """The weights as the program has them: ``stored``, its outputs on ``axis``, split and moved."""
    assert stored.data is not None
    outputs = stored.shape[axis]
    scale, zero = scales_of(stored)
    if scale.size not in (1, outputs) or (scale.size > 1 and stored.axis != axis):
        raise FormatError(
            f"{operator}: {scale.size} scales along axis {stored.axis} do not fit weights {stored.shape}; the file is "
            "damaged"
        )
    scale, zero = np.broadcast_to(scale, outputs), np.broadcast_to(zero, outputs)
    moved = stored.data.astype(np.int16).reshape(split).transpose(axes)
    weight = moved - zero.astype(np.int16).reshape(-1, *[1] * (moved.ndim - 1))
    return Weights(stored, np.ascontiguousarray(weight), scale, zero, split, axes)


def _sums(build: TfliteBuilder, operator: TfliteOperator, weights: Weights) -> tuple[NDArray[np.int32], Requantize]:
    """Bias and multipliers, as ``bias_of`` and ``multipliers_of``."""
    bias = bias_of(build, operator, 2 if operator.input_at(2) != LEFT_OUT else LEFT_OUT, len(weights.weight))
    return bias, multipliers_of(build, operator, build.tensor(operator, 0), weights)


def bias_of(build: TfliteBuilder, operator: TfliteOperator, place: int, outputs: int) -> NDArray[np.int32]:
    """(outputs,) the bias that is the operator's input ``place``; zeros for ``LEFT_OUT``.

    Raises:
        Stays: the bias is computed, or not int32.
        FormatError: it does not fit.
    """
    if place == LEFT_OUT:
        return np.zeros(outputs, np.int32)
    stored = build.tensor(operator, place)
    if stored.data is None or stored.kind != "INT32":
        raise Stays(f"its bias is {'computed' if not stored.constant else stored.kind}, not INT32")
    if stored.data.size != outputs:
        raise FormatError(f"{operator}: {stored.data.size} biases for {outputs} outputs; the file is damaged")
    return stored.data.reshape(-1)


def multipliers_of(build: TfliteBuilder, operator: TfliteOperator, x: TfliteTensor, weights: Weights) -> Requantize:
    """The multipliers of sums of ``x`` and ``weights`` to the operator's output."""
    y = activation_map(build.graph.tensors[operator.outputs[0]])
    is_float = build.semantics == "float32_half_even"
    if operator.op == "DEPTHWISE_CONV_2D" and x.kind == "UINT8" and weights.stored.axis and is_float:
        # XNNPACK leaves filters whose one scale is said to run along another axis than the first to a built-in kernel.
        return requantize_twice(build.spec(x).affine.scale, weights.scale, y.scale, str(operator))
    return requantize(build.spec(x).affine.scale, weights.scale, y.scale, build.semantics, str(operator))


def _record_layer(build: TfliteBuilder, operator: TfliteOperator, weights: Weights, name: str) -> None:
    bias = None if operator.input_at(2) == LEFT_OUT else build.tensor(operator, 2)
    _record(build, operator, weights, name, x=build.tensor(operator, 0), bias=bias)


def _record(
    build: TfliteBuilder,
    operator: TfliteOperator,
    weights: Weights,
    name: str,
    *,
    x: TfliteTensor,
    bias: TfliteTensor | None,
) -> None:
    """Where the layer stands in the file."""
    y = build.graph.tensors[operator.outputs[0]]
    source = build.specs[build.nodes[name].inputs[0]].affine
    build.layers[name] = LayerSource(
        nodes=(operator.name,),
        weight=_array(build.graph, weights.stored),
        weight_scale=None,
        weight_zero_point=None,
        bias=None if bias is None else _array(build.graph, bias),
        bias_scale=None,
        split=weights.split,
        axes=weights.axes,
        columns=None,
        zero_point=weights.zero_point,
        scales=weights.scale,
        scale_per_output=weights.stored.scale.size > 1,
        input=build.nodes[name].inputs[0],
        x_scale=source.scale,
        x_zero_point=int(x.zero_point[0]) if x.zero_point.size else 0,
        output=name,
        y_scale=activation_map(y).scale,
        y_zero_point=int(y.zero_point[0]) if y.zero_point.size else 0,
    )


def _array(graph: TfliteGraph, stored: TfliteTensor) -> StoredArray:
    """An array of the file; equal arrays share one buffer there."""
    sharing = [tensor.index for tensor in graph.tensors if tensor.buffer == stored.buffer]
    readers = sum(len(graph.readers.get(index, ())) for index in sharing)
    return StoredArray(stored.name, stored.kind.lower(), stored.shape, "integers", readers > 1)
