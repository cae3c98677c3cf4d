"""``FloatGraph``: a network as a clean list of known operators, before anybody has chosen integers for it.

Front ends (``capture.from_torch``, ``capture.from_float_onnx``) produce one; ``ptq`` and ``qat`` choose numbers on it;
``capture.lower`` turns it, with those numbers, into an ``IntProgram``. Shapes are of one sample, channels first: (C,),
(C, L), (C, H, W). Tokens (T, C) are held as (C, T); the metadata say in which order callers see them
(``program.layout``). Weights are (N, C / groups, kernel...) float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.errors import UnsupportedOp
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.operators.operator import AnyRules
from oaq.operators.products import is_depthwise
from oaq.program.layout import channels_last, layout_of

FloatArray = NDArray[np.float32]
FloatClamp = tuple[float | None, float | None]
"""Real bounds (lo, hi); None is unbounded on that side. ReLU is (0, None), ReLU6 is (0, 6)."""


@dataclass(frozen=True, eq=False)
class Parameter:
    """What the weights of a layer were before anything behind the layer became part of them.

    Attributes:
        name: of the network's parameter; layers that read one parameter share it (``capture.shared``).
        weight: (N, ...) float32, the parameter.
        gain: (N,) factors: the layer's row n is the parameter's times ``gain[n]``.
        norm: name of the batch norm that became part of it; "": none did.
    """

    name: str
    weight: FloatArray
    gain: NDArray[np.float64]
    norm: str = ""


@dataclass(frozen=True, eq=False)
class FloatProducts:
    """A layer that sums products with constant weights, as ``operators.Products`` does.

    Attributes:
        weight: (N, ...), row n for output n.
        bias: (N,).
        shared: the parameter its weights are made of, where a front end keeps that; None: they are its own.
    """

    weight: FloatArray
    bias: FloatArray
    shared: Parameter | None = field(default=None, kw_only=True)

    @property
    def channel_groups(self) -> int:
        """Groups of input channels; each output reads one."""
        return 1

    def is_depthwise(self) -> bool:
        """One input channel per output and one output per input channel, in an image or a line."""
        return self.weight.ndim < 5 and is_depthwise(self.channel_groups, len(self.weight), self.weight.shape[1])


@dataclass(frozen=True, eq=False)
class FloatConv2d(FloatProducts):
    """Cross-correlation over (C, L) or (C, H, W): a window of one or two axes.

    Attributes:
        weight: (N, C / groups, KL) or (N, C / groups, KH, KW).
        bias: (N,).
        stride: along each axis. Empty: 1.
        padding: zeros before and after each axis, axis by axis: (top, bottom, left, right). Empty: none.
        dilation: along each axis. Empty: 1.
        groups: divides C and N.
    """

    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1

    def __post_init__(self) -> None:
        _fill_window(self, self.weight.ndim - 2)

    @property
    def kernel(self) -> tuple[int, ...]:
        """Size of the window along each axis."""
        return self.weight.shape[2:]

    @property
    def channel_groups(self) -> int:
        """Groups of input channels; each output reads one."""
        return self.groups


@dataclass(frozen=True, eq=False)
class FloatLinear(FloatProducts):
    """x @ weight.T + bias at every position of (K, ...), ``weight`` (N, K), ``bias`` (N,)."""


@dataclass(frozen=True)
class Unquantized:
    """An operator of integers whose only numbers are multipliers, before they are chosen.

    ``Unquantized(ops.Add)`` is a + b of equal shapes, ``ops.Mul`` a * b (b may be (C,), (C, 1) or (C, 1, 1) beside
    (C, L) or (C, H, W)), ``ops.Concat`` side by side on the channel axis, ``ops.GlobalAvgPool`` (C, ...) to
    (C, 1, ...), the mean over all positions.
    """

    operator: type[ops.Op]


@dataclass(frozen=True)
class FloatAvgPool:
    """Mean under the window; ``count_include_pad`` as torch means it."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] = ()
    count_include_pad: bool = True

    def __post_init__(self) -> None:
        _fill_window(self, len(self.kernel))


