"""Bounds of layers with three sums: each sum by itself, and what their corners make of the output. Exact integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.formats import S32
from oaq.numerics.ranges import ChannelRanges
from oaq.overflow.bounds import weight_bound
from oaq.program.three_sums import ExactProgram


@dataclass(frozen=True, eq=False)
class ThreeBounds:
    """What the sums of a layer can reach, for every input; each is tight by itself, not all three together.

    Attributes:
        centre, tail, sign: N ranges of the sums, the bias in the first.
        outputs: N ranges of the integers that are written: sound, and wider than what is reached.
    """

    centre: ChannelRanges
    tail: ChannelRanges
    sign: ChannelRanges
    outputs: ChannelRanges

    @property
    def fits(self) -> bool:
        """Every sum is inside s32."""
        return all(S32.contains(bounds.envelope()) for bounds in (self.centre, self.tail, self.sign))


def three_bounds(exact: ExactProgram, name: str) -> ThreeBounds:
    """Bounds of the layer ``name`` for operands anywhere in the effective range of the tensor it reads.

    Raises:
        ProgramError: the layer has no three sums.
    """
    layer = exact.layers.get(name)
    if layer is None:
        raise ProgramError(f"{name}: is no layer of three sums; those are {', '.join(exact.layers)[:200]}")
    node = exact.program.by_name[name]
    x, y = exact.program.specs(node)[0], exact.program.tensors[node.output]
    zero, terms = x.affine.zero_point, node.products.terms
    # Operands less their zero point: the range holds 0, which is what lies outside an image.
    low, high = np.full(terms, x.range.lo - zero, np.int64), np.full(terms, x.range.hi - zero, np.int64)
    centre, tail, sign = (
        _moved(weight_bound(part.rows, low, high, partial=False), part.bias) for part in layer.parts(node.products)
    )
    ends = [
        layer.apply((_inside(first), _inside(second), _inside(third)), y.affine.zero_point, y.range)
        for first, second, third in ((centre.lo, tail.lo, sign.lo), (centre.hi, tail.hi, sign.hi))
    ]
    return ThreeBounds(centre, tail, sign, ChannelRanges(*ends))


def _moved(sums: ChannelRanges, bias: NDArray[np.int32]) -> ChannelRanges:
    return ChannelRanges(sums.lo + bias.astype(np.int64), sums.hi + bias.astype(np.int64))


def _inside(sums: NDArray[np.int64]) -> NDArray[np.int32]:
    """Ends that leave s32 count as its ends: such a layer does not fit, and nothing is said of its outputs."""
    return np.clip(sums, S32.lo, S32.hi).astype(np.int32)
