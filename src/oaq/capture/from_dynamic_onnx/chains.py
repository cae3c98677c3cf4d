"""Chains of a dynamic file that compute one layer: from the reals that are quantized to the reals that come of them.

    x -> DynamicQuantizeLinear -> q, s, z          q -> MatMulInteger -> Cast -> Mul by (s * scale) -> Add bias

or what ONNX Runtime fuses of that. A chain is taken whole or not at all: what is inside it, nothing else may read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.capture.from_dynamic_onnx.reader import DynamicFile, DynamicProduct, Tensors, operand_beside, result_of
from oaq.capture.from_onnx.attributes import integer, integers, text
from oaq.capture.from_onnx.graph import OnnxNode

MOST_AXES: Final = 2
"""Axes of a convolution, besides batch and channels, that are taken."""
FLOAT32: Final = 1
"""What ONNX calls it."""
SEPARATE: Final = ("MatMulInteger", "ConvInteger")
FUSED: Final = {"MatMulIntegerToFloat": (2, 4, 6), "DynamicQuantizeMatMul": (-1, -1, 4)}
"""Inputs that are the operands' scale, their zero point, and the bias."""


@dataclass(frozen=True)
class Windows:
    """Where a convolution of one group reads: (B, C, ...) with as many further axes as each of these has numbers.

    Attributes:
        kernel, stride, dilation: along each axis.
        before, after: padding.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Chain:
    """One layer.

    Attributes:
        x: the reals it quantizes, (..., K).
        y: the reals it makes, (..., N).
        product: its weights.
        scale: (N,) float32.
        bias: (N,) float32; None if none is added.
        nodes: that it takes the place of, by their first results; without the quantization of ``x``.
        quantizer: first result of that; "" if the product quantizes by itself.
        windows: of a convolution, whose ``x`` is (B, C, ...); None for a matrix.
    """

    x: str
    y: str
    product: DynamicProduct
    scale: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    nodes: tuple[str, ...]
    quantizer: str
    windows: Windows | None = None


def chains_of(file: DynamicFile) -> tuple[Chain, ...]:
    """Every chain of matrices, and of convolutions of one group, in the file's order; none of a constant."""
    tensors = Tensors(file.parts)
    chains = (_chain(product, tensors) for product in file.products)
    return tuple(chain for chain in chains if chain is not None and chain.x not in tensors.constants)


def _chain(product: DynamicProduct, tensors: Tensors) -> Chain | None:
    node = tensors.producers[product.output]
    if product.kind in SEPARATE:
        return _separate(product, node, tensors)
    if product.kind in FUSED:
        return _fused(product, node, tensors)
    return None


def _quantizer(operand: str, zero: str, tensors: Tensors) -> OnnxNode | None:
    """The DynamicQuantizeLinear whose integers and zero point these are."""
    node = tensors.producers.get(operand)
    if node is None or node.op != "DynamicQuantizeLinear" or len(node.outputs) != 3 or not node.input_name(0):
        return None
    return node if node.outputs[0] == operand and node.outputs[2] == zero else None


def _separate(product: DynamicProduct, node: OnnxNode, tensors: Tensors) -> Chain | None:
    windows = _windows(product, node) if product.convolves else None
    if product.convolves and windows is None:
        return None
    quantizer = _quantizer(product.operand, node.input_name(2), tensors)
    cast = tensors.only_reader(node.outputs[0])
    if quantizer is None or cast is None or cast.op != "Cast" or integer(cast, "to", 0) != FLOAT32:
        return None
    multiplication = tensors.only_reader(result_of(cast))
    if multiplication is None or multiplication.op != "Mul":
        return None
    unit = tensors.producers.get(operand_beside(multiplication, result_of(cast)))
    if unit is None or unit.op != "Mul" or tensors.only_reader(result_of(unit)) is not multiplication:
        return None
    scale = _of_outputs(tensors.constant(operand_beside(unit, quantizer.outputs[1])), product)
    if scale is None:
        return None
    nodes, y, bias = [node, cast, unit, multiplication], result_of(multiplication), None
    addition = tensors.only_reader(y)
    if addition is not None and addition.op == "Add":
        bias = _of_outputs(tensors.constant(operand_beside(addition, y)), product)
        if bias is not None:
            nodes, y = [*nodes, addition], result_of(addition)
    if not y:
        return None
    return Chain(
        quantizer.inputs[0],
        y,
        product,
        scale,
        bias,
        tuple(member.outputs[0] for member in nodes),
        quantizer.outputs[0],
        windows,
    )


def _windows(product: DynamicProduct, node: OnnxNode) -> Windows | None:
    """None where groups are several, or padding is to be found from sizes."""
    kernel = product.weight.shape[2:]
    rank = len(kernel)
    if product.groups != 1 or text(node, "auto_pad", "NOTSET") != "NOTSET" or rank > MOST_AXES:
        return None
    unit, pads = (1,) * rank, integers(node, "pads", 2 * rank) or (0,) * (2 * rank)
    stride, dilation = (integers(node, name, rank) or unit for name in ("strides", "dilations"))
    if min(*stride, *dilation) < 1 or min(pads) < 0:
        return None
    return Windows(tuple(kernel), stride, dilation, pads[:rank], pads[rank:])


def _fused(product: DynamicProduct, node: OnnxNode, tensors: Tensors) -> Chain | None:
    scale_slot, zero_slot, bias_slot = FUSED[product.kind]
    scale = _of_outputs(product.scale, product)
    bias_name = node.input_name(bias_slot)
    bias = _of_outputs(tensors.constant(bias_name), product) if bias_name else None
    if scale is None or (bias_name and bias is None):
        return None
    x, first = product.operand, ""
    if scale_slot >= 0:
        quantizer = _quantizer(product.operand, node.input_name(zero_slot), tensors)
        if quantizer is None or quantizer.outputs[1] != node.input_name(scale_slot):
            return None
        x, first = quantizer.inputs[0], quantizer.outputs[0]
    return Chain(x, node.outputs[0], product, scale, bias, (node.outputs[0],), first)


def _of_outputs(values: NDArray[Any] | None, product: DynamicProduct) -> NDArray[np.float32] | None:
    """One float32 for all outputs, or one for each along their axis, as (N,); None if it is something else."""
    outputs, rank = product.weight.shape[product.axis], product.weight.ndim - 2
    if values is None or values.dtype != np.float32 or values.size not in (1, outputs):
        return None
    behind = rank if product.convolves else 0  # axes of a result behind that of its outputs
    if values.size > 1 and (values.ndim <= behind or values.shape[-1 - behind] != outputs):
        return None
    if values.ndim > 2 + behind:  # it might lengthen the shape of what it is combined with
        return None
    return np.array(np.broadcast_to(values.reshape(-1), (outputs,)), np.float32)