FunctionName = Literal[
    "sigmoid", "silu", "swish", "hardswish", "hardsigmoid", "tanh", "gelu", "gelu_tanh", "leaky_relu", "elu", "celu",
    "selu", "clamp", "softplus", "softsign", "mish", "logsigmoid", "softshrink", "erf", "exp", "abs", "sqrt", "power",
    "negate", "sin", "cos", "atan", "asinh", "sinh", "cosh", "window", "polyline",
]  # fmt: skip
"""Functions of one value; ``capture.functions`` computes them."""


@dataclass(frozen=True)
class FloatFunction:
    """A function of one value, applied to each: becomes a ``Lookup``."""

    name: FunctionName
    parameters: tuple[float, ...] = ()
    """leaky_relu: (slope,); elu, celu: (alpha,); selu: (alpha, gain); swish: (alpha,) of x * sigmoid(alpha * x);
    softplus: (beta,), or () for 1; softshrink: (width,); power: (exponent,); clamp: (lo, hi), infinities allowed;
    hardsigmoid: (a, b) of clip(a * x + b, 0, 1), or () for 1/6 and 1/2; window: (gain, lo, hi) of
    clip(gain * x, lo, hi); polyline: slopes before the first and beyond the last knee, then where the K knees lie,
    ascending, then the K values there; others: ()."""


@dataclass(frozen=True)
class FloatChannelFunction:
    """A function of one value with numbers of each channel's own: becomes a ``ChannelLookup``.

    y[c] = writes[c] * f(x[c] / reads[c]) with the c-th of all parameters.

    Attributes:
        name: as of ``FloatFunction``.
        parameters: as many as the function takes, (C,) numbers each.
        reads: (C,) factors that the channels of its input are multiplied by, all above 0; (): 1.
        writes: (C,) factors that the channels of its output are multiplied by, all above 0; (): 1.
    """

    name: FunctionName
    parameters: tuple[tuple[float, ...], ...]
    reads: tuple[float, ...] = ()
    writes: tuple[float, ...] = ()

    def channels(self) -> tuple[tuple[FloatFunction, float, float], ...]:
        """Each channel's function of its own, and the factors of what it reads and writes."""
        count = max(map(len, (*self.parameters, self.reads, self.writes)))
        numbers = zip(*self.parameters, strict=True) if self.parameters else ((),) * count
        reads, writes = (factors or (1.0,) * count for factors in (self.reads, self.writes))
        functions = (FloatFunction(self.name, parameters) for parameters in numbers)
        return tuple(zip(functions, reads, writes, strict=True))


@dataclass(frozen=True)
class FloatReshape:
    """A change of shape that keeps values and their memory order; flatten is (C * H * W,).

    Attributes:
        shape: of the result, channels first.
        channels_last: the memory order is that of (..., C) on both sides, as tokens are reshaped: (T, C) to (T * C,).
    """

    shape: tuple[int, ...]
    channels_last: bool = False


@dataclass(frozen=True)
class FloatSlice:
    """x[begin[0]:end[0], ...], one pair per axis, 0 <= begin < end <= size."""

    begin: tuple[int, ...]
    end: tuple[int, ...]


def _fill_window(op: FloatConv2d | FloatAvgPool, rank: int) -> None:
    """Give what was left empty one number per axis."""
    for name, value in (("stride", (1,) * rank), ("padding", (0, 0) * rank), ("dilation", (1,) * rank)):
        if hasattr(op, name):
            object.__setattr__(op, name, tuple(getattr(op, name)) or value)


FloatOp = (
    FloatProducts
    | Unquantized
    | FloatAvgPool
    | FloatFunction
    | FloatChannelFunction
    | FloatReshape
    | FloatSlice
    | ops.MaxPool
    | ops.Pad
    | ops.Resize
    | ops.DepthToSpace
    | ops.Transpose
    | ops.Gather
    | ops.Coarsen
)
"""Operators of integers that have neither numbers to choose nor axes to order stand in a float graph as they are."""

