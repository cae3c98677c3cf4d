"""One ONNX spelling per operator of an ``IntProgram``. Samples are channels first here: (C,), (C, L), (C, H, W)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from oaq import operators as ops
from oaq.errors import UnsupportedOp
from oaq.export.onnx_qdq.graph import Graph
from oaq.export.onnx_qdq.scales import check_ratio, weight_scales
from oaq.numerics.formats import U8
from oaq.numerics.ranges import IntRange
from oaq.operators import TensorSpec
from oaq.operators.products import multipliers_of
from oaq.program.int_program import Node
from oaq.program.layout import channels_first


def emit(graph: Graph, node: Node) -> None:
    """Append ``node`` to ``graph``.

    Raises:
        UnsupportedOp: ONNX cannot say what it computes; the message names the node.
    """
    rule = RULES.get(ops.rules_of(node.op).name)
    if rule is None:
        raise UnsupportedOp(f"{node.name}: ONNX export knows no {type(node.op).__name__}")
    rule(graph, node, node.op)


def _conv2d(graph: Graph, node: Node, op: ops.Conv2d) -> None:
    (x,), y = graph.program.specs(node), graph.program.tensors[node.output]
    scale, (weight, zero) = _weight_scales(node, op, x, y), _stored_weights(node, op)
    inputs = [
        graph.dequantize(x.name),
        graph.dequantized_constant(f"{node.name}.weight", np.moveaxis(weight, -1, 1), scale, axis=0, zero=zero),
        graph.dequantized_constant(f"{node.name}.bias", op.bias, np.float32(x.affine.scale) * scale, axis=0),
    ]
    real = graph.value(
        "Conv",
        inputs,
        node.name,
        dilations=list(op.dilation),
        group=op.groups,
        **_window(op.window),
    )
    graph.quantize(real, y.name)


def _linear(graph: Graph, node: Node, op: ops.Linear) -> None:
    """Gemm of a vector. At every position of a line or image it is a convolution of one tap, bias included."""
    (x,), y = graph.program.specs(node), graph.program.tensors[node.output]
    if len(x.shape) > 1:
        weight = op.weight.reshape(op.outputs, *(1,) * (len(x.shape) - 1), op.terms)
        _conv2d(graph, node, ops.Conv2d(weight, op.bias, op.requantize))
        return
    scale, (weight, zero) = _weight_scales(node, op, x, y), _stored_weights(node, op)
    inputs = [
        graph.dequantize(x.name),
        graph.dequantized_constant(f"{node.name}.weight", weight.T, scale, axis=1, zero=zero),
        graph.dequantized_constant(f"{node.name}.bias", op.bias, np.float32(x.affine.scale) * scale, axis=0),
    ]
    graph.quantize(graph.value("Gemm", inputs, node.name), y.name)


def _weight_scales(node: Node, op: ops.Products, x: TensorSpec, y: TensorSpec) -> np.ndarray:
    requantize = multipliers_of(op, node.name)
    if requantize.shift is not None:
        raise UnsupportedOp(
            f"{node.name}: requantizes by fixed_point; ONNX knows float scales only. Quantize with float32_half_even"
        )
    return weight_scales(requantize.multiplier, x.affine.scale, y.affine.scale, node.name)


def _stored_weights(node: Node, op: ops.Products) -> tuple[NDArray[Any], int]:
    """The weights as ONNX stores them, and their zero point: int8 and 0, or where int8 does not do, uint8."""
    if op.weight.dtype == np.int8:
        return op.weight, 0
    low, high = int(op.weight.min()), int(op.weight.max())
    if high - low > U8.steps:
        raise UnsupportedOp(
            f"{node.name}: weights reach [{low}, {high}], more than one uint8 zero point covers (imported with one per "
            "channel). Save it as .oaq, or export the file it came from"
        )
    zero = IntRange(-low, U8.hi - high).clamp(128)
    return (op.weight + zero).astype(np.uint8), zero


def _add(graph: Graph, node: Node, _op: ops.Add) -> None:
    _requantized(graph, node, "Add", [graph.dequantize(name) for name in node.inputs])


def _mul(graph: Graph, node: Node, _op: ops.Mul) -> None:
    specs = graph.program.specs(node)
    real = [graph.dequantize(spec.name) for spec in specs]
    if len(specs[1].shape) < len(specs[0].shape):
        axes = np.arange(2, 1 + len(specs[0].shape), dtype=np.int64)
        name = "_".join(map(str, ("axes", *axes)))
        real[1] = graph.value("Unsqueeze", [real[1], graph.shared(name, name, axes)], f"{node.name}.image")
    _requantized(graph, node, "Mul", real)


def _concat(graph: Graph, node: Node, _op: ops.Concat) -> None:
    _requantized(graph, node, "Concat", [graph.dequantize(name) for name in node.inputs], axis=1)


def _avg_pool(graph: Graph, node: Node, op: ops.AvgPool) -> None:
    real, include = graph.dequantize(node.inputs[0]), int(op.count_include_pad)
    _requantized(graph, node, "AveragePool", [real], count_include_pad=include, **_window(op.window))


def _global_avg_pool(graph: Graph, node: Node, _op: ops.GlobalAvgPool) -> None:
    _requantized(graph, node, "GlobalAveragePool", [graph.dequantize(node.inputs[0])])


def _requantized(graph: Graph, node: Node, operator: str, real: list[str], **attributes: Any) -> None:  # noqa: ANN401 (ONNX's own)
    """One ONNX operator on real values, its result quantized: the tensors' scales must stand for the multipliers."""
    _check_ratios(graph, node)
    graph.quantize(graph.value(operator, real, node.name, **attributes), node.output)


