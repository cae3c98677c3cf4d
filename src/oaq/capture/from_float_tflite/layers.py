"""Layers with weights, arithmetic, and pools."""

from __future__ import annotations

import numpy as np

from oaq import operators as ops
from oaq.capture.folding import Floats, channel_numbers, narrowed
from oaq.capture.from_float_tflite.builder import FloatTfliteBuilder, site
from oaq.capture.from_tflite.graph import LEFT_OUT, TfliteOperator
from oaq.capture.from_tflite.layers import window_padding
from oaq.capture.from_tflite.transposed import why_not_so_many
from oaq.capture.graph import FloatAvgPool, FloatConv2d, FloatLinear, FloatReshape, Unquantized
from oaq.capture.pools import why_too_large
from oaq.capture.transposed import Transposed, append_transposed
from oaq.errors import FormatError
from oaq.operators import Pair


def conv_2d(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """Filters (N, KH, KW, C / groups)."""
    weight = _filters(build, operator)
    channels = _image(build, operator)[0]
    if channels % weight.shape[3]:
        raise FormatError(f"{operator}: filters {weight.shape} do not fit {channels} channels; the file is damaged")
    _convolution(build, operator, weight.transpose(0, 3, 1, 2), channels // weight.shape[3])


def depthwise_conv_2d(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """Filters (1, KH, KW, N): output n reads channel n // (N / C)."""
    weight = _filters(build, operator)
    channels = _image(build, operator)[0]
    if weight.shape[0] != 1 or weight.shape[3] % channels:
        raise FormatError(f"{operator}: filters {weight.shape} do not fit {channels} channels; the file is damaged")
    _convolution(build, operator, weight.transpose(3, 0, 1, 2), channels)


def transpose_conv(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """(output shape, filters (N, KH, KW, C), image, bias or none)."""
    weight, name, declared = _filters(build, operator), build.read(operator, 2), build.sample(operator)
    shape, kernel = build.shapes[name], (weight.shape[1], weight.shape[2])
    stride = int(operator.option("StrideH")), int(operator.option("StrideW"))
    if len(shape) != 3 or shape[0] != weight.shape[3] or len(declared) != 3 or declared[0] != len(weight):
        raise FormatError(f"{operator}: filters {weight.shape} do not lead from {shape} to {declared}")
    before = window_padding(operator, (declared[1], declared[2]), kernel, stride)
    reason = why_not_so_many(operator, shape[1:], declared[1:], (kernel, stride))
    if reason:
        raise site(operator).unsupported(reason)
    bias, begin = _bias(build, operator, declared[0], 3), (before[0], before[2])
    layer = Transposed(weight.transpose(3, 0, 1, 2), bias, stride, (1, 1), begin, declared[1:])
    build.write(operator, append_transposed(build, name, layer, site(operator)))


def extreme(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """MAXIMUM or MINIMUM of two activations of one shape, or of one and a number: a clamp."""
    flags, least = [build.is_activation(operator, index) for index in (0, 1)], operator.op == "MINIMUM"
    if all(flags):
        a, b = build.read(operator, 0), build.read(operator, 1)
        build.write(operator, build.extreme(a, b, site(operator), least=least))
        return
    at = flags.index(True) if any(flags) else 0
    number = build.constant(operator, 1 - at)
    if not any(flags) or number.size != 1:
        raise site(operator).unsupported(f"with a constant of shape {number.shape}; oaq takes one number")
    end = float(number.reshape(()))
    bounds = (None, end) if least else (end, None)
    x = build.read(operator, at)
    build.write(operator, build.clamp(x, bounds, build.foldable(operator, at), site(operator)))


def fully_connected(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """Weights (N, K) on all that a sample holds, or on the channels at every position."""
    weight = build.constant(operator, 1)
    if weight.ndim != 2 or operator.option("WeightsFormat"):
        raise site(operator).unsupported(f"its weights are of shape {weight.shape}, or shuffled")
    outputs, terms = weight.shape
    name, declared = build.read(operator, 0), build.sample(operator)
    shape = build.shapes[name]
    op = FloatLinear(narrowed(weight), narrowed(_bias(build, operator, outputs)))
    if shape[0] == terms and declared == (outputs, *shape[1:]):
        build.emit(op, (name,), declared, operator)
        return
    if int(np.prod(shape)) != terms or declared != (outputs,):
        raise site(operator).unsupported(f"weights {weight.shape} on {shape} of one sample, to {declared}")
    flat = build.append(FloatReshape((terms,), channels_last=True), (name,), (terms,), site(operator).under(".flatten"))
    build.emit(op, (flat,), declared, operator)


def arithmetic(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """ADD, SUB, MUL: of two activations, or of one and a number, or a number per channel."""
    place, flags = site(operator), [build.is_activation(operator, index) for index in (0, 1)]
    if all(flags):
        _of_two(build, operator)
        return
    if not any(flags):
        raise place.unsupported("all that it reads are constants")
    at = flags.index(True)
    x = build.read(operator, at)
    number = _numbers(build, operator, 1 - at)
    unit, zero = np.asarray(1.0), np.asarray(0.0)
    scale, shift = {
        "ADD": (unit, number),
        "SUB": (unit, -number) if at == 0 else (-unit, number),
        "MUL": (number, zero),
    }[operator.op]
    build.write(operator, build.scale_and_shift(x, (scale, shift), build.foldable(operator, at), place))


def pool(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """AVERAGE_POOL_2D, padding not counted, and MAX_POOL_2D."""
    name = build.read(operator, 0)
    channels, *size = _image(build, operator)
    kernel = int(operator.option("FilterHeight")), int(operator.option("FilterWidth"))
    stride = int(operator.option("StrideH")), int(operator.option("StrideW"))
    if flaw := why_too_large(kernel, stride):
        raise site(operator).unsupported(flaw)
    padding = window_padding(operator, (size[0], size[1]), kernel, stride)
    if operator.op == "MAX_POOL_2D":
        op = ops.MaxPool(kernel, stride, padding)
        result = build.append(op, (name,), build.sample(operator), site(operator))
    elif kernel == tuple(size) and not any(padding):
        result = build.append(Unquantized(ops.GlobalAvgPool), (name,), (channels, 1, 1), site(operator))
    else:
        average = FloatAvgPool(kernel, stride, padding, count_include_pad=False)
        result = build.append(average, (name,), build.sample(operator), site(operator))
    build.write(operator, result)


def mean(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """MEAN over all positions, axes kept or not."""
    name, axes, rank = build.read(operator, 0), build.tensor(operator, 1).data, len(build.tensor(operator, 0).shape)
    stated = set() if axes is None else {int(axis) % rank for axis in axes.reshape(-1)}
    if rank < 3 or stated != set(range(1, rank - 1)):
        raise site(operator).unsupported(f"over the axes {sorted(stated)} of {rank}; oaq averages over all positions")
    shape = build.shapes[name]
    pooled = (shape[0], *(1,) * (len(shape) - 1))
    result = build.append(Unquantized(ops.GlobalAvgPool), (name,), pooled, site(operator))
    if build.sample(operator) != pooled:
        op = FloatReshape(build.sample(operator), channels_last=True)
        result = build.append(op, (result,), op.shape, site(operator).under(".flatten"))
    build.write(operator, result)


def _convolution(build: FloatTfliteBuilder, operator: TfliteOperator, weight: Floats, groups: int) -> None:
    name = build.read(operator, 0)
    rows, columns = build.shapes[name][1:]
    kernel: Pair = (weight.shape[2], weight.shape[3])
    stride = int(operator.option("StrideH")), int(operator.option("StrideW"))
    dilation = int(operator.option("DilationHFactor")), int(operator.option("DilationWFactor"))
    padding = window_padding(operator, (rows, columns), kernel, stride, dilation)
    name, joined = build.join_padding(name, padding, build.foldable(operator, 0))
    bias = _bias(build, operator, len(weight))
    op = FloatConv2d(narrowed(weight), narrowed(bias), stride, joined, dilation, groups)
    build.emit(op, (name,), build.sample(operator), operator)


def _of_two(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    a, b = build.read(operator, 0), build.read(operator, 1)
    place = site(operator)
    if operator.op == "MUL":
        for x, index in ((a, 1), (b, 0)):
            gated = build.gate(x, build.foldable(operator, index), place)
            if gated is not None:
                build.write(operator, gated)
                return
        build.write(operator, build.multiply(a, b, place))
        return
    if operator.op == "SUB":
        unit = np.asarray(-1.0), np.asarray(0.0)
        b = build.scale_and_shift(b, unit, build.foldable(operator, 1), place.under(".negated"))
    build.write(operator, build.add(a, b, place))


def _image(build: FloatTfliteBuilder, operator: TfliteOperator) -> tuple[int, ...]:
    shape = build.shapes[build.read(operator, 0)]
    if len(shape) != 3:
        raise site(operator).unsupported(f"on {shape} of one sample; oaq knows it of images")
    return shape


def _filters(build: FloatTfliteBuilder, operator: TfliteOperator) -> Floats:
    weight = build.constant(operator, 1)
    if weight.ndim != 4 or 0 in weight.shape:
        raise FormatError(f"{operator}: its filters are of shape {weight.shape}; the file is damaged")
    return weight


def _bias(build: FloatTfliteBuilder, operator: TfliteOperator, outputs: int, place: int = 2) -> Floats:
    if operator.input_at(place) == LEFT_OUT:
        return np.zeros(outputs)
    bias = build.constant(operator, place).reshape(-1)
    if len(bias) != outputs:
        raise FormatError(f"{operator}: {len(bias)} biases for {outputs} outputs; the file is damaged")
    return bias


def _numbers(build: FloatTfliteBuilder, operator: TfliteOperator, index: int) -> Floats:
    """A constant beside an activation, (), or (C,): the file counts channels last."""
    number = build.constant(operator, index)
    shape = build.shapes[build.read(operator, 1 - index)]
    if number.size == shape[0] and number.shape[-1:] == shape[:1]:
        number = number.reshape(shape[0], *(1,) * (len(shape) - 1))
    return channel_numbers(number, shape, site(operator))
