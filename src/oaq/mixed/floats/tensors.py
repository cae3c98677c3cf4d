"""Operators that move, pick, make or quantize values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from oaq.capture.from_onnx import movement
from oaq.capture.from_onnx.attributes import described, integer, text
from oaq.capture.from_onnx.fold import FORMULAS
from oaq.capture.from_onnx.graph import Array, OnnxNode
from oaq.capture.from_onnx.inputs import Inputs
from oaq.dynamic.law import quantize_rows
from oaq.errors import FormatError, UnsupportedOp
from oaq.mixed.floats.operator import Operator, argument, arguments

PADDING: Final = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def folded(node: OnnxNode, inputs: Inputs) -> Array | list[Array]:
    """An operator that files are also folded by.

    Raises:
        UnsupportedOp: in this form it is not computed.
    """
    value = FORMULAS[node.op](node, inputs)
    if value is None:
        raise UnsupportedOp(f"{described(node)}: is written in a form that oaq's float operators do not have")
    return value


def _identity(node: OnnxNode, inputs: Inputs) -> Array:
    return argument(node, inputs, 0)


def _pad(node: OnnxNode, inputs: Inputs) -> Array:
    x = argument(node, inputs, 0)
    amounts, mode = movement.pads(node, inputs, x.ndim), text(node, "mode", "constant")
    if amounts is None or mode not in PADDING:
        raise FormatError(f"{described(node)}: pads in mode {mode!r}")
    cropped = x[tuple(slice(max(-b, 0), s - max(-a, 0)) for b, a, s in zip(*amounts, x.shape, strict=True))]
    pads = [(max(b, 0), max(a, 0)) for b, a in zip(*amounts, strict=True)]
    if mode != "constant":
        return np.pad(cropped, pads, mode=mode)  # type: ignore[call-overload]
    value = inputs.constant(2)
    fill = node.attributes.get("value", 0.0) if value is None else value.reshape(-1)[0]
    return np.pad(cropped, pads, constant_values=np.asarray(fill).astype(x.dtype))


def _gather_elements(node: OnnxNode, inputs: Inputs) -> Array:
    x, index = arguments(node, inputs, 2)
    return np.take_along_axis(x, index, movement.axis_of(node, integer(node, "axis", 0), x.ndim))


def _depth_to_space(node: OnnxNode, inputs: Inputs) -> Array:
    x, block = argument(node, inputs, 0), integer(node, "blocksize", 0)
    n, c, h, w = x.shape
    if text(node, "mode", "DCR") == "DCR":
        parts = x.reshape(n, block, block, c // block**2, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, c // block**2, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, c // block**2, h * block, w * block)


def _space_to_depth(node: OnnxNode, inputs: Inputs) -> Array:
    x, block = argument(node, inputs, 0), integer(node, "blocksize", 0)
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // block, block, w // block, block).transpose(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * block**2, h // block, w // block)


def _triangle(node: OnnxNode, inputs: Inputs) -> Array:
    x, k = argument(node, inputs, 0), inputs.constant(1)
    shift = 0 if k is None else int(k.reshape(-1)[0])
    return np.triu(x, shift) if integer(node, "upper", 1) else np.tril(x, shift)


def _cast_like(node: OnnxNode, inputs: Inputs) -> Array:
    x, like = arguments(node, inputs, 2)
    return x.astype(like.dtype)


def _dynamic_quantize(node: OnnxNode, inputs: Inputs) -> list[Array]:
    x = argument(node, inputs, 0)
    rows = quantize_rows(x.reshape(1, -1), "tensor")
    return [rows.q.reshape(x.shape), rows.scale.reshape(()), rows.zero_point.astype(np.uint8).reshape(())]


OPERATORS: Final[Mapping[str, Operator]] = {
    **dict.fromkeys(FORMULAS, folded),
    "Identity": _identity,
    "Dropout": _identity,
    "Pad": _pad,
    "GatherElements": _gather_elements,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "Trilu": _triangle,
    "CastLike": _cast_like,
    "DynamicQuantizeLinear": _dynamic_quantize,
}
