"""Rules for layers that sum products: Conv, Gemm, MatMul, and their integer relatives of ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.capture.from_onnx.attribute_table import attribute_flaw
from oaq.capture.from_onnx.attributes import integer, real
from oaq.capture.from_onnx.draft import spatial
from oaq.capture.from_onnx.graph import Array, OnnxNode
from oaq.capture.from_onnx.scales import per_axis
from oaq.capture.from_onnx.sums import Make, Sums, bias_of
from oaq.capture.from_onnx.values import Integers, Meaning, Pending, Stays, View, arranged, extended, flattened
from oaq.capture.from_onnx.walk import Walk
from oaq.capture.from_onnx.weights import (
    QuantizedConstant,
    quantized_constant,
    real_constant,
    stored,
    stored_or_none,
    with_scale,
)
from oaq.capture.from_onnx.windows import window
from oaq.capture.imported import Ints, StoredArray
from oaq.capture.layout import Layout

NO_PLACES: Final = (None, None)
AS_LOADED: Final = (
    "{}: the zero point of its input is computed as the file runs; the program sums the integers as they are loaded, "
    "without the share that the file takes off for it"
)


@dataclass(frozen=True, eq=False)
class Bias:
    """A bias as the file has it.

    Attributes:
        value: integers if ``scale`` is given, else reals; None if there is none.
        scale: of the integers; None beside integers means s_x * s_w by definition.
        is_steps: the integers are steps of s_x * s_w by definition.
        places: of bias and scale in the file.
        nodes: between the file's array and the layer.
    """

    value: Array | None = None
    scale: Array | None = None
    is_steps: bool = False
    places: tuple[StoredArray | None, StoredArray | None] = NO_PLACES
    nodes: tuple[OnnxNode, ...] = ()


def conv(walk: Walk, node: OnnxNode) -> None:
    """DequantizeLinear x 2 (or 3), Conv."""
    weight = weights_of(walk, node.input_name(1))
    pending = convolution(walk, node, walk.plain(node.input_name(0)), weight, float_bias(walk, node.input_name(2)))
    walk.values[node.outputs[0]] = pending


def gemm(walk: Walk, node: OnnxNode) -> None:
    """DequantizeLinear x 2 (or 3), Gemm."""
    if integer(node, "transA", 0):
        raise Stays("it transposes its input")
    weight = weights_of(walk, node.input_name(1))
    if not integer(node, "transB", 0):
        weight = weight.transposed((1, 0))
    bias = along_columns(float_bias(walk, node.input_name(2)), weight.values.shape[0])
    beta, factor = real(node, "beta", 1.0), real(node, "alpha", 1.0)
    if beta != 1.0 and bias.value is not None:
        value = real_constant(walk.graph, node.input_name(2))
        bias = Bias(None if value is None or beta == 0.0 else value * np.float32(beta))
    walk.values[node.outputs[0]] = product(walk, node, walk.plain(node.input_name(0)), weight, (bias, factor))


def matmul(walk: Walk, node: OnnxNode) -> None:
    """DequantizeLinear x 2, MatMul."""
    if walk.values.get(node.input_name(1)) is not None:
        raise Stays("both its operands are computed; sums of products of two activations have no fixed weights")
    weight = weights_of(walk, node.input_name(1))
    if weight.values.ndim != 2:
        raise Stays("its weights are not a matrix")
    view = walk.plain(node.input_name(0))
    walk.values[node.outputs[0]] = product(walk, node, view, weight.transposed((1, 0)), (Bias(), 1.0))


def convolution(walk: Walk, node: OnnxNode, x: View, weight: QuantizedConstant, bias: Bias) -> Pending:
    """A Conv2d over a line or an image that waits for its output's scale."""
    rank = weight.values.ndim
    if rank not in (3, 4, 5) or len(x.shape) != rank - 1:
        raise Stays(
            f"it convolves {len(x.shape)} axes by weights {weight.values.shape}; lines, images and volumes are known"
        )
    windows = window(node, x.shape[1:], weight.values.shape[2:])
    groups = integer(node, "group", 1)
    order, axes = spatial(rank - 1), (0, *range(2, rank), 1)
    ready = arranged(walk.draft, x, order)
    outputs, values = weight.values.shape[0], weight.values.transpose(axes)

    def make(w: NDArray[np.int16], b: NDArray[np.int32], requantize: Any) -> ops.Conv2d:  # noqa: ANN401 (Requantize)
        return ops.Conv2d(w, b, requantize, windows.stride, windows.padding, windows.dilation, groups)

    layout = Layout.in_order((outputs, *windows.count), order)
    return pending_layer(walk, node, ready, (weight, values, axes, None), (layout, 1, make, bias, 1.0))


