"""Transposed convolution as what it is on the inside: a convolution for every phase of its stride, then interleaved.

Along one axis of stride s, y[o] = sum over k of x[(o + p - k) / s] * w[k], where s divides. With o + p = s * q + r the
taps that meet phase r are k = s * t + r, so y = sum over t of x[q - t] * w[s * t + r]: a convolution of ceil(K / s)
taps whose outputs are the phases, s of them along a line and s * s in an image. No product with an inserted zero is
computed. Every bound, kernel and proof of a convolution holds, and files say Conv, DepthToSpace (Transpose where the
strides of an image differ), Slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.capture.assembly import Assembly
from oaq.capture.folding import Floats, narrowed
from oaq.capture.graph import FloatConv2d, FloatReshape, FloatSlice
from oaq.capture.location import Location
from oaq.errors import ProgramError
from oaq.operators import LARGEST_WINDOW
from oaq.operators.windows import LARGEST_SPATIAL_RANK

Numbers = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Transposed:
    """A transposed convolution over (C, L), (C, H, W) or (C, D, H, W); a number per axis in all but the first two.

    Attributes:
        weight: (C, N / groups, kernel...), as torch and ONNX store it.
        bias: (N,).
        stride: >= 1.
        dilation: >= 1.
        begin: outputs cut off before each axis: its padding.
        count: outputs along each axis.
        groups: divides C and N.
    """

    weight: Floats
    bias: Floats
    stride: Numbers
    dilation: Numbers
    begin: Numbers
    count: Numbers
    groups: int = 1


@dataclass(frozen=True)
class _Axis:
    """Where the phases of one axis lie.

    Attributes:
        taps: of each phase.
        padding: zeros before and after.
        windows: positions that the convolution gives.
        cut: outputs before the first that is wanted.
    """

    taps: int
    padding: tuple[int, int]
    windows: int
    cut: int


@dataclass(frozen=True, eq=False)
class Phased:
    """A transposed convolution as a convolution of stride 1, what interleaves its outputs, and what cuts them.

    Attributes:
        weight: (N * phases, C / groups, taps...) float64.
        outputs: (N * phases,) the output that each row is a phase of.
        padding: zeros before and after each axis, axis by axis.
        groups: of the convolution.
        windows: positions that the convolution gives, per axis.
        interleaved: what puts phases beside each other, channels last; None if there is one phase.
        begin: first output that stays, per axis.
        end: one past the last, per axis.
    """

    weight: Floats
    outputs: NDArray[np.int64]
    padding: Numbers
    groups: int
    windows: Numbers
    interleaved: ops.DepthToSpace | ops.Reshape | ops.Transpose | None
    begin: Numbers
    end: Numbers

    @property
    def moves(self) -> tuple[ops.Op, ...]:
        """Operators of integers behind the convolution."""
        count = int(self.outputs.max()) + 1
        size = tuple(self.windows) if self.interleaved is None else _interleaved_size(self)
        cut = ops.Slice((*self.begin, 0), (*self.end, count))
        whole = not any(self.begin) and self.end == size
        return (() if self.interleaved is None else (self.interleaved,)) + (() if whole else (cut,))


def _interleaved_size(phased: Phased) -> Numbers:
    op = phased.interleaved
    if isinstance(op, ops.DepthToSpace):
        return tuple(size * op.block for size in phased.windows)
    assert op is not None
    return op.shape[:-1]


def _axis(size: int, reach: int, stride: int, begin: int, count: int) -> _Axis:
    taps = -(-reach // stride)
    before = max(0, taps - 1 - begin // stride)
    first = taps - 1 - before  # of the quotients q
    after = max(0, -(-(begin + count) // stride) - size)
    return _Axis(taps, (before, after), size + after - first, begin - stride * first)


def phased(layer: Transposed, size: Numbers) -> Phased:
    """The convolution that computes ``layer`` over positions of ``size``.

    Raises:
        ProgramError: axes of another number than 1 to 3, or windows too large.
    """
    rank = layer.weight.ndim - 2
    if not 1 <= rank <= LARGEST_SPATIAL_RANK or len(size) != rank:
        raise ProgramError(f"over {size} with weights {layer.weight.shape}; oaq knows it of lines, images and volumes")
    reach = [(k - 1) * d + 1 for k, d in zip(layer.weight.shape[2:], layer.dilation, strict=True)]
    axes = [_axis(*numbers) for numbers in zip(size, reach, layer.stride, layer.begin, layer.count, strict=True)]
    if max(*reach, *(side for axis in axes for side in axis.padding)) > LARGEST_WINDOW or min(layer.count) < 1:
        raise ProgramError(f"windows {tuple(reach)} for {layer.count} results; oaq takes up to {LARGEST_WINDOW}")
    alike = rank == 2 and min(layer.stride) == max(layer.stride)
    by_phase = layer.groups == 1 or not (alike or prod(layer.stride) == 1)
    weight, outputs = _phases(layer, [axis.taps for axis in axes], by_phase=by_phase)
    windows = tuple(axis.windows for axis in axes)
    return Phased(
        weight,
        outputs,
        tuple(side for axis in axes for side in axis.padding),
        1 if by_phase else layer.groups,
        windows,
        _interleaving(windows, layer.stride, len(weight) // prod(layer.stride), by_phase=by_phase),
        tuple(axis.cut for axis in axes),
        tuple(axis.cut + count for axis, count in zip(axes, layer.count, strict=True)),
    )


def append_transposed(build: Assembly, tensor: str, layer: Transposed, site: Location) -> str:
    """Append the nodes that compute ``layer`` of ``tensor``; what is folded behind them reaches the convolution.

    Raises:
        UnsupportedOp: samples of other rank, or windows too large.
    """
    shape = build.shapes[tensor]
    try:
        parts = phased(layer, shape[1:])
    except ProgramError as error:
        raise site.unsupported(str(error)) from error
    unit = (1,) * len(parts.windows)
    bias = layer.bias[parts.outputs]
    op = FloatConv2d(narrowed(parts.weight), narrowed(bias), unit, parts.padding, unit, parts.groups)
    result = build.append(op, (tensor,), (len(parts.weight), *parts.windows), site)
    for move in parts.moves:
        build.inner.add(result)
        count = int(parts.outputs.max()) + 1
        if isinstance(move, ops.Slice):
            cut = FloatSlice((0, *parts.begin), (count, *parts.end))
            shape = (count, *(high - low for low, high in zip(parts.begin, parts.end, strict=True)))
            result = build.append(cut, (result,), shape, site.under(".cut"))
            continue
        shape = (count, *_interleaved_size(parts))
        moved = FloatReshape(shape, channels_last=True) if isinstance(move, ops.Reshape) else move
        result = build.append(moved, (result,), shape, site.under(".phases"))  # type: ignore[arg-type]
    return result


def _phases(layer: Transposed, taps: list[int], *, by_phase: bool) -> tuple[Floats, NDArray[np.int64]]:
    """Weights (N * phases, C / groups, taps...) and the output of each row: phase by phase, or within groups."""
    channels, _, *kernel = layer.weight.shape
    groups = 1 if by_phase else layer.groups
    weight = _dense(layer) if by_phase else layer.weight
    outputs = weight.shape[1]
    wide = np.zeros((channels, outputs, *(count * step for count, step in zip(taps, layer.stride, strict=True))))
    places = tuple(slice(0, (k - 1) * d + 1, d) for k, d in zip(kernel, layer.dilation, strict=True))
    wide[(slice(None), slice(None), *places)] = weight
    rank = len(taps)
    sizes = [size for pair in zip(taps, layer.stride, strict=True) for size in pair]
    split = wide.reshape(groups, channels // groups, outputs, *sizes)
    tap_axes, phase_axes = [3 + 2 * axis for axis in range(rank)], [4 + 2 * axis for axis in range(rank)]
    split = np.flip(split, tuple(tap_axes))
    order = [*phase_axes, 0, 2, 1, *tap_axes] if by_phase else [0, 2, *phase_axes, 1, *tap_axes]
    phases, count = prod(layer.stride), groups * outputs
    rows = split.transpose(order).reshape(count * phases, channels // groups, *taps)
    return rows, np.tile(np.arange(count), phases) if by_phase else np.repeat(np.arange(count), phases)


def _dense(layer: Transposed) -> Floats:
    """Weights (C, N, ...) without groups: zeros between channels that do not meet."""
    channels, outputs, *kernel = layer.weight.shape
    if layer.groups == 1:
        return layer.weight
    inside = channels // layer.groups
    dense = np.zeros((channels, outputs * layer.groups, *kernel))
    for group in range(layer.groups):
        rows = slice(group * inside, (group + 1) * inside)
        dense[rows, group * outputs : (group + 1) * outputs] = layer.weight[rows]
    return dense


def _interleaving(
    windows: Numbers, stride: Numbers, outputs: int, *, by_phase: bool
) -> ops.DepthToSpace | ops.Reshape | ops.Transpose | None:
    """What puts the phases of every position beside each other.

    Memory holds (positions..., phases..., N). Phases of the last axis alone lie beside each other there already.
    """
    if prod(stride) == 1:
        return None
    shape = (*(count * step for count, step in zip(windows, stride, strict=True)), outputs)
    rank = len(stride)
    if rank == 2 and stride[0] == stride[1]:
        return ops.DepthToSpace(stride[0], "DCR" if by_phase else "CRD")
    if prod(stride[:-1]) == 1:
        return ops.Reshape(shape)
    order = [place for axis in range(rank) for place in (axis, rank + axis)]
    return ops.Transpose.joining((*windows, *stride, outputs), (*order, 2 * rank), shape)
