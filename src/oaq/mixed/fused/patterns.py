"""Float nodes between dynamic layers that are normalization or GELU; attention is in ``attention``.

A pattern is taken whole or not at all: what is inside it, nothing else may read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isclose, sqrt
from typing import Final, TypeGuard

import numpy as np

from oaq.capture.from_dynamic_onnx.reader import Tensors, operand_beside, result_of
from oaq.capture.from_onnx.attributes import integer, real, text
from oaq.capture.from_onnx.graph import Array, OnnxNode
from oaq.mixed.fused.sizes import Sizes
from oaq.mixed.fused.steps import Floats, Fused, Gelu, Normalize

SQRT_TWO: Final = sqrt(2.0)
NEAR: Final = 1e-6
"""Part by which a constant of float32 may be beside the real number it stands for."""


@dataclass(frozen=True, eq=False)
class Part:
    """What patterns look at.

    Attributes:
        tensors: of the file.
        sizes: that it computes.
        widths: of the results of dynamic layers, by name.
        root: of a tensor, one that all those with the same sizes but for the last axis lead back to.
    """

    tensors: Tensors
    sizes: Sizes
    widths: dict[str, int]
    root: Callable[[str], str]

    def producer(self, name: str, *ops: str) -> OnnxNode | None:
        """The node that writes a tensor which one node alone reads, if it is one of ``ops``."""
        node = self.tensors.producers.get(name)
        is_such = node is not None and not node.domain and node.op in ops and self.tensors.only_reader(name) is not None
        return node if is_such else None

    def reader(self, name: str, *ops: str) -> OnnxNode | None:
        """The one node that reads a tensor, if it is one of ``ops``."""
        node = self.tensors.only_reader(name)
        return node if node is not None and not node.domain and node.op in ops and result_of(node) else None

    def number(self, name: str) -> float | None:
        """The one value of a tensor of at most one axis, if it is a number."""
        value = self.sizes.entry(name)
        return float(value) if isinstance(value, int | float) else None

    def factor(self, node: OnnxNode, name: str) -> float | None:
        """The number by which a Mul or Div multiplies ``name``; None if it is not one."""
        if node.op == "Div" and node.input_name(0) != name:
            return None
        number = self.number(operand_beside(node, name))
        return number if number is None or node.op == "Mul" else 1.0 / number if number else None


def names_of(nodes: Sequence[OnnxNode]) -> tuple[tuple[str, str], ...]:
    """(name, operator) of each."""
    return tuple((node.name, node.kind) for node in nodes)


def results_of(nodes: Sequence[OnnxNode]) -> tuple[str, ...]:
    """First results of nodes."""
    return tuple(result_of(node) for node in nodes)


def normalize(node: OnnxNode, part: Part) -> Fused | None:
    """A LayerNormalization of the last axis, with the Add before it."""
    if node.domain or node.op != "LayerNormalization" or integer(node, "axis", -1) != -1 or len(node.outputs) != 1:
        return None
    gain, bias_name = part.tensors.constant(node.input_name(1)), node.input_name(2)
    bias = part.tensors.constant(bias_name) if bias_name else None
    if not _is_vector(gain) or (bias_name and (not _is_vector(bias) or bias.shape != gain.shape)):
        return None
    x = node.input_name(0)
    nodes, reads, total = [node], [x], ""
    addition = part.tensors.producers.get(x)
    if addition is not None and not addition.domain and addition.op == "Add" and len(addition.inputs) == 2:
        operands = list(addition.inputs)
        if not any(part.tensors.constant(operand) is not None for operand in operands):
            nodes, reads = [addition, node], operands
            total = "" if part.tensors.only_reader(x) is not None else x
    result = result_of(node)
    scaling = _scaling(result, gain.size, part)
    scale, scaled, inside = None, "", results_of(nodes)
    if scaling is not None:
        product, scale = scaling
        nodes, scaled, inside = [*nodes, product], result_of(product), (*inside, result_of(product))
        result = "" if part.tensors.only_reader(result) is product else result
    writes = tuple(name for name in (result, total, scaled) if name)
    epsilon = real(node, "epsilon", 1e-5)
    return Normalize(names_of(nodes), tuple(reads), writes, inside, gain, bias, epsilon, total, result, scaled, scale)


def _scaling(name: str, width: int, part: Part) -> tuple[OnnxNode, Floats] | None:
    """Find the one Mul of a tensor by a number for each column, and these numbers."""
    result = []
    for node in part.tensors.readers.get(name, []):
        factor = part.tensors.constant(operand_beside(node, name)) if node.op == "Mul" and not node.domain else None
        if _is_vector(factor) and factor.size == width and result_of(node):
            result.append((node, factor))
    return result[0] if len(result) == 1 else None


def _is_vector(array: Array | None) -> TypeGuard[Floats]:
    return array is not None and array.dtype == np.float32 and array.ndim == 1 and array.size > 0


def gelu(node: OnnxNode, part: Part) -> Fused | None:
    """GELU, as one operator or written out around an Erf."""
    if node.op == "Gelu" and node.domain in ("", "com.microsoft") and text(node, "approximate", "none") == "none":
        return _scaled_gelu([node], node.input_name(0), part)
    if node.domain or node.op != "Erf":
        return None
    division = part.producer(node.input_name(0), "Div", "Mul")
    addition = part.reader(result_of(node), "Add")
    if division is None or addition is None or part.number(operand_beside(addition, result_of(node))) != 1.0:
        return None
    x = next((name for name in division.inputs if part.number(name) is None), "")
    factor = part.factor(division, x) if x else None
    product = part.reader(result_of(addition), "Mul")
    if product is None or factor is None or not isclose(factor * SQRT_TWO, 1.0, rel_tol=NEAR):
        return None
    other = operand_beside(product, result_of(addition))
    if other == x:  # x * (1 + erf) * 0.5
        half = part.reader(result_of(product), "Mul")
        if half is None or part.number(operand_beside(half, result_of(product))) != 0.5:
            return None
        nodes = [division, node, addition, product, half]
    else:  # x * 0.5 * (1 + erf)
        half = part.producer(other, "Mul")
        if half is None or part.number(operand_beside(half, x)) != 0.5:
            return None
        nodes = [division, node, addition, half, product]
    return _scaled_gelu(nodes, x, part)


def _scaled_gelu(nodes: list[OnnxNode], x: str, part: Part) -> Fused:
    """GELU of ``nodes``, with the Mul by a number for each column that alone reads the result."""
    scaling = factor_behind(result_of(nodes[-1]), part.widths.get(x, 0), part)
    factor = None
    if scaling is not None:
        nodes, factor = [*nodes, scaling[0]], scaling[1]
    return Gelu(names_of(nodes), (x,), (result_of(nodes[-1]),), results_of(nodes), factor)


def factor_behind(name: str, width: int, part: Part) -> tuple[OnnxNode, Floats] | None:
    """The Mul of a tensor by ``width`` numbers, one for each column, and these; None if anything else reads it."""
    product = part.reader(name, "Mul")
    factor = None if product is None else part.tensors.constant(operand_beside(product, name))
    return (product, factor) if product is not None and _is_vector(factor) and factor.size == width else None
