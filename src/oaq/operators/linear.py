"""Linear: a matrix of weights on the last axis, at every position of the leading axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.matmul import matmul
from oaq.numerics.requantize import Semantics
from oaq.operators.operator import Arrays, Case, Rules, Specs
from oaq.operators.products import Products, check_total, freeze, sample, sample_weight
from oaq.operators.tensor import Shape, TensorSpec


@dataclass(frozen=True, eq=False)
class Linear(Products):
    """acc[n] = bias[n] + sum_k weight[n, k] * (x[k] - zx); y = requantize(acc, zy).

    (K,) to (N,), or (..., K) to (..., N): a matrix of tokens (T, K) is T rows.

    Attributes:
        weight: (N, K) int8; int16 in [-255, 255] where one leaves int8 (imported with a zero point).
        bias: (N,) int32 at scale s_x * s_w[n].
        requantize: N multipliers, or tables of residues of sums that wrap by design.
    """

    def __post_init__(self) -> None:
        freeze(self, (2,))


def shape(op: Linear, inputs: Sequence[Shape]) -> Shape:
    """(..., K) to (..., N)."""
    x = inputs[0]
    if x[-1] != op.terms:
        raise ProgramError(f"Linear: weights of shape {op.weight.shape} take (..., {op.terms}), the input is {x}")
    return (*x[:-1], op.outputs)


def law(op: Linear, inputs: Arrays, specs: Specs, _y: TensorSpec) -> NDArray[np.int64]:
    """(batch, ..., N) exact sums, bias included."""
    return matmul(inputs[0].astype(np.int64) - specs[0].affine.zero_point, op.weight) + op.bias.astype(np.int64)


def cases(semantics: Semantics) -> tuple[Case, ...]:
    """A vector, and a matrix of tokens."""
    values = []
    for weight_shape, x in (((2, 3), (3,)), ((7, 9), (9,)), ((6, 8), (5, 8)), ((3, 4), (2, 3, 4))):
        weight = sample_weight(weight_shape)
        values.append(Case(Linear(weight, *sample(weight, semantics)), (x,)))
    return tuple(values)


RULES = Rules(
    Linear, arity=1, shape=shape, law=law, image=None, family="gemm", work=None, cases=cases, check=check_total
)
