"""Transposed convolution as what it is on the inside: a convolution for every phase of its stride, then interleaved.

Along one axis of stride s, y[o] = sum over k of x[(o + p - k) / s] * w[k], where s divides. With o + p = s * q + r the
taps that meet phase r are k = s * t + r, so y = sum over t of x[q - t] * w[s * t + r]: a convolution of ceil(K / s)
taps whose outputs are the phases, s of them along a line and s * s in an image. No product with an inserted zero is
computed. Every bound, kernel and proof of a convolution holds, and files say Conv, DepthToSpace, Slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from oaq import operators as ops
from oaq.capture.assembly import Assembly
from oaq.capture.folding import Floats, narrowed
from oaq.capture.graph import FloatConv2d, FloatReshape, FloatSlice
from oaq.capture.location import Location
from oaq.operators import LARGEST_WINDOW

Numbers = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Transposed:
    """A transposed convolution over (C, L) or (C, H, W); a number per axis in each field but the first two.

    Attributes:
        weight: (C, N / groups, KL) or (C, N / groups, KH, KW), as torch and ONNX store it.
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


def _axis(size: int, reach: int, stride: int, begin: int, count: int) -> _Axis:
    taps = -(-reach // stride)
    before = max(0, taps - 1 - begin // stride)
    first = taps - 1 - before  # of the quotients q
    after = max(0, -(-(begin + count) // stride) - size)
    return _Axis(taps, (before, after), size + after - first, begin - stride * first)


def append_transposed(build: Assembly, tensor: str, layer: Transposed, site: Location) -> str:
    """Append the nodes that compute ``layer`` of ``tensor``; what is folded behind them reaches the convolution.

    Raises:
        UnsupportedOp: samples of other rank, strides of an image that differ and do not end with the wider one, or
            windows too large.
    """
    shape, rank = build.shapes[tensor], layer.weight.ndim - 2
    if rank not in (1, 2) or len(shape) != rank + 1:
        raise site.unsupported(f"on {shape} with weights {layer.weight.shape}; oaq knows it of lines and images")
    if rank == 2 and layer.stride[0] not in (1, layer.stride[1]):
        raise site.unsupported(f"strides {layer.stride}; rows and columns are interleaved alike, or columns alone")
    reach = [(k - 1) * d + 1 for k, d in zip(layer.weight.shape[2:], layer.dilation, strict=True)]
    fields = zip(shape[1:], reach, layer.stride, layer.begin, layer.count, strict=True)
    axes = [_axis(*numbers) for numbers in fields]
    if max(*reach, *(side for axis in axes for side in axis.padding)) > LARGEST_WINDOW or min(layer.count) < 1:
        raise site.unsupported(f"windows {tuple(reach)} for {layer.count} results; oaq takes up to {LARGEST_WINDOW}")
    alike = rank == 2 and min(layer.stride) == max(layer.stride)
    by_phase = layer.groups == 1 or not (alike or prod(layer.stride) == 1)
    weight, bias = _phases(layer, [axis.taps for axis in axes], by_phase=by_phase)
    groups = layer.groups if not by_phase else 1
    padding = tuple(side for axis in axes for side in axis.padding)
    op = FloatConv2d(narrowed(weight), narrowed(bias), (1,) * rank, padding, (1,) * rank, groups)
    result = build.append(op, (tensor,), (len(weight), *(axis.windows for axis in axes)), site)
    result = _interleaved(build, result, layer.stride, site, by_phase=by_phase)
    return _cut(build, result, axes, layer.count, site)


def _phases(layer: Transposed, taps: list[int], *, by_phase: bool) -> tuple[Floats, Floats]:
    """Weights (N * phases, C / groups, taps...) and biases, rows phase by phase, or output by output within groups."""
    channels, outputs, *kernel = layer.weight.shape
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
    phases = prod(layer.stride)
    rows = split.transpose(order).reshape(groups * outputs * phases, channels // groups, *taps)
    return rows, np.tile(layer.bias, phases) if by_phase else np.repeat(layer.bias, phases)


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


def _interleaved(build: Assembly, tensor: str, stride: Numbers, site: Location, *, by_phase: bool) -> str:
    phases = prod(stride)
    if phases == 1:
        return tensor
    channels, *size = build.shapes[tensor]
    shape = (channels // phases, *(count * step for count, step in zip(size, stride, strict=True)))
    if len(stride) == 2 and stride[0] == stride[1]:
        op = ops.DepthToSpace(stride[0], "DCR" if by_phase else "CRD")
    else:
        op = FloatReshape(shape, channels_last=True)  # phases of columns lie beside each other in memory already
    build.inner.add(tensor)
    return build.append(op, (tensor,), shape, site.under(".phases"))


def _cut(build: Assembly, tensor: str, axes: list[_Axis], count: Numbers, site: Location) -> str:
    shape = build.shapes[tensor]
    begin = (0, *(axis.cut for axis in axes))
    end = (shape[0], *(axis.cut + size for axis, size in zip(axes, count, strict=True)))
    if end == shape and not any(begin):
        return tensor
    build.inner.add(tensor)
    result = tuple(high - low for low, high in zip(begin, end, strict=True))
    return build.append(FloatSlice(begin, end), (tensor,), result, site.under(".cut"))
