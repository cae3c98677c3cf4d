"""Functions of one value, and clamps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.differential_onnx.net import MICROSOFT, Impossible, Net, Tensor

Maker = Callable[[Net, Tensor], Tensor]
SINCE = {"Gelu": 20, "HardSwish": 14, "Mish": 18, "Round": 11, "Erf": 9}
PLAIN = (
    *("Sigmoid", "Tanh", "HardSwish", "Erf", "Softplus", "Softsign", "Mish", "Exp", "Abs", "Neg", "Floor", "Ceil"),
    *("Round", "Relu", "Identity"),
)


def function(op: str, **ranges: tuple[float, float]) -> Maker:
    """A function of one value, its attributes drawn from ``ranges`` or left out."""

    def make(net: Net, x: Tensor) -> Tensor:
        if net.opset < SINCE.get(op, 1):
            raise Impossible
        more: dict[str, Any] = {name: float(net.rng.uniform(*ends)) for name, ends in ranges.items() if net.chance(0.6)}
        far = min(np.exp(min(x.reach, 4.0)), 50.0) if op == "Exp" else max(x.reach, 1.0)
        return Tensor(net.node(op, x.name, **more), x.shape, -far, far)

    return make


def of_positive(op: str) -> Maker:
    """Log, Sqrt and Reciprocal of Abs(x) plus something."""

    def make(net: Net, x: Tensor) -> Tensor:
        above = net.node("Add", net.node("Abs", x.name), net.constant(net.rng.uniform(0.2, 2.0)))
        return Tensor(net.node(op, above), x.shape, -3.0 if op == "Log" else 0.0, max(x.reach**0.5 + 1.5, 5.0))

    return make


def gelu(net: Net, x: Tensor) -> Tensor:
    """Gelu in either form, or com.microsoft's."""
    if net.opset < SINCE["Gelu"] or net.chance(0.2):
        op = net.pick(["Gelu", "QuickGelu"])
        return Tensor(net.node(op, x.name, domain=MICROSOFT), x.shape, -0.3, x.reach)
    more = {"approximate": net.pick(["none", "tanh"])} if net.chance(0.7) else {}
    return Tensor(net.node("Gelu", x.name, **more), x.shape, -0.3, x.reach)


def clip(net: Net, x: Tensor) -> Tensor:
    """Clip with both ends, one, or none; attributes before opset 11."""
    lo, hi = (float(np.float32(value * x.reach)) for value in (net.rng.uniform(-1, 0.2), net.rng.uniform(0.1, 1)))
    ends = {"min": lo, "max": hi}
    for name in ("min", "max"):
        if net.chance(0.25):
            del ends[name]
    if net.opset < 11:
        return Tensor(net.node("Clip", x.name, **ends), x.shape, x.lo, x.hi)
    inputs = [net.constant(ends[name]) if name in ends else "" for name in ("min", "max")]
    return Tensor(net.node("Clip", x.name, *inputs), x.shape, x.lo, x.hi)


def written_out(net: Net, x: Tensor) -> Tensor:
    """HardSwish, SiLU or HardSigmoid as arithmetic."""
    match net.between(0, 2):
        case 0:
            inner = net.node("Add", x.name, net.constant(3.0))
            if net.opset < 11:
                bent = net.node("Clip", inner, min=0.0, max=6.0)
            else:
                bent = net.node("Clip", inner, net.constant(0.0), net.constant(6.0))
            name = net.node("Div", net.node("Mul", x.name, bent), net.constant(6.0))
        case 1:
            name = net.node("Mul", x.name, net.node("Sigmoid", x.name))
        case _:
            name = net.node("Mul", x.name, net.node("HardSigmoid", x.name, alpha=1 / 6, beta=0.5))
    return Tensor(name, x.shape, -0.4, x.reach)


def p_relu(net: Net, x: Tensor) -> Tensor:
    """PRelu with one slope, or one per channel."""
    shape = net.pick([(1,), (x.shape[1], *(1,) * (len(x.shape) - 2))])
    return Tensor(net.node("PRelu", x.name, net.constant(net.rng.uniform(0.05, 0.5, shape))), x.shape, x.lo, x.hi)


def dropout(net: Net, x: Tensor) -> Tensor:
    """Dropout, which does nothing in evaluation."""
    more = {"ratio": 0.3} if net.opset < 12 and net.chance(0.5) else {}
    return Tensor(net.node("Dropout", x.name, **more), x.shape, x.lo, x.hi)


FUNCTIONS = {
    **{op: function(op) for op in PLAIN},
    "HardSigmoid": function("HardSigmoid", alpha=(0.05, 0.5), beta=(0.2, 0.8)),
    "LeakyRelu": function("LeakyRelu", alpha=(-0.2, 0.5)),
    "Elu": function("Elu", alpha=(0.2, 2.0)),
    **{op: of_positive(op) for op in ("Log", "Sqrt", "Reciprocal")},
    "Gelu": gelu,
    "Clip": clip,
    "written out": written_out,
    "PRelu": p_relu,
    "Dropout": dropout,
}
