"""``FloatGraph``: a network as a clean list of known operators, before anybody has chosen integers for it.

Front ends (``capture.from_torch``, ``capture.from_float_onnx``) produce one; ``ptq`` and ``qat`` choose numbers on it;
``capture.lower`` turns it, with those numbers, into an ``IntProgram``. Shapes are of one sample in the order the front
ends speak, (C, H, W) or (C,); weights are OIHW float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.operators import Padding, Pair

FloatArray = NDArray[np.float32]
FloatClamp = tuple[float | None, float | None]
"""Real bounds (lo, hi); None is unbounded on that side. ReLU is (0, None), ReLU6 is (0, 6)."""


@dataclass(frozen=True, eq=False)
class FloatConv2d:
    """Cross-correlation: ``weight`` (N, C / groups, KH, KW), ``bias`` (N,), zero padding (top, bottom, left, right)."""

    weight: FloatArray
    bias: FloatArray
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def is_depthwise(self) -> bool:
        """One input channel per output and one output per input channel."""
        return self.groups > 1 and self.groups == self.weight.shape[0] and self.weight.shape[1] == 1


@dataclass(frozen=True, eq=False)
class FloatLinear:
    """x @ weight.T + bias, ``weight`` (N, K), ``bias`` (N,)."""

    weight: FloatArray
    bias: FloatArray


@dataclass(frozen=True)
class FloatAdd:
    """a + b, equal shapes."""


@dataclass(frozen=True)
class FloatMul:
    """a * b; b may be (C,) or (C, 1, 1) beside (C, H, W)."""


@dataclass(frozen=True)
class FloatConcat:
    """Side by side on the channel axis."""


@dataclass(frozen=True)
class FloatMaxPool:
    """Largest under the window; padding never wins."""

    kernel: Pair
    stride: Pair
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)


@dataclass(frozen=True)
class FloatAvgPool:
    """Mean under the window; ``count_include_pad`` as torch means it."""

    kernel: Pair
    stride: Pair
    padding: Padding = (0, 0, 0, 0)
    count_include_pad: bool = True


@dataclass(frozen=True)
class FloatGlobalAvgPool:
    """(C, H, W) to (C, 1, 1): mean over H and W."""


@dataclass(frozen=True)
class FloatFunction:
    """A function of one value, applied to each: becomes a ``Lookup``."""

    name: Literal["sigmoid", "silu", "hardswish", "hardsigmoid", "tanh", "gelu", "leaky_relu", "elu", "clamp"]
    parameters: tuple[float, ...] = ()
    """leaky_relu: (slope,); elu: (alpha,); clamp: (lo, hi), infinities allowed; hardsigmoid: (a, b) of
    clip(a * x + b, 0, 1), or () for 1/6 and 1/2; others: ()."""


@dataclass(frozen=True)
class FloatReshape:
    """The same values in the same (C, H, W) memory order under another shape; flatten is (C * H * W,)."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class FloatPad:
    """(C, H, W) with rows and columns of zeros at (top, bottom, left, right)."""

    padding: Padding


@dataclass(frozen=True)
class FloatSlice:
    """x[begin[0]:end[0], ...], one pair per axis, 0 <= begin < end <= size."""

    begin: tuple[int, ...]
    end: tuple[int, ...]


@dataclass(frozen=True)
class FloatResize:
    """To (height, width): nearest is floor(i * H / height); bilinear has half-pixel centres (align_corners=False)."""

    height: int
    width: int
    mode: Literal["nearest", "bilinear"] = "nearest"


@dataclass(frozen=True)
class FloatDepthToSpace:
    """Pixel shuffle by ``block``; mode as in ``operators.DepthToSpace``."""

    block: int
    mode: Literal["DCR", "CRD"] = "CRD"


FloatOp = (
    FloatConv2d
    | FloatLinear
    | FloatAdd
    | FloatMul
    | FloatConcat
    | FloatMaxPool
    | FloatAvgPool
    | FloatGlobalAvgPool
    | FloatFunction
    | FloatReshape
    | FloatPad
    | FloatSlice
    | FloatResize
    | FloatDepthToSpace
)


@dataclass(frozen=True, eq=False)
class FloatNode:
    """One operator applied, then clamped: ``output = clamp(op(inputs))``.

    Attributes:
        name: the front end's own name for the layer ("features.3.conv"), unique; reports and errors use it.
        op: what is computed.
        inputs: tensors read.
        output: the one tensor written.
        clamp: real bounds applied to the result (a folded ReLU, ReLU6, Hardtanh, clamp), or None. Never set on
            operators that only move values (max pool, reshape, pad, slice, resize, depth to space): fold it into their
            producer where it may be, else make it a ``FloatFunction("clamp")``; so are bounds that exclude 0.0, because
            a range holds its zero point.
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
        shapes: of every tensor, one sample: (C, H, W) or (C,).
        nodes: topologically ordered; every tensor is an input or written by exactly one node.
        metadata: free text ("source": "torch", "input_layout": how callers lay images out, "NCHW" if absent, ...).
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    nodes: tuple[FloatNode, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def is_channels_last(self, tensor: str) -> bool:
        """Whether callers lay a tensor out as (H, W, C), as the metadata say of all images."""
        return len(self.shapes[tensor]) == 3 and self.metadata.get("input_layout") == "NHWC"

    def caller_shape(self, tensor: str) -> tuple[int, ...]:
        """Of one sample as callers lay it out."""
        shape = tuple(self.shapes[tensor])
        return (*shape[1:], shape[0]) if self.is_channels_last(tensor) else shape

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
