"""ADD, SUB, MUL, MAXIMUM, MINIMUM, CONCATENATION."""

from __future__ import annotations

from math import prod
from typing import Final

import numpy as np

from oaq import operators as ops
from oaq.capture.from_tflite.builder import OFFSETS, Stays, TfliteBuilder, activation_map, sample_shape, scales_of
from oaq.capture.from_tflite.functions import square, steps_of, write_table
from oaq.capture.from_tflite.graph import TfliteOperator, TfliteTensor
from oaq.capture.from_tflite.layers import scale_channels
from oaq.capture.from_tflite.multipliers import requantize, requantize_sum, round_away, xnnpack_adds
from oaq.capture.from_tflite.numbers import axis_of
from oaq.capture.layout import Layout
from oaq.capture.rearrange import movements
from oaq.numerics.affine import Affine
from oaq.numerics.formats import U8
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.numerics.rounding import rounding_shift
from oaq.operators import Shape

BUILT_IN_PRODUCT: Final = (
    "its scales are beyond XNNPACK's, and LiteRT's built-in kernel rounds twice: one step away at most"
)


def add(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """Two activations of one shape, or one and a number."""
    a, b = build.tensor(operator, 0), build.tensor(operator, 1)
    if a.constant:
        a, b = b, a
    if b.constant:
        _sum_with_number(build, operator, a, b, (1, 1))
    else:
        _sum(build, operator, a, b)


def sub(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """Likewise, the second taken from the first."""
    a, b = build.tensor(operator, 0), build.tensor(operator, 1)
    if b.constant:
        _sum_with_number(build, operator, a, b, (1, -1))
    elif a.constant:
        _sum_with_number(build, operator, b, a, (-1, 1))
    else:
        _sum(build, operator, a, b, negate=True)


def mul(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """Two activations, one of which may have a value per channel; or one and a number, or a number per channel."""
    a, b = build.tensor(operator, 0), build.tensor(operator, 1)
    if a.constant:
        a, b = b, a
    clamp = build.clamp(operator)
    if a.index == b.index and build.semantics == "float32_half_even":
        square(build, operator, clamp)
        return
    if b.constant:
        if b.data is not None and b.data.size == 1:
            _product_with_number(build, operator, a, b)
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
    if not _xnnpack_multiplies(build, a, b, y.scale):
        build.differs(operator, BUILT_IN_PRODUCT)


def extreme(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """MAXIMUM or MINIMUM of integers as stored: one above the other, under a MaxPool of two; or a clamp by a number."""
    a, b = build.tensor(operator, 0), build.tensor(operator, 1)
    y, least = build.graph.tensors[operator.outputs[0]], operator.op == "MINIMUM"
    if a.constant:
        a, b = b, a
    affine = activation_map(y)
    if build.spec(a).affine != affine or (_map_of_constant(b) if b.constant else build.spec(b).affine) != affine:
        raise Stays("compares integers of several scales or zero points, which mean nothing beside each other")
    if b.constant:
        if b.data is None or b.data.size != 1:
            raise Stays(f"compares with a constant of shape {b.shape}; one number can be taken")
        number = int(b.data.reshape(-1)[0]) + OFFSETS[b.kind]
        entries = np.arange(256)
        table = np.minimum(entries, number) if least else np.maximum(entries, number)
        build.emit(operator, ops.Lookup(table.astype(np.uint8)), [build.read(a)])
        return
    shapes = [build.spec(tensor).shape for tensor in (a, b)]
    if shapes[0] != shapes[1]:
        raise Stays(f"compares shapes {shapes[0]} and {shapes[1]}; equal ones can be taken")
    shape, label = shapes[0], f"{operator.name}.inner"
    size = prod(shape)
    names = [build.moved(operator, (ops.Reshape((size,)),), build.read(tensor)) for tensor in (a, b)]
    joined = ops.Concat(Requantize(np.ones(2, np.float32)))
    name = build.add(operator, joined, names, affine=affine, clamp=U8, name=label)
    turned = ops.Lookup(np.arange(255, -1, -1).astype(np.uint8))
    opposite = Affine(affine.scale, 255 - affine.zero_point)
    if least:
        name = build.add(operator, turned, [name], affine=opposite, clamp=U8, name=label)
    above = (ops.Reshape((2, size // shape[-1], shape[-1])), ops.MaxPool((2, 1), (2, 1)))
    name = build.moved(operator, above, name)
    if least:
        name = build.add(operator, turned, [name], affine=affine, clamp=U8, name=label)
    build.emit(operator, ops.Reshape(shape), [name])


def _map_of_constant(constant: TfliteTensor) -> Affine | None:
    """The affine map of a constant of 8-bit integers with one scale; None for any other."""
    if constant.kind not in OFFSETS or constant.scale.size != 1:
        return None
    scale, zero = scales_of(constant)
    return Affine(float(scale[0]), int(zero[0]) + OFFSETS[constant.kind])


def concatenation(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """Side by side on the last axis; on another one, as vectors in which that is the slowest."""
    parts = [build.tensor(operator, index) for index in range(len(operator.inputs))]
    y = build.graph.tensors[operator.outputs[0]]
    axis = axis_of(operator, int(operator.option("Axis")), max(len(y.shape), 1))
    if axis == 0 and len(y.shape) > 1:
        raise Stays("joins samples of the batch")
    if operator.option("FusedActivationFunction"):
        raise Stays("has a fused activation, which LiteRT itself refuses")
    if y.kind != "UINT8" and any(build.spec(part).affine != activation_map(y) for part in parts):
        raise Stays("joins integers of several scales or zero points, which LiteRT itself refuses of int8")
    names = [_rescaled(build, operator, part, y) for part in parts]
    op = ops.Concat(Requantize(np.ones(len(names), np.float32)))
    if axis == len(y.shape) - 1:
        build.emit(operator, op, names)
        return
    vectors = [build.moved(operator, _axis_first(build.specs[name].shape, axis - 1), name) for name in names]
    affine, shape = activation_map(y), sample_shape(y)
    joined = build.add(operator, op, vectors, affine=affine, clamp=U8, name=f"{y.name}.joined")
    turned = Layout.in_order(shape, (axis - 1, *(place for place in range(len(shape)) if place != axis - 1)))
    *before, last = movements((prod(shape),), turned, range(len(shape)))
    build.emit(operator, last, [build.moved(operator, before, joined)])


def _axis_first(shape: Shape, axis: int) -> tuple[ops.Op, ...]:
    """What makes a vector of a tensor in which ``axis`` is the slowest."""
    order = (axis, *(place for place in range(len(shape)) if place != axis))
    moves = movements(shape, Layout.in_order(shape, range(len(shape))), order)
    return (*(op for op in moves if isinstance(op, ops.Transpose)), ops.Reshape((prod(shape),)))


def _sum(
    build: TfliteBuilder, operator: TfliteOperator, a: TfliteTensor, b: TfliteTensor, *, negate: bool = False
) -> None:
    """A + b or a - b: multipliers are positive, so b is first turned into -b, which is 255 - integer."""
    shapes = [build.spec(tensor).shape for tensor in (a, b)]
    if shapes[0] != shapes[1]:
        raise Stays(f"adds shapes {shapes[0]} and {shapes[1]}; equal ones can be taken")
    y, clamp = activation_map(build.graph.tensors[operator.outputs[0]]), build.clamp(operator)
    scales = [build.spec(tensor).affine.scale for tensor in (a, b)]
    multipliers = _addend_multipliers(build, operator, scales, y.scale)
    names = [build.read(a), build.read(b)]
    if negate:
        affine = build.specs[names[1]].affine
        turned = ops.Lookup(np.arange(255, -1, -1).astype(np.uint8))
        minus = Affine(affine.scale, 255 - affine.zero_point)
        names[1] = build.add(operator, turned, [names[1]], affine=minus, clamp=U8, name=f"{operator.name}.negated")
    build.emit(operator, ops.Add(multipliers), names, clamp)


def _addend_multipliers(
    build: TfliteBuilder, operator: TfliteOperator, scales: list[float], y_scale: float
) -> Requantize:
    """Multipliers of a sum.

    Raises:
        Stays: scales are so far apart that XNNPACK does not add; LiteRT's built-in kernel, which then does, may wrap.
    """
    if build.semantics == "float32_half_even" and not xnnpack_adds(scales, y_scale):
        raise Stays(f"adds scales {scales} to {y_scale}; ratios in [2**-10, 2**8) are taken, as by XNNPACK")
    return requantize_sum(scales, y_scale, build.semantics, str(operator))


def _sum_with_number(
    build: TfliteBuilder, operator: TfliteOperator, x: TfliteTensor, number: TfliteTensor, signs: tuple[int, int]
) -> None:
    """A table: x and a number, each with its sign, added as two activations are."""
    y, clamp = activation_map(build.graph.tensors[operator.outputs[0]]), build.clamp(operator)
    step, scale = _number(number)
    scales = [build.spec(x).affine.scale, scale]
    multipliers = _addend_multipliers(build, operator, scales, y.scale)
    assert multipliers.shift is not None
    factors = multipliers.multiplier.astype(np.int64)
    total = signs[0] * factors[0] * steps_of(build, x) + signs[1] * factors[1] * step
    write_table(build, operator, x, rounding_shift(total, int(multipliers.shift[0])), clamp)


def _product_with_number(build: TfliteBuilder, operator: TfliteOperator, x: TfliteTensor, number: TfliteTensor) -> None:
    """A table: x times a number, as two activations are multiplied."""
    y, clamp = activation_map(build.graph.tensors[operator.outputs[0]]), build.clamp(operator)
    step, scale = _number(number)
    multipliers = requantize(build.spec(x).affine.scale, scale, y.scale, build.semantics, str(operator))
    products = multipliers.apply((steps_of(build, x) * step)[:, None], 0, IntRange(-512, 512))[:, 0]
    write_table(build, operator, x, products, clamp)
    if not _xnnpack_multiplies(build, x, number, y.scale):
        build.differs(operator, BUILT_IN_PRODUCT)


def _rescaled(build: TfliteBuilder, operator: TfliteOperator, part: TfliteTensor, y: TfliteTensor) -> str:
    """The program's name for uint8 brought to the scale of ``y``, as CONCATENATION does it: in float32, halves away."""
    x, target = build.spec(part).affine, activation_map(y)
    name = build.read(part)
    if x == target:
        return name
    scale = np.float32(x.scale) * (np.float32(1) / np.float32(target.scale))
    if not np.isfinite(scale):
        raise Stays(f"its scales {x.scale:g} and {target.scale:g} have a ratio beyond float32")
    reals = np.arange(256, dtype=np.float32) * scale + np.float32(-x.zero_point) * scale
    integers = np.clip(round_away(reals) + target.zero_point, 0, 255).astype(np.uint8)
    label = f"{operator.name}.{len(build.specs)}"
    return build.add(operator, ops.Lookup(integers), [name], affine=target, clamp=U8, name=label)


def _xnnpack_multiplies(build: TfliteBuilder, a: TfliteTensor, b: TfliteTensor, y_scale: float) -> bool:
    """Whether the ratio of scales is one that XNNPACK takes, or the program does not claim its integers."""
    scales = [scales_of(tensor)[0][0] for tensor in (a, b)]
    ratio = scales[0] * scales[1] / np.float32(y_scale)
    return build.semantics == "fixed_point" or bool(2.0**-16 <= ratio < 2.0**8)


def _number(constant: TfliteTensor) -> tuple[int, float]:
    """The one element of a constant: steps from its zero point, and their scale.

    Raises:
        Stays: it has more elements, or is not an 8-bit integer with a scale.
    """
    if constant.data is None or constant.data.size != 1 or constant.kind not in ("INT8", "UINT8"):
        raise Stays(f"its constant {constant.name!r} is {constant.kind} {constant.shape}; one number can be taken")
    if constant.scale.size != 1:
        raise Stays(f"its constant {constant.name!r} has no scale")
    scale, zero = scales_of(constant)
    return int(constant.data.reshape(-1)[0]) - int(zero[0]), float(scale[0])