def _check_ratios(graph: Graph, node: Node) -> None:
    op: Any = node.op
    if op.requantize.then is not None or (
        op.requantize.shift is not None and graph.program.requantize == "fixed_point"
    ):
        raise UnsupportedOp(
            f"{node.name}: requantizes by fixed_point; ONNX knows float scales only. Quantize with float32_half_even"
        )
    specs, y = graph.program.specs(node), graph.program.tensors[node.output]
    ratios = ops.rules_of(op).ratios
    if ratios is None:
        raise UnsupportedOp(f"{node.name}: {type(op).__name__} has no rule for what its multipliers stand for")
    scales = np.array([spec.affine.scale for spec in specs], np.float64)
    check_ratio(
        op.requantize,
        ratios(op, scales, np.float64(y.affine.scale), [spec.shape for spec in specs]),
        node.name,
    )


def _max_pool(graph: Graph, node: Node, op: ops.MaxPool) -> None:
    real = graph.dequantize(node.inputs[0])
    result = graph.value("MaxPool", [real], node.name, dilations=list(op.dilation), **_window(op.window))
    may_hold_no_input = max(op.dilation) > 1 and max(op.padding) > 0
    graph.quantize(result, node.output, clip=may_hold_no_input)


def _window(window: ops.Window) -> dict[str, list[int]]:
    pads = [*window.padding[::2], *window.padding[1::2]]
    return {"kernel_shape": list(window.kernel), "strides": list(window.stride), "pads": pads}


def _lookup(graph: Graph, node: Node, op: ops.Lookup) -> None:
    """Exact on integers: the table is gathered by the u8 values themselves."""
    index = graph.value("Cast", [graph.u8[node.inputs[0]]], f"{node.name}.index", to=TensorProto.INT32)
    graph.node("Gather", [graph.constant(f"{node.name}.table", op.table), index], graph.u8[node.output], axis=0)


def _channel_lookup(graph: Graph, node: Node, op: ops.ChannelLookup) -> None:
    """Exact on integers: one list of all tables is gathered by the integer and where its channel's table begins."""
    (x,) = graph.program.specs(node)
    first = (256 * np.arange(x.channels, dtype=np.int32)).reshape(-1, *(1,) * (len(x.shape) - 1))
    integer = graph.value("Cast", [graph.u8[x.name]], f"{node.name}.index", to=TensorProto.INT32)
    index = graph.value("Add", [integer, graph.constant(f"{node.name}.first", first)], f"{node.name}.entry")
    tables = graph.constant(f"{node.name}.tables", op.tables.reshape(-1))
    graph.node("Gather", [tables, index], graph.u8[node.output], axis=0)


def _reshape(graph: Graph, node: Node, _op: ops.Reshape) -> None:
    """Our channels are last, ONNX's first: go there and back unless there is one position, where both agree."""
    (x,), y = graph.program.specs(node), graph.program.tensors[node.output]
    real, rank = graph.dequantize(x.name), len(y.shape)
    if prod(x.shape[:-1]) > 1:
        real = graph.value("Transpose", [real], f"{node.name}.nhwc", perm=[0, *range(2, 1 + len(x.shape)), 1])
    back = prod(y.shape[:-1]) > 1
    target = y.shape if back else channels_first(y.shape)
    shape = graph.constant(f"{node.name}.shape", np.array([-1, *target], np.int64))
    real = graph.value("Reshape", [real, shape], f"{node.name}.reshaped")
    if back:
        real = graph.value("Transpose", [real], f"{node.name}.nchw", perm=[0, rank, *range(1, rank)])
    graph.quantize(real, y.name, clip=False)


def _transpose(graph: Graph, node: Node, op: ops.Transpose) -> None:
    """Stretches of channels stand before those of positions here, before and after."""
    (x,), y, name = graph.program.specs(node), graph.program.tensors[node.output], node.name
    split, perm = _channels_first_stretches(op, x.channels)
    real = graph.dequantize(x.name)
    if split != channels_first(x.shape):
        real = graph.value(
            "Reshape", [real, graph.constant(f"{name}.split", np.array([-1, *split], np.int64))], f"{name}.stretches"
        )
    real = graph.value("Transpose", [real], name, perm=perm)
    target = channels_first(y.shape)
    if tuple(split[axis - 1] for axis in perm[1:]) != target:
        shape = graph.constant(f"{name}.shape", np.array([-1, *target], np.int64))
        real = graph.value("Reshape", [real, shape], f"{name}.joined")
    graph.quantize(real, y.name, clip=False)


