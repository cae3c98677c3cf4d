"""``import_dynamic``: the sums of a dynamic ONNX file as a program of layers that do not read one another.

Each layer multiplies u8 (or s8) operands that may be any integer of their type, whatever their scale: a proof about
this program holds for every input of the file. Weights are as kernels multiply them: int8 as stored, uint8 less their
zero point. Scales and biases of the program mean nothing; the sums of the file have none.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.capture.from_dynamic_onnx.reader import DynamicFile, DynamicProduct, read_dynamic, require_dynamic
from oaq.capture.imported import Imported, LayerSource, StoredArray
from oaq.errors import UnsupportedOp
from oaq.numerics.affine import Affine
from oaq.numerics.requantize import Requantize
from oaq.operators import Conv2d, Linear, Products, TensorSpec
from oaq.program.int_program import IntProgram, Node

EVERY_INPUT: Final = (
    "{} layers whose activations are quantized as they come: an operand covers all of {} whatever its scale, so what "
    "is said of them holds for every input, without data"
)


def import_dynamic(path: str | Path) -> Imported:
    """The layers of a dynamic file.

    Raises:
        FormatError: the file is missing, cut off, damaged or contradicts itself.
        UnsupportedOp: it holds no such layer, or something that is not read.
    """
    return import_file(read_dynamic(path))


def import_file(file: DynamicFile) -> Imported:
    """``import_dynamic`` of a file that has been read."""
    require_dynamic(file)
    tensors: dict[str, TensorSpec] = {}
    nodes, sources = [], {}
    shared = Counter(product.weight_name for product in file.products)
    for product in file.products:
        op = operator(product)
        x, y = f"operands of {product.node}", f"sums of {product.node}"
        tensors[x] = TensorSpec(x, _input_shape(op, product), Affine(1.0, 128 if product.signed else 0))
        tensors[y] = TensorSpec(y, _output_shape(op), Affine(1.0, 0))
        nodes.append(Node(product.node, op, (x,), y))
        sources[product.node] = _source(product, (x, y), is_shared=shared[product.weight_name] > 1)
    program = IntProgram(
        file.name or "onnx",
        tuple(node.inputs[0] for node in nodes),
        tuple(node.output for node in nodes),
        tensors,
        tuple(nodes),
        metadata={"input_layout": "NHWC", "source": "dynamic onnx", "producer": file.parts.producer or "unknown"},
    )
    return Imported(program, (), _notes(file), sources)


def operator(product: DynamicProduct) -> Products:
    """A product with its weights as kernels multiply them.

    Raises:
        UnsupportedOp: its windows are none that are known.
    """
    weight = multiplied(product)
    outputs = len(weight)
    bias, requantize = np.zeros(outputs, np.int32), Requantize(np.full(outputs, 2.0**-10, np.float32))
    if not product.convolves:
        return Linear(weight, bias, requantize)
    rank = weight.ndim - 2
    if rank > 2 or outputs % product.groups:
        raise UnsupportedOp(f"{product.node}: a convolution of {rank} axes in {product.groups} groups is not looked at")
    unit_sizes = (1,) * rank
    return Conv2d(
        weight, bias, requantize, unit_sizes, (0,) * (2 * rank), product.dilations or unit_sizes, product.groups
    )


def multiplied(product: DynamicProduct) -> NDArray[Any]:
    """(N, K) or (N, KH, KW, C): int8 as stored, uint8 less its zero point."""
    order = (0, *range(2, product.weight.ndim), 1) if product.convolves else (1, 0)
    weight = product.weight.transpose(order)
    if weight.dtype == np.int8:
        return np.ascontiguousarray(weight)
    zero = np.broadcast_to(product.zero.astype(np.int16), (len(weight),))
    return weight.astype(np.int16) - zero.reshape(-1, *[1] * (weight.ndim - 1))


def _input_shape(op: Products, product: DynamicProduct) -> tuple[int, ...]:
    """Just enough for one output position."""
    if op.window is None:
        return (op.terms,)
    dilation = product.dilations or (1,) * len(op.window.kernel)
    reach = ((size - 1) * step + 1 for size, step in zip(op.window.kernel, dilation, strict=True))
    return (*reach, op.group_channels * product.groups)


def _output_shape(op: Products) -> tuple[int, ...]:
    return (op.outputs,) if op.window is None else (*(1,) * len(op.window.kernel), op.outputs)


def _source(product: DynamicProduct, names: tuple[str, str], *, is_shared: bool) -> LayerSource:
    outputs = product.weight.shape[product.axis]
    subtracted = product.zero.astype(np.int64) if product.weight.dtype == np.uint8 else np.zeros(1, np.int64)
    scale, use = product.scale, product.use
    order = (0, *range(2, product.weight.ndim), 1) if product.convolves else (1, 0)
    return LayerSource(
        nodes=(product.node,),
        weight=_stored(product.weight_name, product.weight, is_shared=is_shared),
        weight_scale=None if scale is None or use is None else _stored(use.name, scale, is_shared=False),
        weight_zero_point=_stored(product.zero_name, product.zero, is_shared=False) if product.zero_name else None,
        bias=None,
        bias_scale=None,
        split=product.weight.shape,
        axes=order,
        columns=None,
        zero_point=np.array(np.broadcast_to(subtracted, (outputs,))),
        scales=np.array(np.broadcast_to(np.ones(1) if scale is None else scale.reshape(-1), (outputs,)), np.float32),
        scale_per_output=scale is not None and scale.size > 1,
        input=names[0],
        x_scale=1.0,
        x_zero_point=128 if product.signed else 0,
        output=names[1],
        y_scale=None,
        y_zero_point=0,
    )


def _stored(name: str, array: NDArray[Any], *, is_shared: bool) -> StoredArray:
    return StoredArray(name, str(array.dtype), array.shape, "integers", is_shared)


def _notes(file: DynamicFile) -> tuple[str, ...]:
    kinds = {product.signed for product in file.products}
    operands = "0..255" if kinds == {False} else "-128..127" if kinds == {True} else "its type"
    return (
        EVERY_INPUT.format(len(file.products), operands),
        *(f"{name}: {reason}" for name, reason in file.skipped[:8]),
        *([f"and {len(file.skipped) - 8} more of that kind"] if len(file.skipped) > 8 else []),
    )
