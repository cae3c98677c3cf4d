"""What float nodes between dynamic layers compute together, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Fused:
    """Nodes that one loop takes the place of.

    Attributes:
        nodes: their names and operators, in execution order.
        reads: tensors of the file.
        writes: likewise.
        inside: first results of the nodes.
    """

    nodes: tuple[tuple[str, str], ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    inside: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Normalize(Fused):
    """``LayerNormalization`` of the last axis of one tensor, or of the sum of two.

    Attributes:
        gain: (width,).
        bias: (width,); None: none.
        epsilon: added to the variance.
        total: what the sum is called, if anything else reads it; "" otherwise.
        result: what the result is called; "" if nothing but a Mul by ``scale`` reads it.
        scaled: what the result times ``scale`` is called; "" if the file does not have it.
        scale: (width,).
    """

    gain: Floats
    bias: Floats | None
    epsilon: float
    total: str
    result: str
    scaled: str
    scale: Floats | None


@dataclass(frozen=True, eq=False)
class Gelu(Fused):
    """``x * P(standard normal < x)``, by whatever nodes.

    Attributes:
        factor: (width,) by which columns are multiplied; None: nothing.
    """

    factor: Floats | None


@dataclass(frozen=True, eq=False)
class Attention(Fused):
    """``softmax(scale * q k' + shift) v`` of every head; reads q, k, v as (batch, tokens, heads * columns).

    Attributes:
        heads: how many.
        scale: of the products.
        shift: constant that is added; None: nothing, or the fourth tensor of ``reads``.
        factor: (heads * columns,) by which columns of the result are multiplied; None: nothing.
    """

    heads: int
    scale: float
    shift: NDArray[Any] | None
    factor: Floats | None
