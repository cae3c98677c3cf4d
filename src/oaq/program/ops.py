"""The operators of an ``IntProgram``: frozen values that hold exact integers and say what they mean.

Shapes are of one sample, NHWC: (H, W, C) or (C,). Every tensor is u8 with an affine map and an effective range
(``TensorSpec``); ``zx`` and ``zy`` below are the zero points of input and output, and every result is clamped to the
output's effective range. The law for each formula is in ``oaq.reference``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.formats import S8, WIDE_WEIGHT
from oaq.numerics.requantize import Requantize

Pair = tuple[int, int]
Weights = NDArray[np.signedinteger[Any]]
Padding = tuple[int, int, int, int]
"""Rows and columns added at the (top, bottom, left, right)."""

LARGEST_WINDOW = 32767
"""Kernel sizes, strides, paddings and dilations stay within this: beyond it is a damaged file, not a network."""

LARGEST_ADDEND = 2.0**119
"""Most that a float32 multiplier of Add can be, so that neither product nor their sum is infinite."""


@dataclass(frozen=True, eq=False)
class Conv2d:
    """acc[n] = bias[n] + sum_k weight[n, k] * (x[k] - zx); y = requantize(acc, zy).

    A padded position holds x = zx, so it adds nothing. Depthwise is ``groups == C == N``.

    Attributes:
        weight: (N, KH, KW, C / groups) int8; int16 in [-255, 255] where one leaves int8 (imported with a zero point).
        bias: (N,) int32 at scale s_x * s_w[n].
        requantize: N multipliers.
        stride: rows, columns; >= 1.
        padding: top, bottom, left, right; >= 0.
        dilation: rows, columns; >= 1.
        groups: divides C and N.
    """

    weight: Weights
    bias: NDArray[np.int32]
    requantize: Requantize
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        _freeze_weights(self, 4)
        _check_window("Conv2d", self.weight.shape[1:3], self.stride, self.padding, self.dilation)
        if self.groups < 1 or self.weight.shape[0] % self.groups:
            raise ProgramError(f"Conv2d: groups {self.groups} does not divide the {self.weight.shape[0]} outputs")

    @property
    def kernel(self) -> Pair:
        """Rows and columns of the window."""
        return self.weight.shape[1], self.weight.shape[2]

    def is_depthwise(self) -> bool:
        """One input channel per output and one output per input channel."""
        return self.groups > 1 and self.groups == self.weight.shape[0] and self.weight.shape[3] == 1


@dataclass(frozen=True, eq=False)
class Linear:
    """acc[n] = bias[n] + sum_k weight[n, k] * (x[k] - zx); y = requantize(acc, zy).

    Attributes:
        weight: (N, K) int8; int16 in [-255, 255] where one leaves int8 (imported with a zero point).
        bias: (N,) int32 at scale s_x * s_w[n].
        requantize: N multipliers.
    """

    weight: Weights
    bias: NDArray[np.int32]
    requantize: Requantize

    def __post_init__(self) -> None:
        _freeze_weights(self, 2)


@dataclass(frozen=True, eq=False)
class Add:
    """y = a + b, each brought to the output's scale; ``requantize`` holds the two multipliers (a, b).

    float32_half_even: round_half_even(f32(f32(a - za) * m_a) + f32(f32(b - zb) * m_b)) + zy, three float32 roundings.
    fixed_point: ((a - za) * m_a + (b - zb) * m_b + 2**(s - 1)) >> s, + zy; both shifts equal.
    """

    requantize: Requantize

    def __post_init__(self) -> None:
        _check_count("Add", self.requantize, 2)
        _check_finite_sum(self.requantize)
        shift = self.requantize.shift
        if shift is not None and shift[0] != shift[1]:
            raise ProgramError(f"Add: the two shifts are one number, not {int(shift[0])} and {int(shift[1])}")


@dataclass(frozen=True, eq=False)
class Mul:
    """acc = (a - za) * (b - zb); y = requantize(acc, zy); one multiplier.

    ``b`` may be (C,) or (1, 1, C) beside (H, W, C).
    """

    requantize: Requantize

    def __post_init__(self) -> None:
        _check_count("Mul", self.requantize, 1)


@dataclass(frozen=True, eq=False)
class Concat:
    """Inputs side by side on the channel axis, input i requantized by multiplier i: y = requantize_i(x - zx_i, zy)."""

    requantize: Requantize

    def __post_init__(self) -> None:
        if not len(self.requantize):
            raise ProgramError("Concat: joins at least one input")


@dataclass(frozen=True)
class MaxPool:
    """The largest integer under the window; padded positions never win. Input and output share one affine map.

    A window whose taps all miss the input (a dilated one can step over it) yields the least integer of the output's
    effective range: the largest of nothing, clamped. Padding is less than the kernel on every side, as ONNX Runtime
    and torch demand (``docs/decisions/0022-a-maximum-of-nothing.md``).
    """

    kernel: Pair
    stride: Pair
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)

    def __post_init__(self) -> None:
        _check_window("MaxPool", self.kernel, self.stride, self.padding, self.dilation)
        _check_pool_padding("MaxPool", self.kernel, self.padding)


@dataclass(frozen=True, eq=False)
class AvgPool:
    """acc = sum over the window of (x - zx), padded positions adding 0; y = requantize[count - 1](acc).

    ``count`` is the number of elements averaged over: KH * KW if ``count_include_pad``, else the positions of the
    window that lie inside the input. ``requantize`` holds KH * KW multipliers, s_x / s_y / count for count = 1, 2, ...,
    KH * KW.
    """

    kernel: Pair
    stride: Pair
    requantize: Requantize
    padding: Padding = (0, 0, 0, 0)
    count_include_pad: bool = True

    def __post_init__(self) -> None:
        _check_window("AvgPool", self.kernel, self.stride, self.padding, (1, 1))
        _check_pool_padding("AvgPool", self.kernel, self.padding)
        _check_count("AvgPool", self.requantize, self.kernel[0] * self.kernel[1])


@dataclass(frozen=True, eq=False)
class GlobalAvgPool:
    """(H, W, C) to (1, 1, C): acc = sum over H, W of (x - zx); y = requantize(acc); multiplier s_x / s_y / (H * W)."""

    requantize: Requantize

    def __post_init__(self) -> None:
        _check_count("GlobalAvgPool", self.requantize, 1)


@dataclass(frozen=True)
class Resize:
    """(H, W, C) to (height, width, C); input and output share one affine map.

    nearest: y[i] = x[floor(i * H / height)]. bilinear: half-pixel centres, weights rounded to multiples of 2**-11 that
    sum to one on each axis, the four products summed exactly and shifted right by 22 with rounding.
    """

    height: int
    width: int
    mode: Literal["nearest", "bilinear"] = "nearest"

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1 or self.mode not in ("nearest", "bilinear"):
            raise ProgramError(f"Resize: {self.mode} to {self.height} x {self.width} is not a size or a mode")


@dataclass(frozen=True)
class DepthToSpace:
    """(H, W, b*b*C) to (H*b, W*b, C).

    DCR: channel = (row * b + column) * C + c. CRD: channel = (c * b + row) * b + column.
    """

    block: int
    mode: Literal["DCR", "CRD"] = "CRD"

    def __post_init__(self) -> None:
        if self.block < 1 or self.mode not in ("DCR", "CRD"):
            raise ProgramError(f"DepthToSpace: block {self.block}, mode {self.mode}")


@dataclass(frozen=True, eq=False)
class Lookup:
    """y = table[x]: any function of one u8 tensor.

    Attributes:
        table: (256,) uint8.
    """

    table: NDArray[np.uint8]

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", _frozen("Lookup table", self.table, np.uint8, 1))
        if self.table.shape != (256,):
            raise ProgramError(f"Lookup: the table has 256 entries, not {self.table.shape}")


@dataclass(frozen=True)
class Reshape:
    """The same integers in the same NHWC memory order under another shape; one affine map."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Pad:
    """(H, W, C) with ``padding`` rows and columns that hold ``zx``; one affine map."""

    padding: Padding

    def __post_init__(self) -> None:
        if len(self.padding) != 4 or min(self.padding) < 0 or max(self.padding) > LARGEST_WINDOW:
            raise ProgramError(f"Pad: padding is four numbers >= 0, not {self.padding}")


