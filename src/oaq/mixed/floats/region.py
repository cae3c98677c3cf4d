"""A float region by the operators of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Final

import numpy as np

from oaq.capture.from_onnx.attributes import described
from oaq.capture.from_onnx.graph import OnnxNode, TensorType
from oaq.capture.from_onnx.inputs import Inputs
from oaq.capture.from_onnx.shapes import infer
from oaq.errors import OaqError, ProgramError, UnsupportedOp
from oaq.mixed.floats import functions, products, reductions, tensors
from oaq.mixed.floats.operator import Operator
from oaq.mixed.program import FloatBody, Region, Values
from oaq.program.memory import memory_limit, require_memory

OPERATORS: Final[Mapping[str, Operator]] = {
    **tensors.OPERATORS,
    **reductions.OPERATORS,
    **products.OPERATORS,
    **functions.OPERATORS,
}
"""Operators of ONNX by name."""
REAL: Final = np.dtype(np.float32)
INSTALL: Final = "install ONNX Runtime (pip install onnxruntime) to run this file"


def open_own(
    region: Region, body: FloatBody, limit: int | None = None
) -> Callable[[Mapping[str, Values]], Sequence[Values]]:
    """The region as a function of arrays.

    Args:
        region: that is run.
        body: of it.
        limit: most bytes of one node's results; None: see ``memory_limit``.

    Raises:
        UnsupportedOp: an operator is not ours; the message names the node.
    """
    if not body.nodes and body.content is not None:
        raise UnsupportedOp(f"{region.name}: {region.reason or 'it is not read'}; {INSTALL}")
    for node in body.nodes:
        is_known = node.op in OPERATORS and (not node.domain or _is_alias(node)) and node.name not in body.protos
        if not is_known:
            raise UnsupportedOp(
                f"{region.name}: {described(node)} stays in float, which oaq itself has no operator for; {INSTALL}"
            )
    opset = body.opsets.get("", 1)
    bits = {name: kind.bits for name, kind in body.types.items()}
    most = memory_limit(limit)

    def run(feed: Mapping[str, Values]) -> Sequence[Values]:
        values: dict[str, Values] = {**body.constants, **feed}
        for node in body.nodes:
            _compute(node, values, (opset, bits), most)
        return [_computed(name, values) for name in region.writes]

    return run


def _compute(node: OnnxNode, values: dict[str, Values], file: tuple[int, Mapping[str, int | None]], limit: int) -> None:
    """Put a node's results among ``values``; ``file`` is its opset and the bits of narrow tensors.

    Raises:
        MemoryLimit: they need more bytes than ``limit``: sizes may be values, which no reader of the file has seen.
    """
    opset, bits = file
    arrays = [_computed(name, values) if name else None for name in node.inputs]
    types = [
        TensorType() if array is None else TensorType(array.dtype, array.shape, bits.get(name))
        for name, array in zip(node.inputs, arrays, strict=True)
    ]
    inputs = Inputs(types, arrays, opset)
    results = infer(node, inputs)
    needed = sum(prod(kind.shape) * (kind.dtype or REAL).itemsize for kind in results if kind.shape is not None)
    require_memory(needed, limit, f"{described(node)}: its results")
    try:
        with np.errstate(all="ignore"):
            result = OPERATORS[node.op](node, inputs)
    except OaqError:
        raise
    except (TypeError, ValueError, IndexError, OverflowError, ZeroDivisionError) as error:
        shapes = ", ".join(str(kind.shape) for kind in types)
        raise ProgramError(f"{described(node)}: cannot be computed from arrays of {shapes}: {error}") from error
    computed = result if isinstance(result, list) else [result]
    for name, value in zip(node.outputs, computed, strict=False):
        if name:
            values[name] = value


def _computed(name: str, values: Mapping[str, Values]) -> Values:
    """A tensor that an earlier node has computed.

    Raises:
        UnsupportedOp: it is a further result, which our operator of that node does not have.
    """
    if name not in values:
        raise UnsupportedOp(f"{name!r} is a result that oaq's own float operators do not compute; {INSTALL}")
    return values[name]


def _is_alias(node: OnnxNode) -> bool:
    """An operator of another domain that computes what ONNX's own of that name does."""
    return (node.domain, node.op) in ALIASES


ALIASES: Final = frozenset(
    {("com.microsoft", op) for op in ("Gelu", "QuickGelu", "QuantizeLinear", "DequantizeLinear")}
)
