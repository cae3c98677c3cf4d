"""The operator of integers that each operator of a float graph becomes, before its numbers are chosen.

Geometry is final, numbers are neutral: multipliers of one, a table of zeros. ``capture.lower`` puts chosen numbers in;
what a network will cost is predicted without any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, Final

import numpy as np

from oaq import operators as ops
from oaq.capture.graph import FloatAvgPool, FloatOp, FloatReshape, FloatSlice, Unquantized, rules_of
from oaq.errors import UnsupportedOp
from oaq.numerics.requantize import Requantize
from oaq.operators import Shape
from oaq.program.layout import channels_last


def neutral(op: FloatOp, inputs: Sequence[Shape]) -> ops.Op:
    """The operator of integers that computes ``op``, with neutral numbers.

    Args:
        op: sums no products.
        inputs: shapes of the tensors it reads, one sample, channels last.

    Raises:
        UnsupportedOp: it sums products (its weights are its geometry), or nothing is known of it.
    """
    if isinstance(op, ops.Op):
        return op
    rules = rules_of(op)
    if isinstance(op, Unquantized) and rules.ratios is not None:
        scales = np.ones(len(inputs), np.float32)
        value: Any = op.operator
        return value(_ones(len(rules.ratios(op, scales, np.float32(1), inputs))))
    rule = RULES.get(rules.name)
    if rule is None:
        raise UnsupportedOp(f"no operator of integers without weights computes {type(op).__name__}")
    return rule(op)


def _ones(count: int) -> Requantize:
    return Requantize(np.ones(count, np.float32))


def _avg_pool(op: FloatAvgPool) -> ops.AvgPool:
    return ops.AvgPool(op.kernel, op.stride, _ones(prod(op.kernel)), op.padding, op.count_include_pad)


def _reshape(op: FloatReshape) -> ops.Reshape:
    return ops.Reshape(channels_last(op.shape))


def _slice(op: FloatSlice) -> ops.Slice:
    return ops.Slice(channels_last(op.begin), channels_last(op.end))


RULES: Final[Mapping[str, Callable[[Any], ops.Op]]] = {
    "AvgPool": _avg_pool,
    "ChannelLookup": lambda op: ops.ChannelLookup(np.zeros((len(op.channels()), 256), np.uint8)),
    "Lookup": lambda _op: ops.Lookup(np.zeros(256, np.uint8)),
    "Reshape": _reshape,
    "Slice": _slice,
}
"""How twins with fields of their own become operators, by the operator's name."""