def product(
    walk: Walk, node: OnnxNode, x: View, weight: QuantizedConstant, bias_and_factor: tuple[Bias, float]
) -> Pending:
    """A Linear, at every place of all axes but the last.

    Args:
        walk: the import.
        node: that multiplies.
        x: (..., K).
        weight: (N, K).
        bias_and_factor: bias, and a factor of the products.
    """
    if weight.values.ndim != 2 or x.shape[-1:] != weight.values.shape[1:]:
        raise Stays(f"weights of shape {weight.values.shape} do not fit an input {x.shape}")
    outputs = weight.values.shape[0]
    bias, factor = bias_and_factor
    if len(x.shape) == 1:
        columns = None if x.layout.is_in((0,)) else x.layout.order_of_elements()
        ready = flattened(walk.draft, x)
        values = weight.values if columns is None else weight.values[:, columns]
        layout = Layout.in_order((outputs,), (0,))
        return pending_layer(
            walk, node, ready, (weight, values, (0, 1), columns), (layout, 1, ops.Linear, bias, factor)
        )
    order = tuple(range(len(x.shape)))
    ready = arranged(walk.draft, x, order)
    layout = Layout.in_order((*x.shape[:-1], outputs), order)
    matrix = (weight, weight.values, (0, 1), None)
    return pending_layer(walk, node, ready, matrix, (layout, len(x.shape), ops.Linear, bias, factor))


def pending_layer(
    walk: Walk,
    node: OnnxNode,
    x: View,
    weights: tuple[QuantizedConstant, Ints, tuple[int, ...], Ints | None],
    result: tuple[Layout, int, Make, Bias, float],
) -> Pending:
    """A layer that waits for its output's scale.

    Args:
        walk: the import.
        node: that sums.
        x: what it reads, in the program's shape.
        weights: as the file has them; in the program's order; axes moved to get there; columns of a flattened image.
        result: layout, axis of the outputs, operator, bias, factor of the products.
    """
    constant, values, axes, columns = weights
    layout, axis, make, bias, factor = result
    outputs = values.shape[0]
    if not values.size:
        raise Stays(f"its weights, of shape {values.shape}, hold no numbers")
    if constant.scale.size > 1 and constant.axis != 0:
        raise Stays("its weights have a scale per input channel, which no integer sum has")
    s_x = np.float32(walk.draft.tensors[x.tensor].affine.scale)
    with np.errstate(over="ignore"):
        unit = s_x * np.broadcast_to(constant.scale, (outputs,)).astype(np.float32)
        if factor != 1.0:
            unit = unit * np.float32(factor)
    if factor <= 0:
        raise Stays(f"its products are multiplied by {factor:g}; a factor is positive here")
    if not np.all(np.isfinite(unit)) or np.any(unit <= 0):
        raise Stays(f"its scales {s_x:g} and {constant.scale.max():g} have a product beyond float32")
    steps, reals, note = bias_of(node, bias.value, unit if bias.is_steps else bias.scale, unit)
    if note:
        walk.notes.append(note)
    sums = Sums(
        node,
        axis,
        x.tensor,
        values,
        unit,
        steps,
        reals,
        make,
        constant,
        axes,
        columns,
        bias.places,
        (*bias.nodes, node),
    )
    return Pending(node.name, sums.operator, (x.tensor,), layout, (*constant.nodes, *sums.nodes), sums=sums)


def weights_of(walk: Walk, name: str) -> QuantizedConstant:
    """Constant integers with their scales.

    Raises:
        Stays: the weights are something else.
    """
    constant = quantized_constant(walk.graph, name, walk.readers)
    if constant is None:
        raise Stays(f"its weights {name!r} are not a quantized constant")
    return constant


def float_bias(walk: Walk, name: str) -> Bias:
    """A bias that is float, or dequantized int32."""
    if not name:
        return Bias()
    node = walk.graph.producers.get(name)
    if node is not None and node.op == "DequantizeLinear":
        flaw = attribute_flaw(node, walk.graph.opsets)
        if flaw:
            raise Stays(f"between it and its bias, {node.name!r} ({node.kind}): {flaw}")
        value, scale = walk.graph.constant(node.input_name(0)), walk.graph.constant(node.input_name(1))
        zero = walk.graph.constant(node.input_name(2)) if node.input_name(2) else np.zeros((), np.int32)
        if value is None or scale is None or zero is None:
            raise Stays("its bias is computed while it runs")
        if zero.any():
            raise Stays("its bias has a zero point that is not 0")
        per_axis(node, value.shape, scale, zero)
        places = (
            stored(walk.graph, node.input_name(0), walk.readers),
            stored_or_none(walk.graph, node.input_name(1), walk.readers),
        )
        return Bias(value, scale, False, places, (node,))
    value = real_constant(walk.graph, name)
    if value is None:
        raise Stays("its bias is computed while it runs")
    nodes = () if node is None else (node,)
    origin = name if node is None else node.input_name(0)
    place = stored(walk.graph, origin, walk.readers) if origin in walk.graph.constants else None
    return Bias(value, None, False, (place, None), nodes)


