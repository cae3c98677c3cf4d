"""Functions of one value: clamps, which become part of what they follow, and curves, which become tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from torch import fx

from oaq.capture.from_torch.builder import Arguments, TorchBuilder, base_name, site, unsupported
from oaq.capture.graph import FloatChannelFunction, FloatFunction, FunctionName
from oaq.capture.named_functions import leaky_relu_of, power_of

Handler = Callable[[TorchBuilder, fx.Node, Arguments], str]
FIXED: Final = (("approximate", "none"), ("scale", 1), ("input_scale", 1))
"""Arguments that have one value in every function that is known by its name."""


def clamped(lo: float | None, hi: float | None) -> Handler:
    """Relu and its like."""
    return lambda build, node, arguments: build.clamp_value(arguments["self"], (lo, hi), node)


def clamp(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """``aten.clamp``, ``hardtanh``: bounds are numbers."""
    bounds = [arguments.get("min", arguments.get("min_val")), arguments.get("max", arguments.get("max_val"))]
    if any(bound is not None and not isinstance(bound, int | float) for bound in bounds):
        raise unsupported(node, "its bounds are tensors; numbers can be taken")
    lo, hi = (None if bound is None else float(bound) for bound in bounds)
    return build.clamp_value(arguments["self"], (lo, hi), node)


def curve(name: FunctionName, *parameters: str | float) -> Handler:
    """A function by its name; ``parameters`` are numbers, or names of arguments that are."""

    def take(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
        for key, plain in FIXED:
            if arguments.get(key, plain) != plain:
                raise unsupported(node, f"{key}={arguments[key]!r}; oaq knows {plain!r}")
        numbers = (arguments[part] if isinstance(part, str) else part for part in parameters)
        return apply(build, node, arguments["self"], FloatFunction(name, tuple(map(float, numbers))))

    return take


def apply(build: TorchBuilder, node: fx.Node, value: object, op: FloatFunction | FloatChannelFunction) -> str:
    """``op`` of ``value``."""
    tensor, axes = build.counted(value, node)
    build.keep_axes(node, axes)
    return build.emit(op, (tensor,), build.shapes[tensor], node)


def gelu(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """``aten.gelu`` by the error function, or approximated by tanh."""
    name: FunctionName = "gelu_tanh" if arguments.get("approximate") == "tanh" else "gelu"
    return apply(build, node, arguments["self"], FloatFunction(name))


def softplus(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """``aten.softplus``; beyond its threshold it is the input itself, to 2e-9 at torch's own 20."""
    beta, threshold = float(arguments["beta"]), float(arguments["threshold"])
    if beta <= 0 or threshold < 10:
        raise unsupported(node, f"beta={beta:g}, threshold={threshold:g}; oaq takes beta above 0, threshold from 10 on")
    return apply(build, node, arguments["self"], FloatFunction("softplus", () if beta == 1 else (beta,)))


def power(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """``aten.pow`` by a number, ``aten.square``."""
    exponent = arguments.get("exponent", 2)
    if not isinstance(exponent, int | float) or not build.is_activation(arguments["self"]):
        raise unsupported(node, "of a constant, or by a tensor; oaq takes an activation to the power of a number")
    return apply(build, node, arguments["self"], power_of(float(exponent), site(node)))


def parametric_relu(build: TorchBuilder, node: fx.Node, arguments: Arguments) -> str:
    """``aten.prelu``: one slope for all channels, or one for each, which torch counts on the first axis."""
    slopes = build.constant(arguments["weight"], node)
    if slopes.size > 1:
        channels = build.shapes[build.read(arguments["self"], node)][0]
        return apply(build, node, arguments["self"], leaky_relu_of(slopes, channels, site(node)))
    return apply(build, node, arguments["self"], leaky_relu_of(slopes, 1, site(node)))


def softsign_of(node: fx.Node) -> object:
    """The value x where ``node`` is x / (|x| + 1), as torch writes softsign out; None where it is not."""
    x, below = node.args[:2]
    if not isinstance(below, fx.Node) or base_name(below) != "add" or below.args[1] != 1:
        return None
    size = below.args[0]
    return x if isinstance(size, fx.Node) and base_name(size) == "abs" and size.args[0] is x else None


NAMED: Final[tuple[FunctionName, ...]] = (
    *("sigmoid", "silu", "hardswish", "hardsigmoid", "tanh", "mish", "erf", "exp", "abs", "sqrt"),
    *("sin", "cos", "atan", "asinh", "sinh", "cosh"),
)
"""Functions without parameters that torch calls alike."""
HANDLERS: Final[Mapping[str, Handler]] = {
    "relu": clamped(0.0, None),
    "relu6": clamped(0.0, 6.0),
    **dict.fromkeys(("hardtanh", "clamp", "clamp_min", "clamp_max"), clamp),
    **{name: curve(name) for name in NAMED},
    "arctan": curve("atan"),
    "arcsinh": curve("asinh"),
    "log_sigmoid": curve("logsigmoid"),
    "leaky_relu": curve("leaky_relu", "negative_slope"),
    "elu": curve("elu", "alpha"),
    "celu": curve("celu", "alpha"),
    "selu": curve("selu", 1.6732632423543772, 1.0507009873554805),
    "softshrink": curve("softshrink", "lambd"),
    "gelu": gelu,
    "softplus": softplus,
    **dict.fromkeys(("pow", "square"), power),
    "prelu": parametric_relu,
}
"""Handlers by the name of the ATen operator."""
