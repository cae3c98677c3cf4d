"""One ONNX spelling per operator of an ``IntProgram``. Samples are (C, H, W) here: ONNX images are NCHW."""

from __future__ import annotations

from typing import Any

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
from oaq.program.int_program import Node

NHWC_TO_NCHW = [0, 3, 1, 2]
NCHW_TO_NHWC = [0, 2, 3, 1]


def emit(graph: Graph, node: Node) -> None:
    """Append ``node`` to ``graph``.

    Raises:
        UnsupportedOp: ONNX cannot say what it computes; the message names the node.
    """
    specs, y = graph.program.specs(node), graph.program.tensors[node.output]
    match node.op:
        case ops.Conv2d():
            _conv2d(graph, node, node.op, specs[0], y)
        case ops.Linear():
            _linear(graph, node, node.op, specs[0], y)
        case ops.Add() | ops.Mul() | ops.Concat():
            _joining(graph, node, specs, y)
        case ops.AvgPool() | ops.GlobalAvgPool() | ops.MaxPool():
            _pool(graph, node, specs[0], y)
        case ops.Lookup():
            _lookup(graph, node, node.op)
        case ops.Reshape():
            _reshape(graph, node, specs[0], y)
        case ops.Resize():
            _resize(graph, node, node.op, specs[0])
        case _:
            _movement(graph, node)


def _conv2d(graph: Graph, node: Node, op: ops.Conv2d, x: TensorSpec, y: TensorSpec) -> None:
    scale, (weight, zero) = _weight_scales(node, op, x, y), _stored_weights(node, op)
    top, bottom, left, right = op.padding
    inputs = [
        graph.dequantize(x.name),
        graph.dequantized_constant(f"{node.name}.weight", weight.transpose(0, 3, 1, 2), scale, axis=0, zero=zero),
        graph.dequantized_constant(f"{node.name}.bias", op.bias, np.float32(x.affine.scale) * scale, axis=0),
    ]
    real = graph.value(
        "Conv",
        inputs,
        node.name,
        kernel_shape=list(op.kernel),
        strides=list(op.stride),
        pads=[top, left, bottom, right],
        dilations=list(op.dilation),
        group=op.groups,
    )
    graph.quantize(real, y.name)


def _linear(graph: Graph, node: Node, op: ops.Linear, x: TensorSpec, y: TensorSpec) -> None:
    scale, (weight, zero) = _weight_scales(node, op, x, y), _stored_weights(node, op)
    inputs = [
        graph.dequantize(x.name),
        graph.dequantized_constant(f"{node.name}.weight", weight.T, scale, axis=1, zero=zero),
        graph.dequantized_constant(f"{node.name}.bias", op.bias, np.float32(x.affine.scale) * scale, axis=0),
    ]
    graph.quantize(graph.value("Gemm", inputs, node.name), y.name)


def _weight_scales(node: Node, op: ops.Products, x: TensorSpec, y: TensorSpec) -> np.ndarray:
    if op.requantize.shift is not None:
        raise UnsupportedOp(
            f"{node.name}: requantizes by fixed_point; ONNX knows float scales only. Quantize with float32_half_even"
        )
    return weight_scales(op.requantize.multiplier, x.affine.scale, y.affine.scale, node.name)


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


def _joining(graph: Graph, node: Node, specs: tuple[TensorSpec, ...], y: TensorSpec) -> None:
    scales = np.array([spec.affine.scale for spec in specs], np.float64)
    ratio_scales = scales.prod(keepdims=True) if isinstance(node.op, ops.Mul) else scales
    _check_ratio(node, ratio_scales / y.affine.scale)
    real = [graph.dequantize(spec.name) for spec in specs]
    if isinstance(node.op, ops.Mul) and len(specs[1].shape) < len(specs[0].shape):
        axes = graph.shared("axes 2, 3", "axes_2_3", np.array([2, 3], np.int64))
        real[1] = graph.value("Unsqueeze", [real[1], axes], f"{node.name}.image")
    attributes = {"axis": 1} if isinstance(node.op, ops.Concat) else {}
    graph.quantize(graph.value(type(node.op).__name__, real, node.name, **attributes), y.name)


