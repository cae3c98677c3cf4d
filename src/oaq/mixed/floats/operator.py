"""What an operator is: a function from a node and the arrays it reads to those it writes."""

from __future__ import annotations

from collections.abc import Callable

from oaq.capture.from_onnx.attributes import described
from oaq.capture.from_onnx.graph import Array, OnnxNode
from oaq.capture.from_onnx.inputs import Inputs
from oaq.errors import FormatError

Operator = Callable[[OnnxNode, Inputs], Array | list[Array]]
"""(node, its inputs, all of them computed) to its one result, or a list of its results."""


def argument(node: OnnxNode, inputs: Inputs, index: int) -> Array:
    """The array at an input that must be there.

    Raises:
        FormatError: it is left out.
    """
    value = inputs.constant(index)
    if value is None:
        raise FormatError(f"{described(node)}: its input {index} is left out")
    return value


def arguments(node: OnnxNode, inputs: Inputs, count: int) -> list[Array]:
    """The first ``count`` inputs.

    Raises:
        FormatError: one of them is left out.
    """
    return [argument(node, inputs, index) for index in range(count)]