def _channels_first_stretches(op: ops.Transpose, channels: int) -> tuple[tuple[int, ...], list[int]]:
    """Stretches of a tensor of so many channels with those of channels first, and their order after, the batch 0."""
    split, order, of_x, of_y = op.stretches(channels)
    first, last = len(split) - of_x, len(split) - of_y
    before, after = [*range(first, len(split)), *range(first)], [*order[last:], *order[:last]]
    return tuple(split[place] for place in before), [0, *(1 + before.index(place) for place in after)]


def _resize(graph: Graph, node: Node, op: ops.Resize) -> None:
    (x,), name = graph.program.specs(node), node.name
    real = graph.dequantize(x.name)
    if op.mode == "nearest" and not (
        _is_integer_grid(x.shape[0], op.height) and _is_integer_grid(x.shape[1], op.width)
    ):
        for axis, size, resized in ((2, x.shape[0], op.height), (3, x.shape[1], op.width)):
            index = graph.constant(f"{name}.axis{axis}", np.arange(resized, dtype=np.int64) * size // resized)
            real = graph.value("Gather", [real, index], f"{name}.gathered{axis}", axis=axis)
    else:
        batch = graph.value("Shape", [real], f"{name}.batch", start=0, end=1)
        image = graph.constant(f"{name}.rest", np.array([x.shape[2], op.height, op.width], np.int64))
        sizes = graph.value("Concat", [batch, image], f"{name}.sizes", axis=0)
        attributes = (
            {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            if op.mode == "nearest"
            else {"mode": "linear", "coordinate_transformation_mode": CENTRES[op.mode]}
        )
        real = graph.value("Resize", [real, "", "", sizes], name, **attributes)
    graph.quantize(real, node.output, clip=False)


CENTRES: Final = {"bilinear": "half_pixel", "bilinear_corners": "align_corners", "bilinear_asymmetric": "asymmetric"}
"""ONNX's rule of coordinates for each bilinear mode."""


def _is_integer_grid(size: int, resized: int) -> bool:
    """Whether ONNX's float32 coordinates fall on the pixels that integers give."""
    scale = np.float32(resized) / np.float32(size)
    place = np.floor(np.arange(resized, dtype=np.float32) / scale).astype(np.int64)
    return bool(np.array_equal(place, np.arange(resized) * size // resized))


def _depth_to_space(graph: Graph, node: Node, op: ops.DepthToSpace) -> None:
    real = graph.dequantize(node.inputs[0])
    real = graph.value("DepthToSpace", [real], node.name, blocksize=op.block, mode=op.mode)
    graph.quantize(real, node.output, clip=False)


def _gather(graph: Graph, node: Node, op: ops.Gather) -> None:
    index = graph.constant(f"{node.name}.index", op.index.astype(np.int64))
    real = graph.value("Gather", [graph.dequantize(node.inputs[0]), index], node.name, axis=op.axis + 1)
    graph.quantize(real, node.output, clip=False)


def _coarsen(_graph: Graph, node: Node, _op: ops.Coarsen) -> None:
    raise UnsupportedOp(
        f"{node.name}: Coarsen takes exact statistics of more than 64 bits, which ONNX has no integers for; keep the "
        ".oaq file, or quantize with mode static, whose tables ONNX holds"
    )


def _pad(graph: Graph, node: Node, op: ops.Pad) -> None:
    real = graph.dequantize(node.inputs[0])
    pads = np.array([0, 0, *op.padding[::2], 0, 0, *op.padding[1::2]], np.int64)
    real = graph.value("Pad", [real, graph.constant(f"{node.name}.pads", pads)], node.name, mode="constant")
    graph.quantize(real, node.output, clip=False)


def _slice(graph: Graph, node: Node, op: ops.Slice) -> None:
    real = graph.dequantize(node.inputs[0])
    axes = np.array([*range(2, 1 + len(op.begin)), 1], np.int64)
    ends = [np.array(op.begin, np.int64), np.array(op.end, np.int64), axes]
    names = [f"{node.name}.{end}" for end in ("begin", "end", "axes")]
    real = graph.value("Slice", [real, *map(graph.constant, names, ends)], node.name)
    graph.quantize(real, node.output, clip=False)


RULES: Final[Mapping[str, Callable[[Graph, Node, Any], None]]] = {
    "Conv2d": _conv2d,
    "Linear": _linear,
    "Add": _add,
    "Mul": _mul,
    "Concat": _concat,
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
"""What each operator is written as."""
