"""Functions of one value, and what moves values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from oaq import operators as ops
from oaq.capture.from_float_tflite.builder import FloatTfliteBuilder, sample_of, site
from oaq.capture.from_tflite.graph import TfliteOperator
from oaq.capture.from_tflite.movement import MODES, nearest_entries
from oaq.capture.from_tflite.multipliers import BOUNDS
from oaq.capture.graph import FloatFunction, FloatReshape, FloatSlice, Unquantized
from oaq.capture.layout import Layout
from oaq.capture.named_functions import leaky_relu_of
from oaq.capture.picking import padded_index, pick
from oaq.program.layout import channels_last

Handler = Callable[[FloatTfliteBuilder, TfliteOperator], None]


def clamp(function: int) -> Handler:
    """RELU and its kin, by the schema's number of the activation that does the same."""

    def handle(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
        name, before = build.read(operator, 0), build.foldable(operator, 0)
        build.write(operator, build.clamp(name, BOUNDS[function], before, site(operator)))

    return handle


def curve(name: Any, *parameters: float, alpha: bool = False) -> Handler:  # noqa: ANN401 (a name FloatFunction knows)
    """A function that oaq has a table for; ``alpha``: its parameter is the file's."""

    def handle(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
        numbers = (float(operator.option("Alpha")),) if alpha else parameters
        x = build.read(operator, 0)
        build.emit(FloatFunction(name, numbers), (x,), build.shapes[x], operator)

    return handle


def parametric_relu(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """PRELU with one slope, or one for each channel."""
    x, slopes = build.read(operator, 0), build.constant(operator, 1)
    if slopes.size > 1 and slopes.shape[-1] != slopes.size:
        raise site(operator).unsupported(f"by slopes of shape {slopes.shape}; oaq takes one, or one for each channel")
    op = leaky_relu_of(slopes, build.shapes[x][0], site(operator))
    build.emit(op, (x,), build.shapes[x], operator)


def gelu(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """GELU by the error function, or by tanh."""
    curve("gelu_tanh" if operator.option("Approximate") else "gelu")(build, operator)


def reshape(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: the file's order of values stays."""
    name, shape = build.read(operator, 0), build.sample(operator)
    if shape == build.shapes[name]:
        build.values[operator.outputs[0]] = name
        return
    if np.prod(shape) != np.prod(build.shapes[name]):
        raise site(operator).unsupported(f"makes {shape} of {build.shapes[name]}")
    build.emit(FloatReshape(shape, channels_last=True), (name,), shape, operator)


def transpose(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """TRANSPOSE, the batch still first: (..., C) in another order."""
    name, perm = build.read(operator, 0), build.tensor(operator, 1).data
    shape = channels_last(build.shapes[name])
    order = [] if perm is None else [int(axis) for axis in perm.reshape(-1)]
    if sorted(order) != list(range(len(shape) + 1)) or order[0] != 0:
        raise site(operator).unsupported(f"to {order}; a batch stays the first axis")
    rank = len(shape)
    own = Layout.in_order(build.shapes[name], range(rank)).transposed((*range(1, rank), 0))  # as the file counts axes
    after = own.transposed([axis - 1 for axis in order[1:]])
    build.write(operator, build.rearrange(name, after.transposed((rank - 1, *range(rank - 1))), site(operator)))


def pad(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """PAD with zeros around an image or line."""
    name, amounts = build.read(operator, 0), build.tensor(operator, 1).data
    place = site(operator)
    if amounts is None or amounts.shape != (len(build.shapes[name]) + 1, 2):
        raise place.unsupported("its amounts are computed, or do not fit")
    if operator.op == "PADV2" and np.any(build.constant(operator, 2) != 0):
        raise place.unsupported("pads with something other than 0")
    if np.any(amounts[0]) or np.any(amounts[-1]):
        raise place.unsupported("pads the batch or the channels")
    padding = tuple(int(amount) for amount in amounts[1:-1].reshape(-1))
    build.emit(ops.Pad(padding), (name,), build.sample(operator), operator)


def concatenation(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """Side by side on the channels; on another axis, as vectors in which that is the slowest."""
    names = tuple(build.read(operator, index) for index in range(len(operator.inputs)))
    joined = build.sample(operator)
    rank = 1 + len(joined)  # and the batch
    axis = int(operator.option("Axis")) % rank
    if axis == 0:
        raise site(operator).unsupported("along axis 0; it joins samples")
    if axis != rank - 1:
        build.write(operator, build.join_positions(names, axis, site(operator)))
        return
    build.emit(Unquantized(ops.Concat), names, joined, operator)


def slice_(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """SLICE by begin and size, and STRIDED_SLICE by steps of one without masks of axes."""
    name, x = build.read(operator, 0), build.tensor(operator, 0)
    numbers = [build.tensor(operator, index).data for index in range(1, len(operator.inputs))]
    place, rank = site(operator), len(x.shape)
    if any(array is None or array.size != rank for array in numbers):
        raise place.unsupported("its ends are computed, or do not fit")
    begin, second, *strides = (
        tuple(int(value) for value in array.reshape(-1)) for array in numbers if array is not None
    )
    if operator.op == "SLICE":
        ends = [(b, size if n == -1 else b + n) for b, n, size in zip(begin, second, x.shape, strict=True)]
    else:
        masks = ("EllipsisMask", "NewAxisMask", "ShrinkAxisMask", "Offset")
        if set(strides[0]) != {1} or any(operator.option(mask) for mask in masks):
            raise place.unsupported("takes other steps than one, or changes axes")
        ends = []
        for axis, size in enumerate(x.shape):
            first = 0 if int(operator.option("BeginMask")) >> axis & 1 else begin[axis]
            last = size if int(operator.option("EndMask")) >> axis & 1 else second[axis]
            ends.append((first + size if first < 0 else first, last + size if last < 0 else min(last, size)))
    _cut(build, operator, name, ends, 0)


def split(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """SPLIT into equal parts, SPLIT_V into parts as declared."""
    equal = operator.op == "SPLIT"
    index = 1 if equal else 0
    name, x = build.read(operator, index), build.tensor(operator, index)
    stated = build.tensor(operator, 0 if equal else 2).data
    if stated is None or stated.size != 1:
        raise site(operator).unsupported("its axis is computed")
    axis, at = int(stated.reshape(-1)[0]) % len(x.shape), 0
    for part, output in enumerate(operator.outputs):
        length = build.file.tensors[output].shape[axis]
        ends = [(0, size) for size in x.shape]
        ends[axis] = (at, at + length)
        _cut(build, operator, name, ends, part)
        at += length


def resize(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """RESIZE_NEAREST_NEIGHBOR by any rule; RESIZE_BILINEAR by half-pixels, corners or first pixels."""
    name, shape = build.read(operator, 0), build.sample(operator)
    corners, half = bool(operator.option("AlignCorners")), bool(operator.option("HalfPixelCenters"))
    before = build.shapes[name]
    if len(before) != 3 or (corners and half):
        raise site(operator).unsupported(f"of {before} with align_corners={corners}, half_pixel_centers={half}")
    if operator.op == "RESIZE_BILINEAR":
        build.emit(ops.Resize(shape[1], shape[2], MODES[corners, half]), (name,), shape, operator)
        return
    pairs = {axis: (before[axis], shape[axis]) for axis in (1, 2)}
    picks = [(axis, nearest_entries(*pair, corners=corners, half=half)) for axis, pair in pairs.items()]
    if all(
        np.array_equal(index, np.arange(pairs[axis][1]) * pairs[axis][0] // pairs[axis][1]) for axis, index in picks
    ):
        build.emit(ops.Resize(shape[1], shape[2]), (name,), shape, operator)
        return
    build.write(operator, pick(build, name, picks, site(operator)))


def mirror_pad(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """MIRROR_PAD: positions that repeat others."""
    name, amounts, place = build.read(operator, 0), build.tensor(operator, 1).data, site(operator)
    if amounts is None or amounts.shape != (len(build.shapes[name]) + 1, 2) or np.any(amounts[0]):
        raise place.unsupported("its amounts are computed, do not fit, or pad the batch")
    mode, picks = "symmetric" if operator.option("Mode") else "reflect", []
    for axis, (before, after) in enumerate([amounts[-1], *amounts[1:-1]]):
        index = padded_index(build.shapes[name][axis], int(before), int(after), mode)
        if index is None:
            raise place.unsupported(f"pads {build.shapes[name]} by {amounts.tolist()}, more than there is to repeat")
        picks.append((axis, index))
    build.write(operator, pick(build, name, picks, place))


def gather(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """GATHER of a constant list along any axis but the batch."""
    name, stored, rank = build.read(operator, 0), build.tensor(operator, 1).data, len(build.tensor(operator, 0).shape)
    axis, sizes = int(operator.option("Axis")) % rank, build.shapes[name]
    if stored is None or stored.ndim != 1 or axis == 0 or operator.option("BatchDims"):
        raise site(operator).unsupported("of computed entries, or of samples; oaq picks a list of another axis")
    own_axis = 0 if axis == rank - 1 else axis
    if not stored.size or stored.min() < 0 or stored.max() >= sizes[own_axis]:
        raise site(operator).unsupported(f"of entries {stored.tolist()[:8]} of {sizes[own_axis]}")
    build.write(operator, pick(build, name, [(own_axis, stored.astype(np.int32))], site(operator)))


def depth_to_space(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """Channels (row, column, channel) to blocks."""
    op = ops.DepthToSpace(int(operator.option("BlockSize")), "DCR")
    build.emit(op, (build.read(operator, 0),), build.sample(operator), operator)


def _cut(
    build: FloatTfliteBuilder, operator: TfliteOperator, name: str, ends: list[tuple[int, int]], part: int
) -> None:
    """The operator's result number ``part`` is that span of every axis of the file's tensor, batch included."""
    place, output = site(operator), operator.outputs[part]
    spans = [*ends[-1:], *ends[1:-1]]  # channels first
    begin, end = tuple(first for first, _ in spans), tuple(last for _, last in spans)
    shape = tuple(last - first for first, last in spans)
    if ends[0] != (0, 1) or shape != sample_of(build.file.tensors[output], place) or min(shape) < 1:
        raise place.unsupported(f"takes {ends}, which is not the declared result")
    under = place if len(operator.outputs) == 1 else place.under(f".{part}")
    build.values[output] = build.append(FloatSlice(begin, end), (name,), shape, under)