@dataclass(frozen=True)
class Slice:
    """x[begin[0]:end[0], begin[1]:end[1], ...], one pair per axis, 0 <= begin < end <= size; one affine map."""

    begin: tuple[int, ...]
    end: tuple[int, ...]


Op = (
    Conv2d
    | Linear
    | Add
    | Mul
    | Concat
    | MaxPool
    | AvgPool
    | GlobalAvgPool
    | Resize
    | DepthToSpace
    | Lookup
    | Reshape
    | Pad
    | Slice
)

SAME_AFFINE: tuple[type, ...] = (MaxPool, Resize, DepthToSpace, Reshape, Pad, Slice)
"""Operators that move or select integers: input and output share one affine map."""


def _frozen(
    what: str, array: NDArray[np.generic], dtype: type[np.generic], ndim: int, other: type[np.generic] | None = None
) -> NDArray[np.generic]:
    given = np.asarray(array)
    if given.dtype not in (dtype, other or dtype) or given.ndim != ndim or given.size == 0:
        raise ProgramError(
            f"{what}: {ndim}-d {np.dtype(dtype).name} expected, not {given.dtype} of shape {given.shape}"
        )
    copy = np.array(given, order="C")
    copy.flags.writeable = False
    return copy


def _narrowest(name: str, weight: NDArray[np.generic]) -> NDArray[np.generic]:
    """int16 only where int8 does not do, so that a network has one form (and one fingerprint)."""
    given = np.asarray(weight)
    if given.dtype != np.int16 or not given.size:
        return given
    low, high = int(given.min()), int(given.max())
    if low < WIDE_WEIGHT.lo or high > WIDE_WEIGHT.hi:
        raise ProgramError(f"{name}: weights lie in [-255, 255] (a u8 less its zero point), not in [{low}, {high}]")
    return given.astype(np.int8) if low >= S8.lo and high <= S8.hi else given


