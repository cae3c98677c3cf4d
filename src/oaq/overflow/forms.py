"""Operand forms: kernels may multiply u8 less a constant, so one proof of a layer serves rows of every form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.errors import AccumulatorOverflow
from oaq.numerics.formats import S32
from oaq.numerics.modular import wrapped
from oaq.numerics.ranges import ChannelRanges
from oaq.overflow.bounds import weight_bound
from oaq.overflow.operands import Operands
from oaq.overflow.proof import NodeProof


def in_form(sums: NodeProof, weight: NDArray[np.signedinteger[Any]], shift: int) -> NodeProof:
    """Restate a layer's sums for a kernel that multiplies u8 - ``shift``.

    sum w * x = sum w * (x - shift) + shift * sum w, so the raw sum falls by shift * sum w, the folded bias rises by it,
    and the total stays. Partial sums are bounded again.

    Args:
        sums: proved for raw u8 (``shift`` 0).
        weight: (N, K) of the layer, in packed K order.
        shift: 0 for raw u8, 128 for s8.

    Raises:
        AccumulatorOverflow: in this form an s32 that the kernel holds can overflow.
    """
    if shift == sums.shift:
        return sums
    if sums.shift:
        raise ValueError(f"{sums.node}: the sums are of u8 - {sums.shift} already")
    lo, hi = sums.operands.lo - shift, sums.operands.hi - shift
    lo.flags.writeable = hi.flags.writeable = False
    operands = Operands(lo, hi)
    moved = shift * weight.sum(axis=1, dtype=np.int64)
    raw = ChannelRanges(sums.raw.lo - moved, sums.raw.hi - moved)
    partial = raw if operands.contain_zero() else weight_bound(weight, lo, hi, partial=True)
    folded = sums.folded_bias.astype(np.int64) + moved
    low, high = np.minimum(partial.lo, 0), np.maximum(partial.hi, 0)
    s32_holds = ((folded, folded), (low, high), (folded + low, folded + high)) if sums.modulo is None else ()
    for least, most in s32_holds:
        wrong = (least < S32.lo) | (most > S32.hi)
        if wrong.any():
            output = int(np.argmax(wrong))
            raise AccumulatorOverflow(
                f"{sums.node}, output {output}: with operands u8 - {shift}, a 32-bit sum can reach "
                f"[{int(least[output])}, {int(most[output])}]"
            )
    folded32 = wrapped(folded, 32).astype(np.int32)
    folded32.flags.writeable = False
    return replace(sums, operands=operands, raw=raw, raw_partial=partial, folded_bias=folded32, shift=shift)