def along_columns(bias: Bias, outputs: int) -> Bias:
    """A bias that a matrix product adds, (M, outputs) in all: one number, or one per column.

    Raises:
        Stays: it has one number per row, which is a sample.
    """
    shape = () if bias.value is None else bias.value.shape
    if len(shape) > 2 or any(size != 1 for size in shape[:-1]) or (shape and shape[-1] not in (1, outputs)):
        raise Stays(f"its bias of shape {shape} is not one number, or one for each of {outputs} columns")
    return bias


def integer_weights(walk: Walk, name: str, scale: str, zero_point: str, axis: int) -> QuantizedConstant:
    """Weights of an operator that takes integers, scale and zero point side by side.

    Args:
        walk: the import.
        name: of the integers.
        scale: of their scale; "" if the operator has none: 1.
        zero_point: of their zero point; "" for 0.
        axis: along which there may be more than one.
    """
    q = walk.constant(name, "weights")
    if q.dtype not in (np.int8, np.uint8):
        raise Stays(f"its weights are {q.dtype}, not 8-bit integers")
    s = walk.constant(scale, "weight scale") if scale else np.ones((), np.float32)
    z = walk.constant(zero_point, "weight zero point") if zero_point else np.zeros((), q.dtype)
    counts = {s.size, z.size} - {1}
    if 0 in counts or (counts and (q.ndim <= axis or counts != {q.shape[axis]})):
        raise Stays(f"{s.size} scales and {z.size} zero points do not fit weights of shape {q.shape}")
    places = tuple(stored_or_none(walk.graph, tensor, walk.readers) for tensor in (scale, zero_point))
    return with_scale(q, s, z, axis, (stored(walk.graph, name, walk.readers), *places))  # type: ignore[arg-type]


def integer_sums(walk: Walk, node: OnnxNode) -> None:
    """ConvInteger and MatMulInteger: sums themselves, which a Cast and a Mul make reals of later."""
    convolves = node.op == "ConvInteger"
    view = walk.integers(node.input_name(0), _meaning_of_sums(walk, node))
    weight = integer_weights(walk, node.input_name(1), "", node.input_name(3), 0 if convolves else 1)
    if convolves:
        pending = convolution(walk, node, view, weight, Bias())
    elif weight.values.ndim != 2:
        raise Stays("its weights are not a matrix")
    else:
        pending = product(walk, node, view, weight.transposed((1, 0)), (Bias(), 1.0))
    sums = pending.sums
    assert isinstance(sums, Sums)
    # The file multiplies by s_x * s_w itself: until then a step is 1.
    walk.values[node.outputs[0]] = rescaled(pending, np.ones_like(sums.unit))


def _meaning_of_sums(walk: Walk, node: OnnxNode) -> Meaning:
    """What the integers that ConvInteger or MatMulInteger reads mean to it: it has a zero point, but no scale."""
    name = node.input_name(0)
    meaning, signed = walk.meanings.get(name), walk.graph.dtype(name) == np.int8
    zero = walk.graph.constant(node.input_name(2)) if node.input_name(2) else np.zeros((), np.int64)
    if zero is None:
        walk.notes.append(AS_LOADED.format(node.name))
        return Meaning(1.0, 0, signed)
    if zero.size != 1:
        raise Stays("its input has more than one zero point")
    # Sums are the same under any scale.
    scale = meaning.scale if meaning is not None else 1.0
    return Meaning(scale, int(zero.reshape(-1)[0]), signed)


def rescaled(pending: Pending, unit: NDArray[np.float32]) -> Pending:
    """A layer whose steps are worth ``unit``."""
    sums = pending.sums
    assert isinstance(sums, Sums)
    changed = replace(sums, unit=unit)
    return replace(pending, make=changed.operator, sums=changed)


def cast(walk: Walk, node: OnnxNode) -> None:
    """Sums to float; integers to an index."""
    value = walk.values.get(node.input_name(0))
    dtype = walk.graph.dtype(node.outputs[0])
    if isinstance(value, Pending) and dtype == np.float32 and not value.moves:
        walk.values[node.outputs[0]] = replace(value, nodes=extended(value.nodes, node))
    elif isinstance(value, Integers) and dtype in (np.int32, np.int64) and not value.index:
        walk.values[node.outputs[0]] = replace(value, index=True)
        walk.transparent[node.name] = None
    else:
        raise Stays("it casts something that is neither a sum nor an index")


RULES: Final[Mapping[str, Callable[[Walk, OnnxNode], None]]] = {
    "Conv": conv,
    "Gemm": gemm,
    "MatMul": matmul,
    "ConvInteger": integer_sums,
    "MatMulInteger": integer_sums,
    "Cast": cast,
}
"""Rules by operator."""
