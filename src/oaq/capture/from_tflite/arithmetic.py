"""ADD, SUB, MUL, CONCATENATION."""

from __future__ import annotations

import numpy as np

from oaq import operators as ops
from oaq.capture.from_tflite.builder import Stays, TfliteBuilder, activation_map, scales_of
from oaq.capture.from_tflite.functions import apply
from oaq.capture.from_tflite.graph import TfliteOperator, TfliteTensor
from oaq.capture.from_tflite.layers import scale_channels
from oaq.capture.from_tflite.multipliers import requantize, requantize_sum
from oaq.capture.from_tflite.numbers import axis_of
from oaq.numerics.affine import Affine
from oaq.numerics.formats import U8


def add(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """Two activations of one shape, or one and a number."""
    a, b = build.tensor(operator, 0), build.tensor(operator, 1)
    if a.constant:
        a, b = b, a
    if b.constant:
        number = _number(b)
        apply(build, operator, a, lambda real: real + number, build.clamp(operator))
    else:
        _sum(build, operator, a, b)


def sub(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """Likewise, the second taken from the first."""
    a, b = build.tensor(operator, 0), build.tensor(operator, 1)
    if a.constant or b.constant:
        number = _number(a if a.constant else b)
        sign = -1.0 if a.constant else 1.0
        apply(build, operator, b if a.constant else a, lambda real: sign * (real - number), build.clamp(operator))
    else:
        _sum(build, operator, a, b, negate=True)


def mul(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """Two activations, one of which may have a value per channel; or one and a number, or a number per channel."""
    a, b = build.tensor(operator, 0), build.tensor(operator, 1)
    if a.constant:
        a, b = b, a
    clamp = build.clamp(operator)
    if b.constant:
        if b.data is not None and b.data.size == 1:
            number = _number(b)
            apply(build, operator, a, lambda real: real * number, clamp)
        else:
            scale_channels(build, operator, a, b)
        return
    shapes = [build.spec(tensor).shape for tensor in (a, b)]
    if len(shapes[1]) > len(shapes[0]) or (shapes[0][:2] == (1, 1) and shapes[0] != shapes[1]):
        a, b, shapes = b, a, shapes[::-1]
    by_channel = len(shapes[0]) > 1 and shapes[1] == (*(1,) * (len(shapes[0]) - 1), shapes[0][-1])
    if shapes[0] != shapes[1] and not by_channel:
        raise Stays(
            f"multiplies shapes {shapes[0]} and {shapes[1]}; equal ones, or one value per channel, can be taken"
        )
    y = activation_map(build.graph.tensors[operator.outputs[0]])
    multipliers = requantize(
        build.spec(a).affine.scale, build.spec(b).affine.scale, y.scale, build.semantics, str(operator)
    )
    build.emit(operator, ops.Mul(multipliers), [build.read(a), build.read(b)], clamp)


def concatenation(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """Side by side on the last axis."""
    parts = [build.tensor(operator, index) for index in range(len(operator.inputs))]
    y = build.graph.tensors[operator.outputs[0]]
    axis = axis_of(operator, int(operator.options["Axis"]), max(len(y.shape), 1))
    if axis != len(y.shape) - 1:
        raise Stays(f"joins along axis {axis}; the last, channels, can be taken")
    scales, clamp = [build.spec(part).affine.scale for part in parts], build.clamp(operator)
    multipliers = requantize(np.array(scales), 1.0, activation_map(y).scale, build.semantics, str(operator))
    build.emit(operator, ops.Concat(multipliers), [build.read(part) for part in parts], clamp)


def _sum(
    build: TfliteBuilder, operator: TfliteOperator, a: TfliteTensor, b: TfliteTensor, *, negate: bool = False
) -> None:
    """A + b or a - b: multipliers are positive, so b is first turned into -b, which is 255 - integer."""
    shapes = [build.spec(tensor).shape for tensor in (a, b)]
    if shapes[0] != shapes[1]:
        raise Stays(f"adds shapes {shapes[0]} and {shapes[1]}; equal ones can be taken")
    y, clamp = activation_map(build.graph.tensors[operator.outputs[0]]), build.clamp(operator)
    scales = [build.spec(tensor).affine.scale for tensor in (a, b)]
    multipliers = requantize_sum(scales, y.scale, build.semantics, str(operator))
    names = [build.read(a), build.read(b)]
    if negate:
        affine = build.specs[names[1]].affine
        turned = ops.Lookup(np.arange(255, -1, -1).astype(np.uint8))
        minus = Affine(affine.scale, 255 - affine.zero_point)
        names[1] = build.add(operator, turned, [names[1]], affine=minus, clamp=U8, name=f"{operator.name}.negated")
    build.emit(operator, ops.Add(multipliers), names, clamp)


def _number(constant: TfliteTensor) -> float:
    """The real number that a constant of one element stands for.

    Raises:
        Stays: it has more elements, or is not an 8-bit integer with a scale.
    """
    if constant.data is None or constant.data.size != 1 or constant.kind not in ("INT8", "UINT8"):
        raise Stays(f"its constant {constant.name!r} is {constant.kind} {constant.shape}; one number can be taken")
    if constant.scale.size != 1:
        raise Stays(f"its constant {constant.name!r} has no scale")
    scale, zero = scales_of(constant)
    return float(scale[0]) * (int(constant.data.reshape(-1)[0]) - int(zero[0]))
