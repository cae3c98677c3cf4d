"""Functions of one value that a ``FloatGraph`` may hold, in float64: each becomes a table of 256 integers.

All are finite and continuous everywhere (``sqrt`` and ``power`` where their argument is not negative): a step to the
next integer of the input is a small step of the result, so 8 bits hold what float computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import erf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.capture.graph import FloatFunction, FunctionName

Values = NDArray[np.float64]
GREATEST: Final = 80.0
"""Largest argument of ``exp`` and its like: results stay finite in float32, whatever the input's scale."""
WIDEST: Final = 1e30
"""Largest base of a power."""
STEEPEST: Final = 8.0
"""Largest exponent of a power: powers beyond it leave too few of 256 steps for what is small."""


def _sigmoid(x: Values) -> Values:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _hardsigmoid(x: Values, slope: float | None = None, offset: float = 0.5) -> Values:
    return np.clip(x + 3.0, 0.0, 6.0) / 6.0 if slope is None else np.clip(slope * x + offset, 0.0, 1.0)


def _elu(x: Values, alpha: float, scale: float = 1.0, gain: float = 1.0) -> Values:
    """``gain * x`` above 0, ``gain * alpha * (exp(x / scale) - 1)`` below: ELU, CELU and SELU."""
    return gain * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0) / scale))


def _erf(x: Values) -> Values:
    return np.vectorize(erf, otypes=[np.float64])(x)


def _softplus(x: Values, beta: float = 1.0) -> Values:
    return np.logaddexp(beta * x, 0.0) / beta


def _inside(x: Values) -> Values:
    return np.clip(x, -GREATEST, GREATEST)


def _power(x: Values, exponent: float) -> Values:
    """A whole exponent takes any x; another one takes x < 0 for 0."""
    base = x if float(exponent).is_integer() else np.maximum(x, 0.0)
    return np.power(np.clip(base, -WIDEST, WIDEST), exponent)


def _polyline(x: Values, *numbers: float) -> Values:
    """Straight lines between knees; ``numbers`` are both outer slopes, the knees' places, and the values there."""
    (first, last), places, values = numbers[:2], *np.split(np.asarray(numbers[2:], np.float64), 2)
    outside = first * np.minimum(x - places[0], 0.0) + last * np.maximum(x - places[-1], 0.0)
    return np.interp(x, places, values) + outside


FUNCTIONS: Final[Mapping[FunctionName, Callable[..., Values]]] = {
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "swish": lambda x, alpha: x * _sigmoid(alpha * x),
    "hardswish": lambda x: x * _hardsigmoid(x),
    "hardsigmoid": _hardsigmoid,
    "tanh": np.tanh,
    "gelu": lambda x: 0.5 * x * (1.0 + _erf(x / np.sqrt(2.0))),
    "gelu_tanh": lambda x: 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3))),
    "leaky_relu": lambda x, slope: np.where(x > 0, x, slope * x),
    "elu": lambda x, alpha: _elu(x, alpha),
    "celu": lambda x, alpha: _elu(x, alpha, alpha),
    "selu": lambda x, alpha, gain: _elu(x, alpha, 1.0, gain),
    "clamp": lambda x, lo, hi: np.clip(x, lo, hi),
    "softplus": _softplus,
    "softsign": lambda x: x / (1.0 + np.abs(x)),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "logsigmoid": lambda x: -_softplus(-x),
    "softshrink": lambda x, width: np.sign(x) * np.maximum(np.abs(x) - width, 0.0),
    "erf": _erf,
    "exp": lambda x: np.exp(_inside(x)),
    "abs": np.abs,
    "negate": np.negative,
    "sqrt": lambda x: np.sqrt(np.maximum(x, 0.0)),
    "power": _power,
    "sin": np.sin,
    "cos": np.cos,
    "atan": np.arctan,
    "asinh": np.arcsinh,
    "sinh": lambda x: np.sinh(_inside(x)),
    "cosh": lambda x: np.cosh(_inside(x)),
    "window": lambda x, gain, lo, hi: np.clip(gain * x, lo, hi),
    "polyline": _polyline,
}
"""Each function of (256,) or any other values, with its parameters."""


def changes_within(op: FloatFunction) -> tuple[float, float]:
    """The interval outside which a function is constant on either side; infinite where it is not known to be.

    >>> changes_within(FloatFunction("clamp", (-1.0, 2.0)))
    (-1.0, 2.0)
    """
    if op.name == "clamp":
        return op.parameters[0], op.parameters[1]
    if op.name == "window" and op.parameters[0] > 0:
        return op.parameters[1] / op.parameters[0], op.parameters[2] / op.parameters[0]
    if op.name == "polyline":
        places = op.parameters[2 : 2 + (len(op.parameters) - 2) // 2]
        return (-np.inf if op.parameters[0] else places[0]), (np.inf if op.parameters[1] else places[-1])
    return -np.inf, np.inf
