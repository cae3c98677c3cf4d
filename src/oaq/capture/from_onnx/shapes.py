"""Shape and type of an operator's results from those of its inputs, for every operator oaq has a use for.

ONNX's own inference is not asked: it knows neither ONNX Runtime's operators nor QONNX's, and runs C++ on whatever the
file says. Operators unknown here have the types that the file declares, if it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any, Final

import numpy as np

from oaq.capture.from_onnx import movement
from oaq.capture.from_onnx.attribute_table import MICROSOFT, QONNX
from oaq.capture.from_onnx.attributes import described, integer, integers, text
from oaq.capture.from_onnx.graph import OnnxNode, TensorType
from oaq.capture.from_onnx.inputs import Inputs, Shape, Types
from oaq.capture.from_onnx.windows import transposed_window, window
from oaq.errors import FormatError, UnsupportedOp

UNKNOWN: Final = TensorType()
LARGEST_TENSOR: Final = 1 << 31
"""Elements; beyond it is a damaged file, not a network."""


def infer(node: OnnxNode, inputs: Inputs) -> Types:
    """The types of all outputs of ``node``.

    Raises:
        FormatError: the inputs cannot be what the operator takes, or a result would be absurdly large.
    """
    rule = RULES.get((node.domain, node.op))
    types = rule(node, inputs) if rule else []
    if types and inputs.types and not node.domain and node.op in KEEPS_INTEGERS:
        types = [replace(result, bits=inputs.types[0].bits) for result in types]
    for result in types:
        if result.shape is not None and (min(result.shape, default=1) < 0 or prod(result.shape) >= LARGEST_TENSOR):
            raise FormatError(f"{described(node)}: its result would be of shape {result.shape}; the file is damaged")
    return [*types, *[UNKNOWN] * (len(node.outputs) - len(types))][: len(node.outputs)]


def broadcast(node: OnnxNode, shapes: Sequence[Shape | None]) -> Shape | None:
    """NumPy's rule; None if one is unknown.

    Raises:
        FormatError: they do not fit.
    """
    full = [shape for shape in shapes if shape is not None]
    if len(full) < len(shapes):
        return None
    try:
        return np.broadcast_shapes(*full)
    except ValueError as error:
        raise FormatError(f"{described(node)}: the shapes {', '.join(map(str, full))} do not fit each other") from error


def _like(index: int, dtype_of: int | None = None) -> Callable[[OnnxNode, Inputs], Types]:
    def rule(node: OnnxNode, inputs: Inputs) -> Types:
        return [TensorType(inputs.dtype(index if dtype_of is None else dtype_of), inputs.shape(index))]

    return rule


def _elementwise(*indices: int, dtype: type | None = None) -> Callable[[OnnxNode, Inputs], Types]:
    def rule(node: OnnxNode, inputs: Inputs) -> Types:
        places = indices or range(len(inputs.types))
        shape = broadcast(node, [inputs.shape(index) for index in places])
        return [TensorType(np.dtype(dtype) if dtype else inputs.dtype(max(places, default=0)), shape)]

    return rule


def _quantize(node: OnnxNode, inputs: Inputs) -> Types:
    if node.input_name(2):
        return [TensorType(inputs.dtype(2), inputs.shape(0), inputs.types[2].bits)]
    dtype, bits = QUANTIZED.get(integer(node, "output_dtype", 0), (None, None))
    return [TensorType(dtype, inputs.shape(0), bits)]


def _dequantize(node: OnnxNode, inputs: Inputs) -> Types:
    return [TensorType(inputs.dtype(1), inputs.shape(0))]


def _dynamic_quantize(node: OnnxNode, inputs: Inputs) -> Types:
    u8, f32 = np.dtype(np.uint8), np.dtype(np.float32)
    return [TensorType(u8, inputs.shape(0)), TensorType(f32, ()), TensorType(u8, ())]


def _cast(node: OnnxNode, inputs: Inputs) -> Types:
    return [TensorType(CAST.get(integer(node, "to", 1)), inputs.shape(0))]


def _convolution(weight: int, dtype: type | None = None) -> Callable[[OnnxNode, Inputs], Types]:
    """(batch, C, ...) by (N, C / groups, ...); ``weight`` is the index of the weights among the inputs."""

    def rule(node: OnnxNode, inputs: Inputs) -> Types:
        x, w = inputs.shape(0), inputs.shape(weight)
        out = np.dtype(dtype) if dtype else inputs.dtype(0 if weight == 1 else 7)
        if x is None or w is None:
            return [TensorType(out)]
        groups = integer(node, "group", 1)
        if len(x) < 3 or len(w) != len(x) or groups < 1 or x[1] != w[1] * groups or w[0] % groups:
            raise FormatError(f"{described(node)}: weights of shape {w} in {groups} groups do not fit an input {x}")
        return [TensorType(out, (x[0], w[0], *window(node, x[2:], w[2:]).count))]

    return rule


def _transposed(node: OnnxNode, inputs: Inputs) -> Types:
    """(batch, C, ...) by (C, N / groups, ...); what is read in different ways is left open."""
    x, w = inputs.shape(0), inputs.shape(1)
    if x is None or w is None:
        return [TensorType(inputs.dtype(0))]
    groups = integer(node, "group", 1)
    if len(x) < 3 or len(w) != len(x) or groups < 1 or x[1] != w[0] or w[0] % groups:
        raise FormatError(f"{described(node)}: weights of shape {w} in {groups} groups do not fit an input {x}")
    try:
        count = transposed_window(node, x[2:], w[2:]).count
    except UnsupportedOp:
        return [TensorType(inputs.dtype(0))]
    return [TensorType(inputs.dtype(0), (x[0], w[1] * groups, *count))]


def _pool(node: OnnxNode, inputs: Inputs) -> Types:
    x, last = inputs.shape(0), integer(node, "channels_last", 0)
    if x is None:
        return [TensorType(inputs.dtype(0))]
    if len(x) < 3:
        raise FormatError(f"{described(node)}: its input {x} is not an image")
    count = window(node, x[1:-1] if last else x[2:]).count
    shape = (x[0], *count, x[-1]) if last else (*x[:2], *count)
    return [TensorType(inputs.dtype(0), shape)]


def _global_pool(node: OnnxNode, inputs: Inputs) -> Types:
    x, last = inputs.shape(0), integer(node, "channels_last", 0)
    spatial = (1,) * (len(x) - 2) if x else ()
    shape = None if x is None or len(x) < 3 else ((x[0], *spatial, x[-1]) if last else (*x[:2], *spatial))
    return [TensorType(inputs.dtype(0), shape)]


def _gemm(node: OnnxNode, inputs: Inputs, weight: int = 1) -> Types:
    a, b = inputs.shape(0), inputs.shape(weight)
    if a is None or b is None:
        return [TensorType(inputs.dtype(0))]
    flip_a, flip_b = integer(node, "transA", 0), integer(node, "transB", 0)
    if len(a) != 2 or len(b) != 2 or a[0 if flip_a else 1] != b[1 if flip_b else 0]:
        raise FormatError(f"{described(node)}: {a} times {b} is not a product (transA={flip_a}, transB={flip_b})")
    return [TensorType(inputs.dtype(0), (a[1 if flip_a else 0], b[0 if flip_b else 1]))]


def _matmul(weight: int, dtype: type | None = None) -> Callable[[OnnxNode, Inputs], Types]:
    def rule(node: OnnxNode, inputs: Inputs) -> Types:
        a, b = inputs.shape(0), inputs.shape(weight)
        out = np.dtype(dtype) if dtype else inputs.dtype(0 if weight == 1 else 7)
        if a is None or b is None:
            return [TensorType(out)]
        left, right = (1, *a) if len(a) == 1 else a, (*b, 1) if len(b) == 1 else b
        if len(a) < 1 or len(b) < 1 or left[-1] != right[-2]:
            raise FormatError(f"{described(node)}: {a} times {b} is not a product")
        outer = broadcast(node, [left[:-2], right[:-2]]) or ()
        rows, columns = ((left[-2],) if len(a) > 1 else ()), ((right[-1],) if len(b) > 1 else ())
        return [TensorType(out, (*outer, *rows, *columns))]

    return rule


def _qgemm(node: OnnxNode, inputs: Inputs) -> Types:
    (product,) = _gemm(node, inputs, weight=3)
    return [TensorType(inputs.dtype(8) if node.input_name(8) else np.dtype(np.float32), product.shape)]


def _qlinear_concat(node: OnnxNode, inputs: Inputs) -> Types:
    parts = range(2, len(inputs.types), 3)
    (joined,) = movement.concat(node, Inputs([inputs.types[i] for i in parts], [None for _ in parts], inputs.opset))
    return [TensorType(inputs.dtype(1), joined.shape)]


def _reduce(node: OnnxNode, inputs: Inputs) -> Types:
    x, keep = inputs.shape(0), integer(node, "keepdims", 1)
    axes = integers(node, "axes")
    if node.input_name(1):
        axes_input = inputs.constant(1)
        if axes_input is None:
            return [TensorType(inputs.dtype(0))]
        axes = movement.numbers(node, axes_input, "axes")
    if x is None:
        return [TensorType(inputs.dtype(0))]
    if not axes:
        axes = () if integer(node, "noop_with_empty_axes", 0) else tuple(range(len(x)))
    reduced = {movement.axis_of(node, axis, len(x)) for axis in axes}
    shape = [1 if axis in reduced else size for axis, size in enumerate(x) if keep or axis not in reduced]
    return [TensorType(inputs.dtype(0), tuple(shape))]


def _lookup_rows(node: OnnxNode, inputs: Inputs) -> Types:
    x, index = inputs.shape(0), inputs.shape(1)
    if x is None or index is None:
        return [TensorType(inputs.dtype(0))]
    axis = movement.axis_of(node, integer(node, "axis", 0), len(x))
    return [TensorType(inputs.dtype(0), (*x[:axis], *index, *x[axis + 1 :]))]


def _depth(node: OnnxNode, inputs: Inputs) -> Types:
    x, block = inputs.shape(0), integer(node, "blocksize", 0)
    if x is None:
        return [TensorType(inputs.dtype(0))]
    down = node.op == "SpaceToDepth"
    fits = len(x) == 4 and block >= 1 and (not any(s % block for s in x[2:]) if down else x[1] % block**2 == 0)
    if not fits or text(node, "mode", "DCR") not in ("DCR", "CRD"):
        raise FormatError(f"{described(node)}: blocks of {block} do not fit the input {x}")
    sizes = (x[1] * block**2, x[2] // block, x[3] // block) if down else (x[1] // block**2, x[2] * block, x[3] * block)
    return [TensorType(inputs.dtype(0), (x[0], *sizes))]


CAST: Final[Mapping[int, np.dtype[Any]]] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.uint8),
    3: np.dtype(np.int8),
    4: np.dtype(np.uint16),
    5: np.dtype(np.int16),
    6: np.dtype(np.int32),
    7: np.dtype(np.int64),
    9: np.dtype(np.bool_),
    10: np.dtype(np.float16),
    11: np.dtype(np.float64),
    12: np.dtype(np.uint32),
    13: np.dtype(np.uint64),
}
"""NumPy types by ONNX number."""
QUANTIZED: Final[Mapping[int, tuple[np.dtype[Any], int | None]]] = {
    0: (CAST[2], None),
    **{kind: (CAST[kind], None) for kind in (2, 3, 4, 5)},
    **{kind: (CAST[2], bits) for kind, bits in ((21, 4), (25, 2))},
    **{kind: (CAST[3], bits) for kind, bits in ((22, 4), (26, 2))},
}
"""What QuantizeLinear writes, by its ``output_dtype``, if no zero point says it: u8 unless something is asked for; and
the bits of integers narrower than that."""
KEEPS_INTEGERS: Final = frozenset(
    {
        "Identity",
        "Dropout",
        "Reshape",
        "Flatten",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
        "Slice",
        "Expand",
        "Tile",
        "Split",
    }
    | {"Gather", "Concat", "Resize", "Upsample", "DepthToSpace", "SpaceToDepth", "MaxPool"}
)
"""Operators whose integers are some of their first input's, and so no wider."""

