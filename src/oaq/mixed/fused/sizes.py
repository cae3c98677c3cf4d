"""Sizes that a file computes from shapes of its tensors, followed without knowing any: which size of which tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from oaq.capture.from_dynamic_onnx.reader import LONGEST_CHAIN, Tensors
from oaq.capture.from_onnx.attributes import integer
from oaq.capture.from_onnx.graph import Array, OnnxNode

MOST_SIZES: Final = 16
"""Entries of a shape that are looked at."""
FLOATS: Final = (1, 10, 11)
"""Element types of ONNX that a Cast makes reals of."""
PASSING: Final = ("Identity", "Squeeze", "Unsqueeze", "Reshape")
"""Operators that leave a single value as it is."""


@dataclass(frozen=True)
class Size:
    """The size of an axis of a tensor.

    Attributes:
        tensor: of the file.
        axis: counted from the first.
    """

    tensor: str
    axis: int


Entry = Size | int | float | None
"""A size, a number, or something that is not followed."""


class Sizes:
    """What the tensors that hold sizes hold.

    Args:
        tensors: of the file.
        known: (axes) sizes as far as inference has them, by tensor; None for an open one.
        root: of a tensor, one that all those with the same sizes but for the last axis lead back to.
    """

    def __init__(
        self, tensors: Tensors, known: Mapping[str, tuple[int | None, ...]], root: Callable[[str], str]
    ) -> None:
        self._tensors, self._known, self._root = tensors, known, root

    def rank(self, name: str) -> int | None:
        """How many axes a tensor has: as inference has it, of itself or of one whose sizes but the last it shares."""
        sizes = self._known.get(name, self._known.get(self._root(name)))
        return None if sizes is None else len(sizes)

    def entries(self, name: str) -> tuple[Entry, ...] | None:
        """The entries of a vector of sizes; None if it is none."""
        constant = self._tensors.constant(name)
        if constant is not None:
            return _numbers(constant)
        node = self._tensors.producers.get(name)
        if node is None or node.domain or node.op != "Concat":
            return None
        parts = [
            _numbers(value) if (value := self._tensors.constant(part)) is not None else None for part in node.inputs
        ]
        return tuple(
            entry
            for part, numbers in zip(node.inputs, parts, strict=True)
            for entry in (numbers if numbers is not None else (self.entry(part),))
        )

    def entry(self, name: str, depth: int = 0) -> Entry:
        """The one value of a tensor."""
        constant = self._tensors.constant(name)
        if constant is not None:
            numbers = _numbers(constant)
            return numbers[0] if numbers is not None and len(numbers) == 1 else None
        node = self._tensors.producers.get(name)
        if node is None or node.domain or depth > LONGEST_CHAIN or not node.inputs:
            return None
        if node.op in PASSING:
            return self.entry(node.inputs[0], depth + 1)
        if node.op == "Gather":
            return self._gathered(node)
        if node.op == "Cast":
            return _cast(self.entry(node.inputs[0], depth + 1), integer(node, "to", 0))
        operation = OPERATIONS.get(node.op)
        if operation is None:
            return None
        operands = [self.entry(operand, depth + 1) for operand in node.inputs]
        numbers = [operand for operand in operands if isinstance(operand, int | float)]
        try:
            return operation(*numbers) if len(numbers) == len(operands) else None
        except (ArithmeticError, TypeError, ValueError):
            return None

    def _gathered(self, node: OnnxNode) -> Entry:
        """One size of a shape."""
        shape, index = self._tensors.producers.get(node.inputs[0]), self.entry(node.input_name(1))
        if (
            shape is None
            or shape.domain
            or shape.op != "Shape"
            or shape.attributes
            or not isinstance(index, int)
            or not shape.inputs
        ):
            return None
        sizes = self._known.get(shape.inputs[0])
        if index < 0 and sizes is not None:
            index += len(sizes)
        if sizes is not None and 0 <= index < len(sizes) and sizes[index] is not None:
            return sizes[index]
        is_last = sizes is not None and index == len(sizes) - 1
        return None if index < 0 or is_last else Size(self._root(shape.inputs[0]), index)


def _numbers(constant: Array) -> tuple[int | float, ...] | None:
    if constant.dtype.kind not in "iuf" or constant.ndim > 1 or constant.size > MOST_SIZES:
        return None
    return tuple(constant.reshape(-1).tolist())


def _cast(value: Entry, to: int) -> Entry:
    if not isinstance(value, int | float):
        return value
    return float(value) if to in FLOATS else int(value)


def _quotient(a: float, b: float) -> int | float:
    if isinstance(a, int) and isinstance(b, int):
        return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return a / b


OPERATIONS: Final[Mapping[str, Callable[..., int | float]]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": _quotient,
    "Pow": lambda a, b: float(np.power(float(a), float(b))),
    "Sqrt": lambda a: float(np.sqrt(float(a))),
}
