"""The nodes that stand for each operator in QDQ form, as ONNX's own documents define them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.checker.onnx_replay import Constant, Replay, first_to_last, last_to_first
from oaq.checker.program import Node
from oaq.checker.stretches import Stretch, stretches
from oaq.errors import FormatError

INT32: Final = 6
"""Number of int32 in ``TensorProto.DataType``."""
CENTRES: Final = {"bilinear": "half_pixel", "bilinear_corners": "align_corners", "bilinear_asymmetric": "asymmetric"}
"""ONNX's coordinates of bilinear modes."""
TOLERANCE: Final = Fraction(1, 2**20)
"""Relative; of a multiplier from what the scales give, where runtimes rescale in float in an order of their own."""


def replay_node(replay: Replay, node: Node) -> None:
    """Walk over the nodes that stand for ``node``, and take its arrays.

    Raises:
        FormatError: others are there.
    """
    rule = _RULES.get(node.kind)
    if rule is None:
        raise FormatError(f"{replay.where}: {node.name}: the checker knows no operator {node.kind!r}")
    rule(replay, node)


def is_float_defined(plain: Mapping[str, Any]) -> bool:
    """Whether ONNX defines a node, in its plain form, in float: runtimes may round it to a neighbouring integer."""
    return plain["op"] in FLOAT_DEFINED or (plain["op"] == "Resize" and plain.get("mode") in [*CENTRES])


def _conv2d(replay: Replay, node: Node) -> None:
    axes = len(replay.shape(node.inputs[0])) - 1
    real, weight, bias = _layer(replay, node, 0, axes + 2)
    replay.store(node, "weight", weight.transpose(first_to_last(axes + 1)))
    attributes = {
        "kernel_shape": weight.shape[2:],
        "strides": node.numbers("stride", axes),
        "pads": _pads(node, axes),
        "dilations": node.numbers("dilation", axes),
        "group": node.number("groups"),
    }
    result, _ = replay.take(node.name, "Conv", [real, *bias], **attributes)
    replay.quantize(node.name, result, node.output)


def _pads(node: Node, axes: int) -> tuple[int, ...]:
    """All that is added before each axis, then all that is added after."""
    around = node.numbers("padding", 2 * axes)
    return tuple(around[index] for index in (*range(0, 2 * axes, 2), *range(1, 2 * axes, 2)))


def _linear(replay: Replay, node: Node) -> None:
    axes = len(replay.shape(node.inputs[0])) - 1
    if axes:  # a convolution of one tap at every position
        real, weight, bias = _layer(replay, node, 0, axes + 2)
        taps = (1,) * axes
        if weight.shape[2:] != taps:
            raise replay.refuse(node.name, f"weights of shape {weight.shape} are not a matrix at every position")
        replay.store(node, "weight", weight.reshape(weight.shape[:2]))
        attributes = {"kernel_shape": taps, "strides": taps, "pads": (0, 0) * axes, "dilations": taps, "group": 1}
        result, _ = replay.take(node.name, "Conv", [real, *bias], **attributes)
        replay.quantize(node.name, result, node.output)
        return
    real, weight, bias = _layer(replay, node, 1, 2)
    replay.store(node, "weight", weight.T)
    result, _ = replay.take(node.name, "Gemm", [real, *bias])
    replay.quantize(node.name, result, node.output)


def _layer(replay: Replay, node: Node, axis: int, ndim: int) -> tuple[str, NDArray[np.integer], list[str]]:
    """Input, weights less their zero point as int8 (int16 where int8 does not do), names of weights and bias."""
    real = replay.dequantize(node.name, node.inputs[0])
    kinds = (Constant(ndim, (np.int8, np.uint8)), Constant(1, (np.float32,)), Constant(1, (np.int8, np.uint8)))
    name, (stored, scale, zero) = replay.take(f"{node.name}: weight", "DequantizeLinear", kinds, axis=axis)
    if not len(scale) == len(zero) == stored.shape[axis] or zero.dtype != stored.dtype:
        raise replay.refuse(node.name, f"{len(scale)} scales for weights of shape {stored.shape}")
    along_axis = [-1 if index == axis else 1 for index in range(ndim)]
    weight = stored.astype(np.int16) - zero.astype(np.int16).reshape(along_axis)
    if weight.size and -128 <= int(weight.min()) <= int(weight.max()) <= 127:
        weight = weight.astype(np.int8)
    sums, factors = replay.multipliers(node, scale)
    replay.store(node, "requantize.multiplier", factors)
    kinds = (Constant(1, (np.int32,)), sums, np.zeros(len(sums), np.int32))
    bias, (values,) = replay.take(f"{node.name}: bias", "DequantizeLinear", kinds, axis=0)
    replay.store(node, "bias", values)
    return real, weight, [name, bias]


