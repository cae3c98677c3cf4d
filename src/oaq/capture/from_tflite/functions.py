"""Functions of one value, as tables: each entry is the integer that LiteRT's own kernel gives for that input.

Most kernels compute in integers, or look up a table of their own made in float32; ``roundings`` has their arithmetic.
XNNPACK computes what it takes; what it does not, LiteRT's built-in kernels compute.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.capture.from_tflite.builder import OFFSETS, Stays, TfliteBuilder, activation_map, scales_of
from oaq.capture.from_tflite.graph import TfliteOperator, TfliteTensor
from oaq.capture.from_tflite.multipliers import BOUNDS, RELU, RELU6, RELU_N1_TO_1, clamp_range, round_away
from oaq.capture.from_tflite.roundings import hard_swish, rounded_by_byte, rounded_twice, rounded_up_twice
from oaq.numerics.formats import U8
from oaq.numerics.ranges import IntRange

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Handler = Callable[[TfliteBuilder, TfliteOperator], None]
CLAMPS: Final = {"RELU": RELU, "RELU_N1_TO_1": RELU_N1_TO_1, "RELU6": RELU6}
LEAST_BYTE, MOST_BYTE = np.float32(2.0**-8), np.float32(2.0**7)
"""Ratios of scales that XNNPACK converts by; beyond them built-in kernels do."""


def steps_of(build: TfliteBuilder, x: TfliteTensor) -> Ints:
    """(256,) what each u8 stands for, in steps of ``x``: integers less the zero point."""
    return np.arange(256) - build.spec(x).affine.zero_point


def scale_of(tensor: TfliteTensor) -> np.float32:
    """The one scale of an activation."""
    return np.float32(activation_map(tensor).scale)


def ratio_of(x: TfliteTensor, y: TfliteTensor) -> np.float32:
    """Scale of ``x`` by that of ``y``.

    Raises:
        Stays: it is beyond float32.
    """
    ratio = scale_of(x) / scale_of(y)
    if not np.isfinite(ratio):
        raise Stays(f"its scales {scale_of(x):g} and {scale_of(y):g} have a ratio beyond float32")
    return ratio


def write_table(
    build: TfliteBuilder, operator: TfliteOperator, x: TfliteTensor, steps: NDArray[np.generic], clamp: IntRange = U8
) -> None:
    """The operator's output is a table of ``x``: (256,) steps of the output, before zero point and clamp."""
    y = activation_map(build.graph.tensors[operator.outputs[0]])
    if np.any(np.isnan(steps)):
        raise Stays("its scales are so far apart that float32 has no number for some of its results")
    integers = np.clip(steps.astype(np.float64) + y.zero_point, clamp.lo, clamp.hi).astype(np.uint8)
    build.emit(operator, ops.Lookup(integers), [build.read(x)], clamp)


def clamp_into(build: TfliteBuilder, operator: TfliteOperator, name: str, clamp: IntRange) -> None:
    """The operator's output is the program's tensor ``name``, of the same map, clamped."""
    integers = np.clip(np.arange(256), clamp.lo, clamp.hi).astype(np.uint8)
    build.emit(operator, ops.Lookup(integers), [name], clamp)


