"""Functions of one value, and arithmetic on values that meet."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.capture.from_onnx.attributes import integer, real, text
from oaq.capture.from_onnx.graph import Array, OnnxNode
from oaq.capture.from_onnx.inputs import Inputs
from oaq.mixed.floats.operator import Operator, argument, arguments

Curve = Callable[[NDArray[Any], OnnxNode], NDArray[Any]]
ERF: Final = np.frompyfunc(math.erf, 1, 1)
SELU_ALPHA: Final = 1.67326319217681884765625
SELU_GAMMA: Final = 1.05070102214813232421875


def sigmoid(x: NDArray[Any], node: OnnxNode | None = None) -> NDArray[Any]:
    """``1 / (1 + exp(-x))``."""
    return 1 / (1 + np.exp(-x))


def erf(x: NDArray[Any], node: OnnxNode | None = None) -> NDArray[Any]:
    """The error function."""
    return np.asarray(ERF(x)).astype(np.float64)


def _gelu(x: NDArray[Any], node: OnnxNode) -> NDArray[Any]:
    if text(node, "approximate", "none") == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def _softplus(x: NDArray[Any], node: OnnxNode | None = None) -> NDArray[Any]:
    return np.logaddexp(x, 0)


def _hard_sigmoid(x: NDArray[Any], node: OnnxNode) -> NDArray[Any]:
    return np.clip(real(node, "alpha", 0.2) * x + real(node, "beta", 0.5), 0, 1)


def _selu(x: NDArray[Any], node: OnnxNode) -> NDArray[Any]:
    alpha, gamma = real(node, "alpha", SELU_ALPHA), real(node, "gamma", SELU_GAMMA)
    return gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _elu(x: NDArray[Any], node: OnnxNode) -> NDArray[Any]:
    return np.where(x > 0, x, real(node, "alpha", 1.0) * np.expm1(np.minimum(x, 0)))


def _celu(x: NDArray[Any], node: OnnxNode) -> NDArray[Any]:
    alpha = real(node, "alpha", 1.0)
    return np.maximum(x, 0) + np.minimum(alpha * np.expm1(np.minimum(x, 0) / alpha), 0)


def _plain(ufunc: Callable[..., Any]) -> Curve:
    return lambda x, node: ufunc(x)


CURVES: Final[Mapping[str, Curve]] = {
    "Sigmoid": sigmoid,
    "Erf": erf,
    "Gelu": _gelu,
    "Softplus": _softplus,
    "HardSigmoid": _hard_sigmoid,
    "Selu": _selu,
    "Elu": _elu,
    "Celu": _celu,
    "Tanh": lambda x, node: np.tanh(x),
    "HardSwish": lambda x, node: x * np.clip(x / 6 + 0.5, 0, 1),
    "LeakyRelu": lambda x, node: np.where(x < 0, real(node, "alpha", 0.01) * x, x),
    "ThresholdedRelu": lambda x, node: np.where(x > real(node, "alpha", 1.0), x, 0),
    "Mish": lambda x, node: x * np.tanh(_softplus(x)),
    "Swish": lambda x, node: x * sigmoid(real(node, "alpha", 1.0) * x),
    "QuickGelu": lambda x, node: x * sigmoid(real(node, "alpha", 1.702) * x),
    "Softsign": lambda x, node: x / (1 + np.abs(x)),
    "Exp": lambda x, node: np.exp(x),
    "Log": lambda x, node: np.log(x),
    "Sqrt": lambda x, node: np.sqrt(x),
    **{
        name: _plain(ufunc)
        for name, ufunc in (
            *(("Sin", np.sin), ("Cos", np.cos), ("Tan", np.tan), ("Asin", np.arcsin), ("Acos", np.arccos)),
            *(("Atan", np.arctan), ("Sinh", np.sinh), ("Cosh", np.cosh), ("Asinh", np.arcsinh)),
            *(("Acosh", np.arccosh), ("Atanh", np.arctanh)),
        )
    },
}
"""Functions that float32 libraries approximate: computed in float64, rounded once."""


def curve(node: OnnxNode, inputs: Inputs) -> Array:
    """One of ``CURVES``."""
    x = argument(node, inputs, 0)
    return CURVES[node.op](x.astype(np.float64), node).astype(x.dtype)


def _unary(ufunc: Callable[..., Any]) -> Operator:
    return lambda node, inputs: np.asarray(ufunc(argument(node, inputs, 0)))


def _binary(ufunc: Callable[..., Any]) -> Operator:
    return lambda node, inputs: np.asarray(ufunc(*arguments(node, inputs, 2)))


def _variadic(ufunc: Callable[..., Any]) -> Operator:
    def compute(node: OnnxNode, inputs: Inputs) -> Array:
        first, *operands = arguments(node, inputs, len(node.inputs))
        for operand in operands:
            first = ufunc(first, operand)
        return np.asarray(first)

    return compute


def _mean(node: OnnxNode, inputs: Inputs) -> Array:
    total = _variadic(np.add)(node, inputs)
    assert isinstance(total, np.ndarray)
    return (total / len(node.inputs)).astype(total.dtype)


def _power(node: OnnxNode, inputs: Inputs) -> Array:
    base, exponent = arguments(node, inputs, 2)
    return np.power(base, exponent).astype(base.dtype)


def _remainder(node: OnnxNode, inputs: Inputs) -> Array:
    a, b = arguments(node, inputs, 2)
    return np.asarray(np.fmod(a, b) if integer(node, "fmod", 0) else np.mod(a, b))


def _clip(node: OnnxNode, inputs: Inputs) -> Array:
    x, lo, hi = argument(node, inputs, 0), inputs.constant(1), inputs.constant(2)
    if "min" in node.attributes or "max" in node.attributes:
        lo, hi = np.float32(real(node, "min", -np.inf)), np.float32(real(node, "max", np.inf))  # type: ignore[assignment]
    for end, ufunc in ((lo, np.maximum), (hi, np.minimum)):
        x = x if end is None else np.asarray(ufunc(x, end.astype(x.dtype)))
    return x


def _prelu(node: OnnxNode, inputs: Inputs) -> Array:
    x, slope = arguments(node, inputs, 2)
    return np.asarray(np.where(x < 0, x * slope, x))


def _relu(node: OnnxNode, inputs: Inputs) -> Array:
    x = argument(node, inputs, 0)
    return np.maximum(x, np.zeros((), x.dtype))


OPERATORS: Final[Mapping[str, Operator]] = {
    **dict.fromkeys(CURVES, curve),
    **{
        name: _unary(ufunc)
        for name, ufunc in (
            *(("Neg", np.negative), ("Abs", np.abs), ("Floor", np.floor), ("Ceil", np.ceil), ("Round", np.rint)),
            *(("Reciprocal", np.reciprocal), ("Sign", np.sign), ("Not", np.logical_not), ("IsNaN", np.isnan)),
        )
    },
    **{
        name: _binary(ufunc)
        for name, ufunc in (
            *(("Equal", np.equal), ("Greater", np.greater), ("GreaterOrEqual", np.greater_equal)),
            *(("Less", np.less), ("LessOrEqual", np.less_equal), ("And", np.logical_and), ("Or", np.logical_or)),
            ("Xor", np.logical_xor),
        )
    },
    **{name: _variadic(ufunc) for name, ufunc in (("Sum", np.add), ("Min", np.minimum), ("Max", np.maximum))},
    "Mean": _mean,
    "Pow": _power,
    "Mod": _remainder,
    "Clip": _clip,
    "PRelu": _prelu,
    "Relu": _relu,
}