TWINS: Final[Mapping[type, type[ops.Op]]] = {
    FloatConv2d: ops.Conv2d,
    FloatLinear: ops.Linear,
    FloatAvgPool: ops.AvgPool,
    FloatFunction: ops.Lookup,
    FloatChannelFunction: ops.ChannelLookup,
    FloatReshape: ops.Reshape,
    FloatSlice: ops.Slice,
}
"""What becomes another class of its own, because its numbers or the order of its axes differ."""


def rules_of(op: FloatOp) -> AnyRules:
    """Rules of the operator of integers that ``op`` becomes.

    Raises:
        UnsupportedOp: there is none.
    """
    value = op.operator if isinstance(op, Unquantized) else TWINS.get(type(op), type(op))
    rules = ops.OPERATORS.get(value.__name__)
    if rules is None or rules.value is not value:
        raise UnsupportedOp(f"no operator of integers computes {type(op).__name__}")
    return rules


@dataclass(frozen=True, eq=False)
class FloatNode:
    """One operator applied, then clamped: ``output = clamp(op(inputs))``.

    Attributes:
        name: the front end's own name for the layer ("features.3.conv"), unique; reports and errors use it.
        op: what is computed.
        inputs: tensors read.
        output: the one tensor written.
        clamp: real bounds applied to the result (a folded ReLU, ReLU6, Hardtanh, clamp), or None. Never set on
            operators that only move values (``same_affine`` of their rules): fold it into their producer where it may
            be, else make it a ``FloatFunction("clamp")``; so are bounds that exclude 0.0, because a range holds its
            zero point.
    """

    name: str
    op: FloatOp
    inputs: tuple[str, ...]
    output: str
    clamp: FloatClamp | None = None


@dataclass(frozen=True, eq=False)
class FloatGraph:
    """A network of known operators in execution order.

    Attributes:
        name: for people.
        inputs: tensors the caller provides.
        outputs: tensors the caller receives.
        shapes: of every tensor, one sample, channels first.
        nodes: topologically ordered; every tensor is an input or written by exactly one node.
        metadata: free text ("source": "torch", ...); layouts of what callers see (``program.layout``), "NCHW" if
            absent.
        norms: by tensor that a layer writes, (C,) mean and deviation that the batch norm folded into that layer gives
            its result before the clamp, on the data the network was trained on.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    nodes: tuple[FloatNode, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    norms: Mapping[str, tuple[FloatArray, FloatArray]] = field(default_factory=dict)

    def is_channels_last(self, tensor: str) -> bool:
        """Whether callers lay a tensor out as (T, C) or (H, W, C)."""
        return len(self.shapes[tensor]) > 1 and layout_of(self.metadata, tensor, "NCHW") == "NHWC"

    def caller_shape(self, tensor: str) -> tuple[int, ...]:
        """Shape of one sample as callers lay it out."""
        shape = tuple(self.shapes[tensor])
        return channels_last(shape) if self.is_channels_last(tensor) else shape

    def consumers(self, tensor: str) -> Iterator[FloatNode]:
        """The nodes that read ``tensor``, in order."""
        return (node for node in self.nodes if tensor in node.inputs)

    def producer(self, tensor: str) -> FloatNode | None:
        """The node that writes ``tensor``; None for an input of the graph."""
        return next((node for node in self.nodes if node.output == tensor), None)


@dataclass(frozen=True)
class TensorParams:
    """The integers chosen for one tensor: its affine map and its effective range (holding the zero point)."""

    affine: Affine
    range: IntRange


@dataclass(frozen=True, eq=False)
class LayerParams:
    """The integers chosen for one Conv2d or Linear, in the float layer's own weight layout.

    Attributes:
        weight: int8, shape of the float weight, inside [-127, 127].
        weight_scale: (N,) float32, positive.
        bias: (N,) int32 at scale s_x * weight_scale[n].
    """

    weight: NDArray[np.int8]
    weight_scale: FloatArray
    bias: NDArray[np.int32]