def quantize(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """From integers to integers: the same ones where the map is the same, else rescaled."""
    x, y = build.tensor(operator, 0), build.graph.tensors[operator.outputs[0]]
    if build.spec(x).affine == activation_map(y):
        build.alias(x, y)
        return
    ratio, steps = ratio_of(x, y), steps_of(build, x)
    real = float(scale_of(x)) / float(scale_of(y))
    if build.semantics == "fixed_point":
        rescaled = rounded_twice(steps, real)
    elif x.kind == y.kind and LEAST_BYTE <= ratio <= MOST_BYTE:
        rescaled = rounded_by_byte(steps, ratio)
    else:
        rescaled = rounded_up_twice(steps, real)
    write_table(build, operator, x, rescaled)


def leaky_relu(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """X where it is positive, else alpha * x."""
    alpha = np.float32(operator.option("Alpha"))
    if not np.isfinite(alpha):
        raise Stays(f"its slope is {alpha}")
    x, y = build.tensor(operator, 0), build.graph.tensors[operator.outputs[0]]
    steps, above = steps_of(build, x), ratio_of(x, y)
    below = above * alpha
    if build.semantics == "float32_half_even" and all(LEAST_BYTE <= abs(r) <= MOST_BYTE for r in (above, below)):
        rescaled = np.where(steps >= 0, rounded_by_byte(steps, above), rounded_by_byte(steps, below))
    else:
        slope = float(scale_of(x) * alpha / scale_of(y))
        if not math.isfinite(slope):
            raise Stays(f"its slope {alpha:g} at the scales {scale_of(x):g} and {scale_of(y):g} is beyond float32")
        negative = rounded_twice(steps if slope >= 0 else -steps, abs(slope))
        rescaled = np.where(steps >= 0, rounded_twice(steps, float(above)), negative)
    write_table(build, operator, x, rescaled)


def parametric_relu(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """PRELU: x where it is positive, else a slope times x; one slope, or one for each channel.

    Slopes are 8-bit integers with a scale of their own; built-in kernels round both products twice.
    """
    x, y = build.tensor(operator, 0), build.graph.tensors[operator.outputs[0]]
    stored, shape = build.tensor(operator, 1), build.spec(x).shape
    if stored.data is None or stored.kind not in OFFSETS or stored.scale.size != 1:
        raise Stays(f"its slopes {stored.name!r} are {'computed' if not stored.constant else stored.kind}")
    if stored.data.size not in (1, shape[-1]) or (stored.data.size > 1 and stored.shape[-1] != shape[-1]):
        raise Stays(f"its slopes are of shape {stored.shape} for {shape}; one, or one for each channel, can be taken")
    scale, zero = scales_of(stored)
    slopes = stored.data.reshape(-1, 1).astype(np.int64) - int(zero[0])
    above, below = float(ratio_of(x, y)), float(scale_of(x) * scale[0] / scale_of(y))
    steps, affine = steps_of(build, x), activation_map(y)
    rescaled = np.where(steps >= 0, rounded_twice(steps, above), rounded_twice(steps * slopes, below))
    tables = np.clip(rescaled + affine.zero_point, U8.lo, U8.hi).astype(np.uint8)
    op = ops.Lookup(tables[0]) if len(tables) == 1 else ops.ChannelLookup(tables)
    build.emit(operator, op, [build.read(x)])


def clamp(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """RELU and its kin: part of the operator before where that is possible, else a table."""
    x, y = build.tensor(operator, 0), build.graph.tensors[operator.outputs[0]]
    bounded = clamp_range(BOUNDS[CLAMPS[operator.op]], activation_map(y))
    build.spec(x)
    if not build.narrow(x, bounded, y):
        real = float(scale_of(x)) / float(scale_of(y))
        write_table(build, operator, x, rounded_twice(steps_of(build, x), real), bounded)


def swish(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """HARD_SWISH."""
    x, y = build.tensor(operator, 0), build.graph.tensors[operator.outputs[0]]
    try:
        steps = hard_swish(steps_of(build, x), float(scale_of(x)), float(scale_of(y)))
    except ValueError as error:
        raise Stays(str(error)) from error
    write_table(build, operator, x, steps)


def logistic(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """1 / (1 + exp(-x))."""
    _float_table(build, operator, lambda real: np.float32(1) / (np.float32(1) + np.exp(-real)))


def tanh(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """Hyperbolic tangent."""
    _float_table(build, operator, np.tanh)


def elu(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """X where it is positive, else exp(x) - 1."""
    if build.tensor(operator, 0).kind != "INT8":
        raise Stays("is of uint8, which LiteRT itself refuses")
    _float_table(build, operator, lambda real: np.where(real > 0, real, np.expm1(real)))


def gelu(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """With the error function, or by tanh; LiteRT's built-in table, whose halves go away from 0."""
    x, y = build.tensor(operator, 0), build.graph.tensors[operator.outputs[0]]
    real, half, one = _reals(build, x), np.float32(0.5), np.float32(1)
    if operator.option("Approximate"):
        inner = np.float32(np.sqrt(2 / np.pi)) * (real + np.float32(0.044715) * real * real * real)
        factor = np.tanh(inner)
    else:
        scaled = real * np.float32(np.sqrt(0.5))
        factor = np.array([math.erf(float(value)) for value in scaled], np.float32)
    values = half * real * (one + factor)
    write_table(build, operator, x, round_away(values * (one / scale_of(y))))
    build.differs(operator, "its table is of float32 functions: an entry next to a half may be one step away")


def square(build: TfliteBuilder, operator: TfliteOperator, clamp: IntRange) -> None:
    """MUL of an activation by itself, which XNNPACK turns into a function of one value.

    Raises:
        Stays: another function computes that activation; XNNPACK then joins both without rounding in between.
    """
    node = build.nodes.get(build.read(build.tensor(operator, 0)))
    if node is not None and isinstance(node.op, ops.Lookup):
        raise Stays(f"squares {node.output!r}, the result of a function, which XNNPACK joins with it into one")
    _float_table(build, operator, lambda real: real * real, clamp)


def _float_table(
    build: TfliteBuilder, operator: TfliteOperator, function: Callable[[Floats], Floats], clamp: IntRange = U8
) -> None:
    """A function in float32, brought to steps of the output with its zero point added before rounding half to even."""
    x, y = build.tensor(operator, 0), build.graph.tensors[operator.outputs[0]]
    zero = np.float32(activation_map(y).zero_point - OFFSETS[y.kind])
    with np.errstate(over="ignore"):
        values = function(_reals(build, x)).astype(np.float32)
        steps = np.rint(values * (np.float32(1) / scale_of(y)) + zero) - zero
    write_table(build, operator, x, steps, clamp)


def _reals(build: TfliteBuilder, x: TfliteTensor) -> Floats:
    """(256,) what each u8 stands for."""
    return steps_of(build, x).astype(np.float32) * scale_of(x)
