"""Functions of one value, as tables: activations, requantization, arithmetic with one number.

Tables are computed in float64 and rounded like C's ``round``. TFLite computes them in float32 or, in places, in fixed
point; each entry is within one step of what any of its kernels gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.capture.from_tflite.builder import Stays, TfliteBuilder, activation_map
from oaq.capture.from_tflite.graph import TfliteOperator, TfliteTensor
from oaq.capture.from_tflite.multipliers import BOUNDS, RELU, RELU6, RELU_N1_TO_1, clamp_range, round_away
from oaq.capture.lower import FUNCTIONS
from oaq.numerics.affine import Affine
from oaq.numerics.formats import U8
from oaq.numerics.ranges import IntRange

Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]
Handler = Callable[[TfliteBuilder, TfliteOperator], None]
CLAMPS: Final = {"RELU": RELU, "RELU_N1_TO_1": RELU_N1_TO_1, "RELU6": RELU6}


def table(function: Function, x: Affine, y: Affine, clamp: IntRange = U8) -> NDArray[np.uint8]:
    """(256,) round(function(real) / scale) + zero point, clamped."""
    real = (np.arange(256, dtype=np.float64) - x.zero_point) * x.scale
    steps = round_away(function(real) / y.scale) + y.zero_point
    return np.clip(steps, clamp.lo, clamp.hi).astype(np.uint8)


def apply(
    build: TfliteBuilder, operator: TfliteOperator, x: TfliteTensor, function: Function, clamp: IntRange = U8
) -> None:
    """The operator's output is ``function`` of ``x``."""
    y = build.graph.tensors[operator.outputs[0]]
    op = ops.Lookup(table(function, build.spec(x).affine, activation_map(y), clamp))
    build.emit(operator, op, [build.read(x)], clamp)


def clamp_into(build: TfliteBuilder, operator: TfliteOperator, name: str, clamp: IntRange) -> None:
    """The operator's output is the program's tensor ``name``, of the same map, clamped."""
    integers = np.clip(np.arange(256), clamp.lo, clamp.hi).astype(np.uint8)
    build.emit(operator, ops.Lookup(integers), [name], clamp)


def function_named(name: str) -> Handler:
    """A function of ``capture.lower.FUNCTIONS`` without parameters."""
    return lambda build, operator: apply(build, operator, build.tensor(operator, 0), FUNCTIONS[name])


def leaky_relu(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """X where it is positive, else alpha * x."""
    alpha = float(operator.options["Alpha"])
    if not np.isfinite(alpha):
        raise Stays(f"its slope is {alpha}")
    apply(build, operator, build.tensor(operator, 0), lambda real: FUNCTIONS["leaky_relu"](real, alpha))


def elu(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """X where it is positive, else exp(x) - 1."""
    apply(build, operator, build.tensor(operator, 0), lambda real: FUNCTIONS["elu"](real, 1.0))


def gelu(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """With the error function, or by tanh."""
    inner = np.sqrt(2 / np.pi)

    def by_tanh(real: NDArray[np.float64]) -> NDArray[np.float64]:
        return 0.5 * real * (1 + np.tanh(inner * (real + 0.044715 * real**3)))

    function = by_tanh if operator.options["Approximate"] else FUNCTIONS["gelu"]
    apply(build, operator, build.tensor(operator, 0), function)


def clamp(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """RELU and its kin: part of the operator before where that is possible, else a table."""
    x, y = build.tensor(operator, 0), build.graph.tensors[operator.outputs[0]]
    bounds = BOUNDS[CLAMPS[operator.op]]
    bounded = clamp_range(bounds, activation_map(y))
    build.spec(x)
    if not build.narrow(x, bounded, y):
        apply(build, operator, x, lambda real: np.clip(real, *bounds), bounded)


def quantize(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """From integers to integers: the same ones where the map is the same, else a table."""
    x, y = build.tensor(operator, 0), build.graph.tensors[operator.outputs[0]]
    if build.spec(x).affine == activation_map(y):
        build.alias(x, y)
    else:
        apply(build, operator, x, lambda real: real)
