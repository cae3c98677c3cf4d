"""What ``FloatFunction`` computes of a tensor, with torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
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
    if op.name == "leaky_relu" and not (op.reads or op.writes):
        return F.prelu(x, torch.tensor(op.parameters[0], dtype=x.dtype, device=x.device))
    if op.reads or op.writes:
        y = channel_function(FloatChannelFunction(op.name, op.parameters), x / _by_channel(op.reads, x))
        return y * _by_channel(op.writes, x)
    if len(set(zip(*op.parameters, strict=True))) <= 1:
        return FUNCTIONS[op.name](x, *(numbers[0] for numbers in op.parameters))
    if op.name in BY_TENSOR:
        return FUNCTIONS[op.name](x, *(_by_channel(numbers, x) for numbers in op.parameters))
    parts = [function(own, x[:, channel]) for channel, (own, _, _) in enumerate(op.channels())]
    return torch.stack(parts, dim=1)


def _by_channel(numbers: Sequence[float], x: torch.Tensor) -> torch.Tensor:
    """(C,) numbers beside (batch, C, ...); (): 1."""
    return torch.tensor(numbers or (1.0,), dtype=x.dtype, device=x.device).reshape(-1, *(1,) * (x.ndim - 2))


def _hardsigmoid(x: torch.Tensor, slope: float | None = None, offset: float = 0.5) -> torch.Tensor:
    return F.hardsigmoid(x) if slope is None else torch.clamp(slope * x + offset, 0.0, 1.0)


def _inside(x: torch.Tensor) -> torch.Tensor:
    return torch.clamp(x, -GREATEST, GREATEST)


def _power(x: torch.Tensor, exponent: float) -> torch.Tensor:
    return torch.pow(x if float(exponent).is_integer() else torch.clamp(x, min=0.0), exponent)


def _polyline(x: torch.Tensor, *numbers: float | torch.Tensor) -> torch.Tensor:
    """The sum of ramps between knees; numbers as ``capture.functions`` orders them, or tensors of them."""
    parts = [torch.as_tensor(number, dtype=x.dtype, device=x.device) for number in numbers]
    places, values = parts[2 : 1 + len(parts) // 2], parts[1 + len(parts) // 2 :]
    y = values[0] + parts[0] * torch.clamp(x - places[0], max=0.0) + parts[1] * torch.clamp(x - places[-1], min=0.0)
    for (start, low), (end, high) in pairwise(zip(places, values, strict=True)):
        slope = (high - low) / (end - start).clamp_min(torch.finfo(x.dtype).tiny)
        y = y + torch.where(end > start, slope, 0.0) * torch.minimum(torch.clamp(x - start, min=0.0), end - start)
    return y


BY_TENSOR: Final = ("polyline", "window")
"""Functions that take a tensor for each of their numbers."""


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
    "polyline": _polyline,
}
"""Each function, by the names of ``capture.functions``."""