def _joining(replay: Replay, node: Node) -> None:
    ratios = [_scale(replay, name) for name in node.inputs]
    expected = [ratios[0] * ratios[1]] if node.kind == "Mul" else ratios
    _check_ratios(replay, node, len(expected), expected)
    real = [replay.dequantize(node.name, name) for name in node.inputs]
    shapes = [replay.shape(name) for name in node.inputs]
    if node.kind == "Mul" and len(shapes[1]) < len(shapes[0]):
        real[1], _ = replay.take(node.name, "Unsqueeze", [real[1], np.arange(2, 1 + len(shapes[0]), dtype=np.int64)])
    attributes = {"axis": 1} if node.kind == "Concat" else {}
    result, _ = replay.take(node.name, node.kind, real, **attributes)
    replay.quantize(node.name, result, node.output)


def _scale(replay: Replay, tensor: str) -> Fraction:
    return Fraction(float(replay.scales[tensor]))


def _check_ratios(replay: Replay, node: Node, count: int, expected: Iterable[Fraction]) -> None:
    """Refuse multipliers stored beside the graph that are not the ``count`` its scales stand for."""
    stored, y = replay.stored_multipliers(node), _scale(replay, node.output)
    if len(stored) != count:
        raise replay.refuse(node.name, f"{count} multipliers belong here, not {len(stored)}")
    for (multiplier, room), ratio in zip(stored, expected, strict=True):
        if abs(multiplier - ratio / y) > TOLERANCE * ratio / y + room:
            raise replay.refuse(node.name, f"the multiplier {float(multiplier)!r} is not {float(ratio / y)!r}")


def _max_pool(replay: Replay, node: Node) -> None:
    replay.moves(node)
    axes = len(replay.shape(node.inputs[0])) - 1
    real, window = replay.dequantize(node.name, node.inputs[0]), _window(node, axes)
    dilations = node.numbers("dilation", axes)
    result, _ = replay.take(node.name, "MaxPool", [real], dilations=dilations, **window)
    may_hold_no_input = max(dilations) > 1 and max(node.numbers("padding", 2 * axes)) > 0
    replay.quantize(node.name, result, node.output, clip=may_hold_no_input)


def _avg_pool(replay: Replay, node: Node) -> None:
    axes = len(replay.shape(node.inputs[0])) - 1
    real, window = replay.dequantize(node.name, node.inputs[0]), _window(node, axes)
    x_scale, size = _scale(replay, node.inputs[0]), prod(node.numbers("kernel", axes))
    _check_ratios(replay, node, size, (x_scale / count for count in range(1, size + 1)))
    include = node.fields.get("count_include_pad")
    if type(include) is not bool:
        raise replay.refuse(node.name, f"count_include_pad is {str(include)[:40]}")
    result, _ = replay.take(node.name, "AveragePool", [real], count_include_pad=int(include), **window)
    replay.quantize(node.name, result, node.output)


def _window(node: Node, axes: int) -> dict[str, tuple[int, ...]]:
    kernel, stride = node.numbers("kernel", axes), node.numbers("stride", axes)
    return {"kernel_shape": kernel, "strides": stride, "pads": _pads(node, axes)}


def _global_avg_pool(replay: Replay, node: Node) -> None:
    positions = prod(replay.shape(node.inputs[0])[:-1])
    _check_ratios(replay, node, 1, [_scale(replay, node.inputs[0]) / positions])
    result, _ = replay.take(node.name, "GlobalAveragePool", [replay.dequantize(node.name, node.inputs[0])])
    replay.quantize(node.name, result, node.output)


