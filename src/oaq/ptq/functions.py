"""What ``FloatFunction`` computes of a tensor, with torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import torch
import torch.nn.functional as F

from oaq.capture.functions import GREATEST
from oaq.capture.graph import FloatChannelFunction, FloatFunction, FunctionName


def function(op: FloatFunction, x: torch.Tensor) -> torch.Tensor:
    """``op`` of every value of ``x``."""
    return FUNCTIONS[op.name](x, *op.parameters)


def channel_function(op: FloatChannelFunction, x: torch.Tensor) -> torch.Tensor:
    """``op`` of every value of ``x``, (batch, C, ...), by its channel's numbers."""
    if op.name == "window":
        shape = (-1, *(1,) * (x.ndim - 2))
        gain, lo, hi = (torch.tensor(part, dtype=x.dtype, device=x.device).reshape(shape) for part in op.parameters)
        return torch.clamp(gain * x, lo, hi)
    if op.name != "leaky_relu":
        parts = [
            function(FloatFunction(op.name, numbers), x[:, channel])
            for channel, numbers in enumerate(zip(*op.parameters, strict=True))
        ]
        return torch.stack(parts, dim=1)
    return F.prelu(x, torch.tensor(op.parameters[0], dtype=x.dtype, device=x.device))


def _hardsigmoid(x: torch.Tensor, slope: float | None = None, offset: float = 0.5) -> torch.Tensor:
    return F.hardsigmoid(x) if slope is None else torch.clamp(slope * x + offset, 0.0, 1.0)


def _inside(x: torch.Tensor) -> torch.Tensor:
    return torch.clamp(x, -GREATEST, GREATEST)


def _power(x: torch.Tensor, exponent: float) -> torch.Tensor:
    return torch.pow(x if float(exponent).is_integer() else torch.clamp(x, min=0.0), exponent)


FUNCTIONS: Final[Mapping[FunctionName, Callable[..., torch.Tensor]]] = {
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "swish": lambda x, alpha: x * torch.sigmoid(alpha * x),
    "hardswish": F.hardswish,
    "hardsigmoid": _hardsigmoid,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "leaky_relu": lambda x, slope: F.leaky_relu(x, slope),
    "elu": lambda x, alpha: F.elu(x, alpha),
    "celu": lambda x, alpha: F.celu(x, alpha),
    "selu": lambda x, alpha, gain: gain * F.elu(x, alpha),
    "clamp": lambda x, lo, hi: torch.clamp(x, lo, hi),
    "softplus": lambda x, beta=1.0: F.softplus(x, beta),
    "softsign": F.softsign,
    "mish": F.mish,
    "logsigmoid": F.logsigmoid,
    "softshrink": lambda x, width: F.softshrink(x, width),
    "erf": torch.erf,
    "exp": lambda x: torch.exp(_inside(x)),
    "abs": torch.abs,
    "negate": torch.neg,
    "sqrt": lambda x: torch.sqrt(torch.clamp(x, min=0.0)),
    "power": _power,
    "sin": torch.sin,
    "cos": torch.cos,
    "atan": torch.atan,
    "asinh": torch.asinh,
    "sinh": lambda x: torch.sinh(_inside(x)),
    "cosh": lambda x: torch.cosh(_inside(x)),
    "window": lambda x, gain, lo, hi: torch.clamp(gain * x, lo, hi),
}
"""Each function, by the names of ``capture.functions``."""