UNARY: Final = (
    *("Relu", "Clip", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu"),
    *("Mish", "Swish", "Softplus", "Softsign", "Softmax", "LogSoftmax", "Erf", "Exp", "Log", "Sqrt", "Neg", "Abs"),
    *("Floor", "Ceil", "Round", "Reciprocal", "Sign", "Identity", "Dropout", "BatchNormalization", "PRelu"),
    *("InstanceNormalization", "LayerNormalization", "GroupNormalization", "LRN", "ThresholdedRelu", "Not", "CumSum"),
    *("LpNormalization", "Shrink", "Sin", "Cos", "Atan", "Asinh", "Sinh", "Cosh"),
)
REDUCE: Final = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2")
COMPARE: Final = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor")

RULES: Final[Mapping[tuple[str, str], Callable[[OnnxNode, Inputs], Types]]] = {
    **{("", op): _like(0) for op in UNARY},
    **{("", op): _elementwise() for op in ("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max", "Sum", "Mean")},
    **{("", op): _elementwise(dtype=np.bool_) for op in COMPARE},
    **{("", op): _reduce for op in REDUCE},
    **{("", op): _pool for op in ("MaxPool", "AveragePool", "LpPool")},
    **{("", op): _global_pool for op in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")},
    **{("", op): rule for op, rule in movement.RULES.items()},
    ("", "Where"): _elementwise(0, 1, 2),
    ("", "Cast"): _cast,
    ("", "QuantizeLinear"): _quantize,
    ("", "DequantizeLinear"): _dequantize,
    ("", "DynamicQuantizeLinear"): _dynamic_quantize,
    ("", "Conv"): _convolution(1),
    ("", "ConvTranspose"): _transposed,
    ("", "ConvInteger"): _convolution(1, np.int32),
    ("", "QLinearConv"): _convolution(3),
    ("", "Gemm"): _gemm,
    ("", "MatMul"): _matmul(1),
    ("", "MatMulInteger"): _matmul(1, np.int32),
    ("", "QLinearMatMul"): _matmul(3),
    ("", "Gather"): _lookup_rows,
    ("", "DepthToSpace"): _depth,
    ("", "SpaceToDepth"): _depth,
    (MICROSOFT, "QuantizeLinear"): _quantize,
    (MICROSOFT, "DequantizeLinear"): _dequantize,
    (MICROSOFT, "QGemm"): _qgemm,
    (MICROSOFT, "QLinearAdd"): _elementwise(0, 3),
    (MICROSOFT, "QLinearMul"): _elementwise(0, 3),
    (MICROSOFT, "QLinearConcat"): _qlinear_concat,
    (MICROSOFT, "QLinearGlobalAveragePool"): _global_pool,
    (MICROSOFT, "QLinearAveragePool"): _pool,
    (MICROSOFT, "QLinearReduceMean"): _reduce,
    **{
        (MICROSOFT, op): _like(0)
        for op in ("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "Gelu", "QuickGelu")
    },
    (MICROSOFT, "MatMulIntegerToFloat"): _matmul(1, np.float32),
    (MICROSOFT, "DynamicQuantizeMatMul"): _matmul(1, np.float32),
    **{(domain, op): _like(0) for domain in QONNX for op in ("Quant", "IntQuant", "BipolarQuant", "Trunc")},
}