def _lookup(replay: Replay, node: Node) -> None:
    index, _ = replay.take(node.name, "Cast", [replay.u8[node.inputs[0]]], to=INT32)
    result, (table,) = replay.take(node.name, "Gather", [Constant(1, (np.uint8,)), index], axis=0)
    replay.store(node, "table", table)
    replay.u8[node.output] = result


def _channel_lookup(replay: Replay, node: Node) -> None:
    """All tables one after another, gathered at the integer and 256 for each channel before its own."""
    channels, rank = replay.shape(node.inputs[0])[-1], len(replay.shape(node.inputs[0]))
    integer, _ = replay.take(node.name, "Cast", [replay.u8[node.inputs[0]]], to=INT32)
    first = (256 * np.arange(channels, dtype=np.int32)).reshape(-1, *(1,) * (rank - 1))
    index, _ = replay.take(node.name, "Add", [integer, first])
    result, (tables,) = replay.take(node.name, "Gather", [Constant(1, (np.uint8,)), index], axis=0)
    if len(tables) != 256 * channels:
        raise replay.refuse(node.name, f"{len(tables)} entries are not 256 for each of {channels} channels")
    replay.store(node, "tables", tables.reshape(channels, 256))
    replay.u8[node.output] = result


def _reshape(replay: Replay, node: Node) -> None:
    replay.moves(node)
    x, y = replay.shape(node.inputs[0]), replay.shape(node.output)
    real = replay.dequantize(node.name, node.inputs[0])
    if prod(x[:-1]) > 1:
        real, _ = replay.take(node.name, "Transpose", [real], perm=first_to_last(len(x)))
    back = prod(y[:-1]) > 1
    target = y if back else (*y[-1:], *y[:-1])
    real, _ = replay.take(node.name, "Reshape", [real, np.array([-1, *target], np.int64)])
    if back:
        real, _ = replay.take(node.name, "Transpose", [real], perm=last_to_first(len(y)))
    replay.quantize(node.name, real, node.output, clip=False)


def _transpose(replay: Replay, node: Node) -> None:
    """Stretches of channels come before those of positions in the file, on both sides; the slowest first among each."""
    replay.moves(node)
    x, y = replay.shape(node.inputs[0]), replay.shape(node.output)
    parts = [part for part in stretches(node, x, y) if part.size > 1] or [Stretch(1, 1, 1)]
    before = sorted(parts, key=lambda part: (part.before >= x[-1], -part.before))
    after = sorted(parts, key=lambda part: (part.after >= y[-1], -part.after))
    real, sizes = replay.dequantize(node.name, node.inputs[0]), tuple(part.size for part in before)
    if sizes != (*x[-1:], *x[:-1]):
        real, _ = replay.take(node.name, "Reshape", [real, np.array([-1, *sizes], np.int64)])
    real, _ = replay.take(node.name, "Transpose", [real], perm=(0, *(1 + before.index(part) for part in after)))
    target = (*y[-1:], *y[:-1])
    if tuple(part.size for part in after) != target:
        real, _ = replay.take(node.name, "Reshape", [real, np.array([-1, *target], np.int64)])
    replay.quantize(node.name, real, node.output, clip=False)


