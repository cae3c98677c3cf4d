"""``within_s32``: biases that a quantizer has pushed to the ends of 32 bits, where no sum has room, are moved inwards.

A tool that gives an output almost no weights, but a real bias, divides that bias by a tiny scale and clips it at the
end of int32: the file's own 32-bit sum may wrap. Such an output is mostly one constant integer, whatever the input;
then any bias that gives this constant from sums that fit is as good.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.formats import S32
from oaq.program import ops
from oaq.program.int_program import IntProgram, Node

Sums = NDArray[np.int64]


def within_s32(program: IntProgram) -> tuple[IntProgram, tuple[str, ...]]:
    """The same results, for every input, from sums that fit 32 bits.

    Returns:
        The program, itself if nothing had to be moved, and one sentence per layer that was changed. Outputs that are no
        constants are left as they are, for ``analyze`` to refuse.
    """
    nodes, notes = [], []
    for node in program.nodes:
        op = _settled(program, node, node.op) if isinstance(node.op, ops.Conv2d | ops.Linear) else None
        if op is None:
            nodes.append(node)
            continue
        moved = np.abs(op.bias.astype(np.int64) - node.op.bias.astype(np.int64))  # type: ignore[union-attr]
        count = int(np.count_nonzero(moved))
        notes.append(
            f"{node.name}: {count} of its {moved.size} biases lie so near the end of 32 bits that its sums could leave "
            f"them; moved inwards by {int(moved.max())} at most, which changes no result for any input"
        )
        nodes.append(Node(node.name, op, node.inputs, node.output))
    return (replace(program, nodes=tuple(nodes)) if notes else program), tuple(notes)


def _settled(program: IntProgram, node: Node, op: ops.Conv2d | ops.Linear) -> ops.Conv2d | ops.Linear | None:
    """With other biases; None if there is nothing to move, or nothing that can be."""
    x, y = program.tensors[node.inputs[0]], program.tensors[node.output]
    flat = op.weight.reshape(len(op.weight), -1).astype(np.int64)
    # Integers are 0 or more: from zero on, partial sums lie between those of all negative and of all positive products.
    least, most = (np.minimum(flat, 0).sum(axis=1) * x.range.hi, np.maximum(flat, 0).sum(axis=1) * x.range.hi)
    shift = x.affine.zero_point * flat.sum(axis=1)
    bias = op.bias.astype(np.int64)
    low = np.maximum(S32.lo - least, S32.lo) + shift
    high = np.minimum(S32.hi - most, S32.hi) + shift
    wanted = np.clip(np.clip(bias, low, high), S32.lo, S32.hi)
    fits = (low <= wanted) & (wanted <= high)
    first, last = np.minimum(bias, wanted) - shift + least, np.maximum(bias, wanted) - shift + most
    ends = [op.requantize.apply(sums, y.affine.zero_point, y.range) for sums in (first, last)]
    movable = fits & (wanted != bias) & (ends[0] == ends[1])
    if not movable.any():
        return None
    return replace(op, bias=np.where(movable, wanted, bias).astype(np.int32))
