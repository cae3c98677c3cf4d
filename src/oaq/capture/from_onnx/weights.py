"""Weights and biases: from the name a layer reads back to the numbers in the file, and how they stand there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from oaq.capture.from_onnx.attribute_table import QONNX, attribute_flaw
from oaq.capture.from_onnx.attributes import described, integer, integers, text
from oaq.capture.from_onnx.fold import dequantize
from oaq.capture.from_onnx.graph import Array, OnnxGraph, OnnxNode
from oaq.capture.from_onnx.scales import per_axis
from oaq.capture.from_onnx.values import Stays
from oaq.capture.imported import StoredArray
from oaq.errors import FormatError

LONGEST_CHAIN: Final = 64
"""Nodes between a layer and its weights; beyond is a damaged file."""
NEAREST: Final = ("ROUND", "HALF_EVEN", "ROUND_HALF_EVEN")


@dataclass(frozen=True, eq=False)
class QuantizedConstant:
    """Integers with a scale, as a layer reads them.

    Attributes:
        values: int64, zero point subtracted.
        scale: float32, one, or one per index of ``axis``.
        zero_point: int64, of the same length as ``scale``.
        axis: of ``values``.
        stored: where the integers stand in the file, and of which shape.
        order: the axes of ``values`` as axes of what is stored.
        stored_scale: name of the scale in the file.
        stored_zero_point: name of the zero point; None if there is none.
        nodes: between the file's array and the layer.
    """

    values: NDArray[np.int64]
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int
    stored: StoredArray
    order: tuple[int, ...]
    stored_scale: StoredArray | None
    stored_zero_point: StoredArray | None
    nodes: tuple[OnnxNode, ...]

    def transposed(self, order: tuple[int, ...]) -> QuantizedConstant:
        """With its axes in another order."""
        return replace(
            self,
            values=self.values.transpose(order),
            axis=order.index(self.axis) if self.scale.size > 1 else 0,
            order=tuple(self.order[axis] for axis in order),
        )


def quantized_constant(graph: OnnxGraph, name: str, readers: Mapping[str, int]) -> QuantizedConstant | None:
    """The integers that ``name`` stands for, if it is a dequantized constant.

    Args:
        graph: whose tensor it is.
        name: of a float tensor.
        readers: see ``count_readers``.

    Raises:
        Stays: it is one, but its scales are nothing a layer can use.
    """
    nodes: list[OnnxNode] = []
    moves: list[tuple[int, ...] | None] = []
    for _ in range(LONGEST_CHAIN):
        node = graph.producers.get(name) or graph.folded.get(name)
        if node is None:
            return None
        flaw = attribute_flaw(node, graph.opsets)
        if flaw:
            raise Stays(f"between it and its weights, {node.name!r} ({node.kind}): {flaw}")
        nodes.append(node)
        name = node.input_name(0)
        if node.op == "Transpose":
            moves.append(integers(node, "perm"))
            continue
        constant = None
        if node.op == "DequantizeLinear":
            constant = _dequantized(graph, node, readers)
        elif node.domain in QONNX:
            constant = _fake_quantized(graph, node, readers)
        if constant is None:
            return None
        for order in reversed(moves):
            constant = constant.transposed(order or tuple(reversed(range(constant.values.ndim))))
        return replace(constant, nodes=tuple(reversed(nodes)))
    return None


def real_constant(graph: OnnxGraph, name: str) -> Array | None:
    """The reals that ``name`` stands for, if it is a constant or a dequantized one."""
    value = graph.constant(name)
    if value is not None:
        return value
    node = graph.producers.get(name)
    if node is None or attribute_flaw(node, graph.opsets):
        return None
    inputs = [graph.constant(tensor) for tensor in node.inputs]
    if node.op == "DequantizeLinear" and inputs[0] is not None and inputs[1] is not None and inputs[1].ndim < 2:
        zero = inputs[2] if len(inputs) > 2 else None
        return dequantize(inputs[0], inputs[1], zero, per_axis(node, inputs[0].shape, inputs[1], zero))
    if node.domain in QONNX and node.op in ("Quant", "IntQuant") and inputs[0] is not None:
        return _quant_of_reals(graph, node, inputs[0])
    return None


def count_readers(graph: OnnxGraph) -> dict[str, int]:
    """How many nodes of the file read each tensor, nodes that were folded included."""
    counts: dict[str, int] = {}
    folded = {id(node): node for node in graph.folded.values()}
    for node in (*graph.nodes, *folded.values()):
        for name in set(node.inputs):
            counts[name] = counts.get(name, 0) + 1
    return counts


def stored(graph: OnnxGraph, name: str, readers: Mapping[str, int]) -> StoredArray:
    """Where the constant ``name`` stands in the file: itself, or the reals that the file quantizes into it."""
    form: Literal["integers", "reals", "computed"] = "integers"
    value = graph.constants[name]
    origin = name
    for _ in range(LONGEST_CHAIN):
        node = graph.folded.get(origin)
        if origin in graph.initializers or node is None or node.op == "Constant":
            break
        if node.op == "QuantizeLinear" and form == "integers":
            form, origin = "reals", node.input_name(0)
        elif node.op in ("Clip", "Identity") or (node.op == "Cast" and form == "integers"):
            origin = node.input_name(0)
        else:
            form, origin = "computed", name
            break
    dtype = "float32" if form == "reals" else value.dtype.name
    shared = readers.get(origin, 0) > 1 or readers.get(name, 0) > 1
    return StoredArray(origin, dtype, value.shape, form, shared)


def stored_or_none(graph: OnnxGraph, name: str, readers: Mapping[str, int]) -> StoredArray | None:
    """``stored``, None if the name is left out or no constant."""
    return stored(graph, name, readers) if name in graph.constants else None


def _dequantized(graph: OnnxGraph, node: OnnxNode, readers: Mapping[str, int]) -> QuantizedConstant | None:
    q, scale = graph.constant(node.input_name(0)), graph.constant(node.input_name(1))
    if q is None or q.dtype not in (np.int8, np.uint8):
        return None
    if scale is None:
        raise Stays("the scale of its weights is computed while it runs")
    zero = graph.constant(node.input_name(2)) if node.input_name(2) else np.zeros((), q.dtype)
    if zero is None:
        raise Stays("the zero point of its weights is computed while it runs")
    if scale.ndim > 1 or zero.ndim > 1:
        raise Stays("its weights have one scale per block; one per tensor or per channel is known")
    axis = per_axis(node, q.shape, scale, zero)
    return with_scale(
        q,
        scale,
        zero,
        axis,
        (
            stored(graph, node.input_name(0), readers),
            stored_or_none(graph, node.input_name(1), readers),
            stored_or_none(graph, node.input_name(2), readers),
        ),
    )


def with_scale(
    q: Array,
    scale: Array,
    zero: Array,
    axis: int,
    places: tuple[StoredArray, StoredArray | None, StoredArray | None],
) -> QuantizedConstant:
    """A constant of integers ``q`` with its scale and zero point along ``axis``, and the places of the three."""
    shape = [-1 if place == axis else 1 for place in range(q.ndim)]
    count = max(scale.size, zero.size)
    scales = np.broadcast_to(scale.reshape(-1).astype(np.float32), (count,))
    zeros = np.broadcast_to(zero.reshape(-1).astype(np.int64), (count,))
    values = q.astype(np.int64) - zeros.reshape(shape if count > 1 else [1] * q.ndim)
    return QuantizedConstant(values, scales, zeros, axis, places[0], tuple(range(q.ndim)), places[1], places[2], ())


def quant_range(node: OnnxNode, bits: int) -> tuple[int, int]:
    """Least and greatest integer of a QONNX Quant of that many bits."""
    signed, narrow = bool(integer(node, "signed", 1)), bool(integer(node, "narrow", 0))
    if signed:
        return -(1 << (bits - 1)) + narrow, (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1 - narrow


def quant_numbers(graph: OnnxGraph, node: OnnxNode) -> tuple[Array, Array, int]:
    """(scale, zero point, bits) of a QONNX Quant.

    Raises:
        Stays: they are computed, or it rounds in a way of its own.
        FormatError: they are impossible.
    """
    scale, zero, bits = (graph.constant(node.input_name(index)) for index in (1, 2, 3))
    if scale is None or zero is None or bits is None:
        raise Stays("its scale, zero point or width is computed while it runs")
    if text(node, "rounding_mode", "ROUND").upper() not in NEAREST:
        raise Stays(f"it rounds by {text(node, 'rounding_mode', '')[:20]}, not to the nearest")
    is_width = bits.size == 1 and float(bits.reshape(-1)[0]) in range(1, 33)
    if not is_width or not np.all(np.isfinite(scale)) or not np.all(scale > 0) or scale.size == 0:
        raise FormatError(f"{described(node)}: scale or width is impossible")
    if (
        zero.size == 0
        or not np.all(np.isfinite(zero))
        or np.any(zero != np.rint(zero))
        or np.any(np.abs(zero) > 1 << 20)
    ):
        raise FormatError(f"{described(node)}: its zero point is not an integer")
    return scale, zero, int(bits.reshape(-1)[0])


def _quant_steps(graph: OnnxGraph, node: OnnxNode, real: Array) -> tuple[Array, Array, Array]:
    """(integers, scale, zero point), the latter two shaped to meet the first."""
    scale, zero, bits = quant_numbers(graph, node)
    lo, hi = quant_range(node, bits)
    try:
        np.broadcast_shapes(real.shape, scale.shape, zero.shape)
        with np.errstate(all="ignore"):
            steps = np.rint(real.astype(np.float32) / scale.astype(np.float32) + zero.astype(np.float32))
    except ValueError as error:
        raise FormatError(f"{described(node)}: {error}") from error
    if np.isnan(steps).any() or steps.shape != real.shape:
        raise FormatError(f"{described(node)}: its scale does not fit {real.shape}")
    return np.clip(steps.astype(np.float64), lo, hi).astype(np.int64), scale.astype(np.float32), zero.astype(np.float32)


def _quant_of_reals(graph: OnnxGraph, node: OnnxNode, real: Array) -> Array:
    steps, scale, zero = _quant_steps(graph, node, real)
    return ((steps.astype(np.float64) - zero) * scale).astype(np.float32)


def _fake_quantized(graph: OnnxGraph, node: OnnxNode, readers: Mapping[str, int]) -> QuantizedConstant | None:
    """QONNX: the file holds reals, and a node that rounds them to integers and back."""
    real = graph.constant(node.input_name(0))
    if real is None or real.dtype.kind != "f":
        return None
    place = replace(stored(graph, node.input_name(0), readers), form="reals")
    scale_place = stored_or_none(graph, node.input_name(1), readers)
    if node.op == "BipolarQuant":
        scale = graph.constant(node.input_name(1))
        if scale is None or scale.size != 1 or not np.all(np.isfinite(scale) & (scale > 0)):
            raise Stays("the scale of its weights is not a positive constant")
        steps = np.where(real >= 0, 1, -1).astype(np.int64)
        return with_scale(steps, scale, np.zeros(1), 0, (place, scale_place, None))
    if node.op not in ("Quant", "IntQuant"):
        return None
    steps, scale, zero = _quant_steps(graph, node, real)
    if int(steps.min(initial=0)) < -128 or int(steps.max(initial=0)) > 255:
        raise Stays("its weights have more than 8 bits")
    axis = _only_axis(scale.shape, real.ndim)
    if _only_axis(zero.shape, real.ndim) not in (axis, 0) and zero.size > 1:
        raise Stays("scale and zero point of its weights run along different axes")
    return with_scale(
        steps, scale, zero, axis, (place, scale_place, stored_or_none(graph, node.input_name(2), readers))
    )


def _only_axis(shape: tuple[int, ...], rank: int) -> int:
    """The one axis along which something that broadcasts over ``rank`` axes is longer than 1; 0 if none is."""
    axes = [axis + rank - len(shape) for axis, size in enumerate(shape) if size > 1]
    if len(axes) > 1:
        raise Stays("its weights have scales along more than one axis")
    return axes[0] if axes else 0