def _pool(graph: Graph, node: Node, x: TensorSpec, y: TensorSpec) -> None:
    op, real = node.op, graph.dequantize(x.name)
    ratio = x.affine.scale / y.affine.scale
    if isinstance(op, ops.GlobalAvgPool):
        _check_ratio(node, np.array([ratio / (x.shape[0] * x.shape[1])]))
        graph.quantize(graph.value("GlobalAveragePool", [real], node.name), y.name)
        return
    assert isinstance(op, ops.AvgPool | ops.MaxPool)
    top, bottom, left, right = op.padding
    window = {"kernel_shape": list(op.kernel), "strides": list(op.stride), "pads": [top, left, bottom, right]}
    if isinstance(op, ops.MaxPool):
        result = graph.value("MaxPool", [real], node.name, dilations=list(op.dilation), **window)
        may_hold_no_input = max(op.dilation) > 1 and max(op.padding) > 0
        graph.quantize(result, y.name, clip=may_hold_no_input)
    else:
        _check_ratio(node, ratio / np.arange(1, op.kernel[0] * op.kernel[1] + 1))
        include = int(op.count_include_pad)
        result = graph.value("AveragePool", [real], node.name, count_include_pad=include, **window)
        graph.quantize(result, y.name)


def _check_ratio(node: Node, ratio: np.ndarray) -> None:
    requantize = node.op.requantize  # type: ignore[union-attr]
    if requantize.shift is not None:
        raise UnsupportedOp(
            f"{node.name}: requantizes by fixed_point; ONNX knows float scales only. Quantize with float32_half_even"
        )
    check_ratio(requantize.multiplier, ratio, node.name)


def _lookup(graph: Graph, node: Node, op: ops.Lookup) -> None:
    """Exact on integers: the table is gathered by the u8 values themselves."""
    index = graph.value("Cast", [graph.u8[node.inputs[0]]], f"{node.name}.index", to=TensorProto.INT32)
    graph.node("Gather", [graph.constant(f"{node.name}.table", op.table), index], graph.u8[node.output], axis=0)


def _reshape(graph: Graph, node: Node, x: TensorSpec, y: TensorSpec) -> None:
    """Our order is NHWC, ONNX's NCHW: go there and back unless the image is one pixel, where both agree."""
    real = graph.dequantize(x.name)
    if len(x.shape) == 3 and x.shape[:2] != (1, 1):
        real = graph.value("Transpose", [real], f"{node.name}.nhwc", perm=NCHW_TO_NHWC)
    back = len(y.shape) == 3 and y.shape[:2] != (1, 1)
    target = y.shape if back or len(y.shape) == 1 else (y.shape[2], 1, 1)
    shape = graph.constant(f"{node.name}.shape", np.array([-1, *target], np.int64))
    real = graph.value("Reshape", [real, shape], f"{node.name}.reshaped")
    if back:
        real = graph.value("Transpose", [real], f"{node.name}.nchw", perm=NHWC_TO_NCHW)
    graph.quantize(real, y.name, clip=False)


def _resize(graph: Graph, node: Node, op: ops.Resize, x: TensorSpec) -> None:
    real, name = graph.dequantize(x.name), node.name
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
            else {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        )
        real = graph.value("Resize", [real, "", "", sizes], name, **attributes)
    graph.quantize(real, node.output, clip=False)


def _is_integer_grid(size: int, resized: int) -> bool:
    """Whether ONNX's float32 coordinates fall on the pixels that integers give."""
    scale = np.float32(resized) / np.float32(size)
    place = np.floor(np.arange(resized, dtype=np.float32) / scale).astype(np.int64)
    return bool(np.array_equal(place, np.arange(resized) * size // resized))


def _movement(graph: Graph, node: Node) -> None:
    op, real, name = node.op, graph.dequantize(node.inputs[0]), node.name
    match op:
        case ops.DepthToSpace():
            real = graph.value("DepthToSpace", [real], name, blocksize=op.block, mode=op.mode)
        case ops.Pad():
            top, bottom, left, right = op.padding
            pads = graph.constant(f"{node.name}.pads", np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
            real = graph.value("Pad", [real, pads], name, mode="constant")
        case ops.Slice():
            axes = np.array([2, 3, 1] if len(op.begin) == 3 else [1], np.int64)
            ends = [np.array(op.begin, np.int64), np.array(op.end, np.int64), axes]
            names = [f"{node.name}.{end}" for end in ("begin", "end", "axes")]
            real = graph.value("Slice", [real, *map(graph.constant, names, ends)], name)
        case _:
            raise UnsupportedOp(f"{node.name}: ONNX export knows no {type(op).__name__}")
    graph.quantize(real, node.output, clip=False)