def _resize(replay: Replay, node: Node) -> None:
    replay.moves(node)
    real, mode = replay.dequantize(node.name, node.inputs[0]), node.fields.get("mode")
    x, y = replay.shape(node.inputs[0]), replay.shape(node.output)
    if y != (node.number("height"), node.number("width"), x[2]) or mode not in ("nearest", *CENTRES):
        raise replay.refuse(node.name, f"does not resize {x} to {y} by {str(mode)[:20]}")
    if mode == "nearest" and not all(map(_floors_alike, x[:2], y[:2])):
        for axis, size, target in ((2, x[0], y[0]), (3, x[1], y[1])):
            index = np.array([place * size // target for place in range(target)], np.int64)
            real, _ = replay.take(node.name, "Gather", [real, index], axis=axis)
    else:
        batch, _ = replay.take(node.name, "Shape", [real], start=0, end=1)
        sizes, _ = replay.take(node.name, "Concat", [batch, np.array([x[2], *y[:2]], np.int64)], axis=0)
        if mode in CENTRES:
            attributes = {"mode": "linear", "coordinate_transformation_mode": CENTRES[mode]}
        else:
            attributes = {"mode": mode, "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        real, _ = replay.take(node.name, "Resize", [real, "", "", sizes], **attributes)
    replay.quantize(node.name, real, node.output, clip=False)


def _floors_alike(size: int, target: int) -> bool:
    """Whether floor(place / float32(target / size)), as ONNX computes it in float32, is place * size // target."""
    scale = np.float32(target) / np.float32(size)
    places = np.floor(np.arange(target, dtype=np.float32) / scale).tolist()
    return all(int(place) == index * size // target for index, place in enumerate(places))


def _depth_to_space(replay: Replay, node: Node) -> None:
    block, mode = node.number("block"), node.fields.get("mode")
    if mode not in ("DCR", "CRD"):
        raise replay.refuse(node.name, f"mode is {str(mode)[:20]}")
    _moved(replay, node, "DepthToSpace", [], blocksize=block, mode=mode)


def _pad(replay: Replay, node: Node) -> None:
    axes = len(replay.shape(node.inputs[0])) - 1
    around = _pads(node, axes)
    pads = np.array([0, 0, *around[:axes], 0, 0, *around[axes:]], np.int64)
    _moved(replay, node, "Pad", [pads], mode="constant")


def _slice(replay: Replay, node: Node) -> None:
    rank = len(replay.shape(node.inputs[0]))
    axes = (*range(2, rank + 1), 1)
    ends = (node.numbers("begin", rank), node.numbers("end", rank), axes)
    _moved(replay, node, "Slice", [np.array(numbers, np.int64) for numbers in ends])


def _gather(replay: Replay, node: Node) -> None:
    replay.moves(node)
    axis, shape = node.number("axis"), replay.shape(node.inputs[0])
    real = replay.dequantize(node.name, node.inputs[0])
    result, (index,) = replay.take(node.name, "Gather", [real, Constant(1, (np.int64,))], axis=axis + 1)
    size = shape[(axis - 1) % len(shape)]  # 0 is the channels, which lie last in the program
    if not 0 <= axis < len(shape) or not len(index) or index.min() < 0 or index.max() >= size:
        raise replay.refuse(node.name, f"entries are picked that are none of axis {axis} of {shape}")
    replay.store(node, "index", index.astype(np.int32))
    replay.quantize(node.name, result, node.output, clip=False)


def _coarsen(replay: Replay, node: Node) -> None:
    raise replay.refuse(node.name, "Coarsen is never written as ONNX")


def _moved(replay: Replay, node: Node, kind: str, constants: list[NDArray[np.int64]], **attributes: int | str) -> None:
    replay.moves(node)
    real = replay.dequantize(node.name, node.inputs[0])
    result, _ = replay.take(node.name, kind, [real, *constants], **attributes)
    replay.quantize(node.name, result, node.output, clip=False)


_RULES = {
    "Conv2d": _conv2d,
    "Linear": _linear,
    "Add": _joining,
    "Mul": _joining,
    "Concat": _joining,
    "MaxPool": _max_pool,
    "AvgPool": _avg_pool,
    "GlobalAvgPool": _global_avg_pool,
    "Lookup": _lookup,
    "ChannelLookup": _channel_lookup,
    "Reshape": _reshape,
    "Resize": _resize,
    "DepthToSpace": _depth_to_space,
    "Pad": _pad,
    "Slice": _slice,
    "Transpose": _transpose,
    "Gather": _gather,
    "Coarsen": _coarsen,
}
FLOAT_DEFINED: Final = ("Add", "Mul", "Concat", "AvgPool", "GlobalAvgPool")
"""Kinds that ONNX defines in float whatever their fields are; a bilinear resize is one too."""
