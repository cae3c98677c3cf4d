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
from oaq.capture.from_onnx.attributes import integer, integers, real, text
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
        reals: tensors known to be float32.
        root: of a tensor, one that all those with the same sizes but for the last axis lead back to.
    """

    tensors: Tensors
    sizes: Sizes
    widths: dict[str, int]
    reals: frozenset[str]
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

    def reads_alone(self, name: str, nodes: Sequence[OnnxNode]) -> bool:
        """Whether nothing but ``nodes`` reads a tensor."""
        readers = self.tensors.readers.get(name, [])
        return name not in self.tensors.outputs and all(any(node is reader for node in nodes) for reader in readers)

    def number(self, name: str) -> float | None:
        """The one value of a tensor of at most one axis, if it is a number."""
        value = self.sizes.entry(name)
        return float(value) if isinstance(value, int | float) else None

    def rank(self, name: str) -> int | None:
        """Number of axes; a dynamic layer keeps that of what it reads."""
        return self.sizes.rank(name)

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
    """Normalization of the last axis, as one operator or written out around a Sqrt, with the Add before it."""
    if node.domain:
        return None
    if node.op == "Sqrt":
        return _written_out(node, part)
    if node.op != "LayerNormalization" or integer(node, "axis", -1) != -1 or len(node.outputs) != 1:
        return None
    bias = node.input_name(2)
    numbers = _numbers(node.input_name(1), bias, real(node, "epsilon", 1e-5), part)
    return None if numbers is None else _normalization([node], node.input_name(0), numbers, part)


@dataclass(frozen=True, eq=False)
class _Numbers:
    """Constants of a normalization."""

    gain: Floats
    bias: Floats | None
    epsilon: float


def _numbers(gain_name: str, bias_name: str, epsilon: float, part: Part) -> _Numbers | None:
    gain, bias = part.tensors.constant(gain_name), part.tensors.constant(bias_name) if bias_name else None
    if not _is_vector(gain) or gain.size == 1:  # one number for all columns says nothing of how many there are
        return None
    if not bias_name:
        return _Numbers(gain, None, epsilon)
    return _Numbers(gain, bias, epsilon) if _is_vector(bias) and bias.shape == gain.shape else None


def _written_out(root: OnnxNode, part: Part) -> Fused | None:
    """``(x - mean) / sqrt(mean (x - mean)^2 + epsilon) * gain + bias`` of plain operators; ``root`` is the Sqrt."""
    addition = part.producer(root.input_name(0), "Add")
    variance = next((name for name in addition.inputs if part.number(name) is None), "") if addition else ""
    epsilon = part.number(operand_beside(addition, variance)) if addition and variance else None
    mean_square = part.producer(variance, "ReduceMean")
    square = part.producer(mean_square.input_name(0), "Pow", "Mul") if mean_square else None
    off = square.input_name(0) if square else ""
    difference, quotient = part.tensors.producers.get(off), part.reader(result_of(root), "Div")
    if epsilon is None or mean_square is None or square is None or difference is None or quotient is None:
        return None
    is_square = square.input_name(1) == off if square.op == "Mul" else part.number(square.input_name(1)) == 2.0
    is_off = difference.op == "Sub" and not difference.domain and quotient.input_name(0) == off
    if not is_square or not is_off or not part.reads_alone(off, (square, quotient)):
        return None
    x, mean = difference.input_name(0), part.producer(difference.input_name(1), "ReduceMean")
    product = part.reader(result_of(quotient), "Mul")
    if mean is None or product is None or mean.input_name(0) != x or not _are_of_last_axis((mean, mean_square), part):
        return None
    nodes = [mean, difference, square, mean_square, addition, root, quotient, product]
    shift, bias = part.reader(result_of(product), "Add"), ""
    if shift is not None and _is_vector(part.tensors.constant(operand_beside(shift, result_of(product)))):
        nodes, bias = [*nodes, shift], operand_beside(shift, result_of(product))
    numbers = _numbers(operand_beside(product, result_of(quotient)), bias, epsilon, part)
    return None if numbers is None else _normalization([node for node in nodes if node is not None], x, numbers, part)


def _are_of_last_axis(nodes: Sequence[OnnxNode], part: Part) -> bool:
    """Whether all of them reduce the last axis alone and keep it."""
    for node in nodes:
        given = part.tensors.constant(node.input_name(1)) if node.input_name(1) else None
        axes = integers(node, "axes") if given is None else tuple(given.reshape(-1).tolist())
        if axes != (-1,) or integer(node, "keepdims", 1) != 1:
            return False
    return True


def _normalization(nodes: list[OnnxNode], x: str, numbers: _Numbers, part: Part) -> Fused:
    """A normalization of ``x`` by ``nodes``, with the Add before it and the Mul by a number for each column behind."""
    reads, total = [x], ""
    addition = part.tensors.producers.get(x)
    if addition is not None and not addition.domain and addition.op == "Add" and len(addition.inputs) == 2:
        operands = list(addition.inputs)
        if not any(part.tensors.constant(operand) is not None for operand in operands):
            reads, total = operands, "" if part.reads_alone(x, nodes) else x
            nodes = [addition, *nodes]
    result = result_of(nodes[-1])
    scaling = _scaling(result, numbers.gain.size, part)
    scale, scaled = None, ""
    if scaling is not None:
        product, scale = scaling
        nodes, scaled = [*nodes, product], result_of(product)
        result = "" if part.tensors.only_reader(result) is product else result
    writes = tuple(name for name in (result, total, scaled) if name)
    ends = (numbers.gain, numbers.bias, numbers.epsilon, total, result, scaled, scale)
    return Normalize(names_of(nodes), tuple(reads), writes, results_of(nodes), *ends)


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


def _scaled_gelu(nodes: list[OnnxNode], x: str, part: Part) -> Fused | None:
    """GELU of ``nodes``, with the Mul by a number for each column that alone reads the result; of float32 only."""
    if x not in part.reals:
        return None
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
