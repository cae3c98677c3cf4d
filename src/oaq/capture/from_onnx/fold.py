"""Nodes whose inputs are constants, computed beforehand; and DequantizeLinear and QuantizeLinear as formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, Final

import numpy as np

from oaq.capture.from_onnx import movement
from oaq.capture.from_onnx.attributes import described, integer, integers
from oaq.capture.from_onnx.graph import Array, OnnxNode, TensorType
from oaq.capture.from_onnx.inputs import Inputs
from oaq.capture.from_onnx.scales import per_axis
from oaq.capture.from_onnx.shapes import CAST, QUANTIZED
from oaq.errors import FormatError

Result = Array | list[Array] | None
ALWAYS_FOLDED: Final = 1 << 20
"""Elements a folded result may have whatever it was computed from; beyond, at most twice as many as were read."""


def evaluate(node: OnnxNode, inputs: Inputs, results: list[TensorType]) -> list[Array] | None:
    """The values of a node's outputs.

    Args:
        node: whose given inputs are all constants, or are not needed (Shape).
        inputs: its inputs.
        results: the inferred types of its outputs.

    Returns:
        One array per output; None if the operator is not computed here, or its result would be large.

    Raises:
        FormatError: the constants are nothing the operator takes.
    """
    formula = FORMULAS.get(node.op) if not node.domain else None
    shapes = [result.shape for result in results]
    if formula is None or not node.outputs or (node.op != "Constant" and None in shapes):
        return None
    read = sum(array.size for array in inputs.constants if array is not None)
    if sum(prod(shape or ()) for shape in shapes) > max(ALWAYS_FOLDED, 2 * read):
        return None
    try:
        with np.errstate(all="ignore"):
            value = formula(node, inputs)
    except (TypeError, ValueError, IndexError, OverflowError, ZeroDivisionError) as error:
        raise FormatError(f"{described(node)}: cannot be computed from its constants: {error}") from error
    arrays = [np.asarray(value)] if isinstance(value, np.ndarray | np.generic) else value
    for array in arrays or ():
        array.flags.writeable = False
    return arrays


def dequantize(q: Array, scale: Array, zero_point: Array | None, axis: int) -> Array:
    """``(q - zero_point) * scale`` in the type of ``scale``, one scale for all or one per index of ``axis``."""
    scale, zero = _shaped(scale, zero_point, axis, q.ndim)
    return ((q.astype(np.int64) - zero.astype(np.int64)).astype(scale.dtype) * scale).astype(scale.dtype)


def integer_range(dtype: np.dtype[Any], bits: int | None) -> tuple[int, int]:
    """Least and greatest integer of a type, or of that many bits of it.

    >>> integer_range(np.dtype(np.int8), 4), integer_range(np.dtype(np.uint8), None)
    ((-8, 7), (0, 255))
    """
    width = dtype.itemsize * 8 if bits is None else bits
    return (-(1 << (width - 1)), (1 << (width - 1)) - 1) if dtype.kind == "i" else (0, (1 << width) - 1)


def quantize(
    real: Array, scale: Array, zero_point: Array | None, axis: int, to: tuple[tuple[int, int], np.dtype[Any]]
) -> Array:
    """``saturate(round_half_even(real / scale) + zero_point)``.

    Args:
        real: of any shape.
        scale: one, or one per index of ``axis``.
        zero_point: likewise; None is 0.
        axis: of ``real``.
        to: least and greatest integer, and the type of the result.

    Raises:
        FormatError: ``real`` holds NaN.
    """
    if np.isnan(real).any():
        raise FormatError("a NaN has no integer")
    (least, most), dtype = to
    scale, zero = _shaped(scale, zero_point, axis, real.ndim)
    with np.errstate(over="ignore"):
        steps = np.rint(real / scale).astype(np.float64)
    return np.clip(steps + zero.astype(np.float64), least, most).astype(dtype)


def _shaped(scale: Array, zero_point: Array | None, axis: int, rank: int) -> tuple[Array, Array]:
    """One number each, or one per index of ``axis``, shaped to meet a tensor of ``rank`` axes."""
    shape = [-1 if place == axis else 1 for place in range(rank)]
    zero = np.zeros((), np.int64) if zero_point is None else zero_point
    return scale.reshape(() if scale.size == 1 else shape), zero.reshape(() if zero.size == 1 else shape)


def _dequantize(node: OnnxNode, inputs: Inputs) -> Result:
    q, scale = inputs.constant(0), inputs.constant(1)
    if q is None or scale is None or scale.ndim > 1:
        return None
    zero = inputs.constant(2)
    return dequantize(q, scale, zero, per_axis(node, q.shape, scale, zero))


def _quantize(node: OnnxNode, inputs: Inputs) -> Result:
    real, scale, zero = (inputs.constant(index) for index in range(3))
    dtype, bits = QUANTIZED.get(integer(node, "output_dtype", 0), (None, None))
    if zero is not None:
        dtype, bits = zero.dtype, inputs.types[2].bits
    if real is None or scale is None or dtype is None or scale.ndim > 1:
        return None
    to = integer_range(dtype, bits), dtype
    try:
        return quantize(real, scale, zero, per_axis(node, real.shape, scale, zero), to)
    except FormatError as error:
        raise FormatError(f"{described(node)}: {error}") from error


def _constants(inputs: Inputs) -> list[Array]:
    return [array for array in inputs.constants if array is not None]


def _constant(node: OnnxNode, inputs: Inputs) -> Result:
    if len(node.attributes) != 1:
        raise FormatError(f"{described(node)}: holds {len(node.attributes)} values, not one")
    ((key, value),) = node.attributes.items()
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if key == "value" and isinstance(value, np.ndarray):
        return value
    if key in kinds and not isinstance(value, str):
        return np.array(value, kinds[key])
    return None


def _constant_of_shape(node: OnnxNode, inputs: Inputs) -> Result:
    value = node.attributes.get("value", np.zeros(1, np.float32))
    sizes = inputs.constants[0]
    if not isinstance(value, np.ndarray) or value.size != 1 or sizes is None:
        raise FormatError(f"{described(node)}: its value is not one number")
    return np.full(movement.numbers(node, sizes, "its sizes"), value.reshape(()), value.dtype)


def _shape(node: OnnxNode, inputs: Inputs) -> Result:
    shape = inputs.shape(0)
    return None if shape is None else np.array(shape[movement.shape_slice(node)], np.int64)


def _size(node: OnnxNode, inputs: Inputs) -> Result:
    shape = inputs.shape(0)
    return None if shape is None else np.array(prod(shape), np.int64)


def _cast(node: OnnxNode, inputs: Inputs) -> Result:
    dtype = CAST.get(integer(node, "to", 1))
    return None if dtype is None else _constants(inputs)[0].astype(dtype)


def _range(node: OnnxNode, inputs: Inputs) -> Result:
    count = movement.range_length(node, inputs)
    start, _, step = (array.reshape(()) for array in _constants(inputs))
    return None if count is None else (start + np.arange(count).astype(start.dtype) * step).astype(start.dtype)


def _modulo(node: OnnxNode, inputs: Inputs) -> Result:
    a, b = _constants(inputs)
    like_c = bool(integer(node, "fmod", 0))
    if a.dtype.kind != "f" and not np.all(b):
        raise FormatError(f"{described(node)}: divides by 0")
    return np.asarray(np.fmod(a, b) if like_c else np.mod(a, b))


def _power(node: OnnxNode, inputs: Inputs) -> Result:
    a, b = _constants(inputs)
    return None if a.dtype.kind != "f" else np.asarray(np.power(a, b)).astype(a.dtype)


def _tile(node: OnnxNode, inputs: Inputs) -> Result:
    x, times = _constants(inputs)
    return np.tile(x, movement.numbers(node, times, "repeats"))


def _divide(node: OnnxNode, inputs: Inputs) -> Result:
    a, b = _constants(inputs)
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    if not np.all(b):
        raise FormatError(f"{described(node)}: divides by 0")
    quotient = np.abs(a) // np.abs(b)
    return np.asarray(np.where((a < 0) != (b < 0), -quotient, quotient)).astype(a.dtype)


def _gather(node: OnnxNode, inputs: Inputs) -> Result:
    x, index = _constants(inputs)
    axis = movement.axis_of(node, integer(node, "axis", 0), x.ndim)
    if index.dtype.kind not in "iu":
        raise FormatError(f"{described(node)}: its index is {index.dtype}, not integers")
    return np.asarray(np.take(x, index, axis))  # raises IndexError outside


def _slice(node: OnnxNode, inputs: Inputs) -> Result:
    x = _constants(inputs)[0]
    bounds = movement.slices(node, inputs, x.shape)
    if bounds is None:
        return None
    return x[tuple(np.arange(start, end, step) if step < 0 else slice(start, end, step) for start, end, step in bounds)]


def _split(node: OnnxNode, inputs: Inputs) -> Result:
    x = _constants(inputs)[0]
    split = movement.parts(node, inputs, x.shape)
    return None if split is None else list(np.split(x, np.cumsum(split[1])[:-1], axis=split[0]))


def _as_inferred(node: OnnxNode, inputs: Inputs) -> Result:
    """All numbers of the input in their order, under the shape that inference finds."""
    rule = movement.RULES[node.op](node, inputs)[0].shape
    return None if rule is None else _constants(inputs)[0].reshape(rule)


def _expand(node: OnnxNode, inputs: Inputs) -> Result:
    shape = movement.RULES["Expand"](node, inputs)[0].shape
    return None if shape is None else np.array(np.broadcast_to(_constants(inputs)[0], shape))


def _clip(node: OnnxNode, inputs: Inputs) -> Result:
    x, lo, hi = (inputs.constant(index) for index in range(3))
    if x is None or "min" in node.attributes or "max" in node.attributes:
        return None
    for end, ufunc in ((lo, np.maximum), (hi, np.minimum)):
        x = x if end is None else ufunc(x, end.astype(x.dtype))
    return np.array(x)


def _transpose(node: OnnxNode, inputs: Inputs) -> Result:
    x = _constants(inputs)[0]
    return x.transpose(integers(node, "perm", x.ndim))


def _reduce(ufunc: Callable[..., Any]) -> Callable[[OnnxNode, Inputs], Result]:
    def formula(node: OnnxNode, inputs: Inputs) -> Result:
        x = _constants(inputs)[0]
        axes = movement.numbers_of(node, inputs, 1, "axes") or None
        if axes is None and integer(node, "noop_with_empty_axes", 0):
            return np.array(x)
        return np.asarray(ufunc(x, axis=axes, keepdims=bool(integer(node, "keepdims", 1)))).astype(x.dtype)

    return formula


def _binary(ufunc: Callable[..., Any]) -> Callable[[OnnxNode, Inputs], Result]:
    def formula(node: OnnxNode, inputs: Inputs) -> Result:
        a, b = _constants(inputs)
        return np.asarray(ufunc(a, b))

    return formula


def _joined(ufunc: Callable[..., Any]) -> Callable[[OnnxNode, Inputs], Result]:
    def formula(node: OnnxNode, inputs: Inputs) -> Result:
        first, *others = _constants(inputs)
        result = np.array(first)
        for array in others:
            result = np.asarray(ufunc(result, array))
        return result

    return formula


def _unary(ufunc: Callable[..., Any]) -> Callable[[OnnxNode, Inputs], Result]:
    return lambda node, inputs: np.asarray(ufunc(_constants(inputs)[0]))


FORMULAS: Final[Mapping[str, Callable[[OnnxNode, Inputs], Result]]] = {
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Shape": _shape,
    "Size": _size,
    "Identity": lambda node, inputs: np.array(_constants(inputs)[0]),
    "Range": _range,
    "Cast": _cast,
    "Gather": _gather,
    "Slice": _slice,
    "Split": _split,
    "Transpose": _transpose,
    "Concat": lambda node, inputs: np.concatenate(_constants(inputs), axis=integer(node, "axis", 0)),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _as_inferred),
    "Expand": _expand,
    "Where": lambda node, inputs: np.asarray(np.where(*_constants(inputs))),
    "Div": _divide,
    "Clip": _clip,
    **{op: _binary(ufunc) for op, ufunc in (("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply))},
    "Mod": _modulo,
    "Pow": _power,
    "Tile": _tile,
    **{op: _binary(ufunc) for op, ufunc in (("Equal", np.equal), ("Greater", np.greater), ("Less", np.less))},
    **{op: _binary(ufunc) for op, ufunc in (("GreaterOrEqual", np.greater_equal), ("LessOrEqual", np.less_equal))},
    **{op: _binary(ufunc) for op, ufunc in (("And", np.logical_and), ("Or", np.logical_or))},
    **{op: _joined(ufunc) for op, ufunc in (("Min", np.minimum), ("Max", np.maximum), ("Sum", np.add))},
    "Not": _unary(np.logical_not),
    **{op: _unary(ufunc) for op, ufunc in (("Neg", np.negative), ("Abs", np.abs), ("Floor", np.floor))},
    **{op: _unary(ufunc) for op, ufunc in (("Ceil", np.ceil), ("Sqrt", np.sqrt), ("Reciprocal", np.reciprocal))},
    **{op: _reduce(ufunc) for op, ufunc in (("ReduceMax", np.max), ("ReduceMin", np.min))},
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
}
"""Formulas of ONNX's own operators: what exporters compute shapes and weights with."""
