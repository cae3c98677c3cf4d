"""What moves integers: RESHAPE and its kin, PAD, slices, resizing."""

from __future__ import annotations

from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.capture.from_tflite.builder import Stays, TfliteBuilder, activation_map, sample_axes, sample_shape
from oaq.capture.from_tflite.graph import LEFT_OUT, TfliteOperator, TfliteTensor
from oaq.capture.from_tflite.numbers import axis_of, integers_of
from oaq.capture.layout import Layout
from oaq.capture.picking import Index, check_count, gathers, is_everything, padded_index, strided_index
from oaq.capture.rearrange import movements
from oaq.errors import FormatError
from oaq.operators import LARGEST_WINDOW
from oaq.operators.resize import WEIGHT_BITS, taps_of

LONGEST_AXIS: Final = 1 << 14
"""Rows or columns up to which weights of a resize are compared."""
MODES: Final[dict[tuple[bool, bool], ops.ResizeMode]] = {
    (False, True): "bilinear",
    (True, False): "bilinear_corners",
    (False, False): "bilinear_asymmetric",
}
"""Bilinear modes by (align_corners, half_pixel_centers)."""
AxisEnds = list[tuple[int, int]]
"""[begin, end) on every axis of a tensor of the file."""


def reshape(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: the same integers in the same order under the shape that the file declares."""
    x, y = build.tensor(operator, 0), build.graph.tensors[operator.outputs[0]]
    stated = _stated_shape(build, operator, x)
    if stated is not None and stated != y.shape:
        raise Stays(f"makes {stated} of {x.shape}, but declares {y.shape}")
    _reshaped(build, operator, x)


def transpose(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """Axes in another order, the batch still first; where only axes of size 1 change places, it is a reshape."""
    x = build.tensor(operator, 0)
    order = [axis_of(operator, axis, len(x.shape)) for axis in integers_of(build, operator, 1)]
    if sorted(order) != list(range(len(x.shape))):
        raise FormatError(f"{operator}: {order} is not an order of {len(x.shape)} axes; the file is damaged")
    moved = [axis for axis in order if x.shape[axis] > 1]
    if moved == sorted(moved):
        _reshaped(build, operator, x)
        return
    spec, y = build.spec(x), build.graph.tensors[operator.outputs[0]]
    if order[0] != 0 or len(x.shape) != len(y.shape):
        raise Stays(f"moves the axes of {x.shape} to {order}; the batch stays the first axis")
    if activation_map(y) != spec.affine:
        raise Stays("changes the scale of what it only moves")
    layout = Layout.in_order(spec.shape, range(len(spec.shape))).transposed([axis - 1 for axis in order[1:]])
    *before, last = movements(spec.shape, layout, range(len(spec.shape)))
    build.emit(operator, last, [build.moved(operator, before, build.read(x))])


def pad(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """PAD, and PADV2 with the integer that stands for 0: positions around an image or a line."""
    x = build.tensor(operator, 0)
    amounts = np.array(integers_of(build, operator, 1)).reshape(-1)
    if amounts.size != 2 * len(x.shape) or int(amounts.min(initial=0)) < 0 or int(amounts.max()) > LARGEST_WINDOW:
        raise FormatError(f"{operator}: pads {x.shape} by {amounts.tolist()}; the file is damaged")
    if operator.op == "PADV2" and not _is_zero(build, operator, x):
        raise Stays("pads with something other than 0")
    around = amounts.reshape(-1, 2).tolist()
    if len(x.shape) not in (3, 4) or any(around[0]) or any(around[-1]):
        raise Stays(f"pads {x.shape} by {around}; rows and columns of an image, or a line, can be padded")
    build.emit(operator, ops.Pad(tuple(side for pair in around[1:-1] for side in pair)), [build.read(x)])


def slice_(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """SLICE by begin and size; size -1 is up to the end."""
    x = build.tensor(operator, 0)
    begin, size = integers_of(build, operator, 1), integers_of(build, operator, 2)
    if not len(begin) == len(size) == len(x.shape):
        raise FormatError(f"{operator}: begin {begin} and size {size} do not fit {x.shape}; the file is damaged")
    ends = [(b, length if n == -1 else b + n) for b, n, length in zip(begin, size, x.shape, strict=True)]
    _cut(build, operator, x, ends, build.graph.tensors[operator.outputs[0]])


def strided_slice(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """STRIDED_SLICE; axes that it drops are of size 1, entries between its steps are not picked."""
    x = build.tensor(operator, 0)
    begin, end, strides = (integers_of(build, operator, index) for index in (1, 2, 3))
    if not len(begin) == len(end) == len(strides) <= len(x.shape):
        raise FormatError(f"{operator}: begin {begin}, end {end}, strides {strides} do not fit {x.shape}")
    if any(operator.option(mask) for mask in ("EllipsisMask", "NewAxisMask", "Offset")):
        raise Stays("makes new axes, or counts them from an ellipsis or an offset")
    if set(strides) != {1}:
        _strided(build, operator, x, (begin, end, strides))
        return
    ends: AxisEnds = []
    for axis, size in enumerate(x.shape):
        if axis >= len(begin):
            ends.append((0, size))
            continue
        bit = 1 << axis
        first = 0 if int(operator.option("BeginMask")) & bit else begin[axis]
        first = first + size if first < 0 else first
        last = size if int(operator.option("EndMask")) & bit else end[axis]
        last = last + size if last < 0 else min(last, size)
        ends.append((first, first + 1 if int(operator.option("ShrinkAxisMask")) & bit else last))
    _cut(build, operator, x, ends, build.graph.tensors[operator.outputs[0]])


def _strided(
    build: TfliteBuilder, operator: TfliteOperator, x: TfliteTensor, numbers: tuple[tuple[int, ...], ...]
) -> None:
    """Every so-manieth entry of axes; none is dropped."""
    if operator.option("ShrinkAxisMask") or 0 in numbers[2]:
        raise Stays(f"takes steps of {numbers[2]} and drops axes; one of the two can be taken")
    picks: list[tuple[int, Index]] = []
    for axis, (first, last, step) in enumerate(zip(*numbers, strict=True)):
        begin = None if int(operator.option("BeginMask")) >> axis & 1 else first
        end = None if int(operator.option("EndMask")) >> axis & 1 else last
        picks.append((axis - 1, strided_index(*slice(begin, end, step).indices(x.shape[axis]))))
    if not is_everything(picks[0][1], x.shape[0]) or any(not len(index) for _, index in picks):
        raise Stays("takes part of the batch, or leaves nothing")
    _picked(build, operator, x, picks[1:])


def split(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """SPLIT (axis, x) into equal parts, SPLIT_V (x, sizes, axis) into given ones."""
    equal = operator.op == "SPLIT"
    x = build.tensor(operator, 1 if equal else 0)
    axes = integers_of(build, operator, 0 if equal else 2)
    if len(axes) != 1:
        raise FormatError(f"{operator}: splits along {axes}; the file is damaged")
    axis, at = axis_of(operator, axes[0], len(x.shape)), 0
    parts = [build.graph.tensors[index] for index in operator.outputs]
    sizes = [part.shape[axis] if axis < len(part.shape) else 0 for part in parts]
    stated = [x.shape[axis] // len(parts)] * len(parts) if equal else list(integers_of(build, operator, 1))
    if -1 in stated:  # what the others leave
        stated[stated.index(-1)] = x.shape[axis] - sum(stated) - 1
    if stated != sizes or operator.option("NumSplits") != len(parts):
        count = operator.option("NumSplits")
        raise Stays(f"splits into {count} parts of {stated} on axis {axis}, but declares {sizes}")
    ends: list[AxisEnds] = []
    for part in parts:
        if len(part.shape) != len(x.shape):
            raise FormatError(f"{operator}: {part.shape} is not a part of {x.shape}; the file is damaged")
        ends.append([(0, size) for size in x.shape])
        ends[-1][axis] = (at, at + part.shape[axis])
        at += part.shape[axis]
    if at != x.shape[axis]:
        raise FormatError(f"{operator}: its parts of {x.shape} on axis {axis} add up to {at}; the file is damaged")
    for part in parts:  # before anything is written down
        sample_shape(part)
        activation_map(part)
    for part, where in zip(parts, ends, strict=True):
        _cut(build, operator, x, where, part)


def resize(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """RESIZE_NEAREST_NEIGHBOR by any rule; RESIZE_BILINEAR by half-pixels, corners or first pixels.

    XNNPACK's bilinear weights have 11 bits, as ours.
    """
    x, y = build.tensor(operator, 0), build.graph.tensors[operator.outputs[0]]
    if len(x.shape) != 4 or len(y.shape) != 4:
        raise FormatError(f"{operator}: resizes {x.shape} to {y.shape}; the file is damaged")
    rows, columns, _ = build.spec(x).shape
    height, width, _ = sample_shape(y)
    corners, half = bool(operator.option("AlignCorners")), bool(operator.option("HalfPixelCenters"))
    pairs = ((rows, height), (columns, width))
    if corners and half:
        raise Stays("has align_corners and half_pixel_centers, which LiteRT itself refuses together")
    if operator.op == "RESIZE_NEAREST_NEIGHBOR":
        picks = [nearest_entries(*pair, corners=corners, half=half) for pair in pairs]
        if all(np.array_equal(index, np.arange(t) * s // t) for index, (s, t) in zip(picks, pairs, strict=True)):
            build.emit(operator, ops.Resize(height, width), [build.read(x)])
        else:
            _picked(build, operator, x, list(enumerate(picks)))
        return
    mode = MODES[corners, half]
    build.emit(operator, ops.Resize(height, width, mode), [build.read(x)])
    if not all(_has_our_weights(mode, *pair) for pair in pairs):
        build.differs(operator, "XNNPACK's weights are of float32 coordinates: some differ by 2**-11")


def mirror_pad(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """MIRROR_PAD: positions that repeat others, the border itself (SYMMETRIC) or not (REFLECT)."""
    x = build.tensor(operator, 0)
    amounts = np.array(integers_of(build, operator, 1)).reshape(-1)
    if amounts.size != 2 * len(x.shape) or int(amounts.min(initial=0)) < 0 or int(amounts.max()) > LARGEST_WINDOW:
        raise FormatError(f"{operator}: pads {x.shape} by {amounts.tolist()}; the file is damaged")
    around = amounts.reshape(-1, 2).tolist()
    if any(around[0]) or len(x.shape) < 2:
        raise Stays(f"pads {x.shape} by {around}, the batch too")
    mode = "symmetric" if operator.option("Mode") else "reflect"
    picks = []
    for axis, (size, (before, after)) in enumerate(zip(x.shape[1:], around[1:], strict=True)):
        index = padded_index(size, before, after, mode)
        if index is None:
            raise Stays(f"pads {size} by {before} and {after}, more than there is to repeat")
        picks.append((axis, index))
    _picked(build, operator, x, picks)


def gather(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """GATHER of a constant list along any axis but the batch."""
    x, y = build.tensor(operator, 0), build.graph.tensors[operator.outputs[0]]
    axis, stored = axis_of(operator, int(operator.option("Axis")), len(x.shape)), build.tensor(operator, 1)
    if axis == 0 or len(stored.shape) != 1 or operator.option("BatchDims") or len(y.shape) != len(x.shape):
        raise Stays(f"picks {stored.shape} entries of axis {axis} of {x.shape}; a list of another axis can be taken")
    index = np.array(integers_of(build, operator, 1), np.int64)
    if not index.size or index.min() < 0 or index.max() >= x.shape[axis]:
        raise FormatError(f"{operator}: picks entries {index.tolist()[:8]} of {x.shape[axis]}; the file is damaged")
    _picked(build, operator, x, [(axis - 1, index.astype(np.int32))])


def _picked(build: TfliteBuilder, operator: TfliteOperator, x: TfliteTensor, picks: list[tuple[int, Index]]) -> None:
    """The operator's result is some entries of some axes of one sample of ``x``."""
    spec, y = build.spec(x), build.graph.tensors[operator.outputs[0]]
    if activation_map(y) != spec.affine:
        raise Stays("changes the scale of what it only selects from")
    moves = gathers(picks, spec.shape, lambda axis: axis) or [ops.Reshape(spec.shape)]
    build.emit(operator, moves[-1], [build.moved(operator, moves[:-1], build.read(x))])


def depth_to_space(build: TfliteBuilder, operator: TfliteOperator) -> None:
    """Channels (row, column, channel) to blocks."""
    x, block = build.tensor(operator, 0), int(operator.option("BlockSize"))
    if len(x.shape) != 4 or not 1 <= block <= LARGEST_WINDOW:
        raise FormatError(f"{operator}: blocks of {block} of {x.shape}; the file is damaged")
    build.emit(operator, ops.DepthToSpace(block, "DCR"), [build.read(x)])


def _reshaped(build: TfliteBuilder, operator: TfliteOperator, x: TfliteTensor) -> None:
    y = build.graph.tensors[operator.outputs[0]]
    spec, shape = build.spec(x), sample_shape(y)
    if prod(spec.shape) != prod(shape):
        raise FormatError(f"{operator}: {x.shape} cannot take the shape {y.shape}; the file is damaged")
    if shape == spec.shape and activation_map(y) == spec.affine:
        build.alias(x, y)
    else:
        build.emit(operator, ops.Reshape(shape), [build.read(x)])


def _stated_shape(build: TfliteBuilder, operator: TfliteOperator, x: TfliteTensor) -> tuple[int, ...] | None:
    """The shape that the operator's own numbers make; None where they are computed, or there are none."""
    size = prod(x.shape)
    if operator.op == "SQUEEZE":
        axes = {axis_of(operator, axis, len(x.shape)) for axis in operator.numbers("SqueezeDims")}
        return tuple(n for axis, n in enumerate(x.shape) if n != 1 or (axes and axis not in axes))
    if operator.input_at(1) != LEFT_OUT and not build.tensor(operator, 1).constant:
        return None
    if operator.op == "EXPAND_DIMS":
        (axis,) = integers_of(build, operator, 1)
        at = axis_of(operator, axis, len(x.shape) + 1)
        return (*x.shape[:at], 1, *x.shape[at:])
    stated = operator.numbers("NewShape")
    if operator.input_at(1) != LEFT_OUT:
        stated = integers_of(build, operator, 1)
    if not stated:
        return None
    known = prod(n for n in stated if n != -1)
    return tuple(size // known if n == -1 and known > 0 else n for n in stated)


def _cut(build: TfliteBuilder, operator: TfliteOperator, x: TfliteTensor, ends: AxisEnds, y: TfliteTensor) -> None:
    """``y`` is that part of ``x``, perhaps without axes of size 1."""
    if any(not 0 <= begin < end <= size for (begin, end), size in zip(ends, x.shape, strict=True)):
        raise FormatError(f"{operator}: takes {ends} of {x.shape}; the file is damaged")
    spec, shape = build.spec(x), sample_shape(y)
    axes = [ends[axis] for axis in sample_axes(len(x.shape))]
    begin, end = tuple(first for first, _ in axes), tuple(last for _, last in axes)
    if not any(begin) and end == spec.shape:
        if shape == spec.shape and activation_map(y) == spec.affine:
            build.alias(x, y)
        else:
            build.emit(operator, ops.Reshape(shape), [build.read(x)], output=y)
        return
    op = ops.Slice(begin, end)
    if tuple(last - first for first, last in axes) == shape:
        build.emit(operator, op, [build.read(x)], output=y)
        return
    if activation_map(y) != spec.affine:
        raise Stays("changes the scale of what it only selects from")
    part = build.add(operator, op, [build.read(x)], affine=spec.affine, clamp=spec.range, name=f"{y.name}.slice")
    build.emit(operator, ops.Reshape(shape), [part], output=y)


def _is_zero(build: TfliteBuilder, operator: TfliteOperator, x: TfliteTensor) -> bool:
    value = build.tensor(operator, 2).data
    zero = x.zero_point[0] if x.zero_point.size else 0
    return value is not None and value.size == 1 and int(value.reshape(-1)[0]) == int(zero)


def _has_our_weights(mode: ops.ResizeMode, size: int, target: int) -> bool:
    """Whether XNNPACK reads an axis by the weights of ``ops.Resize``: it computes coordinates in float32."""
    if max(size, target) > LONGEST_AXIS:
        return False
    corners = mode == "bilinear_corners" and target > 1
    scale = np.float32(size - 1) / np.float32(target - 1) if corners else np.float32(size) / np.float32(target)
    offset = np.float32(0.5) * scale - np.float32(0.5) if mode == "bilinear" else np.float32(0)
    places = np.arange(target).astype(np.float32) * scale + offset
    places = np.clip(places, np.float32(0), np.float32(size - 1))
    first = places.astype(np.int64)
    weight = np.rint((places - first.astype(np.float32)) * np.float32(2**WEIGHT_BITS)).astype(np.int64)
    theirs = _reads(first, np.minimum(first + 1, size - 1), weight)
    return np.array_equal(theirs, _reads(*taps_of(mode)(size, target)))


def _reads(first: NDArray[np.int64], second: NDArray[np.int64], weight: NDArray[np.int64]) -> NDArray[np.int64]:
    """(3, results) both indices and the weight of the second, written in one way only: a weight is of another index."""
    whole = weight == 1 << WEIGHT_BITS
    first, weight = np.where(whole, second, first), np.where(whole | (first == second), 0, weight)
    return np.stack([first, np.where(weight == 0, first, second), weight])


def nearest_entries(size: int, target: int, *, corners: bool, half: bool) -> Index:
    """The row that TFLite reads for each of ``target`` rows, in float32 as it does.

    Raises:
        UnsupportedOp: more than may be picked.
    """
    check_count(target)
    aligned = corners and target > 1
    scale = np.float32(size - 1) / np.float32(target - 1) if aligned else np.float32(size) / np.float32(target)
    places = (np.arange(target).astype(np.float32) + np.float32(0.5 if half else 0)) * scale
    rounded = np.floor(places + np.float32(0.5)) if corners else np.floor(places)
    return np.clip(rounded, 0, size - 1).astype(np.int32)