def _freeze_weights(op: Conv2d | Linear, ndim: int) -> None:
    name = type(op).__name__
    weight = _frozen(f"{name} weight", _narrowest(name, op.weight), np.int8, ndim, np.int16)
    bias = _frozen(f"{name} bias", op.bias, np.int32, 1)
    outputs = weight.shape[0]
    if bias.shape[0] != outputs:
        raise ProgramError(f"{name}: {bias.shape[0]} biases for {outputs} outputs")
    object.__setattr__(op, "weight", weight)
    object.__setattr__(op, "bias", bias)
    _check_count(name, op.requantize, outputs)


def _check_finite_sum(requantize: Requantize) -> None:
    """255 * 2**119 twice stays below the largest float32; further out, infinity less infinity would be no number."""
    largest = float(requantize.multiplier.max())
    if requantize.shift is None and largest > LARGEST_ADDEND:
        raise ProgramError(
            f"Add: a multiplier of {largest:.6g} is beyond {LARGEST_ADDEND:.6g}: two such products have no float32 "
            "sum. The scales of its tensors are damaged"
        )


def _check_count(name: str, requantize: Requantize, count: int) -> None:
    if len(requantize) != count:
        raise ProgramError(f"{name}: needs {count} requantize multipliers, has {len(requantize)}")


def _check_window(name: str, kernel: tuple[int, ...], stride: Pair, padding: Padding, dilation: Pair) -> None:
    numbers = (*kernel, *stride, *padding, *dilation)
    pairs = len(kernel) == len(stride) == len(dilation) == 2 and len(padding) == 4
    if not pairs or min(padding) < 0 or min(*kernel, *stride, *dilation) < 1 or max(numbers) > LARGEST_WINDOW:
        raise ProgramError(
            f"{name}: kernel {kernel}, stride {stride}, padding {padding}, dilation {dilation}: out of range"
        )


def _check_pool_padding(name: str, kernel: Pair, padding: Padding) -> None:
    """Refuse what ONNX Runtime and torch refuse, dilated or not. An undilated window then always meets the input."""
    if max(padding[:2]) >= kernel[0] or max(padding[2:]) >= kernel[1]:
        raise ProgramError(
            f"{name}: padding {padding} reaches the size of the kernel {kernel}; ONNX Runtime and torch refuse it too. "
            "Pad first, then pool"
        )
